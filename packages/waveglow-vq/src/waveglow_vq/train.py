"""waveglow-vq-train DATA RUN: train waveglow-vq on a prepared corpus; the same command goes on where it stopped.

Flow, codec or both, whatever the settings' model is: it says itself how wrong it was. --init FOLDER may hold another
model, such as the flow alone where the settings add a codec: what fits is taken, the rest begins anew. On several GPUs:
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
    from .model import WaveGlowVQ, WaveGlowVQConfig

SUGGESTED = "waveglow-vq-infer in.wav out.wav"


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
    print(
        f"{arguments.run}: trained to step {last}; try: waveglow-vq-infer in.wav out.wav --checkpoint {arguments.run}"
    )


def initial(config: WaveGlowVQConfig, init: Path | None) -> tuple[WaveGlowVQ, str]:
    """A new model, with the tensors of --init that it has too, and a line that says which.

    Raises ValueError where the checkpoint hears another mel, or has nothing of the same name and shape.
    """
    from .model import WaveGlowVQ

    model = WaveGlowVQ(config)
    if config.condition.objective == "mel":
        model.flow.requires_grad_(False)  # it is not asked: no average of it, no wait for its gradients
    if init is None:
        return model, ""
    other = WaveGlowVQ.from_pretrained(init)
    if other.config.mel != config.mel:
        raise ValueError(f"{init}: its mel is {other.config.mel}, the settings say {config.mel}; set model.mel")
    own, theirs = model.state_dict(), other.state_dict()
    taken = {name: tensor for name, tensor in theirs.items() if name in own and own[name].shape == tensor.shape}
    if not taken:
        raise ValueError(f"{init}: nothing in it fits the settings' model; expected a flow or a codec of these sizes")
    model.load_state_dict(own | taken)
    new = ", ".join(sorted({name.split(".")[0] for name in own.keys() - taken.keys()}))
    return model, f"{init}: {len(taken)} of {len(own)} tensors taken" + (f", the rest is new: {new}" if new else "")


class Loss:
    """loss(model, batch) for `fit`: what the model's own loss says, its parts for the log."""

    def __call__(self, model: Any, batch: Any) -> dict[str, Any]:
        """The loss with gradient, its parts without, and how many samples they are a mean of."""
        made = model(batch.wav, batch.mel, batch.noise, batch.speaker, batch.seed)
        figures = getattr(model, "module", model).loss(made)  # several processes: `module` is the model itself
        parts = {name: value.detach() for name, value in figures.items() if name != "loss"}
        return {"loss": figures["loss"], **parts, "samples": batch.wav.numel()}


def after_step(model: WaveGlowVQ, step: int) -> None:
    """Bring codes that live on a sphere back onto it."""
    if model.condition.quantizer is not None:
        model.condition.quantizer.after_step()


if __name__ == "__main__":
    raise SystemExit(main())
