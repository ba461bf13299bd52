"""What is compiled is kept on disk, and not longer than any file that is compiled into it stays as it is."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

HEAD = "from vocoder_core.recurrent.primitives import exactly\n"
INNER = HEAD + "@exactly\ndef inner(x):\n    return x + {more}\n"
MIDDLE = HEAD + "from inner import inner\n@exactly\ndef middle(x):\n    return inner(x)\n"
OUTER = HEAD + "from middle import middle\n@exactly\ndef outer(x):\n    return middle(x)\n"
RUN = "import outer; print(outer.outer(1), sum(outer.outer.stats.cache_hits.values()))"


def run(folder: Path) -> tuple[int, int]:
    """What outer(1) is, and whether it came from the disk."""
    told = os.environ | {"NUMBA_CACHE_DIR": str(folder / "kept"), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run([sys.executable, "-c", RUN], cwd=folder, env=told, capture_output=True, text=True, check=True)
    value, hits = done.stdout.split()
    return int(value), int(hits)


def test_a_kernel_is_kept_until_what_it_calls_changes(tmp_path: Path) -> None:
    """Two files below its own."""
    for name, text in (("inner", INNER.format(more=1)), ("middle", MIDDLE), ("outer", OUTER)):
        (tmp_path / f"{name}.py").write_text(text)
    assert run(tmp_path) == (2, 0)
    assert run(tmp_path) == (2, 1)
    (tmp_path / "inner.py").write_text(INNER.format(more=10))
    assert run(tmp_path) == (11, 0), "numba itself would say 2"
    assert run(tmp_path) == (11, 1)
