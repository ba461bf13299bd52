"""Noise schedules: how much noise (beta) each of a few steps from noise to speech stands for.

    betas (N,) -> level l_n = sqrt(prod_{m <= n} (1 - beta_m))    of signal left after n steps: from near 1 to near 0

Index 0 is the step next to the speech. WG-50/6/3: WaveGrad (Chen et al. 2021, arXiv 2009.00713) and SpecGrad (arXiv
2203.16749). PG-6/12: what PriorGrad's authors publish beside their code (Lee et al. 2021, arXiv 2106.06406).
`aligned_steps`: DiffWave, appendix B (Kong et al. 2021, arXiv 2009.09761).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np

from vocoder_core import config as configs

HIGHEST_SNR = 5e5  # at the last step of an even schedule: 57 dB, noise no one hears
ROUNDING = 1e-9  # two levels nearer than this are the same one


def linear(steps: int, start: float = 1e-4, end: float = 0.05) -> tuple[float, ...]:
    """Betas on a straight line. Good from some 50 steps on; for fewer take `even`."""
    return tuple(np.linspace(start, end, steps).tolist())


def even(steps: int, training: Sequence[float]) -> tuple[float, ...]:
    """Betas of equal steps of log SNR, from 57 dB (or the training's first level) to the training's last level."""
    first, last = levels(training)[[0, -1]] ** 2
    highest = min(np.log(first / (1 - first)), np.log(HIGHEST_SNR))
    falling = np.linspace(highest, np.log(last / (1 - last)), steps) if steps > 1 else np.log([last / (1 - last)])
    alpha_bar = np.concatenate([[1.0], 1 / (1 + np.exp(-falling))])
    return tuple((1 - alpha_bar[1:] / alpha_bar[:-1]).tolist())


#: name -> betas
SCHEDULES: Mapping[str, tuple[float, ...]] = MappingProxyType(
    {
        "wg50": linear(50),
        "wg6": (7e-6, 1.4e-4, 2.1e-3, 2.8e-2, 3.5e-1, 7e-1),
        "wg3": (3e-4, 6e-2, 9e-1),
        "pg12": (1e-4, 5e-4, 8e-4, 1e-3, 5e-3, 8e-3, 1e-2, 0.05, 0.08, 0.1, 0.2, 0.5),
        "pg6": (1e-4, 1e-3, 1e-2, 0.05, 0.2, 0.5),
    }
)


def levels(betas: Sequence[float]) -> np.ndarray:
    """sqrt(abar) (N,), float64, falling. Raises ValueError unless there are betas and all lie between 0 and 1."""
    values = np.asarray(betas, dtype=np.float64)
    if values.ndim != 1 or not len(values) or not np.all((values > 0) & (values < 1)):
        raise ValueError(f"a schedule of betas {list(betas)}; expected one or more numbers between 0 and 1")
    return np.sqrt(np.cumprod(1 - values))


def aligned_steps(betas: Sequence[float], training: Sequence[float]) -> np.ndarray:
    """Steps (N,) in [0, S - 1], fractions between two, at which a net trained on S discrete levels has those of betas.

    Raises ValueError for a level that no training step had: public code leaves such steps out without a word.
    """
    wanted, known = levels(betas), levels(training)
    _within(wanted, float(known[-1]), float(known[0]))
    # np.interp needs rising abscissae, levels fall
    return np.interp(-wanted, -known, np.arange(len(known), dtype=np.float64))


def reachable(betas: Sequence[float], training: Sequence[float]) -> np.ndarray:
    """`levels` of betas for a net trained on all levels from 1 down to the training's last. Raises as aligned_steps."""
    wanted = levels(betas)
    _within(wanted, float(levels(training)[-1]), 1.0)
    return wanted


def choose(
    choice: str | Path | Sequence[float] | None, steps: int | None, training: Sequence[float]
) -> tuple[float, ...]:
    """Betas for a name in SCHEDULES, "linear" or "even" (with `steps`), a YAML file of `betas: [...]`, or betas.

    None: the published schedule of that many steps if the training went as far as it does, else even steps.
    Raises ValueError for an unknown name, a bad file, or where steps contradicts the schedule.
    """
    if steps is not None and steps < 1:
        raise ValueError(f"steps is {steps}; expected 1 or more")
    if choice is None or choice in ("even", "linear"):
        if steps is None:
            raise ValueError(f"schedule is {choice}; expected a number of steps beside it")
        if choice == "linear":
            return linear(steps)
        return (_published(steps, training) if choice is None else None) or even(steps, training)
    betas = _named(str(choice)) if isinstance(choice, (str, Path)) else tuple(float(beta) for beta in choice)
    levels(betas)
    if steps is not None and steps != len(betas):
        raise ValueError(f"steps is {steps}, the schedule {choice} has {len(betas)} betas; leave one of the two out")
    return betas


@dataclass(frozen=True)
class _File:
    """What a schedule's YAML file holds."""

    betas: tuple[float, ...] = ()


def _named(name: str) -> tuple[float, ...]:
    if name in SCHEDULES:
        return SCHEDULES[name]
    if Path(name).suffix in (".yaml", ".yml"):
        return configs.load(_File, name).betas
    names = ", ".join([*SCHEDULES, "linear", "even"])
    raise ValueError(f"schedule is {name!r}; expected one of {names} or a YAML file")


def _published(steps: int, training: Sequence[float]) -> tuple[float, ...] | None:
    reach = levels(training)[-1] - ROUNDING
    return next((betas for betas in SCHEDULES.values() if len(betas) == steps and levels(betas)[-1] >= reach), None)


def _within(wanted: np.ndarray, lowest: float, highest: float) -> None:
    outside = (wanted < lowest - ROUNDING) | (wanted > highest + ROUNDING)
    if outside.any():
        at = int(outside.argmax())
        raise ValueError(
            f"step {at + 1} of the schedule has signal level {wanted[at]:.6f}, the network was trained on "
            f"{lowest:.6f} to {highest:.6f}; use another schedule, or a network trained on continuous levels"
        )
