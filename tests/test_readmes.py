"""Every ```python and ```bash block of every README is run, top to bottom, in a temporary folder.

That folder holds what the examples speak of: `in.wav`, real speech of a few seconds, and `speech/`, some recordings as
`speaker/*.flac`. Blocks of one README share the folder, and its python blocks share their variables.
A block that cannot run here (a download, a GPU, make inside make) has its reason in the line before it:
`<!-- not run: reason -->`.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
READMES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(ROOT.glob("packages/*/README.md"))]
BLOCK = re.compile(r"(?ms)^(?P<note><!-- not run: [^\n]+ -->\n+)?```(?P<language>\w*)\n(?P<body>.*?)^```\s*$")


def blocks(readme: Path) -> list[tuple[int, str, str, bool]]:
    """(line, language, text, runnable) of each fenced block."""
    text = readme.read_text(encoding="utf-8")
    return [
        (text.count("\n", 0, m.start("language")) + 1, m["language"], m["body"], m["note"] is None)
        for m in BLOCK.finditer(text)
    ]


@pytest.mark.parametrize("readme", READMES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_block_runs(
    readme: Path, speech_folder: Path, command_environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(speech_folder)
    variables: dict[str, object] = {"__name__": "__main__"}
    for line, language, body, runnable in blocks(readme):
        if not runnable:
            continue
        if language == "python":
            exec(compile("\n" * line + body, str(readme), "exec"), variables)
        elif language == "bash":
            run = subprocess.run(
                ["bash", "-euo", "pipefail", "-c", body],
                cwd=speech_folder, env=command_environment, capture_output=True, text=True, check=False, timeout=300,
            )  # fmt: skip
            assert run.returncode == 0, f"{readme.name}:{line}:\n{body}\n{run.stdout[-2000:]}\n{run.stderr[-4000:]}"


@pytest.mark.parametrize("readme", READMES, ids=lambda path: str(path.relative_to(ROOT)))
def test_blocks_say_what_they_are(readme: Path) -> None:
    """An unnamed language would be a block that is silently not run; `text`, `yaml` and `console` are for reading."""
    for line, language, _, _ in blocks(readme):
        assert language in {"python", "bash", "text", "yaml", "toml", "console", "bibtex"}, (
            f"{readme}:{line}: {language!r}"
        )
    assert readme.read_text(encoding="utf-8").count("\n```") % 2 == 0


def test_links_between_files_lead_somewhere(tracked: list[Path]) -> None:
    broken = []
    for path in tracked:
        if path.suffix != ".md":
            continue
        for target in re.findall(r"\]\((?!https?://|mailto:|#)([^)#\s]+)", path.read_text(encoding="utf-8")):
            if not (path.parent / target).exists():
                broken.append(f"{path.relative_to(ROOT)} -> {target}")
    assert not broken, broken


def test_a_block_that_fails_is_noticed(tmp_path: Path) -> None:
    """The reader of blocks finds both languages, and leaves out only what gives its reason."""
    text = "```python\n1 / 0\n```\n<!-- not run: needs a GPU -->\n```bash\nfalse\n```\n```bash\nfalse\n```\n"
    (tmp_path / "R.md").write_text(text, encoding="utf-8")
    found = [(language, body, runnable) for _, language, body, runnable in blocks(tmp_path / "R.md")]
    assert found == [("python", "1 / 0\n", True), ("bash", "false\n", False), ("bash", "false\n", True)]
    assert shutil.which("bash")
