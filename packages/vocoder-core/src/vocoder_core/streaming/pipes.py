"""Pipes: raw PCM from stdin, what is made of it to stdout, each piece as soon as it is made.

    stdin --pcm--> rate --> gain --> the vocoder --> gain and rate back --> stdout      as many samples as came in

16 bits, little-endian, one channel. Nothing else is written to stdout.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Iterator
from typing import BinaryIO

import numpy as np
import torch
from torch import Tensor

from .. import audio
from ..mel import MelConfig
from .frames import whole_frames
from .rates import resampled
from .restore import restored

AT_ONCE = 1 << 14  # bytes: half a second at 16 kHz

logger = logging.getLogger(__name__)


class Pcm:
    """Samples of a stream, float32 in [-1, 1), as they arrive; `samples`: how many came."""

    def __init__(self, stream: BinaryIO) -> None:
        self.stream, self.samples = stream, 0

    def __iter__(self) -> Iterator[np.ndarray]:
        left = b""
        while arrived := os.read(self.stream.fileno(), AT_ONCE):
            arrived = left + arrived
            whole = len(arrived) // 2 * 2
            left = arrived[whole:]
            codes = np.frombuffer(arrived[:whole], "<i2")
            self.samples += len(codes)
            yield codes.astype(np.float32) / np.float32(32768)
        if left:
            logger.warning("stdin ended in the middle of a sample; expected 16 bits each")


def through(
    work: Callable[[Iterator[Tensor]], Iterator[Tensor]], config: MelConfig, input_rate: int | None, own_rate: bool,
    gain_db: float,
) -> None:  # fmt: skip
    """What `work` makes of stdin (portions of a wave, whole frames together) to stdout.

    input_rate: of stdin, None: the model's. own_rate: the model's for stdout, else that of stdin.
    Raises ValueError where either is a terminal.
    """
    if sys.stdin.isatty() or sys.stdout.isatty():
        raise ValueError(
            "--stream with a terminal; expected a pipe or a file on stdin and on stdout: raw PCM is no text"
        )
    rate, gain = input_rate or config.sample_rate, 10 ** (gain_db / 20)
    heard = Pcm(sys.stdin.buffer)
    own = (torch.from_numpy(wav * np.float32(gain)) for wav in resampled(heard, rate, config.sample_rate))
    made, out = work(whole_frames(own, config.hop_length)), config.sample_rate if own_rate else rate

    def samples() -> int:
        return (2 * heard.samples * out + rate) // (2 * rate)

    for piece in restored(made, gain, config.sample_rate, out, samples):
        sys.stdout.buffer.write(audio.to_int16(piece).astype("<i2").tobytes())
        sys.stdout.buffer.flush()
