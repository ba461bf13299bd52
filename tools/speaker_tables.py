"""Tables of ab_speakers.py: means, intervals over speakers (or recordings of a few speakers), paired differences."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

Row = dict[str, Any]
Systems = dict[str, dict[str, dict[str, float]]]  # system -> speaker, or recording -> score -> mean
SCORES = ("mcd", "mcd_world", "f0_rmse", "vuv_f1", "speaker_cosine")
MEAN = "mean of all"
ENOUGH = 8  # speakers to resample


def report(rows: Sequence[Row]) -> str:
    """speakers.md."""
    parts = []
    for group, against in (("seen", first_of), ("unseen", mean_of)):
        own = [row for row in rows if row["group"] == group]
        speakers = len({row["speaker"] for row in own})
        unit = "speakers" if speakers >= ENOUGH else f"recordings of {speakers} speakers"
        systems = by_system(own, lambda row: f"{row['model']}, {row['told']}")
        if systems:
            parts += [f"### Speakers that training has {'' if group == 'seen' else 'not '}heard; n {unit}\n"]
            parts += [lines({name: [*one.values()] for name, one in systems.items()}), "Differences, paired:\n"]
            parts += [differences(systems, against)]
    return "\n".join(parts)


def by_system(rows: Sequence[Row], name: Callable[[Row], str]) -> Systems:
    """Means of every score, of each speaker, or where these are few of each recording."""
    found: dict[str, dict[str, list[Row]]] = {}
    unit = "speaker" if len({row["speaker"] for row in rows}) >= ENOUGH else "utterance"
    for row in rows:
        found.setdefault(name(row), {}).setdefault(row[unit], []).append(row)
    names = [key for key in ("bits", *SCORES) if any(key in row for row in rows)]
    return {
        system: {who: {key: mean([row[key] for row in own]) for key in names} for who, own in speakers.items()}
        for system, speakers in found.items()
    }


def mean(values: Sequence[float]) -> float:
    """The mean of what is not NaN; NaN where everything is."""
    known = [value for value in values if not np.isnan(value)]
    return float(np.mean(known)) if known else float("nan")


def first_of(system: str, systems: Systems) -> str:
    """The system that a model of seen speakers is compared with."""
    return next(iter(systems))


def mean_of(system: str, systems: Systems) -> str:
    """The same model that is told the mean of all."""
    return f"{system.rpartition(', ')[0]}, {MEAN}"


def differences(systems: Systems, against: Callable[[str, Systems], str]) -> str:
    """A line a system: its scores minus those of the one it is compared with, one by one."""
    found = {}
    for name, speakers in systems.items():
        other = against(name, systems)
        if other in systems and other != name:
            both = [who for who in speakers if who in systems[other]]
            found[f"{name} minus {other}"] = [
                {key: value - systems[other][who][key] for key, value in speakers[who].items()} for who in both
            ]
    return lines(found) if found else "nothing to compare with\n"


def lines(rows: Mapping[str, Sequence[Mapping[str, float]]]) -> str:
    """A Markdown table of name -> rows of scores, one row a speaker or recording."""
    from vocoder_core.metrics import SCORES as KNOWN
    from vocoder_core.metrics import summarise
    from vocoder_core.metrics.tables import heading

    items = {item.name: item for item in KNOWN}
    keys = list(dict.fromkeys(key for own in rows.values() for row in own for key in row))
    heads = ["bits a sample ↓" if key == "bits" else heading(items[key]) for key in keys]
    text = ["| told | n | " + " | ".join(heads) + " |", "|:--|--:|" + "--:|" * len(keys)]
    for name, own in rows.items():
        summary, cells = summarise(own), []
        for key in keys:
            digits = 3 if key == "bits" else items[key].digits
            middle, low, high, _ = summary[key]
            told = f"{middle:.{digits}f}" + ("" if np.isnan(low) else f" [{low:.{digits}f}, {high:.{digits}f}]")
            cells.append("–" if np.isnan(middle) else told)
        text.append(f"| {name} | {len(own)} | " + " | ".join(cells) + " |")
    return "\n".join(text) + "\n"
