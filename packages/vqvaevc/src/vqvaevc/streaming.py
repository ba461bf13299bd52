"""Speaking while the mel, or the recording, is still coming, or of one too long to be held: window by window.

    mel (and wave)   ...|<before>|<- piece ->|<- look-ahead ->|        windows of a fixed grid (core: streaming.pieces):
    told                         |<- piece ->|                         the pitch of a window, conditions, predictors
    said                         |.|.|.|.|.|.|                         frame by frame, by a stream that remembers
    settled             |<before>|<- piece ->|<- look-ahead ->|        Griffin-Lim on windows of what was said

`look_ahead` None is what `synthesize` does: windows of LONG frames, so that up to a minute is one window, the whole.
Models of codes of the wave need none of it: each code is heard as soon as it is made, 1,023 samples ahead (timing.py);
they are made condition.CODES at a time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from vocoder_core.recurrent.engine import CHUNK
from vocoder_core.recurrent.folds import together
from vocoder_core.speakers import Who
from vocoder_core.streaming.frames import heard_frames, in_portions
from vocoder_core.streaming.pieces import Grid, Source, Window, portions, windows
from vocoder_core.streaming.settling import settled_pieces, whole_grid

from . import conversion
from .condition import Conditioned, Frames, WaveCodes
from .generate import CodeStream, Sampling, Stream, of_units
from .tellers import Units
from .timing import UNIT

if TYPE_CHECKING:
    from .model import VQVAEVC

LONG, AROUND = 4096, 128  # frames of a piece, 66 s, and of its context
PIECE, BEFORE = 8, 32  # of a piece of a stream, 128 ms, and of what is before it
LOOK_AHEAD = 20  # frames, 320 ms; see the README


def grids(model: VQVAEVC, look_ahead: int | None, settle: int) -> tuple[Grid, Grid]:
    """Of what is told, and of settling. Raises ValueError for a look-ahead that is less than the decoder's own."""
    if look_ahead is None:
        return Grid(LONG, AROUND, AROUND), whole_grid(model.config.mel, settle)
    each = model.config.mel.hop_length // UNIT
    least = max(1, (each - 1 + model.timing.advance) // each)
    if look_ahead < least:
        raise ValueError(f"look_ahead is {look_ahead}; expected {least} or more frames, which this decoder hears ahead")
    return Grid(PIECE, BEFORE, look_ahead), Grid(PIECE, look_ahead, look_ahead)


@torch.inference_mode()
def spoken(model: VQVAEVC, rows: Sequence[Iterable[Tensor] | Source], how: Sampling) -> Iterator[Tensor]:
    """Waves (B, n * hop) of mels in portions (M, f), or of (hop + M, f): with the recording's frames before them.

    Raises ValueError as conversion.vocode does.
    """
    condition, hop = heard(model), model.config.mel.hop_length
    grid, settling = grids(model, how.look_ahead, how.settle)
    stream, each = Stream(model, len(rows), None, how), hop // UNIT
    step = max(1, CHUNK // hop) if how.look_ahead is None else 1

    def said() -> Iterator[tuple[Tensor, Tensor]]:
        for pieces in zip(*(_told(model, condition, row, grid) for row in rows)):
            first, units = (torch.cat([piece[0] for piece in pieces]), together([piece[1] for piece in pieces]))
            mels = torch.cat([piece[2] for piece in pieces])
            if stream.speech is None:
                stream.begin(first)
            for k in range(0, mels.shape[2], step):
                yield stream(units.cut(each * k, each * (k + step))), mels[..., k : k + step]

    for wav in settled_pieces(said(), model.config.mel, how.settle, settling):
        yield wav.clamp(-1, 1) if how.settle else wav


def heard(model: VQVAEVC) -> Frames:
    """The condition of a model that hears mels, of whoever speaks. Raises ValueError for another."""
    condition = model.condition
    if not isinstance(condition, Frames):
        raise ValueError(f"this model hears no mel: encoder.source is {model.config.encoder.source}")
    if model.config.overtone.speaker and model.speaker_size:
        raise ValueError("this model's decoder wants to know who speaks, which a mel does not say in its terms")
    return condition


@torch.inference_mode()
def copied(model: VQVAEVC, wav: Tensor | Iterator[Tensor], speaker: Who | None, how: Sampling) -> Iterator[Tensor]:
    """Waves (1, t) of a wave (T,), T whole frames, or of portions of it, as conversion.copy makes them.

    Raises ValueError for a voice that needs the whole recording.
    """
    pieces = wav if isinstance(wav, Iterator) else in_portions(wav, model.config.mel)
    like = next(model.parameters())
    if isinstance(model.condition, WaveCodes):
        who = model.who(speaker, like.new_zeros(1, 1)) if model.config.overtone.speaker else None
        yield from _by_codes(model, model.condition, (piece.to(like) for piece in pieces), who, how)
        return
    if speaker is not None:
        raise ValueError(
            f"{speaker} by codes of a mel, whose pitch is moved as a whole; expected the whole recording, or no speaker"
        )
    yield from spoken(model, [heard_frames(pieces, model.config.mel)], how)


def _by_codes(
    model: VQVAEVC, condition: WaveCodes, pieces: Iterator[Tensor], who: Tensor | None, how: Sampling
) -> Iterator[Tensor]:
    conversion.check_settle(how)
    stream, heard, said = CodeStream(model, who, how), 0, 0

    def counted() -> Iterator[Tensor]:
        nonlocal heard
        for piece in pieces:
            heard += len(piece)
            yield piece

    for codes in condition.codes_of(counted()):
        wav = stream(codes)[:, : max(0, heard - said)]  # the last codes reach beyond the end
        said += wav.shape[1]
        if wav.shape[1]:
            yield wav


def _told(
    model: VQVAEVC, condition: Frames, row: Iterable[Tensor] | Source, grid: Grid
) -> Iterator[tuple[Tensor, Units, Tensor]]:
    """Of each piece what was to be heard before it (1, D, units_before), what its units are told, its mel (1, M, n)."""
    config, before = model.config.mel, model.timing.units_before
    for window in windows(portions(row, grid.piece) if isinstance(row, Source) else row, grid):
        mel = model.checked(window.frames[-config.n_mels :])
        pitch = None
        if model.config.labels.pitch and len(window.frames) > config.n_mels:
            pitch = condition.pitch(window.frames[: config.hop_length].t().reshape(1, -1).to(mel))
        elif model.config.labels.pitch:
            pitch = condition.pitch_of_mel(mel)
        made = condition.told(mel, pitch)
        if made.filters is not None and not made.filters.isfinite().all():
            raise ValueError("a mel so loud that nothing can be predicted by it; expected that of a wave in [-1, 1]")
        samples = window.count * config.hop_length
        vectors = made.units(model.timing, window.before * config.hop_length, samples)
        assert vectors is not None, "a mel has frames"
        own = _own(made, window, config.hop_length // model.config.labels.block)
        units = of_units(model, vectors, own, 1, samples // UNIT)
        yield vectors[..., :before], units, window.own(mel)


def _own(made: Conditioned, window: Window, blocks: int) -> Conditioned:
    """What is told of the blocks of a window's piece."""
    first, last = window.before * blocks, (window.before + window.count) * blocks
    parts = [
        None if each is None else each[:, first:last] for each in (made.filters, made.gain, made.lag, made.voicing)
    ]
    return replace(made, filters=parts[0], gain=parts[1], lag=parts[2], voicing=parts[3])
