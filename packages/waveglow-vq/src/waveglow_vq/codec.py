"""Codec: a mel as a few codes a second, and back into a mel, in the voice of whoever is named.

    mel (B, M, F) -> by mean and deviation of each band -> conv 5 -> stride r -> conv layers -> (B, D, N) -> codes
    codes, speaker -> conv layers at N -> r frames a code -> conv layers at F -> mel (B, M, F)

Why it converts, where codes of the wave itself do not: the encoder hears no phase and no mean spectrum (instance norm:
AdaIN-VC, Chou et al. 2019, arXiv 1904.05742), the voice it hears is stretched at random while the target is not, and a
few hundred bits a second leave little room for who speaks. The decoder is told by a learned vector: it shifts every
layer, and scales and shifts (FiLM, Perez et al. 2018) at both rates. What it says is a mel, as the flow hears others.

Decoder layers have no norm: what it makes of codes depends on the codes around, never on the length of the file.
"""

from __future__ import annotations

from math import log2

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vocoder_core.mel import MelConfig, loudest_level, silence_level
from vocoder_core.vq import Quantizer, QuantizerConfig, quantizer

from .condition import Condition, ConditionConfig, Conditioned, drawn
from .perturb import drop, factors, jitter, stretch

DILATIONS = (1, 2, 4)
FIRST_KERNEL = 5
DAMPING = 0.7  # of a layer's first weights: sums of many layers start of moderate size
ENVELOPE = 4.0  # bands: what changes faster along them is pitch. cos(pi k (m + 1/2) / M) up to k = M / 4
RANGE = 8.0  # deviations of log-mel from silence to the loudest


class Codec(Condition):
    """See the file. `channels` are the mel's bands, `stride` its hop."""

    quantizer: Quantizer
    smooth: Tensor

    def __init__(self, config: ConditionConfig, mel: MelConfig, codes: QuantizerConfig, speaker_size: int = 0) -> None:
        super().__init__()
        self.config, self.channels, self.stride = config, mel.n_mels, mel.hop_length
        self.quantizer = quantizer(codes)
        self.encoder = Encoder(config, mel.n_mels, codes.dim)
        self.decoder = Decoder(config, mel, codes.dim, speaker_size)
        self.code_rate = mel.sample_rate / mel.hop_length / config.frames_per_code
        self.bits = self.code_rate * log2(self.quantizer.size)
        self.register_buffer("smooth", envelope(mel.n_mels), persistent=False)

    def forward(self, mel: Tensor, wav: Tensor, speaker: Tensor | None, seed: int | None) -> Conditioned:
        """Codes of a perturbed mel, decoded towards the mel itself."""
        config, draw = self.config, drawn(seed, mel)
        heard = mel
        if draw is not None and config.stretch:
            heard = stretch(mel, factors(len(mel), config.stretch, draw))
        seen = self.quantizer(self.encoder(heard))
        vectors = seen.quantized
        if draw is not None and config.jitter:
            vectors = jitter(vectors, config.jitter, draw)
        if draw is not None and config.dropout:
            vectors = drop(vectors, config.dropout, draw)
        decoded = self.decoder(vectors, speaker)[:, :, : mel.shape[2]]
        error = decoded - mel
        losses = dict(seen.losses)
        if config.objective != "flow":
            losses["mel"] = config.mel_weight * error.abs().mean()
            losses["envelope"] = config.envelope_weight * (self.smooth @ error).abs().mean()
        return Conditioned(decoded, losses, {**seen.stats, "mel_l1": error.detach().abs().mean()})

    def of_mel(self, mel: Tensor) -> Tensor:
        """The mel itself."""
        return mel

    def encode(self, mel: Tensor, wav: Tensor | None = None) -> Tensor:
        """Codes (B, ceil(F / frames_per_code)) of mels (B, M, F)."""
        return self.quantizer.encode(self.encoder(mel))

    def decode(self, codes: Tensor, speaker: Tensor | None = None, frames: int | None = None) -> Tensor:
        """Mels (B, M, F) of codes (B, N) said by speakers (B, S); F = frames, or N * frames_per_code."""
        return self.decoder(self.quantizer.decode(codes), speaker)[:, :, :frames]


