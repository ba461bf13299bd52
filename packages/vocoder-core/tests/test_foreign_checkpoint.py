"""A checkpoint of another project is read as tensors and plain values; nothing in it runs."""

from __future__ import annotations

import os
import pickle
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from vocoder_core.foreign_checkpoint import Inert, read


class Payload:
    """Unpickled by Python's own unpickler, it touches a file."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.target}",)


def made_up(module: str, name: str, base: type, monkeypatch: pytest.MonkeyPatch) -> type:
    """A class of a module that no one has."""
    made = type(name, (base,), {"__module__": module})
    for known in (module.partition(".")[0], module):
        monkeypatch.setitem(sys.modules, known, types.ModuleType(known))
    setattr(sys.modules[module], name, made)
    return made


def test_tensors_and_plain_values_come_back(tmp_path: Path) -> None:
    torch.save({"model": {"a": torch.ones(2)}, "step": 3}, tmp_path / "a.pt")
    tree = read(tmp_path / "a.pt", "anything")
    assert tree["step"] == 3
    assert torch.equal(tree["model"]["a"], torch.ones(2))


@pytest.mark.parametrize("zipped", [True, False])  # torch < 1.6 wrote bare pickles
def test_numbers_of_numpy_do_not_stand_in_the_way_of_weights(zipped: bool, tmp_path: Path) -> None:
    """A scheduler keeps the best loss so far, which is one."""
    tree = {"a": torch.ones(2), "lr_scheduler": {"best": np.float64(5.2), "worst": np.ones(2)}}
    torch.save(tree, tmp_path / "a.pt", _use_new_zipfile_serialization=zipped)
    found = read(tmp_path / "a.pt", "anything")
    assert torch.equal(found["a"], torch.ones(2))
    assert isinstance(found["lr_scheduler"]["best"], Inert)


@pytest.mark.parametrize("zipped", [True, False])
def test_classes_of_named_projects_are_read_without_them(
    zipped: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Settings kept in a dict subclass are a dict; any other class is inert; both only where the project was named."""
    settings = made_up("project.params", "AttrDict", dict, monkeypatch)
    thing = made_up("project.things", "Thing", object, monkeypatch)
    tree = {"params": settings(hop=256), "thing": thing()}
    torch.save(tree, tmp_path / "a.pt", _use_new_zipfile_serialization=zipped)
    with pytest.raises(ValueError, match="names project\\.\\S+, which no vocoder's weights need; refused"):
        read(tmp_path / "a.pt", "anything")
    tree = read(tmp_path / "a.pt", "anything", ("project.",))
    assert tree["params"] == {"hop": 256}
    assert type(tree["params"]) is dict
    assert isinstance(tree["thing"], Inert)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_hostile_file_is_refused_and_nothing_runs(zipped: bool, tmp_path: Path) -> None:
    torch.save({"a": Payload(tmp_path / "ran")}, tmp_path / "a.pt", _use_new_zipfile_serialization=zipped)
    with pytest.raises(ValueError, match="nothing in it was run"):
        read(tmp_path / "a.pt", "anything", ("project.",))
    assert not (tmp_path / "ran").exists()
    pickle.loads(pickle.dumps(Payload(tmp_path / "ran")))
    assert (tmp_path / "ran").exists(), "the payload works, so the test above can fail"


def test_what_is_no_checkpoint_is_refused(tmp_path: Path) -> None:
    torch.save({"a": torch.ones(1000)}, tmp_path / "whole.pt")
    (tmp_path / "half.pt").write_bytes((tmp_path / "whole.pt").read_bytes()[:2000])
    torch.save([1], tmp_path / "list.pt")
    with pytest.raises(ValueError, match="not a checkpoint that can be read safely"):
        read(tmp_path / "half.pt", "anything")
    with pytest.raises(ValueError, match="holds a list; expected a dict of tensors"):
        read(tmp_path / "list.pt", "anything")
    with pytest.raises(FileNotFoundError, match="no such file; expected a checkpoint of mine"):
        read(tmp_path / "none.pt", "a checkpoint of mine")
