"""fit's run folder: resuming, settings that must not change, damage, hostile files, full disks, signals."""

from __future__ import annotations

import json
import os
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
import torch

from vocoder_core import signals
from vocoder_core.config import load
from vocoder_core.journal import Journal
from vocoder_core.train import TrainConfig, fit

sys.path.append(str(Path(__file__).parent))
import tiny_run as tiny


def train(run: Path, model=None, after_step=None, validate=tiny.validate, batches=tiny.batches, **fields) -> int:
    config = tiny.tiny_config(**fields)
    loss, model = tiny.NoisyLoss(), model or tiny.new_model()
    return fit(model, loss, batches, config, run, after_step=after_step, validate=validate, device="cpu")


def signalled(at: int, number: int = signal.SIGTERM):
    """Batches; during the given step this process gets a signal."""

    def batches(step: int, rank: int, size: int) -> tiny.Batch:
        if step == at:
            os.kill(os.getpid(), number)
        return tiny.batches(step, rank, size)

    return batches


def rows(run: Path) -> list[dict]:
    """The log without what a clock wrote."""
    timed = ("seconds", "steps_per_second", "samples_per_second")
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in row.items() if key not in timed} for row in lines]


def assert_same_run(a: Path, b: Path) -> None:
    assert (a / "model.safetensors").read_bytes() == (b / "model.safetensors").read_bytes()
    assert rows(a) == rows(b)
    one, two = (torch.load(run / "resume.pt", weights_only=True) for run in (a, b))
    for state in (one, two):
        del state["seconds"], state["settings"], state["window"]
    assert_equal_trees(one, two)
    assert sorted(p.name for p in b.iterdir()) == sorted(p.name for p in a.iterdir())


def assert_equal_trees(a: object, b: object) -> None:
    assert type(a) is type(b)
    if isinstance(a, dict):
        assert a.keys() == b.keys()
        for key in a:
            assert_equal_trees(a[key], b[key])
    elif isinstance(a, (list, tuple)):
        assert len(a) == len(b)
        for x, y in zip(a, b, strict=True):
            assert_equal_trees(x, y)
    else:
        assert torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """A run of 24 steps that nothing interrupted."""
    run = tmp_path_factory.mktemp("whole")
    assert train(run) == 24
    return run


def test_a_run_in_three_legs_equals_one_that_ran_through(whole, tmp_path):
    """With a cosine whose end is fixed, a leg is cut by a signal, not by `steps`."""
    for stop in (5, 13):
        with pytest.raises(KeyboardInterrupt):
            train(tmp_path, batches=signalled(stop))
    train(tmp_path)
    assert_same_run(whole, tmp_path)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_finishes_the_step_saves_it_and_raises(whole, tmp_path, number):
    handlers = [signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT)]
    with pytest.raises(KeyboardInterrupt, match=f"{number.name}.*saved at step 7"):
        train(tmp_path, batches=signalled(7, number))
    assert torch.load(tmp_path / "resume.pt", weights_only=True)["step"] == 7
    assert [signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT)] == handlers
    assert rows(tmp_path)[-1]["step"] == 6  # step 7 owes a validation: that is made up for when the run goes on
    train(tmp_path)
    assert_same_run(whole, tmp_path)


def test_a_signal_in_the_last_step_leaves_the_report_to_the_next_start(whole, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path, batches=signalled(24))
    assert train(tmp_path) == 24
    assert train(tmp_path) == 24
    assert_same_run(whole, tmp_path)


def test_a_second_signal_after_some_seconds_stops_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr(signals, "PATIENCE", 0.0)

    def twice(model: tiny.Tiny, step: int) -> None:
        if step == 4:
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt, match="second SIGINT"):
        train(tmp_path, after_step=twice)
    assert torch.load(tmp_path / "resume.pt", weights_only=True)["step"] == 3


def test_a_finished_run_is_left_alone(whole):
    before = {p: (p.stat().st_mtime_ns, p.stat().st_ino) for p in whole.iterdir()}
    model = tiny.new_model()
    assert train(whole, model) == 24
    assert {p: (p.stat().st_mtime_ns, p.stat().st_ino) for p in whole.iterdir()} == before
    assert torch.equal(model.out.weight, tiny.Tiny.from_pretrained(whole).out.weight)


