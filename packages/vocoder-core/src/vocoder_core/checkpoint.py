"""A training run's folder: the model as anyone loads it, and resume.pt, from which training goes on bit for bit.

    RUN/config.yaml  RUN/model.safetensors   model.save_pretrained: averaged weights when ema > 0
    RUN/resume.pt                            raw weights, average, optimizer, counters: plain Python and tensors only
    RUN/train.yaml   RUN/metrics.jsonl       the TrainConfig; one row of figures per report

Each file is written under another name and renamed, so it is whole at any moment. resume.pt is the truth: a run killed
between its two writes goes on from resume.pt and first brings the model files level with it.
"""

from __future__ import annotations

import dataclasses
import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError

from . import config as configs

RESUME_NAME, TRAIN_NAME, METRICS_NAME = "resume.pt", "train.yaml", "metrics.jsonl"
FORMAT = "vocoder-core resume 1"
MAY_CHANGE = {"steps", "log_every", "valid_every", "save_every", "tensorboard"}  # when a run resumes


def read(folder: Path) -> dict[str, Any] | None:
    """The state in resume.pt (tensors on the CPU); None when there is no such file and none is missed.

    Nothing in the file can run code. Raises ValueError when it is damaged, of another kind, or missing beside a model.
    """
    path = folder / RESUME_NAME
    if not path.exists():
        if (folder / "model.safetensors").exists():
            raise ValueError(
                f"{folder} holds a model but no {RESUME_NAME}, so its training cannot go on there: "
                "choose a new run folder, or put the file back"
            )
        return None
    content = path.read_bytes()
    try:
        if not content.startswith(b"PK"):
            raise ValueError("not what torch.save writes")
        state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as error:  # bytes that are not what they should be may raise anything
        reason = str(error).splitlines()[0][:120] if str(error) else type(error).__name__
        raise ValueError(
            f"{path} is damaged or not a training state ({reason}); nothing in it was run. "
            "Put back a copy, or train in a new folder from the model beside it"
        ) from None
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise ValueError(f"{path} is not a training state of this program: expected format {FORMAT!r}")
    return state


def check_same_run(state: dict[str, Any], settings: dict[str, Any], folder: Path) -> None:
    """Raise ValueError, naming the field, when a run would resume with settings that are not its own."""
    then, now = _flat(state["settings"]), _flat(settings)
    for name in then.keys() & now.keys():
        may_change = name.removeprefix("train.") in MAY_CHANGE
        if then[name] != now[name] and not may_change:
            raise ValueError(
                f"{folder}: this run has {name}={then[name]}, now it is {now[name]}: "
                "resume with the run's own value, or train in a new folder"
            )
    if state["step"] > settings["train"]["steps"]:
        raise ValueError(
            f"{folder}: this run is at step {state['step']}, past train.steps={settings['train']['steps']}: "
            "raise train.steps to go on"
        )


def settings_of(model: torch.nn.Module, config: Any, processes: int) -> dict[str, Any]:
    """Everything a resumed run must have in common with its beginning, as plain values."""
    own = getattr(model, "config", None)
    described = configs.to_dict(own) if dataclasses.is_dataclass(own) else {}
    return {"train": configs.to_dict(config), "model": described, "processes": processes}


def write_resume(folder: Path, state: dict[str, Any]) -> None:
    """Write resume.pt, whole or not at all."""
    buffer = io.BytesIO()  # torch.save into a file that cannot grow dies in C++; in memory it cannot
    torch.save({"format": FORMAT, **state}, buffer)
    write_whole(folder / RESUME_NAME, buffer.getbuffer())


def write_whole(path: Path, content: bytes | memoryview) -> None:
    """Write a file so that it appears whole or not at all, also after a power cut."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        if hasattr(os, "O_DIRECTORY"):  # not on Windows
            folder = os.open(path.parent, os.O_DIRECTORY)
            try:
                os.fsync(folder)  # the new name itself
            finally:
                os.close(folder)
    finally:
        temporary.unlink(missing_ok=True)


def remove_leftovers(folder: Path) -> None:
    """Delete what a killed writer left half-written: .NAME.PID.tmp is ours, .tmpXXXXXX the safetensors library's."""
    for path in [*folder.glob(".*.tmp"), *folder.glob(".tmp??????")]:
        path.unlink()


@contextmanager
def writing(folder: Path, last_good: int | None) -> Iterator[None]:
    """Turn a failure to write (disk full, read-only) into an OSError that names the last good checkpoint."""
    try:
        yield
    except (OSError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        kept = "nothing was lost" if last_good is None else f"its last good checkpoint is of step {last_good}"
        raise OSError(
            f"run folder {folder} cannot be written ({reason}); {kept}. "
            "Free the disk or its permissions, then run the same command to go on"
        ) from error


def _flat(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """{"a": {"b": 1}} -> {"a.b": 1}"""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return flat
