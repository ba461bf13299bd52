"""A run that is killed with SIGKILL, in one process or in two, ends with the bits of one that nothing interrupted."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

PROGRAM = Path(__file__).with_name("tiny_run.py")
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="module")
def run():
    """run(folder, *arguments, code=0): train in a process of its own, to its end or death; what it said on stderr."""
    command = [sys.executable, str(PROGRAM), "--serve"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, env=ENVIRONMENT, **pipes) as server:

        def run(folder: Path, *arguments: str, code: int = 0) -> str:
            print(json.dumps([str(folder), *arguments]), file=server.stdin, flush=True)
            came, errors = json.loads(server.stdout.readline())
            assert came == code, errors
            return errors

        yield run
        server.stdin.close()


def contents(folder: Path) -> dict[str, object]:
    """All that a run leaves, without what a clock wrote."""
    state = torch.load(folder / "resume.pt", weights_only=True)
    timed = {"seconds", "steps_per_second", "samples_per_second"}
    log = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return {
        "names": sorted(path.name for path in folder.iterdir()),
        "model": (folder / "model.safetensors").read_bytes(),
        "log": [{key: value for key, value in row.items() if key not in timed} for row in log],
        "state": [flat(state[key]) for key in ("model", "average", "optimizer", "loss_states", "step")],
    }


def flat(tree: object) -> list:
    """Tensors as lists: equal when every bit is."""
    if isinstance(tree, dict):
        return [(key, flat(value)) for key, value in tree.items()]
    if isinstance(tree, (list, tuple)):
        return [flat(value) for value in tree]
    return tree.tolist() if isinstance(tree, torch.Tensor) else tree


def assert_same(one: Path, other: Path) -> None:
    a, b = contents(one), contents(other)
    for what in a:
        assert a[what] == b[what], what


@pytest.fixture(scope="module")
def whole(run, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    run(folder)
    return folder


@pytest.fixture(scope="module")
def whole_of_two(run, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("whole_of_two")
    run(folder, "--ranks", "2")
    return folder


def test_killed_three_times_and_resumed_the_run_ends_with_the_same_bits(run, whole, tmp_path):
    run(tmp_path, "--kill-at", "2 11 19")
    assert_same(whole, tmp_path)


@pytest.mark.slow
def test_killed_at_twenty_random_steps_the_run_ends_with_the_same_bits(run, tmp_path):
    steps = sorted(random.choices(range(1, 200), k=20))
    run(tmp_path / "whole", "steps=200")
    run(tmp_path / "killed", "steps=200", "--kill-at", " ".join(map(str, steps)))
    assert_same(tmp_path / "whole", tmp_path / "killed")


# the first writes of a run: train.yaml, resume.pt, config.yaml, model.safetensors; a save: config, model, resume
BETWEEN_MODEL_AND_STATE = 10


def test_killed_between_the_model_and_the_state_of_a_checkpoint(run, whole, tmp_path):
    run(tmp_path, "--kill-in-replace", str(BETWEEN_MODEL_AND_STATE), code=137)
    state = torch.load(tmp_path / "resume.pt", weights_only=True)
    assert state["step"] == 3
    assert len((tmp_path / "metrics.jsonl").read_text().splitlines()) == 6, "the model beside it is of step 6"
    assert [path.name for path in tmp_path.glob(".*.tmp")], "the half-written state lies there"
    run(tmp_path)
    assert_same(whole, tmp_path)


def test_the_pair_is_level_again_as_soon_as_the_run_starts(run, tmp_path):
    """Killed between the two writes of step 6 and again before anything more is saved: the model is that of step 3."""
    run(tmp_path / "three", "steps=3", "schedule=constant")
    run(tmp_path / "six", "--kill-in-replace", str(BETWEEN_MODEL_AND_STATE), "schedule=constant", code=137)
    three, six = ((tmp_path / name / "model.safetensors").read_bytes() for name in ("three", "six"))
    assert three != six
    run(tmp_path / "six", "--kill-in-replace", "4", "schedule=constant", code=137)
    assert (tmp_path / "six" / "model.safetensors").read_bytes() == three


@pytest.mark.parametrize("nth", range(1, 14))
def test_killed_before_any_of_its_renames_the_run_ends_with_the_same_bits(run, whole, tmp_path, nth):
    run(tmp_path, "--kill-in-replace", str(nth), code=137)
    run(tmp_path)
    assert_same(whole, tmp_path)


def test_two_processes_killed_and_resumed_end_with_the_same_bits(run, whole_of_two, tmp_path):
    run(tmp_path, "--ranks", "2", "--kill-at", "10")
    assert_same(whole_of_two, tmp_path)
    states = torch.load(tmp_path / "resume.pt", weights_only=True)["loss_states"]
    assert not torch.equal(states[0]["hidden"], states[1]["hidden"]), "each process has its own"


@pytest.mark.slow
def test_torchrun_with_two_processes_killed_and_resumed_ends_with_the_same_bits(whole_of_two, tmp_path):
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", str(PROGRAM)]
    command = [*launch, str(tmp_path), "--slow", "0.05"]
    first = subprocess.Popen(command, env=ENVIRONMENT, start_new_session=True, stderr=subprocess.DEVNULL)
    log = tmp_path / "metrics.jsonl"
    while not (log.exists() and log.read_bytes().count(b"\n") >= 8):
        assert first.poll() is None, "the run ended before it could be killed"
        time.sleep(0.01)
    os.killpg(first.pid, signal.SIGKILL)
    first.wait()
    time.sleep(1)
    stop = subprocess.Popen(command, env=ENVIRONMENT, stderr=subprocess.DEVNULL)
    while log.read_bytes().count(b"\n") < 14:
        assert stop.poll() is None, "the run ended before it could be stopped"
        time.sleep(0.01)
    stop.send_signal(signal.SIGTERM)  # torchrun passes it on: both processes agree on a step, save it, and end
    stop.wait(timeout=60)
    assert 14 <= torch.load(tmp_path / "resume.pt", weights_only=True)["step"] < 24
    subprocess.run(command, env=ENVIRONMENT, check=True, capture_output=True, timeout=120)
    assert_same(whole_of_two, tmp_path)


def test_one_process_asked_to_stop_stops_both_at_the_same_step(run, tmp_path):
    error = run(tmp_path, "--ranks", "2", "--stop-rank", "1", code=130)
    assert error.count("saved at step 5") == 2, error
    assert torch.load(tmp_path / "resume.pt", weights_only=True)["step"] == 5


def test_a_report_that_is_made_up_for_is_in_the_log_once(run, whole, tmp_path):
    """Stopped before the report of step 5; killed after writing it and before saving that it is written."""
    run(tmp_path, "--stop-rank", "0", code=130)
    run(tmp_path, "--kill-in-replace", "4", code=137)
    assert len((tmp_path / "metrics.jsonl").read_text().splitlines()) == 5
    run(tmp_path)
    assert_same(whole, tmp_path)


def test_two_processes_have_the_gradient_of_one_with_the_double_batch(run, tmp_path):
    fields = ("steps=1", "clip_grad=0", "ema=0")
    run(tmp_path / "one", "--gradients", str(tmp_path / "one.pt"), "batch_size=8", *fields)
    run(tmp_path / "two", "--gradients", str(tmp_path / "two.pt"), "batch_size=4", *fields, "--ranks", "2")
    one, two = torch.load(tmp_path / "one.pt"), torch.load(tmp_path / "two.pt")
    assert len(one) == 6
    for a, b in zip(one, two, strict=True):
        assert a.abs().max() > 1e-3
        torch.testing.assert_close(a, b, rtol=0, atol=1e-6)
    logged = [contents(tmp_path / name)["log"][0] for name in ("one", "two")]
    assert logged[0]["loss"] == pytest.approx(logged[1]["loss"], abs=1e-6)
    assert logged[0]["grad_norm"] == pytest.approx(logged[1]["grad_norm"], abs=1e-6)


def test_a_run_of_two_processes_does_not_go_on_with_one(run, whole_of_two):
    error = run(whole_of_two, "steps=30", code=2)
    assert "this run has processes=2, now it is 1" in error


def test_an_error_of_the_process_that_reads_files_ends_all_of_them(run, tmp_path):
    (tmp_path / "resume.pt").write_bytes(b"PK damaged")
    error = run(tmp_path, "--ranks", "2", code=2)
    assert error.count("resume.pt is damaged") == 2


@pytest.mark.parametrize(("limit", "fails"), [(1200, "model.safetensors"), (4000, "resume.pt")])
def test_a_full_disk_ends_in_a_sentence_and_keeps_the_last_checkpoint(run, whole, tmp_path, limit, fails):
    """From step 8 on no file can grow beyond `limit` bytes, which is how the kernel says it too."""
    size = (whole / fails).stat().st_size
    assert limit < size, "the limit has to hit that file"
    error = run(tmp_path, "--limit-at", "8", "--limit", str(limit), code=2)
    assert f"run folder {tmp_path} cannot be written" in error
    assert "last good checkpoint is of step 6" in error
    assert not list(tmp_path.glob(".*.tmp")), "what could not be written takes no room"
    assert torch.load(tmp_path / "resume.pt", weights_only=True)["step"] == 6
    run(tmp_path)
    assert_same(whole, tmp_path)
