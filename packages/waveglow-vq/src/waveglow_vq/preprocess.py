"""waveglow-vq-preprocess IN DATA: recordings -> the prepared corpus that waveglow-vq-train reads."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from vocoder_core import cli, preprocessing


def main(argv: Sequence[str] | None = None) -> int:
    """The command; its exit status."""
    description = "Prepare recordings for waveglow-vq-train: one rate, one level, splits. Run again, it goes on."
    return cli.run(preprocessing.parser("waveglow-vq-preprocess", description), _prepare, argv)


def _prepare(arguments: argparse.Namespace) -> None:
    from .settings import Settings

    settings = cli.settings(Settings, arguments, "waveglow_vq")
    preprocessing.prepare(arguments, settings.data, settings.model.mel)


if __name__ == "__main__":
    raise SystemExit(main())
