"""PASE: an encoder of waves that learnt by solving twelve little tasks, and the vector it gives a speaker.

Pascual, Ravanelli, Serra, Bonafonte & Bengio, "Learning problem-agnostic speech representations from multiple
self-supervised tasks" (Interspeech 2019, 1904.03416); the first layer is SincNet's (1808.00158).

    wav at 16 kHz -> 64 band-passes of 251 taps -> 7 convolutions, each normed, PReLU; 160 samples a step in all
    -> Linear -> norm without gain: 100 features every 10 ms -> mean over what is said: the speaker

The network is written from the papers' description and santi-pdp/pase's settings (MIT), with the names that its
checkpoints use; no public weights can be shipped with it. Tested against santi-pdp/pase with the same weights.
"""

from __future__ import annotations

from math import pi
from pathlib import Path
from typing import Self

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .seed_speech import levelled, speaking
from .weights_file import WHERE, fill

RATE = 16_000
HOP = 160  # samples a feature
WIDTHS = (251, 20, 11, 11, 11, 11, 11, 11)
STRIDES = (1, 10, 2, 1, 2, 1, 2, 2)
CHANNELS = (64, 64, 128, 128, 256, 256, 512, 512)
SHORTEST = 1600  # samples: below, the last layers would be padded by more than they have
PIECE = 10 * RATE  # samples at once, of which the first layer makes 41 MB


class PASE(nn.Module):
    """Speech -> PASE's features -> who speaks; a SpeakerEncoder."""

    name, dim = "pase", 100

    def __init__(self) -> None:
        super().__init__()
        entries = (1, *CHANNELS)
        self.blocks = nn.ModuleList(
            Block(entries[i], CHANNELS[i], WIDTHS[i], STRIDES[i], sinc=i == 0) for i in range(len(CHANNELS))
        )
        self.W = nn.Conv1d(CHANNELS[-1], self.dim, 1)
        self.norm_out = nn.BatchNorm1d(self.dim, affine=False)
        self.fingerprint = ""

    @classmethod
    def load(cls, weights: str | Path | None) -> Self:
        """The encoder with a public checkpoint's weights, frozen.

        Raises FileNotFoundError where there are none, ValueError for a file that holds other things.
        """
        from .speaker import fingerprint

        if weights is None:
            raise FileNotFoundError(f"speakers of {cls.name} need weights that no package holds: {WHERE[cls.name]}")
        made = cls()
        fill(made, Path(weights), f"{cls.name}'s weights: {WHERE[cls.name]}")
        made.fingerprint = fingerprint(made)
        return made.eval().requires_grad_(False)

    def embed(self, wav: np.ndarray, sample_rate: int) -> np.ndarray:
        """The vector (D,) float32 of speech (T,), whatever its level: the mean of the features of what is said.

        Raises ValueError where nothing is said, or less than 0.1 s.
        """
        from vocoder_core.audio import resample

        wave = levelled(resample(wav, sample_rate, RATE), RATE)
        if len(wave) < SHORTEST:
            raise ValueError(f"the speech of a speaker is {len(wave) / RATE:.3f} s long; expected 0.1 s or more")
        said, mean, device = speaking(wave, RATE), np.zeros(self.dim), next(self.parameters()).device
        starts = range(0, max(1, len(wave) - SHORTEST + 1), PIECE)
        for start in starts:  # what is left behind the last piece, less than 0.1 s, goes with it
            end = start + PIECE if start + PIECE <= starts[-1] else len(wave)
            with torch.no_grad():
                found = self.features(torch.from_numpy(wave[start:end])[None].to(device))[0].double().cpu().numpy()
            mask = said[start // HOP :][: found.shape[1]]
            mean += found[:, : len(mask)] @ mask
        return (mean / max(1, int(said[: len(wave) // HOP].sum()))).astype(np.float32)

    def forward(self, waves: Tensor) -> Tensor:
        """Reference waves (B, R) at 16 kHz, all speech -> vectors (B, D), with gradient."""
        return self.features(waves).mean(2)

    def features(self, wav: Tensor) -> Tensor:
        """Waves (B, T) at 16 kHz -> features (B, D, T // 160)."""
        heard, found = wav[:, None], list[Tensor]()
        for block in self.blocks:
            heard = block(heard)
            found.append(heard)
        features: Tensor = self.norm_out(self.gather(found))
        return features

    def gather(self, found: list[Tensor]) -> Tensor:
        """What all layers found, the last of which is at 100 Hz -> (B, D, F) before the norm."""
        gathered: Tensor = self.W(found[-1])
        return gathered


class Block(nn.Module):
    """(B, C, T) -> (B, C', T // stride): convolution of a wave that is mirrored at its ends, norm, PReLU."""

    def __init__(self, entries: int, channels: int, width: int, stride: int, sinc: bool) -> None:
        super().__init__()
        self.conv = Sinc(channels, width) if sinc else nn.Conv1d(entries, channels, width, stride)
        self.norm = nn.BatchNorm1d(channels)
        self.act = nn.PReLU(channels, init=0.0)
        half = width // 2
        self.around = (half, half) if stride == 1 and width % 2 else (half - 1, half)

    def forward(self, heard: Tensor) -> Tensor:
        """See the class."""
        made: Tensor = self.act(self.norm(self.conv(F.pad(heard, self.around, mode="reflect"))))
        return made


class Sinc(nn.Module):
    """Band-passes between learned frequencies f1 and f2 in Hz (SincNet, eq. 4), with a window w.

    g(t) = (f2 sinc(2 f2 t) - f1 sinc(2 f1 t)) / (f2 - f1) * w(t)
    """

    window: Tensor
    time: Tensor

    LOWEST, NARROWEST = 50.0, 50.0  # Hz

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        top = RATE / 2 - (self.LOWEST + self.NARROWEST)
        low, high = (2595 * np.log10(1 + hertz / 700) for hertz in (30.0, top))
        edges = torch.from_numpy(700 * (10 ** (np.linspace(low, high, channels + 1) / 2595) - 1)).float()
        self.low_hz_ = nn.Parameter(edges[:-1, None].clone())
        self.band_hz_ = nn.Parameter(edges.diff()[:, None])
        half = width // 2
        # the original's steps from 0 to width / 2 - 1, which are a little longer than one sample
        rising = 0.54 - 0.46 * torch.cos(2 * pi / width * torch.linspace(0, width / 2 - 1, half))
        self.register_buffer("window", torch.cat([rising, torch.ones(1), rising.flip(0)]), persistent=False)
        self.register_buffer("time", torch.arange(-half, half + 1) / RATE, persistent=False)

    def filters(self) -> Tensor:
        """(C, 1, width)."""
        low = self.LOWEST + self.low_hz_.abs()
        high = (low + self.NARROWEST + self.band_hz_.abs()).clamp(self.LOWEST, RATE / 2)
        passed = high * torch.sinc(2 * high * self.time) - low * torch.sinc(2 * low * self.time)
        return (passed / (high - low) * self.window)[:, None]

    def forward(self, wave: Tensor) -> Tensor:
        """(B, 1, T + width - 1) -> (B, C, T)."""
        return F.conv1d(wave, self.filters())
