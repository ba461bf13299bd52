"""Settings files: coerced by declared type; errors name file, line, key and the nearest valid key."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest

from vocoder_core import config
from vocoder_core.config import ConfigError


@dataclass(frozen=True)
class Train:
    lr: float = 4e-4
    steps: int = 100
    schedule: Literal["cosine", "constant"] = "cosine"
    betas: tuple[float, float] = (0.9, 0.999)


@dataclass(frozen=True)
class Run:
    name: str = "a"
    amp: bool = True
    fmax: float | None = None
    sizes: tuple[int, ...] = (1, 2)
    out: Path = Path("x")
    train: Train = field(default_factory=Train)

    def __post_init__(self) -> None:
        if self.fmax is not None and self.fmax < 0:
            raise ValueError(f"fmax is {self.fmax}; expected 0 or more")


def write(folder: Path, text: str) -> Path:
    path = folder / "my run.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_values_take_the_declared_type_not_yamls_guess(tmp_path: Path) -> None:
    text = "name: no\namp: off\nfmax: 8e3\nsizes: [3, 4_000]\nout: /tmp/ü\ntrain:\n  lr: 1e-4\n  betas: [0, 1e-1]\n"
    loaded = config.load(Run, write(tmp_path, text))
    assert loaded == Run("no", False, 8000.0, (3, 4000), Path("/tmp/ü"), Train(lr=1e-4, betas=(0.0, 0.1)))
    assert isinstance(loaded.train.betas[0], float)


def test_overrides_come_last_and_reach_inside(tmp_path: Path) -> None:
    path = write(tmp_path, "train: {lr: 1, steps: 7}\n")
    loaded = config.load(Run, path, ["train.lr=2e-3", "name='b: c'", "fmax=null", "sizes=[9]"])
    assert (loaded.train.lr, loaded.train.steps, loaded.name, loaded.fmax, loaded.sizes) == (
        2e-3,
        7,
        "b: c",
        None,
        (9,),
    )


def test_dump_reads_back_equal(tmp_path: Path) -> None:
    value = Run("null", False, 1e-7, (), Path("p"), Train(1e-9, 2, "constant", (0.5, 0.25)))
    assert config.load(Run, write(tmp_path, config.dump(value))) == value
    assert config.from_dict(Run, config.to_dict(value)) == value


def test_empty_file_and_empty_section_are_the_defaults(tmp_path: Path) -> None:
    assert config.load(Run, write(tmp_path, "# nothing\n")) == Run()
    assert config.load(Run, write(tmp_path, "train: {}\n")) == Run()
    assert config.load(Run, write(tmp_path, "train:\n")) == Run()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name: a\ntrain:\n  lrr: 1\n", "my run.yaml:3: unknown key train.lrr (did you mean train.lr?)"),
        ("nmae: a\n", "my run.yaml:1: unknown key nmae (did you mean name?)"),
        ("zzz: a\n", "my run.yaml:1: unknown key zzz (known: name, amp"),
        ("\n\ntrain: {steps: 1.5}\n", "my run.yaml:3: train.steps is '1.5'; expected a whole number"),
        ("train: {steps: true}\n", "expected a whole number"),
        ("train:\n  steps:\n", "train.steps is None; expected a whole number"),
        ("train: {schedule: cosin}\n", "expected one of cosine, constant (did you mean cosine?)"),
        ("train: {betas: [1]}\n", "train.betas has 1 values; expected 2"),
        ("train: {betas: [1, x]}\n", "train.betas[1] is 'x'; expected a number"),
        ("train: 3\n", "train is '3'; expected keys of its own"),
        ("name: {a: b}\n", "name has keys under it; expected text"),
        ("sizes: 3\n", "sizes is '3'; expected a list"),
        ("amp: maybe\n", "amp is 'maybe'; expected true or false"),
        ("name: [\n", "not valid YAML"),
        ("- a\n- b\n", "expected `key: value` lines"),
        ("name: a\nname: b\n", "my run.yaml:2: key name is not a plain, single key"),
        ("fmax: -1\n", "my run.yaml:1: fmax is -1.0; expected 0 or more"),
    ],
)
def test_errors_name_file_line_key_and_what_was_expected(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError) as error:
        config.load(Run, write(tmp_path, text))
    assert message in str(error.value) and str(tmp_path) in str(error.value)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("train.lrr=1", "unknown key train.lrr (did you mean train.lr?)"),
        ("train.lr", "expected key=value"),
        ("=3", "expected key=value"),
        ("train.steps=", "expected a whole number"),
        ("train.lr=[", "not valid YAML"),
    ],
)
def test_errors_in_overrides_quote_the_override(override: str, message: str) -> None:
    with pytest.raises(ConfigError) as error:
        config.load(Run, None, [override])
    assert message in str(error.value) and "--set" in str(error.value)


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="nothing.yaml: cannot be read"):
        config.load(Run, tmp_path / "nothing.yaml")
    (tmp_path / "binary").write_bytes(bytes(range(256)))
    with pytest.raises(ConfigError, match="not a text file"):
        config.load(Run, tmp_path / "binary")


def test_python_tags_build_nothing(tmp_path: Path) -> None:
    path = write(tmp_path, f"name: !!python/object/apply:os.mkdir ['{tmp_path}/made']\n")
    with pytest.raises(ConfigError):
        config.load(Run, path)
    assert not (tmp_path / "made").exists()
