"""Where training looks: random crops of a prepared corpus as a pure function of the step.

Because a batch depends on nothing but (seed, step), a run that resumes at a step sees what it would have seen.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike


def crops(
    frame_counts: ArrayLike, seed: int, step: int, batch_size: int, frames: int, weights: ArrayLike | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Positions of `batch_size` crops of `frames` frames: utterance index (B,) and first frame in it (B,), both int64.

    frame_counts: (N,) frames of each utterance. An utterance is drawn in proportion to its length, then every first
    frame that fits, 0 ... L - frames, is equally likely, the last one included. An utterance shorter than `frames` is
    drawn as often as its length says, always from frame 0: the caller fills the rest with silence.
    weights: (N,) positive, of each frame of an utterance: by length times weight instead.
    Pure: the same arguments give the same crops, on every machine and in any order of calls.
    """
    lengths = np.asarray(frame_counts, np.int64)
    if lengths.ndim != 1 or lengths.sum() <= 0:
        raise ValueError(f"crops need utterances with frames, got lengths of shape {lengths.shape} that sum to nothing")
    if seed < 0 or step < 0 or batch_size < 1 or frames < 1:
        raise ValueError(
            f"crops got seed {seed}, step {step}, batch_size {batch_size}, frames {frames}; expected >= 0 "
            "for the first two, >= 1 for the others"
        )
    # Philox is counter-based, and its raw words, unlike Generator's methods, are the same in every version of NumPy.
    words = np.random.Philox(key=np.array([seed, step], np.uint64)).random_raw((2, batch_size))
    which, where = (words >> np.uint64(11)) * 2.0**-53  # uniform in [0, 1)
    ends = np.cumsum(lengths)
    if weights is None:
        index = np.searchsorted(ends, (which * ends[-1]).astype(np.int64), side="right")
    else:
        shares = np.cumsum(lengths * np.asarray(weights, np.float64))
        index = np.minimum(np.searchsorted(shares, which * shares[-1], side="right"), len(lengths) - 1)
    first = (where * np.maximum(lengths[index] - frames + 1, 1)).astype(np.int64)
    return index, first
