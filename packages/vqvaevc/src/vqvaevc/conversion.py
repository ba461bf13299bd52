"""encode, decode, convert: speech as codes, codes as speech, and a recording in the voices of others.

    wav -- condition.encode --> Codes (and pitch) -- condition.decode, who --> Conditioned -- generate --> wav

Several targets are the rows of one batch: the codes are made once, and so is each pass over the decoder's weights.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor

from vocoder_core.griffinlim import settled
from vocoder_core.mel import log_mel
from vocoder_core.speakers import Who, numbers
from vocoder_core.streaming.frames import heard_frames, in_portions
from vocoder_core.streaming.pieces import InMemory

from .condition import Conditioned, Frames, WaveCodes
from .generate import Sampling, generate

if TYPE_CHECKING:
    from .codec import Codec
    from .model import VQVAEVC


@dataclass(frozen=True)
class Codes:
    """What was said: codes (B, N) int64 of waves of T samples; of models that keep it the pitch (B, F), numbered."""

    codes: Tensor
    samples: int
    pitch: Tensor | None = None  # int64, 0 unvoiced, as pitch.py numbers it

    def rows(self, count: int) -> Codes:
        """The same for `count` rows, of one row."""
        pitch = None if self.pitch is None else self.pitch.expand(count, -1)
        return Codes(self.codes.expand(count, -1), self.samples, pitch)


def encode(model: VQVAEVC, wav: Tensor) -> Codes:
    """Codes of waves (B, T). Raises ValueError for a model without codes, and for other shapes."""
    condition = _coded(model)
    hop = model.config.mel.hop_length
    if wav.dim() != 2 or not wav.is_floating_point() or not wav.shape[1] or wav.shape[1] % hop:
        raise ValueError(
            f"encode got a {wav.dtype} wave of shape {tuple(wav.shape)}; expected float (B, T), T a multiple of {hop}"
        )
    batch = wav.to(next(model.parameters()))
    if isinstance(condition, WaveCodes):
        return Codes(torch.cat([condition.encode(row) for row in batch.split(1)]), wav.shape[1])
    rows = [condition.encode(row) for row in batch.split(1)]
    pitch = [each for _, each in rows if each is not None]
    return Codes(torch.cat([codes for codes, _ in rows]), wav.shape[1], torch.cat(pitch) if pitch else None)


def decode(model: VQVAEVC, codes: Codes, speaker: Who | None, how: Sampling) -> Tensor:
    """Waves (B, T) of codes, said by speakers, in the range of their voices where the model knows it.

    Raises ValueError for what is no code, or nobody known.
    """
    where = next(model.parameters()).device
    pitch = None if codes.pitch is None else codes.pitch.to(where)
    codes = Codes(codes.codes.to(where), codes.samples, pitch)
    who = model.who(speaker, codes.codes)
    made = described(model, codes, who, voices(model, speaker, len(codes.codes)))
    return spoken(model, made, codes.samples, who if model.config.overtone.speaker else None, how)


def convert(model: VQVAEVC, wav: Tensor, target: Who, how: Sampling) -> Tensor:
    """What one wave (1, T) says in the voices of targets: (targets, T). What B waves say, each by one: (B, T)."""
    codes = encode(model, wav)
    rows = 1 if isinstance(target, str) else len(target)
    if len(wav) == 1 and rows > 1:
        codes = codes.rows(rows)
    return decode(model, codes, target, how)


def voices(model: VQVAEVC, speaker: Who | None, rows: int) -> Tensor | None:
    """Mean and deviation of each row's speaker's log F0 (rows, 2); None where that is not known, or not who speaks."""
    known = getattr(model.condition, "voices", None)
    if known is None or model.speakers is None or speaker is None:
        return None
    if isinstance(speaker, Tensor):  # vectors are nobody's in particular
        return None if speaker.is_floating_point() else known[speaker.to(known.device)]
    names = [speaker] * rows if isinstance(speaker, str) else speaker
    return known[numbers(names, model.speakers.names).to(known.device)]


def described(model: VQVAEVC, codes: Codes, who: Tensor | None, voice_of: Tensor | None = None) -> Conditioned:
    """What the decoder is told of codes said by speakers (B, S), the pitch moved into ranges (B, 2)."""
    condition = _coded(model)
    if isinstance(condition, WaveCodes):
        return condition.decode(codes.codes)

    def made(row: slice) -> Conditioned:
        pitch, speaker, voice = (None if each is None else each[row] for each in (codes.pitch, who, voice_of))
        return condition.decode(codes.codes[row], pitch, speaker, voice)

    return row_by_row(made, len(codes.codes))


def row_by_row(made: Callable[[slice], Conditioned], rows: int) -> Conditioned:
    """What `made` of each row alone: in a batch sums round otherwise, and a bit turns a sample and all after it."""
    alone = [made(slice(row, row + 1)) for row in range(rows)]
    together: dict[str, Any] = {
        field.name: torch.cat([getattr(one, field.name) for one in alone])
        for field in fields(Conditioned)
        if isinstance(getattr(alone[0], field.name), Tensor)
    }
    return replace(alone[0], **together)


def vocode(model: VQVAEVC, mel: Tensor, pitch: tuple[Tensor, Tensor] | None, how: Sampling) -> Tensor:
    """Waves (B, F * hop) of mels (B, M, F), as a vocoder. Raises ValueError for a model that hears no mel."""
    from . import streaming

    condition = streaming.heard(model)
    if mel.shape[2] and (how.look_ahead is not None or (pitch is None and mel.shape[2] > streaming.LONG)):
        return torch.cat(list(streaming.spoken(model, [InMemory(row) for row in mel], how)), dim=1)

    def made(row: slice) -> Conditioned:
        track = (pitch[0][row], pitch[1][row]) if pitch is not None else None
        if track is None and model.config.labels.pitch:
            track = condition.pitch_of_mel(mel[row])
        return condition.told(mel[row], track)

    samples = mel.shape[2] * model.config.mel.hop_length
    return spoken(model, row_by_row(made, len(mel)), samples, None, how)


def copy(model: VQVAEVC, wav: Tensor, speaker: Who | None, how: Sampling) -> Tensor:
    """Waves (B, T) again. With a speaker: through codes, in his voice. Without: as the decoder alone can say them.

    A model of the wave has nothing but codes; a model of mels, a codec's decoder too, hears mel and pitch as they are.
    """
    from . import streaming

    if model.quantizer is not None and (speaker is not None or isinstance(model.condition, WaveCodes)):
        return decode(model, encode(model, wav), speaker, how)
    batch = wav.to(next(model.parameters()))
    if isinstance(model.condition, Frames):
        if speaker is not None:
            model.who(speaker, batch)  # says that it has none
        if how.look_ahead is not None or batch.shape[1] > streaming.LONG * model.config.mel.hop_length:
            frames = [heard_frames(in_portions(row, model.config.mel), model.config.mel) for row in batch]
            return torch.cat(list(streaming.spoken(model, frames, how)), dim=1)
        mel = torch.cat([log_mel(row, model.config.mel) for row in batch.split(1)])
        tracks = [track for row in batch.split(1) if (track := model.condition.pitch(row)) is not None]
        pitch = (torch.cat([lag for lag, _ in tracks]), torch.cat([v for _, v in tracks])) if tracks else None
        return vocode(model, mel, pitch, how)
    made = model.condition(batch, batch, 0, None, None)
    who = model.who(speaker, batch) if model.config.overtone.speaker else None
    return spoken(model, made, wav.shape[1], who, how)


def check_settle(how: Sampling) -> None:
    """Raises ValueError for steps of settling, of a decoder that hears no mel."""
    if how.settle:
        raise ValueError(f"settle is {how.settle}; this model's decoder hears no mel to settle on, expected 0")


def spoken(model: VQVAEVC, made: Conditioned, samples: int, who: Tensor | None, how: Sampling) -> Tensor:
    """Waves (B, samples), settled on the mel that they were made by as far as `how` says."""
    if made.mel is None:
        check_settle(how)
    if made.filters is not None and not made.filters.isfinite().all():
        raise ValueError("a mel so loud that nothing can be predicted by it; expected that of a wave in [-1, 1]")
    wav = generate(model, made, samples, who, how)
    if not how.settle or made.mel is None:
        return wav
    rows = (settled(row[None], mel[None], model.config.mel, how.settle) for row, mel in zip(wav, made.mel))
    return torch.cat(list(rows)).clamp(-1, 1) if len(wav) else wav


def _coded(model: VQVAEVC) -> WaveCodes | Codec:
    """The condition of a model that has codes; ValueError of another."""
    condition = model.condition
    if model.quantizer is None:
        raise ValueError(f"this model has no codes: encoder.source is {model.config.encoder.source}")
    return cast("WaveCodes | Codec", condition)