def test_the_intervals_and_the_number_of_steps_may_change(tmp_path):
    """And reports and saves do not touch the noise of training: the weights are the same."""
    train(tmp_path / "a", schedule="constant", steps=20)
    train(tmp_path / "b", schedule="constant", steps=7, log_every=3, valid_every=2, save_every=5)
    train(tmp_path / "b", schedule="constant", steps=20, log_every=4, valid_every=3, save_every=9)
    assert load(TrainConfig, tmp_path / "b" / "train.yaml").save_every == 9
    a, b = (tiny.Tiny.from_pretrained(tmp_path / name) for name in "ab")
    assert all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


@pytest.mark.parametrize(("field", "value"), [("lr", 0.03), ("ema", 0.5), ("batch_size", 8), ("amp", "off")])
def test_a_run_does_not_go_on_with_other_settings(whole, field, value):
    with pytest.raises(ValueError, match=rf"this run has train\.{field}=.*, now it is {value}"):
        train(whole, **{field: value})


def test_a_run_does_not_go_on_with_another_model_or_fewer_steps(whole):
    with pytest.raises(ValueError, match=r"this run has model\.dropout=0\.1, now it is 0\.2"):
        train(whole, tiny.new_model(tiny.TinyConfig(dropout=0.2)))
    with pytest.raises(ValueError, match=r"at step 24, past train\.steps=9"):
        train(whole, steps=9)


def test_train_yaml_is_the_configuration(whole):
    assert load(TrainConfig, whole / "train.yaml") == tiny.tiny_config()


def test_a_model_is_never_overwritten_by_a_run_that_is_not_its_own(tmp_path):
    trained = tiny.new_model()
    trained.save_pretrained(tmp_path)
    before = (tmp_path / "model.safetensors").read_bytes()
    with pytest.raises(ValueError, match=r"holds a model but no resume\.pt"):
        train(tmp_path)
    assert (tmp_path / "model.safetensors").read_bytes() == before


class Payload:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self):
        return os.mkdir, (str(self.target),)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_hostile_resume_file_is_refused_and_nothing_in_it_runs(tmp_path, zipped):
    hostile = tmp_path / "resume.pt"
    state = {"format": "vocoder-core resume 1", "step": Payload(tmp_path / "owned")}
    torch.save(state, hostile, _use_new_zipfile_serialization=zipped)
    with pytest.raises(ValueError, match=r"resume\.pt is damaged or not a training state .*nothing in it was run"):
        train(tmp_path)
    assert not (tmp_path / "owned").exists()
    torch.load(hostile, weights_only=False)
    assert (tmp_path / "owned").exists(), "the payload works where files are unpickled freely"