class Encoder(nn.Module):
    """Mels (B, M, F) -> vectors (B, D, ceil(F / r)) to be quantised."""

    def __init__(self, config: ConditionConfig, bands: int, dim: int) -> None:
        super().__init__()
        self.stride, self.norm, width = config.frames_per_code, config.instance_norm, config.channels
        self.first = nn.Conv1d(bands, width, FIRST_KERNEL, padding=FIRST_KERNEL // 2)
        self.reach = 2 * self.stride if self.stride > 1 else 3
        self.down = nn.Conv1d(width, width, self.reach, stride=self.stride)
        self.layers = nn.ModuleList(_conv(width, (1, 2)[i % 2]) for i in range(config.encoder_layers))
        self.last = nn.Conv1d(width, dim, 1)

    def forward(self, mel: Tensor) -> Tensor:
        """See the class."""
        missing = -mel.shape[2] % self.stride
        x = F.gelu(self._normal(self.first(self._normal(mel))))
        before = (self.reach - self.stride) // 2
        after = self.reach - self.stride - before + missing
        x = self.down(F.pad(x, (before, after)))
        for layer in self.layers:
            x = x + layer(F.gelu(self._normal(x)))
        return self.last(F.gelu(self._normal(x)))

    def _normal(self, x: Tensor) -> Tensor:
        """Each channel (B, C, F) by its mean and deviation over time."""
        return F.layer_norm(x.float(), x.shape[2:]) if self.norm else x


class Decoder(nn.Module):
    """Vectors (B, D, N) and speakers (B, S) -> mels (B, M, N * r)."""

    def __init__(self, config: ConditionConfig, mel: MelConfig, dim: int, speaker_size: int) -> None:
        super().__init__()
        self.stride, width = config.frames_per_code, config.channels
        low, high = silence_level(mel), loudest_level(mel)
        self.middle, self.scale = (low + high) / 2, (high - low) / RANGE
        self.first = nn.Conv1d(dim, width, 3, padding=1)
        self.coarse = Voiced(width, config.decoder_layers, speaker_size)
        self.spread = nn.Conv1d(width, width * self.stride, 1)
        self.fine = Voiced(width, config.fine_layers, speaker_size)
        self.last = nn.Conv1d(width, mel.n_mels, 1)
        self.colour = nn.Linear(speaker_size, mel.n_mels) if speaker_size else None

    def forward(self, vectors: Tensor, speaker: Tensor | None = None) -> Tensor:
        """See the class."""
        x = self.spread(self.coarse(self.first(vectors), speaker))
        x = x.unflatten(1, (-1, self.stride)).transpose(2, 3).flatten(2)  # (B, C * r, N) -> (B, C, N * r)
        out = self.last(F.gelu(self.fine(x, speaker))).float()
        if self.colour is not None:
            out = out + self.colour(speaker)[:, :, None]
        return out * self.scale + self.middle


class Voiced(nn.Module):
    """Residual layers (B, C, F) -> (B, C, F) that each hear the speaker (B, S): x + conv(gelu(x + shift))."""

    def __init__(self, width: int, layers: int, speaker_size: int) -> None:
        super().__init__()
        self.width = width
        self.layers = nn.ModuleList(_conv(width, DILATIONS[i % len(DILATIONS)]) for i in range(layers))
        self.speaker = nn.Linear(speaker_size, (2 + layers) * width) if speaker_size else None

    def forward(self, x: Tensor, speaker: Tensor | None) -> Tensor:
        """See the class."""
        if self.speaker is None:
            for layer in self.layers:
                x = x + layer(F.gelu(x))
            return x
        told = self.speaker(speaker).to(x.dtype)[:, :, None].split(self.width, 1)
        x = torch.addcmul(told[1], x, 1 + told[0])
        for layer, shift in zip(self.layers, told[2:]):
            x = x + layer(F.gelu(x + shift))
        return x


def envelope(bands: int) -> Tensor:
    """The projection (M, M) of log-mels onto their slow cosines: the spectral envelope, in which phones differ."""
    band, order = torch.arange(bands) + 0.5, torch.arange(max(1, round(bands / ENVELOPE)))
    basis = torch.cos(torch.pi * order[:, None] * band / bands)
    basis = basis / basis.norm(dim=1, keepdim=True)
    return basis.T @ basis


def _conv(width: int, dilation: int) -> nn.Conv1d:
    layer = nn.Conv1d(width, width, 3, padding=dilation, dilation=dilation)
    with torch.no_grad():
        layer.weight.mul_(DAMPING)
    return layer
