"""encode, decode, convert: speech as codes, codes as speech, and a recording in the voices of others.

    wav -- condition.encode --> Codes (and pitch) -- condition.decode, who --> Conditioned -- generate --> wav

Several targets are the rows of one batch: the codes are made once, and so is each pass over the decoder's weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from torch import Tensor

from vocoder_core.mel import log_mel
from vocoder_core.speakers import Who, numbers

from .condition import Conditioned, Frames, WaveCodes
from .generate import Sampling, generate

if TYPE_CHECKING:
    from .codec import Codec
    from .model import VQVAEVC


@dataclass(frozen=True)
class Codes:
    """What was said: codes (B, N) int64 of waves of T samples, and where the model keeps it the pitch, (B, F) each."""

    codes: Tensor
    samples: int
    lag: Tensor | None = None  # of one period, in samples
    voicing: Tensor | None = None  # 0 to 1

    def rows(self, count: int) -> Codes:
        """The same for `count` rows, of one row."""
        parts = (self.codes, self.lag, self.voicing)
        codes, lag, voicing = (None if part is None else part.expand(count, -1) for part in parts)
        assert codes is not None, "there are codes"
        return Codes(codes, self.samples, lag, voicing)


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
        return Codes(condition.encode(batch), wav.shape[1])
    mel = log_mel(batch, model.config.mel)
    return Codes(condition.encode(mel), wav.shape[1], *(condition.pitch(batch) or (None, None)))


def decode(model: VQVAEVC, codes: Codes, speaker: Who | None, how: Sampling) -> Tensor:
    """Waves (B, T) of codes, said by speakers. Raises ValueError for what is no code, or nobody known."""
    who = model.who(speaker, codes.codes)
    made = described(model, codes, who)
    return generate(model, made, codes.samples, who if model.config.overtone.speaker else None, how)


def convert(model: VQVAEVC, wav: Tensor, target: Who, how: Sampling) -> Tensor:
    """What one wave (1, T) says in the voices of targets: (targets, T). What B waves say, each by one: (B, T)."""
    codes = encode(model, wav)
    rows = 1 if isinstance(target, str) else len(target)
    if len(wav) == 1 and rows > 1:
        codes = codes.rows(rows)
    return decode(model, moved(model, codes, target), target, how)


def moved(model: VQVAEVC, codes: Codes, target: Who) -> Codes:
    """The codes with their pitch where the target's is; as they are where there is none, or targets without names."""
    condition = _coded(model)
    if codes.lag is None or codes.voicing is None or model.speakers is None or isinstance(condition, WaveCodes):
        return codes
    if isinstance(target, Tensor):
        if target.is_floating_point():
            return codes
        places = target
    else:
        names: Sequence[str] = [target] * len(codes.codes) if isinstance(target, str) else target
        places = numbers(names, model.speakers.names)
    lag = condition.transposed(codes.lag, codes.voicing, places.to(codes.lag.device))
    return Codes(codes.codes, codes.samples, lag, codes.voicing)


def described(model: VQVAEVC, codes: Codes, who: Tensor | None) -> Conditioned:
    """What the decoder is told of codes said by speakers (B, S)."""
    condition = _coded(model)
    if isinstance(condition, WaveCodes):
        return condition.decode(codes.codes)
    frames = codes.samples // model.config.mel.hop_length
    return condition.decode(codes.codes, who, codes.lag, codes.voicing, frames)


def vocode(model: VQVAEVC, mel: Tensor, pitch: tuple[Tensor, Tensor] | None, how: Sampling) -> Tensor:
    """Waves (B, F * hop) of mels (B, M, F), as a vocoder. Raises ValueError for a model that hears no mel."""
    condition = model.condition
    if not isinstance(condition, Frames):
        raise ValueError(f"this model hears no mel: encoder.source is {model.config.encoder.source}")
    if pitch is None and model.config.labels.pitch:
        pitch = condition.pitch_of_mel(mel)
    made = condition.told(mel, pitch)
    who = None
    if model.config.overtone.speaker and model.speaker_size:
        raise ValueError("this model's decoder wants to know who speaks, which a mel does not say in its terms")
    return generate(model, made, mel.shape[2] * model.config.mel.hop_length, who, how)


def copy(model: VQVAEVC, wav: Tensor, speaker: Who | None, how: Sampling) -> Tensor:
    """Waves (B, T) again: through codes where the model has them, else by what the decoder is told of them."""
    if model.quantizer is not None:
        return decode(model, encode(model, wav), speaker, how)
    batch = wav.to(next(model.parameters()))
    made = model.condition(batch, batch, 0, None, None)
    who = model.who(speaker, batch) if model.config.overtone.speaker else None
    return generate(model, made, wav.shape[1], who, how)


def _coded(model: VQVAEVC) -> WaveCodes | Codec:
    """The condition of a model that has codes; ValueError of another."""
    condition = model.condition
    if model.quantizer is None:
        raise ValueError(f"this model has no codes: encoder.source is {model.config.encoder.source}")
    return cast("WaveCodes | Codec", condition)
