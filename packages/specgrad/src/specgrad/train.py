"""specgrad-train DATA RUN: train SpecGrad on a prepared corpus; the same command goes on where it stopped.

Flow or diffusion, whatever the settings' model is: it says itself how wrong it was. The mel's statistics over the
training split become a part of the weights. On several GPUs: `torchrun --nproc-per-node 8 -m specgrad.train DATA RUN`.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from vocoder_core import cli, training


def main(argv: Sequence[str] | None = None) -> int:
    """The command; its exit status."""
    return cli.run(training.parser("specgrad-train", "Train SpecGrad, or go on training."), _train, argv)


def _train(arguments: argparse.Namespace) -> None:
    import torch

    from vocoder_core.corpus import Corpus
    from vocoder_core.corpus.statistics import mel_statistics
    from vocoder_core.train import fit

    from .batches import Batches
    from .check import Check
    from .model import SpecGrad
    from .settings import Settings

    settings = cli.settings(Settings, arguments, "specgrad")
    mel = settings.model.mel
    corpus = Corpus.open(arguments.data)
    corpus.require(mel, level="peak", level_db=settings.model.level_db)
    if settings.model.speaker_size and not settings.model.speakers:
        names = tuple(sorted({entry.speaker for entry in corpus.split("train")}))
        settings = replace(settings, model=replace(settings.model, speakers=names))
    torch.manual_seed(settings.train.seed)
    device = cli.device(arguments.device)
    model = training.initial(SpecGrad, settings.model, arguments.init)
    size, seed, names = settings.train.batch_size, settings.train.seed, settings.model.speakers
    batches = Batches(corpus, mel, settings.crop, size, seed, device, names)
    if arguments.init is None and not (arguments.run / "resume.pt").exists():
        model.set_statistics(*mel_statistics(corpus, mel))  # else the checkpoint has them, which its weights know
    check = Check(corpus, settings.check)
    training.record(settings, arguments.run)
    last = fit(model.to(device), Loss(), batches, settings.train, arguments.run, validate=check, device=device)
    print(f"{arguments.run}: trained to step {last}; try: specgrad-infer in.wav out.wav --checkpoint {arguments.run}")


class Loss:
    """loss(model, batch) for `fit`: what the model's own loss says, its parts for the log."""

    def __call__(self, model: Any, batch: Any) -> dict[str, Any]:
        """The loss with gradient, its parts without, and how many samples they are a mean of."""
        made = model(batch.mel, batch.wav, batch.white, batch.place, batch.speaker)
        figures = getattr(model, "module", model).loss(made)  # several processes: `module` is the model itself
        parts = {name: value.detach() for name, value in figures.items() if name != "loss"}
        return {"loss": figures["loss"], **parts, "samples": batch.wav.numel()}


if __name__ == "__main__":
    raise SystemExit(main())
