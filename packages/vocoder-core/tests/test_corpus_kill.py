"""Preparation that is interrupted: killed at any moment, out of disk, in a wrong folder; and how it goes on."""

from __future__ import annotations

import dataclasses
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest
import soundfile

from vocoder_core import audio
from vocoder_core.corpus import Corpus, CorpusConfig, prepare
from vocoder_core.layouts import find

CONFIG = CorpusConfig()
PROGRAM = """
import resource, sys
from pathlib import Path
from vocoder_core.corpus import CorpusConfig, prepare
from vocoder_core.layouts import find
source, folder, jobs, limit = sys.argv[1:]
if limit != "0":
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit), int(limit)))
try:
    print(prepare(find(source), folder, CorpusConfig(), jobs=int(jobs), progress=False))
except OSError as error:
    print("OSERROR", error.filename, error.strerror)
"""


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def command(source: Path, folder: Path, jobs: int = 1, limit: int = 0) -> list[str]:
    return [sys.executable, "-c", PROGRAM, str(source), str(folder), str(jobs), str(limit)]


@pytest.fixture(scope="module")
def recordings(shared_audio: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """200 recordings of speech, 1.2 s each, and one bad one: seven blocks."""
    folder = tmp_path_factory.mktemp("recordings") / "in"
    folder.mkdir()
    clips = [audio.load(path) for path in sorted(shared_audio.glob("*/*.flac"))[:10]]
    for i in range(200):
        wav, rate = clips[i % 10]
        start = 1000 * (i // 10)
        soundfile.write(folder / f"u{i}.flac", wav[start : start + 6 * rate // 5], rate)
    (folder / "bad.flac").write_bytes(b"fLaC")
    return folder


@pytest.fixture(scope="module")
def whole(recordings: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What a run that nobody disturbs writes."""
    folder = tmp_path_factory.mktemp("whole") / "data"
    start = time.monotonic()
    prepare(find(recordings), folder, CONFIG, progress=False)
    files = content(folder)
    files["seconds"] = str(time.monotonic() - start).encode()
    return files


def kill_while_it_writes(arguments: list[str], folder: Path, delay: float) -> bool:
    """SIGKILL `delay` s after the process has begun to write; False when it was finished before."""
    process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    while not (folder / "partial").exists() and process.poll() is None:
        time.sleep(0.001)
    time.sleep(delay)
    alive = process.poll() is None
    process.kill()  # SIGKILL to this process alone: its workers become stragglers
    process.wait()
    return alive


@pytest.mark.parametrize("jobs", [1, 2])
def test_killed_at_any_moment_it_ends_with_the_same_bytes(
    recordings: Path, whole: dict[str, bytes], tmp_path: Path, jobs: int
):
    """SIGKILL at random moments, again and again, then one run to the end: every file as if nothing had happened.

    Between kills nothing that can be opened lies there: either the whole corpus or none.
    """
    draw = random.Random(jobs)
    duration, killed = float(whole["seconds"]) + (1.5 if jobs > 1 else 0.1), 0
    for attempt in range(6 if jobs == 1 else 3):
        folder = tmp_path / f"data{attempt % 3}"
        killed += kill_while_it_writes(command(recordings, folder, jobs), folder, draw.uniform(0, duration))
        if (folder / "manifest.jsonl").exists():
            Corpus.open(folder)
        else:
            with pytest.raises(FileNotFoundError, match="not finished"):
                Corpus.open(folder)
    assert killed >= 2, "the test has to meet processes that are still at work"
    for folder in sorted(tmp_path.glob("data*")):
        summary = prepare(find(recordings), folder, CONFIG, jobs=1, progress=False)
        assert (summary.prepared, len(summary.rejected)) == (200, 1)
        files = content(folder)
        assert files == {name: data for name, data in whole.items() if name != "seconds"}


def test_finished_blocks_are_not_prepared_twice(recordings: Path, tmp_path: Path):
    """What a killed run has finished is kept; a recording that has changed since is prepared again."""
    utterances = find(recordings)
    prepare(utterances, tmp_path / "data", CONFIG, shard=(0, 2), progress=False)
    blocks = {path: path.stat().st_mtime_ns for path in (tmp_path / "data" / "partial").glob("*.block")}
    assert len(blocks) == 4
    os.utime(utterances[0].path)
    prepare(utterances, tmp_path / "data", CONFIG, shard=(0, 2), progress=False)
    changed = [path.name for path, before in blocks.items() if path.stat().st_mtime_ns != before]
    assert changed == ["00000.block"]
    block = tmp_path / "data" / "partial" / "00002.block"
    whole = block.read_bytes()
    for damaged in (whole[:-100], whole[:100], b""):  # a power cut may leave such
        block.write_bytes(damaged)
        prepare(utterances, tmp_path / "data", CONFIG, shard=(0, 2), progress=False)
        assert block.read_bytes() == whole


@pytest.mark.parametrize("limit", [100_000, 3_000_000])
def test_a_full_disk_is_one_sentence_and_loses_nothing(
    recordings: Path, whole: dict[str, bytes], tmp_path: Path, limit: int
):
    """No block fits (a limit on the size of a file), or all blocks but not the whole: then room, and it goes on."""
    run = subprocess.run(command(recordings, tmp_path / "data", 1, limit), capture_output=True, text=True, check=True)
    assert run.stdout.startswith(f"OSERROR {tmp_path / 'data'}"), run
    assert "what is done so far is kept: mend it and run the same command again" in run.stdout
    assert not list((tmp_path / "data").rglob("*.part"))
    done = len(list((tmp_path / "data" / "partial").glob("*.block")))
    assert done == (7 if limit > 1_000_000 else 0)
    prepare(find(recordings), tmp_path / "data", CONFIG, progress=False)
    assert content(tmp_path / "data") == {name: data for name, data in whole.items() if name != "seconds"}


def test_a_small_file_system_that_fills_up(recordings: Path, whole: dict[str, bytes], tmp_path: Path):
    """The true thing, where one may mount it: a RAM disk of 4 MB, then a larger one."""
    mount = tmp_path / "disk"
    mount.mkdir()
    options = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(mount)]
    if os.geteuid() != 0 or subprocess.run(options, capture_output=True, check=False).returncode != 0:
        pytest.skip("a file system can only be mounted by root")
    try:
        with pytest.raises(OSError, match="No space left on device; what is done so far is kept"):
            prepare(find(recordings), mount / "data", CONFIG, progress=False)
        subprocess.run(["mount", "-o", "remount,size=40m", str(mount)], check=True)
        prepare(find(recordings), mount / "data", CONFIG, progress=False)
        assert content(mount / "data") == {name: data for name, data in whole.items() if name != "seconds"}
    finally:
        subprocess.run(["umount", str(mount)], check=True)


def test_another_setting_is_named(recordings: Path, tmp_path: Path):
    """A folder made with other settings, finished or not, is left as it is, and the field that differs is said."""
    utterances = find(recordings)[:40]
    other = dataclasses.replace(CONFIG, level_db=-20.0)
    prepare(utterances, tmp_path / "half", CONFIG, shard=(0, 2), progress=False)
    prepare(utterances, tmp_path / "full", CONFIG, progress=False)
    for folder in (tmp_path / "half", tmp_path / "full"):
        with pytest.raises(
            ValueError, match=r"prepared with corpus\.level_db = -24\.0, now -20\.0 is asked: give another"
        ):
            prepare(utterances, folder, other, progress=False)
    with pytest.raises(ValueError, match=r"prepared with source\.recordings = 40, now 39 is asked"):
        prepare(utterances[1:], tmp_path / "full", CONFIG, progress=False)
    renamed = [*utterances[1:], dataclasses.replace(utterances[0], id="another")]
    with pytest.raises(ValueError, match=r"was prepared from other recordings than these \(as many\)"):
        prepare(renamed, tmp_path / "full", CONFIG, progress=False)
    fewer = prepare(utterances[1:], tmp_path / "half", CONFIG, progress=False)  # unfinished: the list may change
    assert (fewer.prepared, fewer.rejected) == (39, ())


def test_wrong_folders_and_requests_are_refused(recordings: Path, tmp_path: Path):
    """A folder with other things, a file, ids that come twice, features that disagree, nothing at all."""
    utterances = find(recordings)[:3]
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").touch()
    with pytest.raises(ValueError, match=r"mine: holds other things \(thesis\.txt\): give a new or empty folder"):
        prepare(utterances, tmp_path / "mine", CONFIG)
    with pytest.raises(ValueError, match=r"thesis\.txt: is a file, expected a new or empty folder"):
        prepare(utterances, tmp_path / "mine" / "thesis.txt", CONFIG)
    with pytest.raises(ValueError, match=r"two recordings have the id 'bad'.*ids must be unique"):
        prepare([*utterances, utterances[0]], tmp_path / "data", CONFIG)
    with pytest.raises(ValueError, match="there are no recordings to prepare"):
        prepare([], tmp_path / "data", CONFIG)
    with pytest.raises(ValueError, match="shard is 2/2, expected i/n with 0 <= i < n"):
        prepare(utterances, tmp_path / "data", CONFIG, shard=(2, 2))
    with pytest.raises(ValueError, match="the features have hop_length 256, the corpus 200: give both the same"):
        prepare(utterances, tmp_path / "data", CONFIG, features=CorpusConfig(hop_length=256))
    assert not (tmp_path / "data").exists()


def test_a_folder_that_cannot_be_written_is_named(recordings: Path):
    """A place where nobody, not even root, may write."""
    if not Path("/proc/sys").is_dir():
        pytest.skip("no /proc here")
    with pytest.raises(OSError, match="/proc/data"):
        prepare(find(recordings)[:2], "/proc/data", CONFIG, progress=False)
