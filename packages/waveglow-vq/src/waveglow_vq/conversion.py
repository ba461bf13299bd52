"""encode, decode, convert: speech as codes and a speaker, and a recording in another one's voice.

resynth   wav -> codes -> condition of the target -> flow^-1 of fresh noise
invert    wav -> flow under its own condition -> z -> flow^-1 under the target's: what z holds, pitch and timing
          to the sample, stays as it was
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from vocoder_core import codes_file
from vocoder_core.mel import log_mel
from vocoder_core.speakers import Who, vectors
from vocoder_core.vq import Quantizer

from .generate import Sampling, generate, latent, white

if TYPE_CHECKING:
    from .model import WaveGlowVQ


def encode(model: WaveGlowVQ, wav: Tensor) -> Tensor:
    """Codes (B, N) of waves (B, T), or (N,) of (T,). Raises ValueError for a model without codes, or other shapes."""
    batch = _checked(model, wav)
    codes: Tensor = model.condition.encode(log_mel(batch, model.config.mel), batch)
    return codes if wav.dim() == 2 else codes[0]


def decode(
    model: WaveGlowVQ,
    codes: Tensor,
    speaker: Who | None,
    how: Sampling,
) -> Tensor:
    """Waves (B, T) of codes (B, N), or (T,) of (N,). Raises ValueError for what is no code, or nobody known."""
    quantizer = _quantizer(model)
    if codes.dim() not in (1, 2) or codes.dtype != torch.int64:
        raise ValueError(f"decode got a {codes.dtype} tensor of shape {tuple(codes.shape)}; expected int64 (B, N)")
    low, high = (int(codes.min()), int(codes.max())) if codes.numel() else (0, 0)
    if not 0 <= low <= high < quantizer.size:
        raise ValueError(f"decode got codes {low} to {high}; expected 0 to {quantizer.size - 1}")
    batch = (codes if codes.dim() == 2 else codes[None]).to(model.mel_mean.device)
    who = vectors(speaker, model.config.speaker_size, model.speakers, batch)
    wav = generate(model, model.condition.decode(batch, who), how, who)
    return wav if codes.dim() == 2 else wav[0]


def convert(
    model: WaveGlowVQ,
    wav: Tensor,
    target: Who,
    mode: Literal["resynth", "invert"],
    source: Who | None,
    mix: float,
    how: Sampling,
) -> Tensor:
    """See `WaveGlowVQ.convert`. Raises ValueError for a model without codes, an unknown mode or nobody known."""
    if mode not in ("resynth", "invert") or not 0 <= mix <= 1:
        raise ValueError(f"convert got mode {mode!r} and mix {mix}; expected resynth or invert, and 0 to 1")
    batch, size = _checked(model, wav), model.config.speaker_size
    mel = log_mel(batch, model.config.mel)
    codes = model.condition.encode(mel, batch)
    there = vectors(target, size, model.speakers, batch)
    if mode == "resynth":  # all that the codes say, which may be some frames more than the wave
        made = generate(model, model.condition.decode(codes, there), how, there)[:, : batch.shape[1]]
    else:
        aimed = model.condition.decode(codes, there, mel.shape[2])
        z = _own(model, batch, mel, codes, source)
        fresh = white(how.seed, z, how.sigma)
        # independent parts: their powers add up, and z stays as loud as it was
        made = generate(model, aimed, how, there, z=(1 - mix**2) ** 0.5 * z + mix * fresh)
    return made if wav.dim() == 2 else made[0]


def _own(model: WaveGlowVQ, wav: Tensor, mel: Tensor, codes: Tensor, source: Who | None) -> Tensor:
    """z (B, G, L) of waves under their own condition: mels, or where the flow hears codes, these and who speaks."""
    who = None
    if model.speakers is not None:
        mean = model.speakers.table.weight.mean(0).expand(len(wav), -1)
        who = mean if source is None else vectors(source, model.config.speaker_size, model.speakers, wav)
    own = model.condition.decode(codes, who) if model.config.condition.source == "wav" else mel
    return latent(model, wav, own, who)


def book(model: WaveGlowVQ) -> codes_file.Book:
    """What the codes of this model are in a file. Raises ValueError for a model without codes."""
    return codes_file.book(_quantizer(model))


def _quantizer(model: WaveGlowVQ) -> Quantizer:
    if model.condition.quantizer is None:
        raise ValueError("this model hears mels and has no codes; expected one with condition.source codes")
    return model.condition.quantizer


def _checked(model: WaveGlowVQ, wav: Tensor) -> Tensor:
    """Waves as a batch (B, T) on the model's device."""
    _quantizer(model)
    hop = model.config.mel.hop_length
    if wav.dim() not in (1, 2) or not wav.is_floating_point() or not wav.shape[-1] or wav.shape[-1] % hop:
        raise ValueError(
            f"got a {wav.dtype} wave of shape {tuple(wav.shape)}; expected float (B, T) or (T,), T a multiple of {hop}"
        )
    return (wav if wav.dim() == 2 else wav[None]).to(model.mel_mean)
