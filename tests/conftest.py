"""What the tests that span packages share: the repository, its speech, its commands."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
CLIP_SECONDS = 1.5
CLIPS = 6


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository."""
    return ROOT


@pytest.fixture(scope="session")
def shared_audio() -> Path:
    """The folder of real speech; VOCODER_SHARED_AUDIO names another one."""
    folder = Path(os.environ.get("VOCODER_SHARED_AUDIO", ROOT / "shared-audio"))
    if not (folder / "README.md").is_file():
        pytest.skip(f"no shared-audio at {folder}; set VOCODER_SHARED_AUDIO")
    return folder


@pytest.fixture(scope="session")
def command_environment() -> dict[str, str]:
    """Environment variables under which the installed commands are found before any other."""
    bin_folder = Path(sys.executable).parent
    return os.environ | {"PATH": f"{bin_folder}{os.pathsep}{os.environ['PATH']}", "OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="session")
def tracked(root: Path) -> list[Path]:
    """The files of the repository under version control, or about to be; all files where git is absent."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    try:
        listing = subprocess.run(command, cwd=root, check=True, capture_output=True, text=True).stdout
    except (OSError, subprocess.CalledProcessError):
        hidden = {".git", ".venv", "__pycache__", "dist"}
        return [p for p in root.rglob("*") if p.is_file() and not hidden & set(p.relative_to(root).parts)]
    return [root / line for line in listing.splitlines() if (root / line).is_file()]


@pytest.fixture
def speech_folder(tmp_path: Path, shared_audio: Path) -> Path:
    """in.wav, held out, and speech/SPEAKER/*.flac: short cuts of the shared recordings."""
    import soundfile

    def cut(source: Path, target: Path) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        wav, rate = soundfile.read(source, dtype="float32")
        soundfile.write(target, wav[: int(CLIP_SECONDS * rate)], rate)

    cut(sorted(shared_audio.glob("austen/*.flac"))[0], tmp_path / "in.wav")
    for speaker in ("carlo", "ivrvoice"):
        for path in sorted(shared_audio.glob(f"{speaker}/*.flac"))[:CLIPS]:
            cut(path, tmp_path / "speech" / speaker / path.name)
    return tmp_path
