"""Quality against the number of sampler steps, from the scores.json that tools/score_voice.py wrote.

    python tools/plot_steps.py OUT/scores.json [--out packages/specgrad/docs/steps.png]

A panel for each score: means with their 95 % intervals, Griffin-Lim and WORLD as lines. Prints the table behind it.
"""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
SHOWN = ("pesq", "vuv_f1", "periodicity_rmse", "distill_mos", "dnsmos_p808")  # those that the file has
BASELINES = {"Griffin-Lim": "tab:red", "WORLD": "tab:gray"}
Figures = dict[str, dict[str, Any]]  # score -> mean, low, high, n


def main() -> None:
    """Print and draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scores", type=Path, help="scores.json")
    parser.add_argument("--out", type=Path, default=ROOT / "packages/specgrad/docs/steps.png")
    parser.add_argument("--scores", dest="shown", nargs="+", default=list(SHOWN), help=f"default {' '.join(SHOWN)}")
    arguments = parser.parse_args()
    summary = json.loads(arguments.scores.read_text(encoding="utf-8"))["summary"]
    steps = by_steps(summary)
    if not steps:
        raise SystemExit(f"{arguments.scores}: no system named 'NAME, N steps'; write it with score_voice.py --steps")
    shown = [name for name in arguments.shown if all(name in figures for figures in steps.values())]
    print(table(steps, summary, shown))
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    draw(steps, summary, shown, arguments.out)
    print(f"{arguments.out}: {arguments.out.stat().st_size / 1000:.0f} kB")


def by_steps(summary: dict[str, Figures]) -> dict[int, Figures]:
    """Number of steps -> figures, rising, of the systems named "..., N steps"."""
    found = {re.search(r", (\d+) steps?$", name): figures for name, figures in summary.items()}
    return dict(sorted((int(match[1]), figures) for match, figures in found.items() if match))


def table(steps: dict[int, Figures], summary: dict[str, Figures], shown: list[str]) -> str:
    """Markdown: a row for each number of steps and each baseline."""
    rows = {str(count): figures for count, figures in steps.items()}
    rows |= {name: summary[name] for name in BASELINES if name in summary}
    lines = [f"| steps | {' | '.join(title(name) for name in shown)} |", "|--:|" + "--:|" * len(shown)]
    for name, figures in rows.items():
        cells = [
            "{mean:.3f} [{low:.3f}, {high:.3f}]".format(**figures[score]) if score in figures else "–"
            for score in shown
        ]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join([*lines, ""])


def title(name: str) -> str:
    """A score's heading, with the arrow to the better side."""
    from vocoder_core.metrics import SCORES
    from vocoder_core.metrics.tables import heading

    return next(heading(item) for item in SCORES if item.name == name)


def draw(steps: dict[int, Figures], summary: dict[str, Figures], shown: list[str], path: Path) -> None:
    """The panels, side by side."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, panels = plt.subplots(1, len(shown), figsize=(2.6 * len(shown), 2.8), layout="constrained", squeeze=False)
    for panel, score in zip(panels[0], shown):
        means = [figures[score]["mean"] for figures in steps.values()]
        below = [figures[score]["mean"] - figures[score]["low"] for figures in steps.values()]
        above = [figures[score]["high"] - figures[score]["mean"] for figures in steps.values()]
        panel.errorbar(list(steps), means, yerr=[below, above], marker="o", capsize=3, label="ours")
        for name, color in BASELINES.items():
            if score in summary.get(name, {}):
                values = summary[name][score]
                panel.axhline(values["mean"], color=color, linestyle="--", label=name)
                panel.axhspan(values["low"], values["high"], color=color, alpha=0.15, linewidth=0)
        panel.set_xscale("log", base=2)
        panel.set_xticks(list(steps), [str(count) for count in steps])
        panel.set(title=title(score), xlabel="steps")
    panels[0][0].legend(frameon=False, fontsize="small")
    figure.savefig(path, dpi=80)
    plt.close(figure)


if __name__ == "__main__":
    main()
