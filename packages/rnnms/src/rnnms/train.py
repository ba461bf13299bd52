"""rnnms-train DATA RUN: train RNN_MS on a prepared corpus; the same command goes on where it stopped.

The loss is the cross-entropy of the next sample's code (nats per sample; logged as `bits`, the one figure that compares
across runs). On several GPUs: `torchrun --nproc-per-node 8 -m rnnms.train DATA RUN`.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from math import log
from pathlib import Path
from typing import Any

from vocoder_core import cli


def main(argv: Sequence[str] | None = None) -> int:
    """The command; its exit status."""
    parser = argparse.ArgumentParser(prog="rnnms-train", description="Train RNN_MS, or go on training.")
    parser.add_argument("data", type=Path, help="a corpus prepared by rnnms-preprocess")
    parser.add_argument("run", type=Path, help="the run's folder; also a checkpoint folder for rnnms-infer")
    parser.add_argument("--init", type=Path, metavar="FOLDER", help="start from a checkpoint's weights (fine-tune)")
    cli.add_settings_arguments(parser)
    cli.add_device_argument(parser)
    return cli.run(parser, _train, argv)


def _train(arguments: argparse.Namespace) -> None:
    import torch

    from vocoder_core.corpus import Corpus
    from vocoder_core.train import fit

    from .batches import Batches
    from .check import Check
    from .settings import Settings

    settings = cli.settings(Settings, arguments, "rnnms")
    corpus = Corpus.open(arguments.data)
    corpus.require(settings.model.mel, level="loudness", level_db=settings.model.loudness)
    torch.manual_seed(settings.train.seed)
    device = cli.device(arguments.device)
    model = initial(settings.model, arguments.init).to(device)
    batches = Batches(corpus, model, settings.crop, settings.train.batch_size, settings.train.seed)
    check = Check(corpus, settings.check)
    record(settings, arguments.run)
    last = fit(model, Loss(), batches, settings.train, arguments.run, validate=check, device=device)
    print(f"{arguments.run}: trained to step {last}; try: rnnms-infer in.wav out.wav --checkpoint {arguments.run}")


def record(settings: Any, run: Path) -> None:
    """Keep run/settings.yaml, which --config reads. Raises ValueError when the run goes on with other crops.

    What else may not change, the network and the optimiser's settings, `fit` compares by itself.
    """
    from vocoder_core.config import dump, load, to_dict

    from .settings import Settings

    path = run / "settings.yaml"
    if path.exists():
        before, now = to_dict(load(Settings, path).crop), to_dict(settings.crop)
        for name in before:
            if before[name] != now[name]:
                raise ValueError(f"{run}: its crop.{name} is {before[name]}, now it is {now[name]}; start another run")
    if os.environ.get("RANK", "0") == "0":  # torchrun's number of this process
        run.mkdir(parents=True, exist_ok=True)
        path.write_text(dump(settings), encoding="utf-8")


def initial(config: Any, init: Path | None) -> Any:
    """A new RNNMS, or one with a checkpoint's weights. Raises ValueError when the checkpoint's config is another."""
    from vocoder_core.config import to_dict

    from .model import RNNMS

    if init is None:
        return RNNMS(config)
    model = RNNMS.from_pretrained(init)
    theirs, ours = to_dict(model.config), to_dict(config)
    for name in ours:
        if theirs[name] != ours[name]:
            raise ValueError(f"{init}: its {name} is {theirs[name]}, the settings say {ours[name]}; set model.{name}")
    return model


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
