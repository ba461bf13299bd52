"""waveglow-vq-train DATA RUN: train waveglow-vq on a prepared corpus; the same command goes on where it stopped.

Flow, codec or both, whatever the settings' model is: it says itself how wrong it was. --init FOLDER may hold another
model, such as the flow alone where the settings add a codec: the parts that fit are taken, the rest begins anew. On
several GPUs:
`torchrun --nproc-per-node 8 -m waveglow_vq.train DATA RUN`.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vocoder_core import cli, training

if TYPE_CHECKING:
    from torch import Tensor

    from .model import WaveGlowVQ, WaveGlowVQConfig


def main(argv: Sequence[str] | None = None) -> int:
    """The command; its exit status."""
    return cli.run(training.parser("waveglow-vq-train", "Train waveglow-vq, or go on training."), _train, argv)


def _train(arguments: argparse.Namespace) -> None:
    import torch

    from vocoder_core.corpus import Corpus
    from vocoder_core.corpus.statistics import mel_statistics
    from vocoder_core.train import fit

    from .batches import Batches
    from .check import Check
    from .settings import Settings

    settings = cli.settings(Settings, arguments, "waveglow_vq")
    mel = settings.model.mel
    corpus = Corpus.open(arguments.data)
    corpus.require(mel, level="peak", level_db=settings.model.level_db)
    if settings.model.speaker_size and not settings.model.speakers:
        names = tuple(sorted({entry.speaker for entry in corpus.split("train")}))
        settings = replace(settings, model=replace(settings.model, speakers=names))
    torch.manual_seed(settings.train.seed)
    device = cli.device(arguments.device)
    model, told = initial(settings.model, arguments.init)
    size, seed, names = settings.train.batch_size, settings.train.seed, settings.model.speakers
    batches = Batches(corpus, mel, settings.crop, size, seed, device, names)
    check = Check(corpus, settings.check)
    training.record(settings, arguments.run)
    if not (arguments.run / "resume.pt").exists():
        if arguments.init is None:
            model.set_statistics(*mel_statistics(corpus, mel))  # else the checkpoint has them, which its weights know
        else:
            print(told)
    last = fit(
        model.to(device), Loss(), batches, settings.train, arguments.run,
        after_step=after_step, validate=check, device=device,
    )  # fmt: skip
    command = "convert in.wav out.wav --target NAME" if model.speakers else "infer in.wav out.wav"
    print(f"{arguments.run}: trained to step {last}; try: waveglow-vq-{command} --checkpoint {arguments.run}")


def initial(config: WaveGlowVQConfig, init: Path | None) -> tuple[WaveGlowVQ, str]:
    """A new model, with the parts of --init that fit it as they are, and a line that says which.

    Parts are the flow, what stands before it, the condition (codec), and the vectors of speakers whose names agree.
    Raises ValueError where the checkpoint hears another mel, or none of flow, periodicity and condition fits.
    """
    from .model import WaveGlowVQ

    model = WaveGlowVQ(config)
    if config.condition.objective == "mel":
        for name, part in model.named_children():  # what is not asked gets no gradient, for which DDP would wait
            part.requires_grad_(name in ("condition", "speakers"))
    if init is None:
        return model, ""
    other = WaveGlowVQ.from_pretrained(init)
    if other.config.mel != config.mel:
        raise ValueError(f"{init}: its mel is {other.config.mel}, the settings say {config.mel}; set model.mel")
    own, theirs = _parts(model), _parts(other)
    taken = [name for name, part in own.items() if part and _shapes(part) == _shapes(theirs.get(name, {}))]
    if config.speakers != other.config.speakers:
        taken = [name for name in taken if name != "speakers"]
    if not {"flow", "periodicity", "condition"} & set(taken):
        raise ValueError(f"{init}: its flow is {other.config.flow}, the settings say {config.flow}; set model.flow")
    for name in taken:
        getattr(model, name).load_state_dict(theirs[name])
    model.set_statistics(other.mel_mean, other.mel_std)
    new = [name for name, part in own.items() if part and name not in taken]
    return model, f"{init}: took its {', '.join(taken)}" + (f"; new: {', '.join(new)}" if new else "")


def _parts(model: WaveGlowVQ) -> dict[str, dict[str, Tensor]]:
    """The tensors of each part; {} of one that has none."""
    return {name: part.state_dict() for name, part in model.named_children()}


def _shapes(part: dict[str, Tensor]) -> dict[str, Any]:
    return {name: tensor.shape for name, tensor in part.items()}


class Loss:
    """loss(model, batch) for `fit`: what the model's own loss says, its parts for the log."""

    def __call__(self, model: Any, batch: Any) -> dict[str, Any]:
        """The loss with gradient, its parts without, and how many samples they are a mean of."""
        made = model(batch.wav, batch.mel, batch.noise, batch.speaker, batch.seed)
        whole = getattr(model, "module", model)  # several processes: `module` is the model itself
        figures = whole.loss(made)
        parts = {name: value.detach() for name, value in figures.items() if name != "loss"}
        if "bits_per_code" in parts:
            parts["bits_per_second"] = parts["bits_per_code"] * whole.condition.code_rate
        return {"loss": figures["loss"], **parts, "samples": batch.wav.numel()}


def after_step(model: WaveGlowVQ, step: int) -> None:
    """Bring codes that live on a sphere back onto it."""
    if model.condition.quantizer is not None:
        model.condition.quantizer.after_step()


if __name__ == "__main__":
    raise SystemExit(main())
