"""Timing: which sample of the wave meets which step of which network. Every delay and pad of the package is here.

Four networks run at four rates, each fed by the one above it. A convolution's output ends where the last sample it
read ends, so that an output of a slow network and one of a fast network belong together when they end together:

    samples read           0                                              u
    conv0   k4 s2, k4 s2   [..........]  10 samples an output, every 4     output i ends at  4 i +   9
    conv1   the same       [...............................] every 16       output i ends at 16 i +  45
    conv2   the same       [...................................] every 64   output i ends at 64 i + 189

Each GRU's state begins at zero, so its first W = 64 outputs are thrown away; the next network begins there:

    0        189              4285       5309     5565   5629                      u: samples read
    |--conv2--|--W x 64 rnn0---|--W x 16--|--W x 4--|--W--|--- n predicted samples ---|
                               rnn1 begins  rnn2 begins   WaveRNN's first loss
                               with conv1's  with conv0's
                               output 265    output 1325

Codes: code j meets conv2's output j, and is `advance` = 15 units of 64 samples ahead of it, so that

    code j sees    [189 + 64 (j + 15) - 486 ......................... 189 + 64 (j + 15) + 63]    550 samples
    it is heard from sample 64 j + 189 on, hence the look-ahead of 64 * 15 + 63 = 1,023 samples, 46 ms at 22.05 kHz

"Sample u is read" means that the networks know what lies before it: x[u] = (sample u - 1, and its coarse half u).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

UNIT = 64  # samples a step of the slowest network: 4 ** 3
KERNEL = 4
CONTEXT_ENDS = (9, 45, 189)  # where the first output of conv0, conv1 and conv2 ends
RATES = (4, 16, 64)  # samples an output of theirs


@dataclass(frozen=True)
class Timing:
    """All in samples, and relative to the first sample that the context stack reads, unless said otherwise."""

    warmup: int = 64  # W, steps of each GRU that are thrown away
    advance: int = 15  # units that a condition is ahead of the sample it is heard at
    hop: int = UNIT  # of the codes, a multiple of UNIT
    field: int = 550  # samples that one code sees

    def __post_init__(self) -> None:
        if self.warmup < 1 or self.warmup % UNIT or self.advance < 0 or self.hop % UNIT:
            raise ValueError(
                f"overtone.warmup is {self.warmup}, overtone.advance {self.advance}, a code {self.hop} samples; "
                f"expected multiples of {UNIT}, and 0 or more units ahead"
            )

    @property
    def rnn(self) -> tuple[int, int, int]:
        """Where rnn0, rnn1 and rnn2 are first heard: 4285, 5309, 5565."""
        r0 = CONTEXT_ENDS[2] + self.warmup * RATES[2]
        r1 = r0 + self.warmup * RATES[1]
        return r0, r1, r1 + self.warmup * RATES[0]

    @property
    def left(self) -> int:
        """Samples before the first predicted one: 5629."""
        return self.rnn[2] + self.warmup

    @property
    def units_before(self) -> int:
        """Units of condition that are spent before the first predicted sample: 85. left = 189 + 64 * 85."""
        return (self.left - CONTEXT_ENDS[2]) // UNIT

    @property
    def skips(self) -> tuple[int, int]:
        """The outputs of conv1 and conv0 with which rnn1 and rnn2 begin: 265, 1325."""
        return (self.rnn[0] - CONTEXT_ENDS[1]) // RATES[1], (self.rnn[1] - CONTEXT_ENDS[0]) // RATES[0]

    @property
    def look_ahead(self) -> int:
        """Samples after the one predicted that its condition may have seen: 1023."""
        return UNIT * self.advance + self.hop - 1

    @property
    def right(self) -> int:
        """Samples after the last predicted one that the codes of a training window reach: 960."""
        return UNIT * self.advance + self.hop - UNIT

    @property
    def encoder_start(self) -> int:
        """The first sample that code 0 sees: 663."""
        return CONTEXT_ENDS[2] + UNIT * self.advance + self.hop - self.field

    @property
    def before(self) -> int:
        """Samples before the first predicted one that a training window holds: 5629; more where code 0 sees more."""
        return max(self.left, self.left - self.encoder_start)

    def units(self, samples: int) -> int:
        """Units of condition for `left` + samples read: 101 of 1024. samples: a multiple of UNIT."""
        return self.units_before + samples // UNIT


def code_hop(strides: tuple[int, ...]) -> int:
    """Samples a code of an encoder of these strides."""
    return prod(strides)


def code_field(strides: tuple[int, ...]) -> int:
    """Samples that one code sees: 550 of the original's strides. Every layer reads KERNEL of the one below."""
    field, step = 1, 1
    for stride in strides:
        field += (KERNEL - 1) * step
        step *= stride
    return field


def timed(source: str, strides: tuple[int, ...], warmup: int, advance: int) -> Timing:
    """The delays and pads of a model whose condition has that source, encoder.strides of the wave's."""
    if source == "wave":
        return Timing(warmup, advance, code_hop(strides), code_field(strides))
    return Timing(warmup, advance)
