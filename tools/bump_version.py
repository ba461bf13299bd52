"""Gives every package of the repository one new version, or checks that they carry the same one.

It edits the `version` line and the `vocoder-core` ranges of packages/*/pyproject.toml and dates the "Unreleased"
heading of every CHANGELOG.md. Commit the result and push the tag `vX.Y.Z`: the release workflow publishes from it.
"""

from __future__ import annotations

import argparse
import re
import sys
import tomllib
from datetime import date
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CORE = "vocoder-core"


def main(argv: list[str] | None = None) -> int:
    """Entry point: the new version, or --check; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("version", nargs="?", help="X.Y.Z, for example 0.2.0")
    parser.add_argument("--check", action="store_true", help="change nothing; exit 1 when versions or ranges disagree")
    parser.add_argument("--root", type=Path, default=ROOT, help="the repository (default: this one)")
    arguments = parser.parse_args(argv)
    if arguments.check:
        return report(problems(arguments.root))
    if not re.fullmatch(r"\d+\.\d+\.\d+", arguments.version or ""):
        parser.error(f"the version has to look like 0.2.0, got {arguments.version!r}")
    for path in sorted(arguments.root.glob("packages/*/pyproject.toml")):
        path.write_text(with_version(path.read_text(encoding="utf-8"), arguments.version), encoding="utf-8")
    for path in [arguments.root / "CHANGELOG.md", *sorted(arguments.root.glob("packages/*/CHANGELOG.md"))]:
        path.write_text(with_release(path.read_text(encoding="utf-8"), arguments.version), encoding="utf-8")
    return report(problems(arguments.root))


def core_range(version: str) -> str:
    """The range of core versions that a vocoder of this version works with, e.g. 0.1.3 -> >=0.1,<0.2.

    Before 1.0 a minor version may break, later a major one.
    """
    major, minor, _ = (int(part) for part in version.split("."))
    return f">={major}.{minor},<{major}.{minor + 1}" if major == 0 else f">={major}.{minor},<{major + 1}"


def with_version(text: str, version: str) -> str:
    """A pyproject.toml with its version and its ranges of the core replaced."""
    text = re.sub(r'(?m)^version = "[^"]*"', f'version = "{version}"', text, count=1)
    return re.sub(rf'"({CORE}(?:\[\w+\])?)[<>=~!][^"]*"', rf'"\1{core_range(version)}"', text)


def with_release(text: str, version: str) -> str:
    """A changelog whose unreleased changes become those of `version`, dated today."""
    return text.replace("## [Unreleased]\n", f"## [Unreleased]\n\n## [{version}] - {date.today().isoformat()}\n", 1)


def problems(root: Path) -> list[str]:
    """One sentence for each version or range that disagrees with the others."""
    found = {
        path: tomllib.loads(path.read_text(encoding="utf-8"))["project"]
        for path in root.glob("packages/*/pyproject.toml")
    }
    versions = {project["name"]: project["version"] for project in found.values()}
    if not versions:
        return [f"no package below {root / 'packages'}"]
    sentences = [] if len(set(versions.values())) == 1 else [f"versions differ: {versions}"]
    for project in found.values():
        extras = project.get("optional-dependencies", {}).values()
        for requirement in [*project["dependencies"], *(r for extra in extras for r in extra)]:
            wanted = re.sub(rf"^{CORE}(\[\w+\])?", "", requirement)
            if requirement.startswith(CORE) and wanted != core_range(versions[CORE]):
                sentences.append(f"{project['name']} asks for {requirement}, expected {core_range(versions[CORE])}")
    return sentences


def report(sentences: list[str]) -> int:
    """Prints them; 1 when there are any."""
    print("\n".join(sentences) or "versions agree")
    return 1 if sentences else 0


if __name__ == "__main__":
    sys.exit(main())
