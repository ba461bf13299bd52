"""What a run reports: metrics.jsonl, one JSON object per line and step, and TensorBoard on request."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import torch

from .checkpoint import METRICS_NAME, write_whole


class Journal:
    """Appends rows to metrics.jsonl; rows after the step from which a run resumes are removed first."""

    def __init__(self, folder: Path, step: int, tensorboard: bool = False) -> None:
        """Repair the file in `folder`: cut a half-written last line and every row after `step`."""
        self.path = folder / METRICS_NAME
        self._board = _summary_writer(folder, step) if tensorboard else None
        before = self.path.read_bytes() if self.path.exists() else b""
        after = b"".join(line for line in before.splitlines(keepends=True) if _belongs(line, step))
        if after != before:
            write_whole(self.path, after)

    def write(self, row: dict[str, Any]) -> None:
        """Append a row. Figures that are not finite become null, which every JSON reader knows."""
        row = {key: None if isinstance(v, float) and not math.isfinite(v) else v for key, v in row.items()}
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        if self._board is not None:
            for key, value in row.items():
                if key != "step" and value is not None:
                    self._board.add_scalar(key, value, row["step"])
            self._board.flush()


class Window:
    """Means over the steps since the last report. It is saved with the run: a resumed run reports the same means."""

    def __init__(self) -> None:
        self.sums: dict[str, torch.Tensor] = {}
        self.counts: dict[str, int] = {}

    def add(self, figures: dict[str, Any]) -> None:
        """Take in one step's figures: numbers or tensors of one element, left on their device until they are read."""
        for key, value in figures.items():
            value = torch.as_tensor(value).detach().float().reshape(())
            self.sums[key] = self.sums[key].to(value.device) + value if key in self.sums else value
            self.counts[key] = self.counts.get(key, 0) + 1

    def means(self) -> dict[str, float]:
        """Mean of every figure over the steps that had it."""
        return {key: float(total) / self.counts[key] for key, total in self.sums.items()}


def _belongs(line: bytes, step: int) -> bool:
    try:
        row = json.loads(line)
        return line.endswith(b"\n") and isinstance(row, dict) and row["step"] <= step
    except (ValueError, KeyError, TypeError):
        return False


def _summary_writer(folder: Path, step: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise ValueError(
            "train.tensorboard is true but TensorBoard is not installed: "
            "pip install 'vocoder-core[tensorboard]', or set it to false and read metrics.jsonl"
        ) from None
    return SummaryWriter(str(folder / "tensorboard"), purge_step=step + 1)
