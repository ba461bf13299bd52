"""samplernn-pase-preprocess IN DATA: recordings -> the prepared corpus that samplernn-pase-train reads, with content.

VCTK 0.80 or 0.92, CMU ARCTIC, LibriTTS, the original's own data set (wav16_trimmed), a table, or any folder of one
folder a speaker. Beside the audio comes what the settings' model hears: content of its kind and the statistics of it,
the pitch if it is told one, and vectors of speakers if they are asked for. Run again, also with another kind, it adds
what is missing, goes on where it was killed, and leaves alone what is there.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from vocoder_core import cli, preprocessing

if TYPE_CHECKING:
    from vocoder_core.corpus import Corpus
    from vocoder_core.utterance import Utterance

    from .content import ContentConfig
    from .feature_file import FrontEnd, Made
    from .settings import Settings
    from .speaker import Provider

SHOWN = 10  # recordings without features that are named


def main(argv: Sequence[str] | None = None) -> int:
    """The command; its exit status."""
    description = (
        "Prepare recordings for samplernn-pase-train: one rate, one level, splits, content. Run again, it goes on."
    )
    parser = preprocessing.parser("samplernn-pase-preprocess", description)
    group = parser.add_argument_group("content")
    group.add_argument(
        "--content",
        dest="set",
        action="append",
        metavar="KIND",
        type=lambda kind: f"model.content.kind={kind}",
        help="mel80, world43, linguistic or linguistic_lf0 (--set model.content.kind=...)",
    )
    group.add_argument(
        "--labels", metavar="DIR", type=Path, help="where NAME.lab of linguistic content are (default: beside NAME.wav)"
    )
    group.add_argument(
        "--acoustic", metavar="DIR", type=Path, help="read Ahocoder's .cc .fv .lf0 there instead of running WORLD"
    )
    group.add_argument("--f0", choices=("harvest", "dio"), default="harvest", help="WORLD's pitch; dio is faster")
    group.add_argument(
        "--speaker-vectors",
        metavar="PROVIDER[=WEIGHTS]",
        action="append",
        default=[],
        help="also make the speakers' vectors: ge2e, pase=FILE or pase+=FILE; can be given again",
    )
    return cli.run(parser, _prepare, argv)


def _prepare(arguments: argparse.Namespace) -> None:
    import joblib

    from vocoder_core.corpus import Corpus

    from . import features
    from .settings import Settings

    settings = cli.settings(Settings, arguments, "samplernn_pase")
    _check(arguments, settings)
    utterances = preprocessing.prepare(arguments, settings.data, settings.model.mel)
    if arguments.shard[1] > 1:
        return
    corpus = Corpus.open(arguments.data)
    content, jobs = settings.model.content, arguments.jobs or joblib.cpu_count()
    made = features.make(corpus, _front_end(arguments, settings, utterances), content.scored, jobs=jobs)
    print(_report(corpus, made, content))
    if settings.model.labels.order and settings.model.labels.pitch:
        print(_report(corpus, features.make_pitch(corpus, jobs=jobs)))
    for asked in arguments.speaker_vectors:
        print(_make_vectors(corpus, asked, settings.model.speaker.seconds))


def _check(arguments: argparse.Namespace, settings: Settings) -> None:
    """Raise ValueError or FileNotFoundError for flags that cannot be followed, before anything is done."""
    kind = settings.model.content.kind
    if arguments.labels and not kind.startswith("linguistic"):
        raise ValueError(f"--labels are read for linguistic content, but {kind} is asked: add --content linguistic")
    if arguments.acoustic and kind not in ("world43", "linguistic_lf0"):
        raise ValueError(f"--acoustic is read for world43 and linguistic_lf0, but {kind} is asked")
    for flag, folder in (("--labels", arguments.labels), ("--acoustic", arguments.acoustic)):
        if folder and not folder.is_dir():
            raise FileNotFoundError(f"{flag} {folder}: no such folder; expected one with files for each recording")
    for asked in arguments.speaker_vectors:
        _provider(asked)
    if kind in ("world43", "linguistic_lf0") and not arguments.acoustic:
        from .world43 import available, missing

        if not available():
            raise missing()


def _front_end(arguments: argparse.Namespace, settings: Settings, utterances: Sequence[Utterance]) -> FrontEnd:
    from . import front_ends, label_files
    from .world43 import WorldConfig

    content = settings.model.content
    if content.kind == "mel80":
        return front_ends.Mel(settings.model.mel)
    acoustic: front_ends.World | front_ends.Ahocoder = front_ends.World(WorldConfig(arguments.f0))
    if arguments.acoustic:
        acoustic = front_ends.Ahocoder(label_files.acoustic(utterances, arguments.acoustic))
    if content.kind == "world43":
        return acoustic
    words = {name: content.vocabulary(name) for name in sorted(set(content.categories.values()))}
    found = label_files.labels(utterances, arguments.labels)
    return front_ends.Linguistic(found, words, acoustic if content.kind == "linguistic_lf0" else None)


def _provider(asked: str) -> tuple[Provider, str | None]:
    """PROVIDER or PROVIDER=WEIGHTS. Raises ValueError for an unknown one."""
    from .speaker import COMPUTED

    provider, _, weights = asked.partition("=")
    for known in (*COMPUTED, "file"):
        if known == provider:
            return known, weights or None  # type: ignore[return-value]
    raise ValueError(f"--speaker-vectors {provider}: expected one of {', '.join(COMPUTED)}, or file=VECTORS.npz")


def _make_vectors(corpus: Corpus, asked: str, seconds: float) -> str:
    """Raises FileNotFoundError where a provider needs weights and has none."""
    from . import corpus_speakers
    from .speaker import SpeakerConfig

    provider, weights = _provider(asked)
    made = corpus_speakers.prepare(corpus, SpeakerConfig(provider=provider, seconds=seconds), weights)
    assert made is not None, "of a provider with vectors"
    path = corpus_speakers.path_of(corpus.folder, provider)
    return f"{path}: {len(made.names)} speakers, {made.values.shape[1]} numbers"


def _report(corpus: Corpus, made: Made, content: ContentConfig | None = None) -> str:
    """What is there, what is not and why, as `Summary` says it of recordings."""
    prepared = len(corpus.entries) - len(made.left_out)
    lines = [f"{made.path}: {prepared} of {len(corpus.entries)} recordings, {made.made_with['width']} numbers a frame"]
    if made.left_out:
        lines.append(
            f"{len(made.left_out)} without, listed in {made.path.with_suffix('.json').name}; training skips them:"
        )
        lines += [f"  {name}: {reason}" for name, reason in list(made.left_out.items())[:SHOWN]]
        more = len(made.left_out) - SHOWN
        lines += [f"  and {more} more"] if more > 0 else []
    if content is not None:
        still = json.loads(made.path.with_name(f"statistics-{content.kind}.json").read_text())["global"]["still"]
        if still:
            lines.append(
                f"fields that do not move, and are 0 for the model: {', '.join(str(place) for place in still)}"
            )
    return "\n".join(lines)


if __name__ == "__main__":
    raise SystemExit(main())
