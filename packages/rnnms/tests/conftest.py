"""What the tests of rnnms share: real speech and the arrays other libraries made of it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from rnnms import preprocess, train


@pytest.fixture(scope="session")
def shared_audio() -> Path:
    """The repository's folder of real speech; VOCODER_SHARED_AUDIO names another one."""
    folder = Path(os.environ.get("VOCODER_SHARED_AUDIO", Path(__file__).resolve().parents[3] / "shared-audio"))
    if not (folder / "README.md").is_file():
        pytest.skip(f"no shared-audio at {folder}; set VOCODER_SHARED_AUDIO")
    return folder


@pytest.fixture(scope="session")
def golden(shared_audio: Path) -> Path:
    """Arrays computed by librosa, torchaudio, pyloudnorm and the original networks: see tools/make_golden.py."""
    return shared_audio / "golden"


@pytest.fixture(scope="session")
def data(shared_audio: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The repository's real speech, prepared: five speakers, two of them in no training split."""
    folder = tmp_path_factory.mktemp("speech") / "data"
    assert preprocess.main([str(shared_audio), str(folder), "--jobs", "1"]) == 0
    return folder


@pytest.fixture(scope="session")
def train_steps(data: Path) -> Callable[..., int]:
    """train_steps(folder, steps, *more): rnnms-train on `data` with the config tiny, on the CPU; its exit status."""

    def train_steps(folder: Path, steps: int, *more: str) -> int:
        settings = [f"--set=train.{name}=2" for name in ("valid_every", "save_every")]
        command = [str(data), str(folder), "--config", "tiny", "--device", "cpu", f"--set=train.steps={steps}"]
        return train.main([*command, *settings, *more])

    return train_steps


@pytest.fixture(scope="session")
def run(train_steps: Callable[..., int], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two steps."""
    folder = tmp_path_factory.mktemp("run")
    assert train_steps(folder, 2) == 0
    return folder
