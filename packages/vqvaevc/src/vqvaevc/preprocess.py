"""vqvaevc-preprocess IN DATA: recordings of many speakers -> the prepared corpus that vqvaevc-train reads.

VCTK 0.80 or 0.92, LibriTTS, CMU ARCTIC, LJSpeech, a table, or any folder of one folder a speaker. Speakers keep their
names, in an order that no file system decides; who and what is held out is a function of names, and recorded; run
again, it goes on where it was, or changes nothing.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from vocoder_core import cli, preprocessing


def main(argv: Sequence[str] | None = None) -> int:
    """The command; its exit status."""
    description = "Prepare recordings for vqvaevc-train: one rate, one level, splits. Run again, it goes on."
    return cli.run(preprocessing.parser("vqvaevc-preprocess", description), _prepare, argv)


def _prepare(arguments: argparse.Namespace) -> None:
    from .settings import Settings

    settings = cli.settings(Settings, arguments, "vqvaevc")
    preprocessing.prepare(arguments, settings.data, settings.model.mel)


if __name__ == "__main__":
    raise SystemExit(main())
