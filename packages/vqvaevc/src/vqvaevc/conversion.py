"""encode, decode, convert: speech as codes, codes as speech, and a recording in the voices of others.

    wav -- condition.encode --> Codes (and pitch) -- condition.decode, who --> Conditioned -- generate --> wav

Several targets are the rows of one batch: the codes are made once, and so is each pass over the decoder's weights.
"""

from __future__ import annotations

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
        return Codes(condition.encode(batch), wav.shape[1])
    codes, pitch = condition.encode(batch)
    return Codes(codes, wav.shape[1], pitch)


def decode(model: VQVAEVC, codes: Codes, speaker: Who | None, how: Sampling) -> Tensor:
    """Waves (B, T) of codes, said by speakers, in the range of their voices where the model knows it.

    Raises ValueError for what is no code, or nobody known.
    """
    where = next(model.parameters()).device
    pitch = None if codes.pitch is None else codes.pitch.to(where)
    codes = Codes(codes.codes.to(where), codes.samples, pitch)
    who = model.who(speaker, codes.codes)
    made = described(model, codes, who, voices(model, speaker, len(codes.codes)))
    return generate(model, made, codes.samples, who if model.config.overtone.speaker else None, how)


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
    return condition.decode(codes.codes, codes.pitch, who, voice_of)


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
    """Waves (B, T) again. With a speaker: through codes, in his voice. Without: as the decoder alone can say them.

    A model of the wave has nothing but codes; a model of mels, a codec's decoder too, hears mel and pitch as they are.
    """
    if model.quantizer is not None and (speaker is not None or isinstance(model.condition, WaveCodes)):
        return decode(model, encode(model, wav), speaker, how)
    batch = wav.to(next(model.parameters()))
    if isinstance(model.condition, Frames):
        if speaker is not None:
            model.who(speaker, batch)  # says that it has none
        return vocode(model, log_mel(batch, model.config.mel), model.condition.pitch(batch), how)
    made = model.condition(batch, batch, 0, None, None)
    who = model.who(speaker, batch) if model.config.overtone.speaker else None
    return generate(model, made, wav.shape[1], who, how)


def _coded(model: VQVAEVC) -> WaveCodes | Codec:
    """The condition of a model that has codes; ValueError of another."""
    condition = model.condition
    if model.quantizer is None:
        raise ValueError(f"this model has no codes: encoder.source is {model.config.encoder.source}")
    return cast("WaveCodes | Codec", condition)
