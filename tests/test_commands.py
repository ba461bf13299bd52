"""The installed commands, run as a user runs them: every one of them answers --help at once."""

from __future__ import annotations

import subprocess
import sys
import time
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
COMMANDS = sorted(
    name
    for path in ROOT.glob("packages/*/pyproject.toml")
    for name in tomllib.loads(path.read_text(encoding="utf-8"))["project"].get("scripts", {})
)
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
