"""samplernn-pase-align IN [IN ...] LABELS: recordings with texts -> timed HTS labels, LABELS/ID.lab of each.

What samplernn-pase-preprocess --content linguistic --labels LABELS reads, and what samplernn-pase-prosody makes for
itself. English only; needs the extra [align]. Labels that are there are left alone, so a run that was stopped goes on.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from vocoder_core import cli

if TYPE_CHECKING:
    from vocoder_core.corpus import Corpus, Entry

SHOWN = 10  # of the recordings without labels


@dataclass(frozen=True)
class Job:
    """A recording to be aligned: how to get its samples and their rate, what is said, and where the labels go."""

    id: str
    text: str | None
    load: Callable[[], tuple[np.ndarray, int]]
    path: Path


def main(argv: Sequence[str] | None = None) -> int:
    """The command; its exit status."""
    parser = argparse.ArgumentParser(prog="samplernn-pase-align", description="Timed labels of recordings with texts.")
    parser.add_argument("source", metavar="IN", type=Path, nargs="+", help="folders of recordings, or tables of them")
    parser.add_argument("labels", metavar="LABELS", type=Path, help="the folder for ID.lab of each recording")
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="processes (default 1)")
    return cli.run(parser, _align, argv)


def _align(arguments: argparse.Namespace) -> None:
    from functools import partial

    from vocoder_core.audio import load
    from vocoder_core.layouts import find

    jobs = [
        Job(utterance.id, utterance.text, partial(load, utterance.path, 16_000), place(arguments.labels, utterance.id))
        for source in arguments.source
        for utterance in find(source)
    ]
    left_out = make(jobs, processes=arguments.jobs)
    print(f"{arguments.labels}: labels of {len(jobs) - len(left_out)} of {len(jobs)} recordings")
    for name, reason in list(left_out.items())[:SHOWN]:
        print(f"  {name}: {reason}")


def of_corpus(corpus: Corpus, folder: Path, *, processes: int = 1, progress: bool = True) -> dict[str, str]:
    """Make what labels are missing of a prepared corpus; {id: reason} of the recordings that have none."""
    from functools import partial

    jobs = [
        Job(entry.id, entry.text, partial(_wav, corpus, entry), place(folder, entry.id)) for entry in corpus.entries
    ]
    return make(jobs, processes=processes, progress=progress)


def make(jobs: Sequence[Job], *, processes: int = 1, progress: bool = True) -> dict[str, str]:
    """Do what is not done; {id: reason} of those that cannot be. Raises ValueError when that is all of them."""
    import joblib
    from tqdm import tqdm

    missing = [job for job in jobs if not job.path.is_file()]
    run = joblib.Parallel(n_jobs=processes, return_as="generator")(joblib.delayed(_one)(job) for job in missing)
    bar = tqdm(run, total=len(missing), unit="recording", disable=not (progress and missing) or None)
    left_out = {job.id: reason for job, reason in zip(missing, bar, strict=True) if reason}
    if jobs and len(left_out) == len(jobs):
        name, reason = next(iter(left_out.items()))
        raise ValueError(f"none of the {len(jobs)} recordings could be aligned; {name}: {reason}")
    return left_out


def place(folder: Path, name: str) -> Path:
    """Where the labels of a recording lie."""
    return folder / f"{name}.lab"


def _one(job: Job) -> str | None:
    """Align and write; the reason where that cannot be."""
    from .align import align
    from .hts_label import write

    if not job.text:
        return "no text"
    try:
        phones = align(*job.load(), job.text)
    except ValueError as error:
        return str(error)
    job.path.parent.mkdir(parents=True, exist_ok=True)
    write(job.path, phones)
    return None


def _wav(corpus: Corpus, entry: Entry) -> tuple[np.ndarray, int]:
    return corpus.wav(entry), corpus.config.sample_rate


if __name__ == "__main__":
    raise SystemExit(main())
