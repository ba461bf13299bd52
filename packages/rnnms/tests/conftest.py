"""What the tests of rnnms share: real speech and the arrays other libraries made of it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


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
