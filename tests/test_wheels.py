"""The wheels: what a user gets is what was tested."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest


@pytest.mark.slow
def test_each_wheel_passes_its_package_tests_without_the_source_tree(root: Path, tmp_path: Path) -> None:
    """Built, installed from the dist folder alone, tested from elsewhere, package by package."""
    poetry = root / ".venv" / "poetry" / "bin" / "poetry"
    command = [sys.executable, str(root / "tools" / "wheels.py"), "--dist", str(tmp_path / "dist")]
    run = subprocess.run(
        [*command, "--poetry", str(poetry) if poetry.exists() else ""], capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stdout[-8000:] + run.stderr[-4000:]


def test_a_wheel_that_forgot_its_configs_or_leaks_a_path_is_refused(root: Path, tmp_path: Path) -> None:
    spec = importlib.util.spec_from_file_location("wheels", root / "tools" / "wheels.py")
    wheels = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(wheels)
    wheel = tmp_path / "rnnms-0.1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("rnnms/__init__.py", "")
        archive.writestr(
            "rnnms-0.1.0.dist-info/METADATA",
            "Name: rnnms\nRequires-Dist: vocoder-core @ file:///x/vocoder-core\n\n# rnnms",
        )
    sentences = " ".join(wheels.inspect(wheel))
    assert "lacks rnnms/py.typed" in sentences
    assert "rnnms/configs/tiny.yaml" in sentences
    assert "no version range" in sentences
