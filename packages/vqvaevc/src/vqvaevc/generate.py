"""From what the decoder is told to waves: seeds, backend, units. One sample: cell.py, kernel.py; loops: the engine.

A seed names one utterance: alone, in a batch, in one piece, or streamed in blocks (vocoder_core.recurrent.draws).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from vocoder_core.recurrent import engine
from vocoder_core.recurrent.draws import check_temperature, stream_keys
from vocoder_core.recurrent.narrow import Precision, check_precision
from vocoder_core.recurrent.replay import Replayed
from vocoder_core.recurrent.streams import TIERS, Backend, choose

from .cell import Cell
from .condition import Conditioned, WaveCodes
from .packed import Packed
from .tellers import Units
from .timing import UNIT
from .warmup import Past, warmed

if TYPE_CHECKING:
    from .model import VQVAEVC


@dataclass(frozen=True)
class Sampling:
    """How samples are drawn."""

    temperature: float = 1.0  # 0: the likeliest class every time
    settle: int = 0  # steps of Griffin-Lim that bring the wave to the mel it was made by
    seed: int | Sequence[int] | None = None  # one for all rows, one for each, or None: any
    backend: Backend = "auto"  # "torch"; CUDA: "graph"; a CPU: "numba", "int8", "int16"; auto: graph or numba
    progress: bool = False
    precision: Precision = "fp32"  # of the weights in a graph; "bf16", "fp16": half as much is read
    look_ahead: int | None = None  # frames heard ahead, as streaming.py has it; None: all

    def __post_init__(self) -> None:
        if self.settle < 0:
            raise ValueError(f"settle is {self.settle}; expected 0 or more steps")


@torch.inference_mode()
def generate(
    model: VQVAEVC, made: Conditioned, samples: int, speaker: Tensor | None, how: Sampling, past: Past | None = None
) -> Tensor:
    """Waves (B, samples) by what the condition made of them, said by speakers (B, S).

    samples: a multiple of 64. past: what was before them; None: silence.
    Raises ValueError for a wrong temperature, backend, precision, number of seeds or of samples.
    """
    if samples % UNIT:
        raise ValueError(f"generate got {samples} samples; expected a multiple of {UNIT}")
    told, rows = made.units(model.timing, 0, samples), _rows(made, speaker)
    stream = Stream(model, rows, speaker, how, past)
    if not rows or not samples:
        return torch.empty(rows, samples, device=next(model.parameters()).device)
    speech = stream.begin(None if told is None else told[..., : model.timing.units_before])
    return speech.all(of_units(model, told, made, rows, samples // UNIT), how.progress, f"x {UNIT} samples")


class Stream:
    """Rows of speech that are made unit by unit, and remember what they said.

    stream = Stream(model, 1, speaker, Sampling(seed=1))
    stream.begin(first)             # vectors (B, D, timing.units_before): what was to be heard before the first sample
    wav = stream(units)             # the next samples, as many as there are units
    """

    def __init__(
        self, model: VQVAEVC, rows: int, speaker: Tensor | None, how: Sampling, past: Past | None = None
    ) -> None:
        """Raises ValueError for a wrong temperature, backend, precision or number of seeds."""
        check_temperature(how.temperature)
        self.model, self.rows, self.speaker, self.how, self.past = model, rows, speaker, how, past
        self.keys = stream_keys(how.seed, rows)
        self.kind = choose(how.backend, next(model.parameters()).device, TIERS)
        check_precision(how.precision, self.kind)
        self.speech: engine.Stream | None = None

    @torch.inference_mode()
    def begin(self, vectors: Tensor | None) -> engine.Stream:
        """What was to be heard before the first sample, (B, D, timing.units_before), or None without a condition."""
        past = Past.silence(self.model, self.rows) if self.past is None else self.past
        state, temperature = warmed(self.model, past, vectors, self.speaker), self.how.temperature
        loop: engine.Loop
        if self.kind == "torch":
            loop = engine.TorchLoop(Cell(self.model, state, self.speaker), temperature)
        elif self.kind == "graph":
            loop = Replayed(Cell(self.model, state, self.speaker), temperature, self.how.precision)
        else:
            tier = self.kind if self.kind == "int8" or self.kind == "int16" else None
            device = next(self.model.parameters()).device
            loop = engine.CompiledLoop(Packed(self.model, state, self.speaker, tier), temperature, device)
        self.speech = engine.Stream(loop, self.keys)
        return self.speech

    def __call__(self, units: Units) -> Tensor:
        """Waves (B, 64 K) of the next K units."""
        assert self.speech is not None, "begin comes first"
        return self.speech(units)


class CodeStream:
    """A voice that is fed codes block by block, and speaks as soon as it can: for models whose codes are of the wave.

    stream = CodeStream(model, speaker, Sampling(seed=1))
    wav = stream(codes)             # (B, N) -> (B, T'), nothing until the codes before the first sample are there
    """

    def __init__(self, model: VQVAEVC, speaker: Tensor | None, how: Sampling, rows: int = 1) -> None:
        """Raises ValueError for a model whose codes are made of whole utterances, and as Stream does."""
        if model.config.encoder.source != "wave":
            raise ValueError(
                f"a stream of codes with encoder.source {model.config.encoder.source}; expected wave, whose codes are "
                "heard one by one: give `generate` the whole utterance"
            )
        self.model, self.stream = model, Stream(model, rows, speaker, how)
        self.waiting = torch.zeros(rows, model.condition.channels, 0, device=next(model.parameters()).device)

    @torch.inference_mode()
    def __call__(self, codes: Tensor) -> Tensor:
        """Waves (B, T') that N more codes (B, N) allow."""
        condition = self.model.condition
        assert isinstance(condition, WaveCodes), "checked when it was made"
        units = condition.decode(codes).units_
        assert units is not None, "codes have vectors"
        self.waiting = torch.cat([self.waiting, units], dim=2)
        before = self.model.timing.units_before
        if self.stream.speech is None and self.waiting.shape[2] >= before:
            self.stream.begin(self.waiting[..., :before])
            self.waiting = self.waiting[..., before:]
        if self.stream.speech is None:
            return self.waiting.new_zeros(len(codes), 0)
        part, self.waiting = self.waiting, self.waiting[..., :0]
        return self.stream(of_units(self.model, part, Conditioned(), len(codes), part.shape[2], skip=0))


def of_units(
    model: VQVAEVC, vectors: Tensor | None, made: Conditioned, rows: int, count: int, skip: int | None = None
) -> Units:
    """What the loops are told of `count` units of B rows, from sample 0 on.

    vectors (B, D, skip + units), skip: timing.units_before unless said otherwise.
    """
    like = next(model.parameters())
    skip = model.timing.units_before if skip is None else skip
    heard = like.new_zeros(rows, 0, count) if vectors is None else vectors[..., skip : skip + count].to(like)
    blocks = count * UNIT // model.config.labels.block if made.gain is not None else count
    ones = like.new_ones(rows, blocks)
    filters = ones[..., None] if made.filters is None else made.filters[:, :blocks]
    return Units(
        heard, filters, *(ones if x is None else x[:, :blocks].to(like) for x in (made.gain, made.lag, made.voicing))
    )


def _rows(made: Conditioned, speaker: Tensor | None) -> int:
    """Rows of whatever is told; 1 where nothing is."""
    for part in (made.units_, made.frames, speaker):
        if part is not None:
            return len(part)
    return 1
