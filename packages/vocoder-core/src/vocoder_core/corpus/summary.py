"""Summary: what preparation did with each recording it was given."""

from __future__ import annotations

import csv
import dataclasses
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..utterance import natural_key
from .block import Block, read_records
from .config import SPLITS
from .prepared import REJECTED, Corpus


@dataclasses.dataclass(frozen=True)
class Rejection:
    """A recording that was left out."""

    id: str
    path: str
    reason: str


@dataclasses.dataclass(frozen=True)
class Summary:
    """What `prepare` did: every recording it was given is either prepared or in `rejected`."""

    folder: Path
    prepared: int
    rejected: tuple[Rejection, ...]
    seconds: dict[str, float]  # of each split
    speakers: int
    finished: bool  # False after one of several shards: the corpus cannot be opened yet
    unseen: tuple[str, ...] = ()  # speakers without a recording to train on

    def __str__(self) -> str:
        lengths = ", ".join(f"{split} {seconds / 60:.1f}" for split, seconds in self.seconds.items())
        lines = [
            f"{self.folder}: {self.prepared} of {self.prepared + len(self.rejected)} recordings prepared, "
            f"{self.speakers} speakers, minutes: {lengths}"
        ]
        if self.unseen:
            named = ", ".join(self.unseen[:10]) + (", ..." if len(self.unseen) > 10 else "")
            lines.append(f"speakers that training never hears: {len(self.unseen)} ({named})")
        if self.rejected:
            lines.append(f"{len(self.rejected)} rejected{f', listed in {REJECTED}' if self.finished else ''}:")
            lines += [f"  {rejection.path}: {rejection.reason}" for rejection in self.rejected[:10]]
            lines += [f"  and {len(self.rejected) - 10} more"] if len(self.rejected) > 10 else []
        if not self.finished:
            lines.append("this shard is done; when all are, run the same command without --shard to finish the corpus")
        return "\n".join(lines)


def summary_of_corpus(folder: Path) -> Summary:
    """Of a finished corpus, read from its files."""
    corpus = Corpus.open(folder)
    rows = csv.reader(io.StringIO((folder / REJECTED).read_text(encoding="utf-8"), newline=""), delimiter="\t")
    rejected = tuple(Rejection(*row) for row in list(rows)[1:])
    records = [dataclasses.asdict(entry) for entry in corpus.entries]
    summary = _summary(folder, records, rejected, corpus.config.sample_rate, finished=True)
    return dataclasses.replace(summary, unseen=tuple(sorted(corpus.unseen_speakers, key=natural_key)))


def summary_of_blocks(folder: Path, blocks: Sequence[Block]) -> Summary:
    """Of the blocks of one shard."""
    records = list(read_records(blocks))
    rejected = tuple(Rejection(**record) for record in records if "reason" in record)
    entries = [record for record in records if "reason" not in record]
    rate = blocks[0].config.sample_rate if blocks else 1
    return _summary(folder, entries, rejected, rate, finished=False)


def _summary(
    folder: Path, entries: Sequence[dict[str, Any]], rejected: tuple[Rejection, ...], rate: int, finished: bool
) -> Summary:
    seconds = {split: sum(e["length"] for e in entries if e["split"] == split) / rate for split in SPLITS}
    speakers = len({entry["speaker"] for entry in entries})
    return Summary(folder, len(entries), rejected, seconds, speakers, finished)
