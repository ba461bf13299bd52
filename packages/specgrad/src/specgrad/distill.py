"""specgrad-distill DATA RUN --init FOLDER: train a flow through its own few steps, against discriminators.

What Flow2GAN (ICLR 2026) and PeriodWave-Turbo (arXiv 2408.08019) do to a flow that has learnt to estimate clean speech:

    noise -> step -> ... -> step -> wave     loss = adversarial + features + STFT + mel (+ the flow's own loss)
             ^------- gradients ------|

A run folder of it is a checkpoint folder like any other, for the same `specgrad-infer`; the discriminators are kept in
resume.pt only. On several GPUs: `torchrun --nproc-per-node 8 -m specgrad.distill DATA RUN --init FOLDER`.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

from vocoder_core import cli, training


def main(argv: Sequence[str] | None = None) -> int:
    """The command; its exit status."""
    parser = training.parser("specgrad-distill", "Fine-tune a flow for few steps, or go on with that.")
    parser.set_defaults(config="distill")
    return cli.run(parser, _distill, argv)


def _distill(arguments: argparse.Namespace) -> None:
    import torch

    from vocoder_core.corpus import Corpus
    from vocoder_core.train import fit

    from .adversarial import AdversarialLoss, DistillSettings, Unrolled
    from .batches import Batches
    from .check import Check
    from .model import SpecGrad

    settings = cli.settings(DistillSettings, arguments, "specgrad")
    if arguments.init is None:
        raise ValueError("--init is missing; expected the folder of a flow trained by specgrad-train")
    corpus = Corpus.open(arguments.data)
    device = cli.device(arguments.device)
    model = Unrolled(SpecGrad.from_pretrained(arguments.init, device), settings.distill)
    config = model.config
    corpus.require(config.mel, level="peak", level_db=config.level_db)
    torch.manual_seed(settings.train.seed)
    loss = AdversarialLoss(settings, config.mel.sample_rate).to(device)
    size, seed = settings.train.batch_size, settings.train.seed
    batches = Batches(corpus, config.mel, settings.crop, size, seed, device, config.speakers)
    check = Check(corpus, settings.check)
    training.record(settings, arguments.run)

    def validate(model: Any, step: int, run: Any) -> dict[str, float]:
        return check(model.vocoder, step, run)

    last = fit(model, loss, batches, settings.train, arguments.run, validate=validate, device=device)
    print(f"{arguments.run}: distilled to step {last}; try: specgrad-infer in.wav out.wav --checkpoint {arguments.run}")


if __name__ == "__main__":
    raise SystemExit(main())
