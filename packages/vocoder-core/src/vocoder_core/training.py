"""The command X-train DATA RUN, as far as all vocoders share it: its arguments, the run's settings, the first weights.

def main(argv=None):
    return cli.run(training.parser("rnnms-train", "Train RNN_MS, or go on training."), _train, argv)

def _train(arguments):
    settings = cli.settings(Settings, arguments, "rnnms")    # with the sections crop and train
    model = training.initial(RNNMS, settings.model, arguments.init)
    training.record(settings, arguments.run)
    fit(model, ..., settings.train, arguments.run)           # vocoder_core.train
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from . import cli

if TYPE_CHECKING:
    from .vocoder import Vocoder

    Model = TypeVar("Model", bound=Vocoder)


def parser(program: str, description: str) -> argparse.ArgumentParser:
    """The arguments of X-train."""
    parser = argparse.ArgumentParser(prog=program, description=description)
    vocoder = program.rpartition("-")[0]
    parser.add_argument("data", type=Path, help=f"a corpus prepared by {vocoder}-preprocess")
    parser.add_argument("run", type=Path, help=f"the run's folder; also a checkpoint folder for {vocoder}-infer")
    parser.add_argument("--init", type=Path, metavar="FOLDER", help="start from a checkpoint's weights (fine-tune)")
    cli.add_settings_arguments(parser)
    cli.add_device_argument(parser)
    return parser


def record(settings: Any, run: Path) -> None:
    """Keep run/settings.yaml, which --config reads. Raises ValueError when the run goes on with other crops.

    settings: a dataclass with a section `crop`. What else may not change, the network and the optimiser's settings,
    `fit` compares by itself.
    """
    from .config import dump, load, to_dict

    path = run / "settings.yaml"
    if path.exists():
        before, now = to_dict(load(type(settings), path).crop), to_dict(settings.crop)
        for name in before:
            if before[name] != now[name]:
                raise ValueError(f"{run}: its crop.{name} is {before[name]}, now it is {now[name]}; start another run")
    if os.environ.get("RANK", "0") == "0":  # torchrun's number of this process
        run.mkdir(parents=True, exist_ok=True)
        path.write_text(dump(settings), encoding="utf-8")


def initial(vocoder: type[Model], config: Any, init: Path | None) -> Model:
    """A new model, or one with a checkpoint's weights. Raises ValueError when the checkpoint's config is another."""
    from .config import to_dict

    if init is None:
        return vocoder(config)
    model = vocoder.from_pretrained(init)
    theirs, ours = to_dict(model.config), to_dict(config)
    for name in ours:
        if theirs[name] != ours[name]:
            raise ValueError(f"{init}: its {name} is {theirs[name]}, the settings say {ours[name]}; set model.{name}")
    return model
