"""One version number for all packages, and ranges of the core that contain it."""

from __future__ import annotations

import importlib.util
import shutil
import tomllib
from importlib import metadata
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="module")
def bump_version(root: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("bump_version", root / "tools" / "bump_version.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def copy(root: Path, tmp_path: Path) -> Path:
    """The version-bearing files of the repository, free to be changed."""
    for path in [root / "CHANGELOG.md", *root.glob("packages/*/pyproject.toml"), *root.glob("packages/*/CHANGELOG.md")]:
        target = tmp_path / path.relative_to(root)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    return tmp_path


def test_versions_are_in_lockstep_and_the_core_is_in_range(bump_version: ModuleType, root: Path) -> None:
    assert bump_version.problems(root) == []


def test_what_is_installed_is_what_lies_here(root: Path) -> None:
    for path in root.glob("packages/*/pyproject.toml"):
        project = tomllib.loads(path.read_text(encoding="utf-8"))["project"]
        assert metadata.version(project["name"]) == project["version"], "run `make setup`"


def test_a_package_left_behind_is_found(bump_version: ModuleType, copy: Path) -> None:
    path = copy / "packages" / "vocoder-core" / "pyproject.toml"
    path.write_text(path.read_text(encoding="utf-8").replace('version = "', 'version = "9', 1), encoding="utf-8")
    assert bump_version.main(["--check", "--root", str(copy)]) == 1
    assert len(bump_version.problems(copy)) >= 2  # the versions differ, and the vocoders ask for an older core


def test_one_command_moves_every_version_and_dates_every_changelog(bump_version: ModuleType, copy: Path) -> None:
    assert bump_version.main(["0.7.1", "--root", str(copy)]) == 0
    for path in copy.glob("packages/*/pyproject.toml"):
        project = tomllib.loads(path.read_text(encoding="utf-8"))["project"]
        assert project["version"] == "0.7.1"
        assert project["name"] == path.parent.name
        if project["name"] != "vocoder-core":
            assert "vocoder-core>=0.7,<0.8" in project["dependencies"]
    for path in copy.rglob("CHANGELOG.md"):
        assert "## [0.7.1] - 20" in path.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("version", "wanted"), [("0.1.0", ">=0.1,<0.2"), ("0.10.3", ">=0.10,<0.11"), ("2.3.4", ">=2.3,<3")]
)
def test_the_range_ends_where_the_interface_may_break(bump_version: ModuleType, version: str, wanted: str) -> None:
    assert bump_version.core_range(version) == wanted
