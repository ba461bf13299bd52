"""The command X-preprocess IN DATA, as far as all vocoders share it. A vocoder adds its settings and its features:

def main(argv=None):
    return cli.run(preprocessing.parser("rnnms-preprocess", "..."), _prepare, argv)

def _prepare(arguments):
    settings = cli.settings(Settings, arguments, "rnnms")         # with a section data: CorpusConfig
    mel = settings.model.mel
    preprocessing.prepare(arguments, settings.data, mel, sample_rate=mel.sample_rate, hop_length=mel.hop_length)
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from . import cli
from .corpus import CorpusConfig
from .download import NAMES
from .layouts import LAYOUTS, Utterance


def parser(program: str, description: str) -> argparse.ArgumentParser:
    """The arguments of X-preprocess."""
    parser = argparse.ArgumentParser(prog=program, description=description)
    parser.add_argument("source", metavar="IN", type=Path, nargs="+", help="folders of recordings, or tables of them")
    parser.add_argument("data", metavar="DATA", type=Path, help="the prepared corpus: a new folder, or one to finish")
    parser.add_argument("--layout", choices=LAYOUTS, default="auto", help="shape of IN (default: look)")
    parser.add_argument(
        "--download", metavar="NAME", help=f"first fetch a corpus into IN: {', '.join(NAMES)} (needs torchaudio)"
    )
    parser.add_argument("--jobs", type=_positive, metavar="N", help="processes (default: one for each processor)")
    parser.add_argument(
        "--shard",
        type=_shard,
        default=(0, 1),
        metavar="I/N",
        help="do part I (0 to N - 1) of N, one a machine on a shared DATA; at last run once without --shard",
    )
    _add_setting(parser, "--valid-fraction", "SHARE", "data.valid_fraction", "of recordings that come without a split")
    _add_setting(parser, "--test-fraction", "SHARE", "data.test_fraction", "of recordings that come without a split")
    _add_setting(parser, "--hold-out", "NAME,NAME", "data.held_out_speakers", "speakers that are kept for testing")
    _add_setting(parser, "--hold-out-fraction", "SHARE", "data.held_out_fraction", "of speakers, kept for testing")
    cli.add_settings_arguments(parser)
    parser.set_defaults(set=[])
    return parser


def prepare(arguments: argparse.Namespace, data: CorpusConfig, features: Any) -> list[Utterance]:
    """Find, fetch if asked, prepare and report what the arguments of `parser` say; the recordings that were found.

    features: the dataclass that training will check.
    """
    import joblib

    from .corpus import prepare
    from .download import download
    from .layouts import find

    layout = arguments.layout
    if arguments.download:
        if len(arguments.source) > 1:
            raise ValueError(f"--download fetches into one folder, but {len(arguments.source)} were given as IN")
        layout = download(arguments.download, arguments.source[0])
    utterances = [utterance for source in arguments.source for utterance in find(source, layout)]
    jobs = arguments.jobs or joblib.cpu_count()
    print(prepare(utterances, arguments.data, data, features=features, jobs=jobs, shard=arguments.shard))
    return utterances


def _add_setting(parser: argparse.ArgumentParser, flag: str, metavar: str, key: str, text: str) -> None:
    """A flag that is short for --set KEY=VALUE."""
    parser.add_argument(
        flag,
        dest="set",
        action="append",
        metavar=metavar,
        type=lambda value: f"{key}={json.dumps(value.split(',')) if ',' in metavar else value}",
        help=f"{text} (--set {key}=...)",
    )


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of processes, expected 1 or more")
    return int(text)


def _shard(text: str) -> tuple[int, int]:
    first, slash, count = text.partition("/")
    if not slash or not first.isdecimal() or not count.isdecimal() or int(first) >= int(count):
        raise argparse.ArgumentTypeError(f"{text!r} is not a shard, expected I/N with I from 0 to N - 1")
    return int(first), int(count)
