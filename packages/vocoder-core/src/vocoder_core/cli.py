"""What all commands share: how settings are named on the command line, and how errors leave it.

    def main(argv=None):                                     # a console script
        parser = argparse.ArgumentParser(...)
        add_settings_arguments(parser)                       # --config --set --print-config
        return run(parser, _do, argv)                        # 0; 2 after one sentence on stderr; 130 after Ctrl-C

Nothing here imports torch, so `--help` and usage errors answer at once; `_do(arguments)` imports what it needs.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Callable, Sequence
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from . import config as configs

if TYPE_CHECKING:
    import torch

T = TypeVar("T")


def run(
    parser: argparse.ArgumentParser, do: Callable[[argparse.Namespace], int | None], argv: Sequence[str] | None
) -> int:
    """Parse, do, and turn the user's errors (ValueError, OSError) into one sentence on stderr and exit code 2.

    VOCODER_TRACEBACK=1 in the environment shows the traceback instead.
    """
    arguments = parser.parse_args(argv)
    logging.basicConfig(format="%(message)s", level=logging.INFO, stream=sys.stderr)
    try:
        return do(arguments) or 0
    except KeyboardInterrupt as stopped:
        print(f"\n{parser.prog}: " + ": ".join(["interrupted", *map(str, stopped.args)]), file=sys.stderr)
        return 130
    except BrokenPipeError:
        sys.stdout = open(os.devnull, "w")  # whoever read us has gone; the final flush has nobody to tell
        return 0
    except (ValueError, OSError) as error:
        if os.environ.get("VOCODER_TRACEBACK") == "1":
            raise
        print(f"{parser.prog}: error: {sentence(error)}", file=sys.stderr)
        return 2


def sentence(error: Exception) -> str:
    """An error as one line: what, where."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return " ".join(str(error).split()) or type(error).__name__


def add_settings_arguments(parser: argparse.ArgumentParser) -> None:
    """--config FILE|NAME, --set a.b=value (repeatable), --print-config."""
    group = parser.add_argument_group("settings")
    group.add_argument(
        "--config", metavar="FILE|NAME", default="default", help="a YAML file, or the name of one that is built in"
    )
    group.add_argument(
        "--set", metavar="KEY=VALUE", action="append", default=[], help="override one setting, e.g. train.lr=1e-4"
    )
    group.add_argument("--print-config", action="store_true", help="print the settings in full as YAML and stop")


def settings(cls: type[T], arguments: argparse.Namespace, package: str) -> T:
    """The dataclass `cls` as --config and --set describe it; --print-config prints it and exits.

    Raises ConfigError for a name that is neither a file nor one of the package's configs/*.yaml.
    """
    value = configs.load(cls, config_path(arguments.config, package), arguments.set)
    if arguments.print_config:
        print(configs.dump(value), end="")
        raise SystemExit(0)
    return value


def config_path(name: str, package: str) -> Path:
    """The file behind --config: an existing path, or configs/NAME.yaml inside the package."""
    folder = Path(str(resources.files(package) / "configs"))
    built_in = sorted(path.stem for path in folder.glob("*.yaml"))
    if name in built_in:
        return folder / f"{name}.yaml"
    if Path(name).is_file():
        return Path(name)
    raise configs.ConfigError(
        f"--config {name}: neither a file nor a built-in config; built in: {', '.join(built_in) or 'none'}"
    )


def add_device_argument(parser: argparse.ArgumentParser) -> None:
    """--device auto|cpu|cuda|cuda:1."""
    parser.add_argument("--device", default="auto", help="auto (a GPU if there is one), cpu, cuda, cuda:1 ...")


def device(name: str) -> torch.device:
    """The torch device behind --device. Raises ValueError for one that is not there."""
    import torch

    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        chosen = torch.device(name)
    except RuntimeError:
        raise ValueError(f"--device {name}: no such kind of device; expected auto, cpu or cuda") from None
    if chosen.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(f"--device {name}: PyTorch sees no CUDA GPU here; use --device cpu")
    return chosen
