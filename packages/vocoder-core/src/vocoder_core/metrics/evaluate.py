"""The command vocoder-eval: scores of generated speech against its references, two files or two folders.

    vocoder-eval REF GEN --json scores.json --csv clips.csv

Files of two folders belong together when their path inside the folder, without suffix, is the same. Both are compared
at the lower of their two sample rates. A clip that cannot be scored is reported and left out; the exit code is then 1.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vocoder_core import cli
from vocoder_core.audio import AUDIO_SUFFIXES, load, resample

from .bootstrap import summarise
from .scores import SCORES, Score, score, select
from .tables import heading, markdown, write_csv, write_json


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    parser = argparse.ArgumentParser(
        prog="vocoder-eval",
        description="Score generated speech against its references: two files, or two folders of equally named files.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=_epilog(),
    )
    parser.add_argument("reference", metavar="REF", type=Path, help="a recording, or a folder of them")
    parser.add_argument("generated", metavar="GEN", type=Path, help="its copy, or a folder of equally named copies")
    parser.add_argument("--json", metavar="FILE", type=Path, help="write definitions, summary and every clip as JSON")
    parser.add_argument("--csv", metavar="FILE", type=Path, help="write one line per clip")
    parser.add_argument("--metrics", metavar="A,B", help="scores or groups, see below (default: core,eval)")
    parser.add_argument("--jobs", metavar="N", type=int, default=1, help="processes (default: 1; -1: one per core)")
    return cli.run(parser, _evaluate, argv)


def _epilog() -> str:
    lines = ["scores (the arrow points to the better side) and their groups:"]
    lines += [f"  {item.tier:7} {item.name:18} {heading(item)}" for item in SCORES]
    lines += ["", "The copy has to be aligned in time with its reference, and within 10 % as long."]
    return "\n".join(lines)


def _evaluate(arguments: argparse.Namespace) -> int:
    names = arguments.metrics.split(",") if arguments.metrics else None
    chosen, skipped = select(names)
    for reason in dict.fromkeys(skipped.values()):
        print(f"skipped: {', '.join(name for name in skipped if skipped[name] == reason)}: {reason}", file=sys.stderr)
    if not chosen:
        raise ValueError("none of the scores asked for can be computed here")
    for path in filter(None, (arguments.json, arguments.csv)):  # before the work, not after it
        if not path.parent.is_dir():
            raise FileNotFoundError(f"{path}: its folder does not exist; create it first")
    pairs, lone = match(arguments.reference, arguments.generated)
    if lone:
        print(f"note: {len(lone)} references have no generated counterpart, the first is {lone[0]}", file=sys.stderr)
    rows = score_files(pairs, [item.name for item in chosen], arguments.jobs)
    return _report(rows, chosen, skipped, arguments)


def match(reference: Path, generated: Path) -> tuple[list[tuple[str, Path, Path]], list[str]]:
    """(name, reference file, generated file) of every generated file in order of name, and references without one.

    Raises FileNotFoundError or ValueError for a file beside a folder, generated files without reference, or none.
    """
    for path in (reference, generated):
        if not path.exists():
            raise FileNotFoundError(f"{path}: no such file or folder")
    if reference.is_dir() != generated.is_dir():
        folder, file = (reference, generated) if reference.is_dir() else (generated, reference)
        raise ValueError(f"{folder} is a folder and {file} is a file; expected two files or two folders")
    if not reference.is_dir():
        return [(generated.stem, reference, generated)], []
    ref, gen = _files(reference), _files(generated)
    strays = [name for name in gen if name not in ref]
    if strays:
        raise ValueError(
            f"{len(strays)} of {len(gen)} files in {generated} have no reference of the same name in {reference}, "
            f"the first is {gen[strays[0]].name}; expected equal paths up to the suffix"
        )
    return [(name, ref[name], gen[name]) for name in gen], [name for name in ref if name not in gen]


def score_files(pairs: Sequence[tuple[str, Path, Path]], metrics: Sequence[str], jobs: int = 1) -> list[dict[str, Any]]:
    """One row per pair: clip, seconds, sample_rate and either `scores` (name -> value) or `error` (one sentence)."""
    from joblib import Parallel, delayed
    from tqdm import tqdm

    work = Parallel(n_jobs=jobs, return_as="generator")(delayed(_score_file)(*pair, list(metrics)) for pair in pairs)
    return list(tqdm(work, total=len(pairs), unit="clip", disable=None if len(pairs) > 1 else True))


def _score_file(name: str, reference: Path, generated: Path, metrics: list[str]) -> dict[str, Any]:
    row: dict[str, Any] = {"clip": name}
    try:
        ref, ref_rate = load(reference)
        gen, gen_rate = load(generated)
        rate = min(ref_rate, gen_rate)
        ref, gen = resample(ref, ref_rate, rate), resample(gen, gen_rate, rate)
        row |= {"seconds": round(len(gen) / rate, 3), "sample_rate": rate}
        row["scores"] = score(ref, gen, rate, metrics)
    except (ValueError, OSError) as error:
        row["error"] = cli.sentence(error)
    return row


def _files(folder: Path) -> dict[str, Path]:
    """Path inside the folder without suffix -> audio file, sorted. Raises ValueError for none, or two of one name."""
    files: dict[str, Path] = {}
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() not in AUDIO_SUFFIXES or path.name.startswith("."):
            continue
        name = path.relative_to(folder).with_suffix("").as_posix()
        if name in files:
            raise ValueError(f"{files[name]} and {path.name} have the same name up to the suffix; remove one of them")
        files[name] = path
    if not files:
        raise ValueError(f"{folder} holds no audio files; expected {' '.join(sorted(AUDIO_SUFFIXES))}")
    return files


def _report(
    rows: list[dict[str, Any]], chosen: list[Score], skipped: dict[str, str], arguments: argparse.Namespace
) -> int:
    failed = [row for row in rows if "error" in row]
    summary = summarise([row["scores"] for row in rows if "scores" in row])
    if summary:
        print(markdown({arguments.generated.name or str(arguments.generated): summary}), end="")
    if arguments.csv:
        flat = [{key: value for key, value in row.items() if key != "scores"} | row.get("scores", {}) for row in rows]
        write_csv(arguments.csv, flat)
    if arguments.json:
        fields = ("mean", "low", "high", "n")
        content = {
            "reference": str(arguments.reference),
            "generated": str(arguments.generated),
            "definitions": {item.name: f"{item.title}: {item.definition}" for item in chosen},
            "interval": "95 % percentile bootstrap of the mean over clips",
            "summary": {name: dict(zip(fields, values)) for name, values in summary.items()},
            "clips": rows,
            "skipped": skipped,
        }
        write_json(arguments.json, content)
    for row in failed:
        print(f"not scored: {row['clip']}: {row['error']}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
