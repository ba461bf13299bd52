"""rnnms-train DATA RUN: train RNN_MS on a prepared corpus; the same command goes on where it stopped.

The loss is the cross-entropy of the next sample's code (nats per sample; logged as `bits`, the one figure that compares
across runs). On several GPUs: `torchrun --nproc-per-node 8 -m rnnms.train DATA RUN`.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from math import log
from typing import Any

from vocoder_core import cli, training


def main(argv: Sequence[str] | None = None) -> int:
    """The command; its exit status."""
    return cli.run(training.parser("rnnms-train", "Train RNN_MS, or go on training."), _train, argv)


def _train(arguments: argparse.Namespace) -> None:
    import torch

    from vocoder_core.corpus import Corpus
    from vocoder_core.train import fit

    from .batches import Batches
    from .check import Check
    from .model import RNNMS
    from .settings import Settings

    settings = cli.settings(Settings, arguments, "rnnms")
    corpus = Corpus.open(arguments.data)
    corpus.require(settings.model.mel, level="loudness", level_db=settings.model.loudness)
    torch.manual_seed(settings.train.seed)
    device = cli.device(arguments.device)
    model = training.initial(RNNMS, settings.model, arguments.init).to(device)
    batches = Batches(corpus, model, settings.crop, settings.train.batch_size, settings.train.seed)
    check = Check(corpus, settings.check)
    training.record(settings, arguments.run)
    last = fit(model, Loss(), batches, settings.train, arguments.run, validate=check, device=device)
    print(f"{arguments.run}: trained to step {last}; try: rnnms-infer in.wav out.wav --checkpoint {arguments.run}")


class Loss:
    """Cross-entropy of every next sample. In stateful training it carries the decoder's state from step to step."""

    def __init__(self) -> None:
        self.state: Any = None  # (B, H)

    def __call__(self, model: Any, batch: Any) -> dict[str, Any]:
        """The loss in nats, the same in bits, and how many samples it is a mean of."""
        import torch.nn.functional as F

        state = None if batch.fresh else self.state
        logits, after = model(batch.mel, batch.past, state)
        loss = F.cross_entropy(logits.float().flatten(0, 1), batch.target.flatten())  # fp32 also under AMP
        self.state = after.detach()
        return {"loss": loss, "bits": loss.detach() / log(2), "samples": batch.target.numel()}

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run needs: the decoder's state."""
        return {"state": self.state}

    def load_state_dict(self, values: dict[str, Any]) -> None:
        """Go on from what `state_dict` gave."""
        self.state = values["state"]


if __name__ == "__main__":
    raise SystemExit(main())
