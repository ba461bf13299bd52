"""StftNet: a ConvNeXt on the frames of an STFT whose bins are divided by an envelope from the mel (whitened).

    mel (B, M, F) -> encoder, once per utterance -> features (B, N, C);  SpectrumNet -> envelope E (B, K, N) --+
                                                                                                               v
    noisy wav (B, T) -> STFT / E -> Linear -> + features -> L blocks, told the noise level -> Linear -> * E -> iSTFT

One step costs 0.3 GFLOP per second of 16 kHz speech where DiffWave's costs 47. Blocks after Liu et al. 2022 (ConvNeXt,
arXiv 2201.03545), frames as in Vocos (Siuzdak 2023, arXiv 2306.00814). Whitening spares the network the 60 dB between
the bands of speech. Its envelope is the spectrum that `spectrum.SpectrumNet` expects behind the mel.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import log, pi

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vocoder_core.mel import MelConfig

from .blocks import Block
from .shaping import fitted
from .spectrum import Spectrum, SpectrumNet
from .transform import Grid, grid_of, istft, stft


@dataclass(frozen=True)
class StftConfig:
    """Sizes of StftNet. Widths are powers of two: at 384 oneDNN is three times slower than at 512."""

    channels: int = 256  # C
    layers: int = 8  # blocks run at every step
    encoder_layers: int = 4  # blocks on the mel, run once
    spectrum_layers: int = 4  # blocks of SpectrumNet, run once
    kernel: int = 7  # frames a block sees
    expansion: int = 3  # hidden width of a block, in C
    scale: int = 2  # windows and hop this many times shorter than the mel's: half of them learns faster at 16 kHz
    floor: float = 0.02  # of the envelope, un-normalised STFT amplitude

    def __post_init__(self) -> None:
        if self.channels < 2 or self.channels & (self.channels - 1):
            raise ValueError(f"stft.channels is {self.channels}; expected a power of two")
        if self.kernel % 2 == 0:
            raise ValueError(f"stft.kernel is {self.kernel}; expected an odd number of frames")


@dataclass(frozen=True)
class StftCondition:
    """What the mel says, once per utterance."""

    features: Tensor  # (B, N, C)
    envelope: Tensor  # E (B, K, N) on the network's grid: what its input is divided by, no gradient
    spectrum: Spectrum  # (B, K, N), with gradient
    speaker: Tensor | None  # (B, C), told to every block with the noise level: a scale and a shift (FiLM)


class StftNet(nn.Module):
    """Estimates a wave from a noisy one and a mel, at a noise level in [0, 1]."""

    def __init__(self, config: StftConfig, mel: MelConfig, speaker_size: int = 0) -> None:
        super().__init__()
        self.config, self.mel = config, mel
        self.grid: Grid = grid_of(mel, config.scale)
        width, bins = config.channels, self.grid.bins
        self.mel_in = nn.Conv1d(mel.n_mels, width, config.kernel, padding=config.kernel // 2)
        self.speaker_in = nn.Linear(speaker_size, width, bias=False) if speaker_size else None
        self.encoder = nn.ModuleList(
            Block(width, config.kernel, config.expansion) for _ in range(config.encoder_layers)
        )
        self.spectrum = SpectrumNet(mel, config.scale, width, config.spectrum_layers, config.kernel, config.floor)
        self.wave_in = nn.Linear(2 * bins, width)
        self.level_in = nn.Sequential(nn.Linear(128, width), nn.SiLU())
        self.blocks = nn.ModuleList(Block(width, config.kernel, config.expansion, width) for _ in range(config.layers))
        self.norm = nn.LayerNorm(width)
        self.wave_out = nn.Linear(width, 2 * bins)
        nn.init.zeros_(self.wave_out.weight)
        nn.init.zeros_(self.wave_out.bias)

    def condition(self, raw: Tensor, mel: Tensor, speaker: Tensor | None = None) -> StftCondition:
        """raw: log-mel (B, M, F) of the front end; mel: the same, normalised; speaker (B, S) where the net has one."""
        x = self.mel_in(mel).transpose(1, 2)
        said = None if self.speaker_in is None or speaker is None else self.speaker_in(speaker)
        if said is not None:
            x = x + said[:, None]
        for block in self.encoder:
            x = block(x)
        spectrum = self.spectrum(raw, mel)
        features = self._at_own_rate(x.transpose(1, 2), raw).transpose(1, 2)
        return StftCondition(features, spectrum.amplitude + self.config.floor, spectrum, said)

    def _at_own_rate(self, frames: Tensor, raw: Tensor) -> Tensor:
        """(B, D, F) -> (B, D, N): each frame s times, the last one once more where the grid has its end."""
        repeated = frames.transpose(1, 2).repeat_interleave(self.config.scale, dim=1).transpose(1, 2)
        return fitted(repeated, self.grid, raw.shape[2] * self.mel.hop_length)

    @property
    def context(self) -> int:
        """Frames of the mel, on either side, that one estimate depends on: kernels, and windows in and out."""
        reach = self.config.kernel // 2
        windows = 2 * -(-self.grid.win_length // self.mel.hop_length)
        once = max(self.config.encoder_layers, self.config.spectrum_layers) + 1
        return reach * once + -(-reach * self.config.layers // self.config.scale) + windows

    def forward(self, noisy: Tensor, condition: StftCondition, level: Tensor) -> Tensor:
        """noisy (B, T), level (B,) in [0, 1] -> estimate (B, T)."""
        envelope = condition.envelope.transpose(1, 2)  # (B, N, K)
        parts = torch.view_as_real(stft(noisy, self.grid).transpose(1, 2) / envelope).flatten(2)  # re, im, re, im ...
        x = F.linear(parts, _interleaved(self.wave_in.weight.t()).t(), self.wave_in.bias) + condition.features
        told = self.level_in(sinusoids(level))
        if condition.speaker is not None:
            told = told + condition.speaker
        for block in self.blocks:
            x = block(x, told)
        weight, bias = _interleaved(self.wave_out.weight), _interleaved(self.wave_out.bias)
        parts = F.linear(self.norm(x), weight, bias).float().unflatten(2, (-1, 2))
        estimate = torch.view_as_complex(parts.contiguous()) * envelope
        return istft(estimate.transpose(1, 2), self.grid, noisy.shape[-1])


def _interleaved(rows: Tensor) -> Tensor:
    """Rows (2K, ...), all real parts before all imaginary ones -> (2K, ...) in the order of complex numbers."""
    return rows.unflatten(0, (2, -1)).transpose(0, 1).flatten(0, 1)


def sinusoids(level: Tensor, size: int = 128) -> Tensor:
    """Levels (B,) in [0, 1] -> (B, size): sines and cosines of pi * level at 1 to 1000 half-turns."""
    rates = torch.exp(torch.linspace(0, log(1000.0), size // 2, device=level.device)) * pi
    angles = level.float()[:, None] * rates
    return torch.cat([angles.sin(), angles.cos()], dim=1)
