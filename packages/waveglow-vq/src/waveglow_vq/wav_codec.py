"""WavCodec: the wave itself as codes, and a hidden signal at sample rate for the flow: the seed's own conditioner.

    wav (B, T) -> [conv 32, stride 8, leaky] x 2 -> D -> codes (B, T / 64) -> [transposed conv, leaky] x 2 -> (B, C, T)

jaywalnut310/waveglow-vqvae (2019), re-implemented from a description. 345 codes a second at 22,050 Hz, each of which
hears 12.7 ms, are a waveform's snippets: they keep the voice, and convert badly. Here to compare with, see codec.py.
"""

from __future__ import annotations

from math import log2

import torch.nn.functional as F
from torch import Tensor, nn

from vocoder_core.mel import MelConfig
from vocoder_core.mel_codec.perturb import drop, jitter
from vocoder_core.vq import Quantizer, QuantizerConfig, quantizer

from .condition import Condition, ConditionConfig, Conditioned, drawn

KERNEL, STRIDE, SCALES, SLOPE = 32, 8, 2, 0.4
SAMPLES_PER_CODE = STRIDE**SCALES


class WavCodec(Condition):
    """See the file. `stride` is 1: a column for each sample."""

    quantizer: Quantizer

    def __init__(self, config: ConditionConfig, mel: MelConfig, codes: QuantizerConfig) -> None:
        super().__init__()
        self.config, self.channels, self.stride = config, config.channels, 1
        self.encoder = WaveEncoder(config.channels, codes.dim)
        self.quantizer = quantizer(codes)
        pad = (KERNEL - STRIDE) // 2
        self.decoder = nn.ModuleList(
            nn.ConvTranspose1d(channels, config.channels, KERNEL, stride=STRIDE, padding=pad)
            for channels in (codes.dim, config.channels)
        )
        self.code_rate = mel.sample_rate / SAMPLES_PER_CODE
        self.bits = self.code_rate * log2(self.quantizer.size)

    def forward(self, mel: Tensor, wav: Tensor, speaker: Tensor | None, seed: int | None) -> Conditioned:
        """Codes of waves (B, T), T a multiple of 64, and what is made of them; it learns from the flow."""
        draw = drawn(seed, wav)
        seen = self.quantizer(self.encoder(wav))
        vectors = seen.quantized
        if draw is not None and self.config.jitter:
            vectors = jitter(vectors, self.config.jitter, draw)
        if draw is not None and self.config.dropout:
            vectors = drop(vectors, self.config.dropout, draw)
        return Conditioned(self._hidden(vectors), seen.losses, seen.stats)

    def of_mel(self, mel: Tensor) -> Tensor:
        """Raises ValueError: a mel says nothing of the kind."""
        raise ValueError("this model's condition is made of codes of a wave; use encode and decode, not a mel")

    def encode(self, mel: Tensor | None, wav: Tensor) -> Tensor:
        """Codes (B, T / 64) of waves (B, T). Raises ValueError for a T that is no multiple of 64."""
        return self.quantizer.encode(self.encoder(wav))

    def decode(self, codes: Tensor, speaker: Tensor | None = None, frames: int | None = None) -> Tensor:
        """The hidden signal (B, C, 64 N) of codes (B, N); who speaks is told to the flow."""
        return self._hidden(self.quantizer.decode(codes))

    def _hidden(self, x: Tensor) -> Tensor:
        for layer in self.decoder:
            x = F.leaky_relu(layer(x), SLOPE)
        return x


class WaveEncoder(nn.Module):
    """Waves (B, T) -> vectors (B, D, T / 64)."""

    def __init__(self, channels: int, dim: int) -> None:
        super().__init__()
        pad = (KERNEL - STRIDE) // 2
        self.layers = nn.ModuleList(
            nn.Conv1d(given, channels, KERNEL, stride=STRIDE, padding=pad) for given in (1, channels)
        )
        self.last = nn.Conv1d(channels, dim, 1)

    def forward(self, wav: Tensor) -> Tensor:
        """Raises ValueError for a T that is no multiple of 64."""
        if wav.dim() != 2 or wav.shape[1] % SAMPLES_PER_CODE:
            raise ValueError(
                f"codes of a wave got shape {tuple(wav.shape)}; expected (B, T), T a multiple of {SAMPLES_PER_CODE}"
            )
        x = wav[:, None]
        for layer in self.layers:
            x = F.leaky_relu(layer(x), SLOPE)
        return self.last(x)
