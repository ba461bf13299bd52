"""prepare(): recordings -> prepared corpus. Parallel, resumable, the same bytes whatever the number of jobs or kills.

folder/partial/00000.block 00001.block ...   in any order, by any process       (block.py)
folder/audio.npy speakers.json rejected.tsv features.yaml                       all blocks, end to end
folder/manifest.jsonl                                                           last: with it the corpus is finished
"""

from __future__ import annotations

import csv
import io
import itertools
import json
import os
import shutil
from collections.abc import Sequence
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from ..config import to_dict
from ..utterance import Utterance, natural_key
from .block import SIZE, Block, prepare_block, read_records, replacing, source_digest
from .config import CorpusConfig, split_of
from .prepared import (
    AUDIO,
    FEATURES,
    FORMAT,
    MANIFEST,
    REJECTED,
    SPEAKERS,
    Entry,
    first_difference,
    read_settings,
)
from .summary import Summary, summary_of_blocks, summary_of_corpus

PARTIAL = "partial"
OURS = {MANIFEST, AUDIO, FEATURES, SPEAKERS, REJECTED, PARTIAL, "features"}  # what vocoders add: features/


def prepare(
    utterances: Sequence[Utterance],
    folder: str | os.PathLike[str],
    config: CorpusConfig,
    *,
    features: Any = None,
    jobs: int | None = None,
    shard: tuple[int, int] = (0, 1),
    progress: bool = True,
) -> Summary:
    """Write the prepared corpus of `utterances` into `folder`; run again after a kill, it goes on where it was.

    features: a dataclass kept in features.yaml for training to check; its sample_rate and hop_length must be config's.
    jobs: processes; None leaves it to joblib.parallel_config (one, unless told), which also reaches clusters.
    shard: (i, n) does every n-th block from i, 0 <= i < n, on machines that share the folder; (0, 1) does what is
    missing and finishes. Needs twice the space of audio.npy until finished.
    A recording that cannot be used is left out and listed with its reason. Raises ValueError for ids that come twice,
    for a folder that holds other things or was made with other settings (naming the field), and when nothing can be
    used; OSError when the folder cannot be written.
    """
    folder = Path(folder)
    ordered = sorted(utterances, key=lambda utterance: natural_key(utterance.id))
    _check_arguments(ordered, config, features, shard)
    splits = split_of(ordered, config)
    settings = {"format": FORMAT, "corpus": to_dict(config), "features": to_dict(features) if features else {}}
    settings["source"] = {"recordings": len(ordered), "sha256": source_digest(ordered, splits)}
    if _claim(folder, settings):
        return summary_of_corpus(folder)
    blocks = _blocks(ordered, splits, folder / PARTIAL, config)
    mine = blocks[shard[0] :: shard[1]]
    try:
        _run([block for block in mine if not block.is_done()], jobs, progress)
        if shard[1] > 1:
            return summary_of_blocks(folder, mine)
        _finish(folder, blocks, settings)
    except OSError as error:  # disk full, folder gone
        kept = "what is done so far is kept: mend it and run the same command again"
        raise OSError(error.errno, f"{error.strerror}; {kept}", error.filename or str(folder)) from None
    return summary_of_corpus(folder)


def _check_arguments(ordered: Sequence[Utterance], config: CorpusConfig, features: Any, shard: tuple[int, int]) -> None:
    if not ordered:
        raise ValueError("there are no recordings to prepare")
    for one, other in itertools.pairwise(ordered):
        if one.id == other.id:
            raise ValueError(f"two recordings have the id {one.id!r}: {one.path} and {other.path}; ids must be unique")
    if not 0 <= shard[0] < shard[1]:
        raise ValueError(f"shard is {shard[0]}/{shard[1]}, expected i/n with 0 <= i < n")
    for name in ("sample_rate", "hop_length"):
        wanted = getattr(features, name, getattr(config, name))
        if wanted != getattr(config, name):
            raise ValueError(
                f"the features have {name} {wanted}, the corpus {getattr(config, name)}: give both the same"
            )


