"""Builds every package, installs the wheels alone into fresh environments and runs each package's tests against them.

For each package an environment is made that holds that package's wheel and the core's, from the dist folder and
nowhere else; third-party packages (torch, numpy, ...) are lent by the environment that runs this file: no download.
The tests run from a copy outside the source tree: what the wheel forgot (a config, the weights) is missed here.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CORE = "vocoder-core"
MAX_WHEEL_MIB = 16  # weights travel inside; a package index and a patient user still take this


def main(argv: list[str] | None = None) -> int:
    """Entry point; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--dist", type=Path, default=ROOT / "dist", help="where the wheels go (default: dist/)")
    parser.add_argument("--poetry", default="", help="build with this poetry; default: with poetry-core through pip")
    parser.add_argument("--build-only", action="store_true", help="build and inspect the wheels, run no tests")
    parser.add_argument(
        "-m", dest="marks", default="not slow", help="which tests, as for pytest -m (default: %(default)s)"
    )
    arguments = parser.parse_args(argv)
    names = sorted(path.parent.name for path in ROOT.glob("packages/*/pyproject.toml"))
    shutil.rmtree(arguments.dist, ignore_errors=True)
    failed = []
    for name in names:
        wheel = build(name, arguments.dist.resolve(), arguments.poetry)
        failed += inspect(wheel)
        print(f"built {wheel.name}: {wheel.stat().st_size / 2**20:.2f} MiB")
    for name in [] if arguments.build_only else names:
        with tempfile.TemporaryDirectory(prefix="wheels-") as folder:
            if test(name, arguments.dist.resolve(), Path(folder), arguments.marks):
                failed.append(f"{name}: its tests fail against its wheel")
    print("\n".join(failed) or f"{len(names)} wheels are sound")
    return 1 if failed else 0


def build(name: str, dist: Path, poetry: str) -> Path:
    """Builds one package (wheel and sdist with poetry, wheel alone with pip); returns the wheel."""
    source = ROOT / "packages" / name
    if poetry:
        command = [str(Path(poetry).absolute()), "build", "--quiet", "--output", str(dist)]
    else:
        command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(dist), "."]
    subprocess.run(command, cwd=source, check=True, env=os.environ | {"POETRY_VIRTUALENVS_CREATE": "false"})
    (wheel,) = dist.glob(f"{name.replace('-', '_')}-*.whl")
    return wheel


def inspect(wheel: Path) -> list[str]:
    """One sentence for each thing about the wheel that a user would trip over."""
    sentences = []
    with zipfile.ZipFile(wheel) as archive:
        files = archive.namelist()
        metadata = archive.read(next(f for f in files if f.endswith(".dist-info/METADATA"))).decode()
    package = wheel.name.split("-")[0]
    for wanted in ("py.typed", "__init__.py"):
        if f"{package}/{wanted}" not in files:
            sentences.append(f"{wheel.name} lacks {package}/{wanted}")
    source = ROOT / "packages" / package.replace("_", "-") / "src"
    for path in source.rglob("*"):
        inside = path.relative_to(source).as_posix()
        if path.is_file() and "__pycache__" not in path.parts and inside not in files:
            sentences.append(f"{wheel.name} lacks {inside}")
    for line in metadata.split("\n\n")[0].splitlines():
        if line.startswith("Requires-Dist:") and ("@" in line or "file:" in line):
            sentences.append(f"{wheel.name} has a requirement that is no version range: {line}")
    if wheel.stat().st_size > MAX_WHEEL_MIB * 2**20:
        sentences.append(f"{wheel.name} is larger than {MAX_WHEEL_MIB} MiB")
    return sentences


def test(name: str, dist: Path, folder: Path, marks: str) -> int:
    """Runs the tests of one package against its wheel, in an environment below `folder`; returns pytest's status."""
    python = environment(name, dist, folder / "env")
    tests = folder / "copy" / "packages" / name / "tests"
    shutil.copytree(ROOT / "packages" / name / "tests", tests, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", folder / "copy")  # pytest's settings, nothing to import
    variables = os.environ | {
        "PATH": f"{python.parent}{os.pathsep}{os.environ['PATH']}",
        "VOCODER_SHARED_AUDIO": str(ROOT / "shared-audio"),
        "OMP_NUM_THREADS": "1",
    }
    print(f"{name}: testing the wheel, outside the source tree", flush=True)
    command = [str(python), "-m", "pytest", "-q", "-n", "2", "--dist", "loadfile", "-m", marks, str(tests)]
    return subprocess.run(command, cwd=folder / "copy", env=variables, check=False).returncode


def environment(name: str, dist: Path, folder: Path) -> Path:
    """A fresh environment with the wheels of `name` and of the core; returns its python."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    python = folder / "bin" / "python"
    wheels = [str(next(dist.glob(f"{n.replace('-', '_')}-*.whl"))) for n in dict.fromkeys([CORE, name])]
    pip = [sys.executable, "-m", "pip", "--python", str(python), "--disable-pip-version-check"]
    subprocess.run([*pip, "install", "--quiet", "--no-index", "--no-deps", *wheels], check=True)
    # A path line in a .pth lends the packages of the calling environment, after our own. The .pth files which lie
    # THERE are not read, so its editable installs of this repository stay invisible.
    (site,) = folder.glob("lib/python*/site-packages")
    (site / "lent.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    subprocess.run([*pip, "install", "--quiet", "--no-index", "--find-links", str(dist), name], check=True)
    found = subprocess.run(
        [str(python), "-c", "import vocoder_core; print(vocoder_core.__file__)"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    if str(folder) not in found:
        raise RuntimeError(f"the environment of {name} imports vocoder_core from {found.strip()}, not from the wheel")
    return python


if __name__ == "__main__":
    sys.exit(main())