def test_a_damaged_resume_file_is_refused_whatever_the_damage(whole, tmp_path):
    good = (whole / "resume.pt").read_bytes()
    for content in (
        b"",
        b"\0" * 100,
        good[:100],
        good[: len(good) // 2],
        good[:-1],
        b"PK\x03\x04" + good[:50],
        good[4:],
    ):
        (tmp_path / "resume.pt").write_bytes(content)
        with pytest.raises(ValueError, match=r"resume\.pt is damaged or not a training state"):
            train(tmp_path)
    torch.save({"step": 3}, tmp_path / "resume.pt")
    with pytest.raises(ValueError, match="expected format"):
        train(tmp_path)


def test_a_folder_that_cannot_be_made_is_noticed_before_the_first_step(tmp_path):
    (tmp_path / "run").write_text("a file in the way")
    with pytest.raises(OSError, match=r"run cannot be written .*nothing was lost"):
        train(tmp_path / "run", after_step=lambda m, s: pytest.fail("it trained"))


@pytest.fixture()
def open_folder():
    """A folder that everybody may enter, as pytest's own may not be."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)
        Path(folder).chmod(0o755)


@contextmanager
def bound_by_permissions() -> Iterator[None]:
    """Root may write everywhere: be nobody for a while."""
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)


def test_a_read_only_folder_is_noticed_before_the_first_step(open_folder):
    open_folder.chmod(0o555)
    with (
        bound_by_permissions(),
        pytest.raises(OSError, match=r"\(Permission denied\); nothing was lost"),
    ):
        train(open_folder, after_step=lambda m, s: pytest.fail("it trained"))


def test_a_folder_that_becomes_read_only_keeps_its_last_checkpoint(whole, open_folder):
    with ExitStack() as stack:

        def close(model: tiny.Tiny, step: int) -> None:
            if step == 8:
                open_folder.chmod(0o555)
                stack.enter_context(bound_by_permissions())

        with pytest.raises(OSError, match=r"cannot be written \(Permission denied\); its last .* of step 6"):
            train(open_folder, after_step=close)
    open_folder.chmod(0o755)
    train(open_folder)
    assert_same_run(whole, open_folder)


@pytest.mark.parametrize("name", ["model.safetensors", "resume.pt", "metrics.jsonl"])
def test_a_file_that_stops_being_writable_ends_in_a_sentence_and_keeps_the_last_checkpoint(whole, tmp_path, name):
    """Something that no rename or append replaces, in the place of the file: holds for root too."""

    def block(model: tiny.Tiny, step: int) -> None:
        if step == 8:
            (tmp_path / name).rename(tmp_path / f"{name}.kept")
            (tmp_path / name).mkdir()

    with pytest.raises(OSError, match=rf"{tmp_path} cannot be written \(Is a directory\); .*checkpoint is of step 6"):
        train(tmp_path, after_step=block)
    (tmp_path / name).rmdir()
    (tmp_path / f"{name}.kept").rename(tmp_path / name)
    tiny.Tiny.from_pretrained(tmp_path)
    train(tmp_path)
    assert_same_run(whole, tmp_path)


def test_a_failing_validation_loses_nothing_that_was_saved(whole, tmp_path):
    def fails(model: tiny.Tiny, step: int, run: Path) -> dict[str, float]:
        raise RuntimeError("no memory")

    with pytest.raises(RuntimeError, match="no memory"):
        train(tmp_path, validate=fails)
    train(tmp_path)
    assert_same_run(whole, tmp_path)


def test_half_a_line_and_rows_after_the_resumed_step_are_cut_from_the_log(tmp_path):
    path = tmp_path / "metrics.jsonl"
    for tail in ('{"step": 4, "lo', '{"step": 2}', ""):
        path.write_text('{"step": 1}\n{"step": 2}\nnoise\n[3]\n{"step": 3}\n' + tail)
        journal = Journal(tmp_path, 2)
        journal.write({"step": 3, "loss": 1.0})
        assert path.read_text() == '{"step": 1}\n{"step": 2}\n{"step": 3, "loss": 1.0}\n'


def test_what_a_killed_writer_left_is_removed_and_nothing_else(tmp_path):
    for name in (".resume.pt.123.tmp", ".model.safetensors.123.tmp", ".tmpNfMFAa", "notes.tmp", ".keep"):
        (tmp_path / name).write_text("")
    train(tmp_path, steps=1)
    ours = {"config.yaml", "metrics.jsonl", "model.safetensors", "resume.pt", "train.yaml"}
    assert {path.name for path in tmp_path.iterdir()} == ours | {"notes.tmp", ".keep"}


def test_tensorboard_that_is_not_installed_is_named_with_its_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "torch.utils.tensorboard", None)
    with pytest.raises(ValueError, match=r"vocoder-core\[tensorboard\]"):
        train(tmp_path, tensorboard=True)


def test_tensorboard_shows_the_figures_of_the_log_once(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    with pytest.raises(KeyboardInterrupt):
        train(tmp_path, tensorboard=True, batches=signalled(8))
    train(tmp_path, tensorboard=True)
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    shown = [(event.step, event.value) for event in events.Scalars("loss")]
    assert shown == [(row["step"], pytest.approx(row["loss"], rel=1e-6)) for row in rows(tmp_path)]