def _claim(folder: Path, settings: dict[str, Any]) -> bool:
    """Make `folder` ours, or see that it is; True when the corpus in it is finished. Raises ValueError otherwise."""
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder}: is a file, expected a new or empty folder for the prepared corpus")
    (folder / PARTIAL).parent.mkdir(parents=True, exist_ok=True)
    others = [name for name in sorted(os.listdir(folder)) if name not in OURS and not name.endswith(".part")]
    if others:
        raise ValueError(f"{folder}: holds other things ({', '.join(others[:3])}): give a new or empty folder")
    finished = (folder / MANIFEST).exists()
    made_with = folder / FEATURES if finished else folder / PARTIAL / FEATURES
    if finished or made_with.exists():
        made = read_settings(made_with)
        made["corpus"] = to_dict(CorpusConfig()) | made["corpus"]  # by an earlier version: what it lacks is the default
        if not finished:
            made["source"] = settings["source"]  # blocks know their recordings: more of them may come before the end
        _check_same(folder, made, settings)
    if finished:
        _tidy(folder)
    else:
        (folder / PARTIAL).mkdir(exist_ok=True)
        _write(folder / PARTIAL / FEATURES, _yaml(settings))
    return finished


def _check_same(folder: Path, made: dict[str, Any], asked: dict[str, Any]) -> None:
    difference = first_difference(made, asked)
    if difference is None:
        return
    name, before, now = difference
    if name == "source.sha256":
        raise ValueError(f"{folder}: was prepared from other recordings than these (as many): give another folder")
    raise ValueError(f"{folder}: was prepared with {name} = {before}, now {now} is asked: give another folder")


def _blocks(ordered: Sequence[Utterance], splits: dict[str, str], folder: Path, config: CorpusConfig) -> list[Block]:
    blocks = []
    for start in range(0, len(ordered), SIZE):
        run = tuple(ordered[start : start + SIZE])
        path = folder / f"{start // SIZE:05d}.block"
        blocks.append(Block(path, run, tuple(splits[utterance.id] for utterance in run), config))
    return blocks


def _run(blocks: Sequence[Block], jobs: int | None, progress: bool) -> None:
    """Prepare the blocks, in processes when there are several jobs."""
    import joblib
    from tqdm import tqdm

    workers = min(jobs, max(len(blocks), 1)) if jobs else None
    parallel = joblib.Parallel(n_jobs=workers, return_as="generator_unordered")
    total = sum(len(block.utterances) for block in blocks)
    try:
        with tqdm(total=total, unit="file", disable=None if progress else True) as bar:
            for count in parallel(joblib.delayed(prepare_block)(block) for block in blocks):
                bar.update(count)
    except BrokenProcessPool:
        raise ValueError(
            "a worker process was killed, perhaps for memory: run the same command again with fewer jobs"
        ) from None


def _finish(folder: Path, blocks: Sequence[Block], settings: dict[str, Any]) -> None:
    """Join the blocks; the manifest comes last, so a corpus that has one is whole."""
    entries, rejected = [], []
    offset = 0
    for record in read_records(blocks):
        if "reason" in record:
            rejected.append(record)
            continue
        entries.append(vars(Entry(**record, offset=offset)))
        offset += record["samples"]
    _write(folder / REJECTED, _table(rejected))
    if not entries:
        first = f"{rejected[0]['path']}: {rejected[0]['reason']}"
        raise ValueError(f"none of the {len(rejected)} recordings can be used (see {folder / REJECTED}); {first}")
    with replacing(folder / AUDIO) as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "<i2", "fortran_order": False, "shape": (offset,)})
        for block in blocks:
            with open(block.path, "rb") as source:
                source.readline()
                shutil.copyfileobj(source, file, 1 << 20)
    names = sorted({entry["speaker"] for entry in entries}, key=natural_key)
    _write(folder / SPEAKERS, json.dumps({name: i for i, name in enumerate(names)}, ensure_ascii=False, indent=0))
    _write(folder / FEATURES, _yaml(settings))
    _write(folder / MANIFEST, "".join(json.dumps(entry, ensure_ascii=False) + "\n" for entry in entries))
    _tidy(folder)


def _tidy(folder: Path) -> None:
    """Remove what preparation needed. The blocks' folder is renamed first, so a straggler of a killed run is lost."""
    done = folder / f".{PARTIAL}.{os.getpid()}.part"
    if (folder / PARTIAL).exists():
        os.rename(folder / PARTIAL, done)
    for path in folder.glob(".*.part"):
        shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)


def _table(rejected: Sequence[dict[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, delimiter="\t", lineterminator="\n")
    writer.writerow(("id", "path", "reason"))
    writer.writerows((record["id"], record["path"], record["reason"]) for record in rejected)
    return text.getvalue()


def _yaml(settings: dict[str, Any]) -> str:
    return yaml.safe_dump(settings, sort_keys=False, allow_unicode=True)


def _write(path: Path, text: str) -> None:
    with replacing(path) as file:
        file.write(text.encode("utf-8"))
