"""What the flow is told: a mel, or what is left of speech in codes. One interface for three sources.

    mel     the mel itself, or NVIDIA's upsampling of it to one column a sample       MelCondition, here
    codes   mel -> codes -> mel in the voice of a speaker                             codec.py
    wav     wave -> codes -> hidden signal at sample rate, as the seed had it         wav_codec.py

Each has `channels` and `stride` (samples per column) of its condition, `quantizer` (None without codes), `code_rate`
(codes per second), `bits` (bits per second), and

    forward(mel, wav, speaker, seed) -> Conditioned     training
    of_mel(mel) -> condition                            synthesis from a mel
    encode(mel, wav) -> codes (B, N)    decode(codes, speaker) -> condition
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor, nn

from vocoder_core.mel import MelConfig
from vocoder_core.vq import Quantizer, QuantizerConfig


@dataclass(frozen=True)
class ConditionConfig:
    """Where the condition comes from, and of codes what they are made by."""

    source: Literal["mel", "codes", "wav"] = "mel"
    upsampler: Literal["none", "nvidia"] = "none"  # source mel; nvidia: one column a sample
    frames_per_code: int = 2  # source codes: 1, 2, 3, 4, 6 are 62.5, 31, 21, 16, 10 codes a second at 16 kHz, hop 256
    channels: int = 256  # of encoder and decoder
    encoder_layers: int = 3  # after the first two
    decoder_layers: int = 6  # at the rate of codes
    fine_layers: int = 4  # at the rate of frames
    instance_norm: bool = True  # each channel of the encoder by its mean and deviation over time: they say who speaks
    stretch: float = 0.15  # ln: how much smaller or larger a speaker the encoder hears at most
    jitter: float = 0.0  # probability that a code gives way to a neighbour
    dropout: float = 0.0  # probability that a code is missing
    mel_weight: float = 1.0  # of |mel - decoded mel|, mean, in the mel's units
    envelope_weight: float = 2.0  # of the same without what changes faster along the bands than formants do: pitch
    objective: Literal["mel", "flow", "both"] = "both"  # what codes learn from: the mel, the flow's likelihood, both

    def __post_init__(self) -> None:
        """Raise ValueError, naming the field, for a value out of its range."""
        for name in ("frames_per_code", "channels"):
            if getattr(self, name) < 1:
                raise ValueError(f"condition.{name} is {getattr(self, name)}; expected 1 or more")
        for name in ("encoder_layers", "decoder_layers", "fine_layers", "mel_weight", "envelope_weight"):
            if getattr(self, name) < 0:
                raise ValueError(f"condition.{name} is {getattr(self, name)}; expected 0 or more")
        for name in ("stretch", "jitter", "dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"condition.{name} is {getattr(self, name)}; expected 0 up to, not including, 1")
        if self.upsampler == "nvidia" and self.source != "mel":
            raise ValueError(f"condition.upsampler is nvidia with source {self.source}; expected source mel with it")
        if self.objective == "mel" and self.source != "codes":
            raise ValueError(f"condition.objective is mel with source {self.source}; expected source codes with it")


@dataclass(frozen=True)
class Conditioned:
    """One training pass: the condition (B, D, T / stride), losses with their weights in them, figures."""

    condition: Tensor
    losses: dict[str, Tensor] = field(default_factory=dict)
    stats: dict[str, Tensor] = field(default_factory=dict)


class Condition(nn.Module):
    """Base of the three."""

    channels: int  # D of the condition
    stride: int  # samples per column of it
    quantizer: Quantizer | None
    code_rate: float = 0.0  # codes per second
    bits: float = 0.0  # per second, log2(K) each

    def forward(self, mel: Tensor, wav: Tensor, speaker: Tensor | None, seed: int | None) -> Conditioned:
        """Training pass of mels (B, M, F), waves (B, T), speakers (B, S); seed: of what is random, None: nothing is."""
        raise NotImplementedError

    def of_mel(self, mel: Tensor) -> Tensor:
        """The condition (B, D, T / stride) of a mel (B, M, F) as it is. Raises ValueError where there is no such."""
        raise NotImplementedError

    def encode(self, mel: Tensor, wav: Tensor) -> Tensor:
        """Codes (B, N) int64 of mels (B, M, F) or waves (B, T), whichever they are made of."""
        raise NotImplementedError

    def decode(self, codes: Tensor, speaker: Tensor | None, frames: int | None = None) -> Tensor:
        """The condition of codes (B, N) and speakers (B, S); frames: of the speech, None: of all the codes."""
        raise NotImplementedError


class MelCondition(Condition):
    """A mel (B, M, F): as it is, or upsampled to (B, M, F * hop_length) as NVIDIA's WaveGlow does."""

    def __init__(self, config: ConditionConfig, mel: MelConfig) -> None:
        super().__init__()
        self.channels, self.hop, self.quantizer = mel.n_mels, mel.hop_length, None
        self.upsample = None
        if config.upsampler == "nvidia":
            self.upsample = nn.ConvTranspose1d(mel.n_mels, mel.n_mels, 4 * self.hop, stride=self.hop)
        self.stride = 1 if self.upsample else self.hop

    def forward(self, mel: Tensor, wav: Tensor, speaker: Tensor | None, seed: int | None) -> Conditioned:
        """The condition; it has no loss."""
        return Conditioned(self.of_mel(mel))

    def of_mel(self, mel: Tensor) -> Tensor:
        """(B, M, F) -> (B, M, T / stride)."""
        if self.upsample is None or not mel.shape[2]:
            return mel
        return self.upsample(mel)[:, :, : mel.shape[2] * self.hop]  # NVIDIA drops the same last 3 hops

    def encode(self, mel: Tensor, wav: Tensor) -> Tensor:
        """Raises ValueError: there are no codes."""
        raise ValueError("this model hears mels and has no codes; expected one with condition.source codes or wav")

    def decode(self, codes: Tensor, speaker: Tensor | None, frames: int | None = None) -> Tensor:
        """Raises ValueError: there are no codes."""
        raise ValueError("this model hears mels and has no codes; expected one with condition.source codes or wav")


def conditioner(config: ConditionConfig, mel: MelConfig, codes: QuantizerConfig, speaker_size: int = 0) -> Condition:
    """The condition that a config describes, for mels of `mel` and speakers' vectors of that size (0: none)."""
    from .codec import Codec
    from .wav_codec import WavCodec

    if config.source == "mel":
        return MelCondition(config, mel)
    if config.source == "codes":
        return Codec(config, mel, codes, speaker_size)
    return WavCodec(config, mel, codes)


def drawn(seed: int | None, like: Tensor) -> torch.Generator | None:
    """A generator on the tensor's device; None without a seed: nothing is to be random."""
    return None if seed is None else torch.Generator(like.device).manual_seed(seed)
