"""What the tests of samplernn-pase share: real speech."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from samplernn_pase import preprocess
from vocoder_core.audio import load
from vocoder_core.mel import MelConfig


@pytest.fixture(scope="session")
def shared_audio() -> Path:
    """The repository's folder of real speech; VOCODER_SHARED_AUDIO names another one."""
    folder = Path(os.environ.get("VOCODER_SHARED_AUDIO", Path(__file__).resolve().parents[3] / "shared-audio"))
    if not (folder / "README.md").is_file():
        pytest.skip(f"no shared-audio at {folder}; set VOCODER_SHARED_AUDIO")
    return folder


@pytest.fixture(scope="session")
def golden(shared_audio: Path) -> Path:
    """Arrays computed by the original networks: see tools/golden_samplernn_pase.py."""
    return shared_audio / "golden"


@pytest.fixture(scope="session")
def speech(shared_audio: Path) -> Callable[..., torch.Tensor]:
    """speech(config, clip, frames): the start of a recording (1, T) in float64, its highest sample 0.95."""

    def speech(config: MelConfig, clip: str = "slt/arctic_a0007", frames: int = 100) -> torch.Tensor:
        wav, _ = load(shared_audio / f"{clip}.flac", config.sample_rate)
        start = torch.from_numpy(wav[: frames * config.hop_length]).double()
        return start[None] * (0.95 / start.abs().max())

    return speech


@pytest.fixture(scope="session")
def data(shared_audio: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The repository's real speech, prepared for the config tiny: five speakers, two of them in no training split."""
    folder = tmp_path_factory.mktemp("speech") / "data"
    assert preprocess.main([str(shared_audio), str(folder), "--config", "tiny", "--jobs", "1"]) == 0
    return folder
