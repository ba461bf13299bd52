"""vqvaevc-train DATA RUN: train vqvaevc on a prepared corpus; the same command goes on where it stopped.

The loss is the cross-entropy of the next sample, in nats, and what codes cost besides; `bits` is the same in bits per
sample, the figure that compares across runs. --init FOLDER may hold another model, such as a decoder that has learned
on true mels where the settings put codes before it: the parts that fit are taken, the rest begins anew. On several
GPUs: `torchrun --nproc-per-node 8 -m vqvaevc.train DATA RUN`.
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

    from vocoder_core.corpus import Corpus

    from .model import VQVAEVC, VQVAEVCConfig


def main(argv: Sequence[str] | None = None) -> int:
    """The command; its exit status."""
    return cli.run(training.parser("vqvaevc-train", "Train vqvaevc, or go on training."), _train, argv)


def _train(arguments: argparse.Namespace) -> None:
    import torch

    from vocoder_core.corpus import Corpus
    from vocoder_core.train import fit

    from .batches import Batches
    from .check import Check
    from .settings import Settings

    settings = cli.settings(Settings, arguments, "vqvaevc")
    corpus = Corpus.open(arguments.data)
    corpus.require(settings.model.mel, level=settings.model.level, level_db=settings.model.level_db)
    if settings.model.hears_speakers and not settings.model.speakers:
        names = tuple(sorted({entry.speaker for entry in corpus.split("train")}))
        settings = replace(settings, model=replace(settings.model, speakers=names))
    torch.manual_seed(settings.train.seed)
    device = cli.device(arguments.device)
    model, told = initial(settings.model, arguments.init)
    size, seed, wave = settings.train.batch_size, settings.train.seed, settings.model.encoder.source == "wave"
    batches = Batches(
        corpus, model.reach, settings.crop, size, seed, device, settings.model.speakers, disturbed=wave
    )  # fmt: skip
    check = Check(corpus, settings.check)
    training.record(settings, arguments.run)
    if not (arguments.run / "resume.pt").exists():
        if told:
            print(told)
        measure(model, corpus)
    last = fit(
        model.to(device), Loss(), batches, settings.train, arguments.run,
        after_step=after_step, validate=check, device=device,
    )  # fmt: skip
    command = "convert in.wav out.wav --target NAME" if model.speakers else "infer in.wav out.wav"
    print(f"{arguments.run}: trained to step {last}; try: vqvaevc-{command} --checkpoint {arguments.run}")


def initial(config: VQVAEVCConfig, init: Path | None) -> tuple[VQVAEVC, str]:
    """A new model, with the parts of --init that fit it as they are, and a line that says which.

    Parts are the condition (encoder and codes), the context stack, the WaveRNN, and vectors of speakers whose names
    agree; of a condition that does not fit, what it measured of its training speech. What the config's objective
    leaves alone gets no gradient. Raises ValueError where the checkpoint reads another mel, or no part of it fits.
    """
    from .condition import Frames
    from .model import VQVAEVC

    model = VQVAEVC(config)
    for name in untrained(config):
        getattr(model, name).requires_grad_(False)
    if init is None:
        return model, ""
    other = VQVAEVC.from_pretrained(init)
    if other.config.mel != config.mel:
        raise ValueError(f"{init}: its mel is {other.config.mel}, the settings say {config.mel}; set model.mel")
    own, theirs = _parts(model), _parts(other)
    taken = [name for name, part in own.items() if part and _shapes(part) == _shapes(theirs.get(name, {}))]
    if config.speakers != other.config.speakers:
        taken = [name for name in taken if name != "speakers"]
    if not taken:
        raise ValueError(f"{init}: none of its parts has the sizes that the settings say; set model as it has it")
    for name in taken:
        getattr(model, name).load_state_dict(theirs[name])
    if isinstance(model.condition, Frames) and isinstance(other.condition, Frames):
        model.condition.set_statistics(other.condition.mel_mean, other.condition.mel_std)
    new = [name for name, part in own.items() if part and name not in taken]
    return model, f"{init}: took its {', '.join(taken)}" + (f"; new: {', '.join(new)}" if new else "")


def untrained(config: VQVAEVCConfig) -> list[str]:
    """The parts that this objective leaves as they are: DDP would wait for their gradients."""
    if config.encoder.source != "codec" or not config.speakers:
        return []
    silent = {
        "speech": ["condition"] + ([] if config.overtone.speaker else ["speakers"]),
        "mel": ["overtone", "wavernn"],
        "both": [],
    }
    return silent[config.encoder.objective]


def measure(model: VQVAEVC, corpus: Corpus) -> None:
    """What a condition of mels has to know of its training speech and does not yet: statistics of bands, of voices."""
    from vocoder_core.corpus.statistics import mel_statistics

    from .codec import Codec
    from .condition import Frames

    condition = model.condition
    if isinstance(condition, Frames) and (condition.mel_std == 1).all():
        condition.set_statistics(*mel_statistics(corpus, model.config.mel))
    if isinstance(condition, Codec) and model.config.labels.pitch and not condition.voices.any():
        condition.learn_voices(corpus, model.config.speakers)


def _parts(model: VQVAEVC) -> dict[str, dict[str, Tensor]]:
    """The tensors of each part; {} of one that has none."""
    return {name: part.state_dict() for name, part in model.named_children()}


def _shapes(part: dict[str, Tensor]) -> dict[str, Any]:
    return {name: tensor.shape for name, tensor in part.items()}


class Loss:
    """loss(model, batch) for `fit`: what the model's own loss says, its parts for the log."""

    def __call__(self, model: Any, batch: Any) -> dict[str, Any]:
        """The loss with gradient, its parts without, and how many samples it is a mean of."""
        made = model(batch.wav, batch.heard, batch.at, batch.samples, batch.speaker, batch.seed, batch.noise)
        whole = getattr(model, "module", model)  # several processes: `module` is the model itself
        figures = whole.loss(made)
        parts = {name: value.detach() for name, value in figures.items() if name != "loss"}
        if "bits_per_code" in parts:
            parts["codes_per_second"] = parts["bits_per_code"].new_tensor(whole.code_rate)
            parts["bits_per_second"] = parts["bits_per_code"] * whole.code_rate
            parts["active_codes"] = parts["used_fraction"] * whole.quantizer.size
        return {"loss": figures["loss"], **parts, "samples": len(batch.wav) * batch.samples}


def after_step(model: VQVAEVC, step: int) -> None:
    """Bring codes that live on a sphere back onto it."""
    if model.quantizer is not None:
        model.quantizer.after_step()


if __name__ == "__main__":
    raise SystemExit(main())
