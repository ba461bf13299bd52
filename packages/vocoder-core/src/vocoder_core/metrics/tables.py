"""Score tables for people (Markdown), spreadsheets (CSV, one clip a line) and programs (JSON)."""

from __future__ import annotations

import csv
import io
import json
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .scores import SCORES, Score

Summary = Mapping[str, tuple[float, float, float, int]]
ARROWS = {"lower": "↓", "higher": "↑", "near 0": "→ 0"}


def markdown(summaries: Mapping[str, Summary]) -> str:
    """A Markdown table of system -> summary (as `summarise` gives): one column a system, one line a score.

    Each cell: mean and its 95 % interval. The arrow says which way is better. n is the number of clips judged.
    """
    columns = list(summaries)
    lines = ["| score | n | " + " | ".join(columns) + " |", "|:--|--:|" + "--:|" * len(columns)]
    for item in SCORES:
        cells = [summary.get(item.name) for summary in summaries.values()]
        if not any(cells):
            continue
        counts = sorted({cell[3] for cell in cells if cell})
        n = str(counts[0]) if len(counts) == 1 else f"{counts[0]}-{counts[-1]}"
        lines.append(f"| {heading(item)} | {n} | " + " | ".join(_cell(item, cell) for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def heading(item: Score) -> str:
    """Title, unit and direction of a score, as 'MCD (dB) ↓'."""
    unit = f" ({item.unit})" if item.unit else ""
    return f"{item.title}{unit} {ARROWS[item.better]}"


def number(item: Score, value: float) -> str:
    """A score with its digits; an en dash for NaN."""
    return "–" if math.isnan(value) else f"{value:.{item.digits}f}"


def write_csv(path: str | os.PathLike[str], rows: Sequence[Mapping[str, Any]]) -> None:
    """One line per row, the columns in order of first appearance, full precision; NaN and absent values are empty."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, names, restval="", lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({name: "" if _is_nan(value) else value for name, value in row.items()})
    _write(path, text.getvalue())


def write_json(path: str | os.PathLike[str], content: Mapping[str, Any]) -> None:
    """JSON with NaN as null, written at once or not at all."""
    _write(path, json.dumps(_plain(content), indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def _cell(item: Score, cell: tuple[float, float, float, int] | None) -> str:
    if cell is None:
        return "–"
    mean, low, high = (number(item, value) for value in cell[:3])
    return mean if math.isnan(cell[1]) else f"{mean} [{low}, {high}]"


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return None if _is_nan(value) else value


def _is_nan(value: Any) -> bool:
    return isinstance(value, float) and math.isnan(value)


def _write(path: str | os.PathLike[str], text: str) -> None:
    path = Path(path)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        part.write_text(text, encoding="utf-8")
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
