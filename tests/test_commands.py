"""The installed commands, run as a user runs them: --help at once, then the whole way from recordings to a copy."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import pytest
import soundfile

ROOT = Path(__file__).resolve().parent.parent
COMMANDS = sorted(
    name
    for path in ROOT.glob("packages/*/pyproject.toml")
    for name in tomllib.loads(path.read_text(encoding="utf-8"))["project"].get("scripts", {})
)
VOCODERS = sorted({name.rsplit("-", 1)[0] for name in COMMANDS if name.endswith("-preprocess")})
HEAVY = {"torch", "librosa", "numba", "scipy", "soundfile", "matplotlib", "tensorboard"}
# What the installed script does, and then tells which modules that took.
PROGRAM = """
import sys
from importlib.metadata import entry_points
name = sys.argv[1]
(entry,) = entry_points(group="console_scripts", name=name)
sys.argv = [name, *sys.argv[2:]]
try:
    status = entry.load()()
except SystemExit as end:
    status = end.code
print("STATUS", status or 0, "MODULES", *sys.modules, file=sys.stderr)
"""


def load(command: str, *arguments: str) -> tuple[str, str, int, set[str]]:
    """Runs the entry point of an installed command: output, messages, exit status, the modules it loaded."""
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM, command, *arguments], capture_output=True, text=True, check=False, timeout=120
    )
    assert "STATUS" in run.stderr, run.stderr
    messages, tail = run.stderr.rsplit("STATUS", 1)
    status, modules = tail.split(" MODULES ", 1)
    return run.stdout, messages, int(status), set(modules.split())


@pytest.mark.parametrize("command", COMMANDS)
def test_help_answers_without_loading_torch(command: str, command_environment: dict[str, str]) -> None:
    """A help text within half a second, which is only possible while torch stays unloaded."""
    output, messages, status, modules = load(command, "--help")
    assert status == 0, messages
    assert output.startswith(f"usage: {command}")
    assert not messages.strip()
    assert not HEAVY & modules, f"{command} --help loads {sorted(HEAVY & modules)}"
    start = time.perf_counter()
    subprocess.run([command, "--help"], env=command_environment, check=True, capture_output=True)
    print(f"{command} --help: {time.perf_counter() - start:.2f} s")


@pytest.mark.parametrize("command", COMMANDS)
def test_a_wrong_flag_is_answered_with_usage_and_status_two(command: str) -> None:
    _, messages, status, modules = load(command, "--no-such-flag")
    assert status == 2
    assert "usage:" in messages
    assert "Traceback" not in messages
    assert "torch" not in modules


@pytest.mark.parametrize("vocoder", VOCODERS)
def test_from_recordings_to_a_trained_vocoder_to_a_copy(
    vocoder: str, speech_folder: Path, command_environment: dict[str, str]
) -> None:
    """Prepare, train, go on training, copy: each command understands what the one before it left."""

    def run(command: str, status: int = 0) -> str:
        done = subprocess.run(
            command.replace("X-", f"{vocoder}-").split(),
            cwd=speech_folder, env=command_environment, capture_output=True, text=True, check=False, timeout=300,
        )  # fmt: skip
        assert done.returncode == status, f"{command}: {done.stderr}"
        return done.stderr if status else done.stdout

    run("X-preprocess speech data --config tiny")
    run("X-train data run --config tiny --set train.steps=3")
    assert {"config.yaml", "model.safetensors", "metrics.jsonl", "resume.pt"} <= set(os.listdir(speech_folder / "run"))
    assert "step 5" in run("X-train data run --config tiny --set train.steps=5")
    steps = [json.loads(line)["step"] for line in (speech_folder / "run" / "metrics.jsonl").read_text().splitlines()]
    assert steps == sorted(steps)
    run("X-infer in.wav out.wav --checkpoint run")
    given, made = soundfile.info(speech_folder / "in.wav"), soundfile.info(speech_folder / "out.wav")
    assert (made.frames, made.samplerate, made.channels) == (given.frames, given.samplerate, 1)

    missing = (
        "X-infer no.wav out.wav",
        "X-preprocess no data2",
        "X-train no run2",
        "X-infer in.wav out.wav --checkpoint no",
    )
    for wrong in (*missing, "X-train speech run2", "X-infer in.wav out.wav --checkpoint speech"):
        message = run(wrong, status=2)
        assert message.strip().count("\n") == 0, message
        assert message.startswith(wrong.split()[0].replace("X-", f"{vocoder}-") + ": error: ")
