"""How well codes say who speaks: a linear probe on how often each of them occurs. Near chance is what conversion needs.

Ridge regression from the roots of relative frequencies (the Hellinger map, under which distances of histograms mean
the same at all frequencies) to one number for each speaker; the largest one is the guess. Closed form, by the rows,
which are fewer than the codes: W = X^T (X X^T + r N I)^-1 Y.
"""

from __future__ import annotations

import numpy as np

RIDGE = 1e-3  # regularisation, in parts of the number of pieces


def speaker_probe(counts: np.ndarray, who: np.ndarray, asked: np.ndarray) -> float:
    """The part of the asked pieces whose speaker it names; nan where none is asked, or none is left to fit on.

    counts: (P, K) how often each code occurs in a piece. who: (P,) its speaker, 0 ... S - 1. asked: (P,) bool, the
    pieces that it is asked about; it is fitted on the others.
    """
    if asked.all() or not asked.any():
        return float("nan")
    x = np.sqrt(counts / np.maximum(counts.sum(1, keepdims=True), 1))
    x = np.concatenate([x, np.ones((len(x), 1))], axis=1)
    wanted = np.eye(int(who.max()) + 1)[who]
    fit = x[~asked]
    weights = fit.T @ np.linalg.solve(fit @ fit.T + RIDGE * len(fit) * np.eye(len(fit)), wanted[~asked])
    return float(((x[asked] @ weights).argmax(1) == who[asked]).mean())
