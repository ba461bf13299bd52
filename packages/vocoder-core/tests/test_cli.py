"""Commands end with 0, or with 2 after one sentence on stderr; settings come from files, names and --set."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import pytest

from vocoder_core import cli


@dataclass(frozen=True)
class Tiny:
    steps: int = 3


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog="voc-do")
    cli.add_settings_arguments(made)
    cli.add_device_argument(made)
    return made


def failing(error: Exception):
    def do(arguments: argparse.Namespace) -> None:
        raise error

    return do


def test_success_is_zero() -> None:
    assert cli.run(parser(), lambda arguments: None, []) == 0


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ValueError("mel.fmin is -1;\n expected 0"), "voc-do: error: mel.fmin is -1; expected 0\n"),
        (FileNotFoundError(2, "No such file or directory", "a b.wav"), "voc-do: error: a b.wav: No such file"),
        (PermissionError("the folder is read-only"), "voc-do: error: the folder is read-only"),
    ],
)
def test_a_users_error_is_one_sentence_and_exit_code_2(error: Exception, said: str, capsys) -> None:
    assert cli.run(parser(), failing(error), []) == 2
    written = capsys.readouterr()
    assert written.err.startswith(said) and written.err.count("\n") == 1 and not written.out


def test_our_own_mistakes_keep_their_traceback() -> None:
    with pytest.raises(AssertionError):
        cli.run(parser(), failing(AssertionError("bug")), [])


def test_a_traceback_can_be_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VOCODER_TRACEBACK", "1")
    with pytest.raises(ValueError, match="x"):
        cli.run(parser(), failing(ValueError("x")), [])


def test_ctrl_c_is_130(capsys) -> None:
    assert cli.run(parser(), failing(KeyboardInterrupt()), []) == 130  # type: ignore[arg-type]
    assert "interrupted" in capsys.readouterr().err


def test_settings_come_from_a_file_then_from_set(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("steps: 5\n")
    arguments = parser().parse_args(["--config", str(tmp_path / "a.yaml")])
    assert cli.settings(Tiny, arguments, "vocoder_core") == Tiny(5)
    arguments = parser().parse_args(["--config", str(tmp_path / "a.yaml"), "--set", "steps=6", "--set", "steps=7"])
    assert cli.settings(Tiny, arguments, "vocoder_core") == Tiny(7)


def test_a_name_that_is_no_config_is_an_error_that_lists_them() -> None:
    arguments = parser().parse_args(["--config", "nope"])
    with pytest.raises(ValueError, match="neither a file nor a built-in config"):
        cli.settings(Tiny, arguments, "vocoder_core")


def test_print_config_prints_yaml_and_stops(tmp_path: Path, capsys) -> None:
    (tmp_path / "a.yaml").write_text("")
    arguments = parser().parse_args(["--config", str(tmp_path / "a.yaml"), "--print-config"])
    with pytest.raises(SystemExit) as stop:
        cli.settings(Tiny, arguments, "vocoder_core")
    assert stop.value.code == 0 and capsys.readouterr().out == "steps: 3\n"


@pytest.mark.parametrize("name", ["gpu", "cuda:99"])
def test_a_device_that_is_not_there_is_an_error(name: str) -> None:
    import torch

    if name.startswith("cuda") and torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    with pytest.raises(ValueError, match="--device"):
        cli.device(name)


def test_auto_is_a_device_that_works() -> None:
    import torch

    assert torch.zeros(1, device=cli.device("auto")).sum() == 0
