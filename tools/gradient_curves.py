"""Losses and gradient norms of a run, step by step: as a table, and drawn. For tools/plot_gradients.py."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path
from statistics import median

import torch
from torch import Tensor, nn


@dataclass
class Curve:
    """Losses in nats, and gradient norms before anything is clipped, step by step."""

    losses: list[float] = field(default_factory=list)
    norms: list[float] = field(default_factory=list)
    largest: list[float] = field(default_factory=list)  # elements

    def add(self, loss: Tensor, parameters: list[nn.Parameter]) -> None:
        """One step's, gradients at hand."""
        gradients = [p.grad for p in parameters if p.grad is not None]
        self.losses.append(float(loss.detach()))
        self.norms.append(float(torch.stack([g.norm() for g in gradients]).norm()))
        self.largest.append(max(float(g.abs().max()) for g in gradients))


def table(curves: dict[str, Curve]) -> str:
    """Markdown: a row for each run."""
    lines = ["| run | steps | loss, first → last 20 (nats) | norm: median | highest | NaN from step |"]
    lines.append("|--|--:|--|--:|--:|--:|")
    for name, curve in curves.items():
        seen = [isfinite(loss) for loss in curve.losses]
        norms, losses = ([value for value, here in zip(values, seen) if here] for values in (curve.norms, curve.losses))
        cells = [name, len(seen), f"{losses[0]:.2f} → {sum(losses[-20:]) / len(losses[-20:]):.3g}"]
        cells += [f"{median(norms):.2g}", f"{max(norms):.3g}", "–" if all(seen) else seen.index(False) + 1]
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines)


STYLE = {"paper": "tab:orange", "public": "tab:red", "ours": "tab:blue"}


def draw(curves: dict[str, Curve], path: Path) -> None:
    """Norms, losses, and norms with a pitch of -1e10."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, (norms, losses, hostile) = plt.subplots(1, 3, figsize=(11, 3.2), layout="constrained")
    for name, curve in curves.items():
        who, panel = name.split(",")[0], hostile if "1e10" in name else norms
        steps, seen = range(1, len(curve.norms) + 1), [isfinite(loss) for loss in curve.losses]
        shown = [norm if here else float("nan") for norm, here in zip(curve.norms, seen)]
        panel.semilogy(
            steps, shown, color=STYLE[who], label=who, linewidth=0.9, marker="." if panel is hostile else None
        )
        if panel is norms:
            losses.plot(steps, curve.losses, color=STYLE[who], label=who, linewidth=0.9)
            if not all(seen):
                end = seen.index(False)
                losses.plot(end, curve.losses[end - 1], "x", color=STYLE[who])
                losses.annotate("NaN from here on", (end, curve.losses[end - 1]), xytext=(4, 6),
                                textcoords="offset points", color=STYLE[who], fontsize=8)  # fmt: skip
    norms.axhline(1, color="tab:blue", linestyle=":", linewidth=0.8)
    titles = "gradient norm, before clipping", "loss (nats)", "gradient norm, one utterance's log F0 is -1e10"
    for panel, title in zip((norms, losses, hostile), titles):
        panel.set_title(title, fontsize=9)
        panel.set_xlabel("step", fontsize=8)
        panel.grid(alpha=0.3)
        panel.legend(fontsize=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=100)
