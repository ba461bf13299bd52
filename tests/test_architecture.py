"""The shape of the repository: who may import whom, what every vocoder's folder holds, how long code may grow."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SIBLINGS = sorted(p.parent.name for p in ROOT.glob("packages/*/pyproject.toml") if p.parent.name != "vocoder-core")
FILES = [
    "README.md",
    "CHANGELOG.md",
    "LICENSE",
    "pyproject.toml",
    *(f"src/{{module}}/{name}.py" for name in ("__init__", "model", "preprocess", "train", "infer")),
    "src/{module}/py.typed",
    *(f"src/{{module}}/configs/{name}.yaml" for name in ("default", "tiny")),
    *(f"src/{{module}}/weights/{name}" for name in ("config.yaml", "model.safetensors")),
]
COMMANDS = ("preprocess", "train", "infer")
HEADINGS = [
    "Install",
    "Use",
    "Train",
    "How good it is",
    "Speed",
    "What differs from the paper and from the public implementations",
    "Status",
]
HEAVY = {
    "librosa",
    "numba",
    "scipy",
    "sklearn",
    "soundfile",
    "soxr",
    "matplotlib",
    "tensorboard",
    "torchaudio",
    "joblib",
}
VAGUE = {"utils", "util", "helpers", "helper", "common", "base", "misc", "tools", "core"}
MAX_FILE, MAX_TEST_FILE, MAX_FUNCTION, USUAL_FUNCTION = 250, 400, 60, 30


def module(package: str) -> str:
    return package.replace("-", "_")


def test_import_contracts_hold() -> None:
    """Vocoders import the core and never each other; inference never reaches training, by whatever chain."""
    command = Path(sys.executable).parent / "lint-imports"
    if not command.exists():
        pytest.skip("import-linter is not installed")
    run = subprocess.run([command, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr


@pytest.mark.parametrize("package", ["vocoder-core", *SIBLINGS])
def test_the_contracts_know_every_package(package: str) -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]
    layers, forbidden = settings["contracts"]
    assert module(package) in settings["root_packages"]
    assert module(package) in re.findall(r"\w+", " ".join(layers["layers"]))
    if package in SIBLINGS:
        assert {f"{module(package)}.{part}" for part in ("infer", "model")} <= set(forbidden["source_modules"])
        assert f"{module(package)}.train" in forbidden["forbidden_modules"]


@pytest.mark.parametrize("package", ["vocoder-core", *SIBLINGS])
def test_importing_a_package_is_cheap(package: str) -> None:
    """`import X` and its public names load no training code and none of the heavy libraries of preprocessing."""
    program = (
        f"import sys, {module(package)} as m; [getattr(m, n) for n in getattr(m, '__all__', [])]; print(*sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    loaded = set(run.stdout.split())
    assert not HEAVY & loaded, f"import {module(package)} loads {sorted(HEAVY & loaded)}"
    training = sorted(name for name in loaded if re.match(rf"({module(package)}|vocoder_core)\.train\b", name))
    assert not training, f"import {module(package)} loads {training}"


@pytest.mark.parametrize("package", SIBLINGS)
def test_every_vocoder_has_the_same_files(package: str) -> None:
    folder = ROOT / "packages" / package
    missing = [name for name in (f.format(module=module(package)) for f in FILES) if not (folder / name).is_file()]
    assert not missing, f"packages/{package} lacks {missing}"
    assert list(folder.glob("tests/test_*.py")), f"packages/{package} has no tests of its own"


@pytest.mark.parametrize("package", SIBLINGS)
def test_every_vocoder_has_the_same_commands(package: str) -> None:
    scripts = tomllib.loads((ROOT / "packages" / package / "pyproject.toml").read_text(encoding="utf-8"))["project"][
        "scripts"
    ]
    for command in COMMANDS:
        assert scripts.get(f"{package}-{command}") == f"{module(package)}.{command}:main"
    foreign = [name for name in scripts if not name.startswith(f"{package}-")]
    assert not foreign, f"commands of {package} have to start with its name: {foreign}"


@pytest.mark.parametrize("package", SIBLINGS)
def test_every_vocoder_has_the_same_readme_headings(package: str) -> None:
    """The headings of every vocoder's README, in this order; others may stand between them."""
    text = re.sub(r"(?ms)^```.*?^```", "", (ROOT / "packages" / package / "README.md").read_text(encoding="utf-8"))
    headings = re.findall(r"(?m)^## (.+?)\s*$", text)
    assert [heading for heading in headings if heading in HEADINGS] == HEADINGS


def sources(tracked: list[Path]) -> list[Path]:
    return [path for path in tracked if path.suffix == ".py"]


def test_files_are_short_and_their_names_say_what_they_hold(tracked: list[Path]) -> None:
    lines = {
        str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines()) for path in sources(tracked)
    }
    long = {name: n for name, n in lines.items() if n > (MAX_TEST_FILE if "tests/" in name else MAX_FILE)}
    assert not long, f"files over {MAX_FILE} lines ({MAX_TEST_FILE} in tests): {long}"
    vague = [str(p.relative_to(ROOT)) for p in sources(tracked) if p.stem in VAGUE]
    assert not vague, f"file names that say nothing: {vague}"


def test_functions_are_short(tracked: list[Path]) -> None:
    """No function over 60 lines, nine in ten of them within 30."""
    lengths = {}
    for path in sources(tracked):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lengths[f"{path.relative_to(ROOT)}:{node.lineno} {node.name}"] = node.end_lineno - node.lineno + 1
    long = {name: length for name, length in lengths.items() if length > MAX_FUNCTION}
    assert not long, f"functions over {MAX_FUNCTION} lines: {long}"
    assert sorted(lengths.values())[int(0.9 * len(lengths))] <= USUAL_FUNCTION
