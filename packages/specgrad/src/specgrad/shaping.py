"""The shaped noise of SpecGrad: an envelope from the mel, the filter it makes, and that filter's approximate inverse.

Koizumi et al. 2022, "SpecGrad: Diffusion probabilistic model based neural vocoder with adaptive noise spectral
shaping" (arXiv 2203.16749):   eps = L n,   L = G+ M G,   L^-1 ~ G+ M^-1 G,   n white, |M| = E

    mel (B, M, F) -> amplitude A (B, K, F) -> smoothed, + floor -> envelope E -> M with minimum or zero phase

The cepstrum is the symmetric one of the whole spectrum: dropping its mirrored half (as three public implementations
do) halves the envelope's variation in dB. PriorGrad's prior (Lee et al. 2021, arXiv 2106.06406) is the special case of
an envelope without frequencies, white noise the one of an envelope of ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import log
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from vocoder_core.griffinlim import spectrum_of_mel
from vocoder_core.mel import MelConfig, filterbank

from .transform import Grid, istft, stft

LOWEST = 1e-5  # amplitude under which a bin counts as empty


@dataclass(frozen=True)
class ShapingConfig:
    """How noise gets the spectrum of the speech to come. Defaults are the paper's, at its 24 kHz front end."""

    prior: Literal["specgrad", "priorgrad", "energy", "white"] = "specgrad"  # energy: PriorGrad's own public weights
    smoothing: Literal["cepstrum", "power", "interpolate", "none", "learned", "onesided"] = "cepstrum"  # see StftNet
    lifter: int = 24  # cepstral coefficients kept beside c0: 1 ms of 24 kHz, above which harmonics would show
    power_width: float = 8.0  # "power": standard deviation of the Gaussian over bins
    floor: float = 0.01  # added to E: -66 dBFS of white noise keeps L^-1 tame
    phase: Literal["minimum", "zero"] = "minimum"
    noise_gain_db: float = 0.0  # 0: the paper's units, where noise is some 11 dB above the speech
    energies: tuple[float, float] = (0.03, 4.0)  # "energy": of frames whose noise has deviation 0 (then `floor`) and 1
    iterations: int = 0  # of Griffin-Lim on the noise: its frames agree with each other and with |M|. Paper: none

    def __post_init__(self) -> None:
        for name in ("lifter", "power_width", "floor"):
            if getattr(self, name) <= 0:
                raise ValueError(f"shaping.{name} is {getattr(self, name)}; expected more than 0")
        if not self.energies[0] < self.energies[1]:
            raise ValueError(f"shaping.energies is {list(self.energies)}; expected the lower one first")
        if self.iterations < 0:
            raise ValueError(f"shaping.iterations is {self.iterations}; expected 0 or more")


def envelope(mel: Tensor, config: MelConfig, shaping: ShapingConfig) -> Tensor:
    """E (B, K, F): the amplitude of the noise, in units of an un-normalised STFT, for log-mels (B, M, F)."""
    if shaping.prior == "white":
        smooth = mel.new_ones(mel.shape[0], config.n_fft // 2 + 1, mel.shape[2])
    elif shaping.prior == "priorgrad":
        power = interpolated(mel, config).square().mean(1, keepdim=True)
        smooth = power.sqrt().expand(-1, config.n_fft // 2 + 1, -1) + shaping.floor
    elif shaping.prior == "energy":
        low, high = shaping.energies
        loud = bands(mel, config).sum(1, keepdim=True).sqrt().clamp(max=high)
        smooth = ((loud - low) / (high - low)).clamp(min=shaping.floor).expand(-1, config.n_fft // 2 + 1, -1)
    elif shaping.smoothing == "onesided":
        smooth = liftered_onesided(amplitude(mel, config), shaping.lifter) + shaping.floor
    elif shaping.smoothing == "cepstrum":
        smooth = liftered(amplitude(mel, config), shaping.lifter) + shaping.floor
    elif shaping.smoothing == "power":
        smooth = blurred(amplitude(mel, config).square(), shaping.power_width).sqrt() + shaping.floor
    elif shaping.smoothing == "interpolate":
        smooth = interpolated(mel, config) + shaping.floor
    elif shaping.smoothing == "none":
        smooth = amplitude(mel, config) + shaping.floor
    else:
        raise ValueError(f"shaping.smoothing {shaping.smoothing}: that envelope comes from a network, not from a mel")
    return smooth * 10 ** (shaping.noise_gain_db / 20)


def amplitude(mel: Tensor, config: MelConfig) -> Tensor:
    """A (B, K, F): the spectrum of least norm with these mel bands, cut off at 1e-5. In any dialect of MelConfig."""
    inverse = torch.from_numpy(_pseudo_inverse(config)).to(mel)
    spectrum = (inverse @ bands(mel, config)).clamp(min=LOWEST**config.power) ** (1 / config.power)
    return _deemphasised(spectrum, config)


def interpolated(mel: Tensor, config: MelConfig) -> Tensor:
    """(B, K, F): the bands' mean amplitudes, interpolated over the bins by the filters themselves. Never negative."""
    spread = torch.from_numpy(_interpolation(config)).to(mel)
    spectrum = (spread @ bands(mel, config)).clamp(min=LOWEST**config.power) ** (1 / config.power)
    return _deemphasised(spectrum, config)


def detailed(mel: Tensor, config: MelConfig, updates: int, start: Tensor | None = None) -> Tensor:
    """(B, K, F): the non-negative spectrum whose mel comes nearest, after that many updates of `start`."""
    begun = None if start is None else _deemphasised(start, config, undo=True)
    return _deemphasised(spectrum_of_mel(mel, config, updates, begun), config)


def bands(mel: Tensor, config: MelConfig) -> Tensor:
    """What was taken the logarithm of: (B, M, F) amplitudes, or powers where config.power is 2."""
    value = mel * config.scale + config.offset
    if config.log == "ln":
        return value.exp()
    return 10 ** (value if config.log == "log10" else value * config.power / 20)


def liftered(spectrum: Tensor, lifter: int) -> Tensor:
    """exp of the log spectrum (B, K, F) smoothed by its first cepstral coefficients, 0 ... lifter and their mirror."""
    n_fft = 2 * (spectrum.shape[1] - 1)
    cepstrum = torch.fft.irfft(spectrum.log(), n=n_fft, dim=1)
    cepstrum[:, lifter + 1 : n_fft - lifter] = 0
    return torch.fft.rfft(cepstrum, dim=1).real.exp()


def liftered_onesided(spectrum: Tensor, lifter: int) -> Tensor:
    """As Teysir-B/SpecGrad smooths (B, K, F), for weights trained there: half a cepstrum of half a spectrum."""
    cepstrum = torch.fft.ifft(spectrum.log(), dim=1)
    cepstrum[:, lifter:] = 0
    return torch.fft.fft(cepstrum, dim=1).real.exp()


def blurred(spectrum: Tensor, width: float) -> Tensor:
    """(B, K, F) smoothed over frequency by a Gaussian of `width` bins, mirrored at both ends."""
    reach = int(4 * width + 0.5)
    taps = torch.exp(
        -0.5 * (torch.arange(-reach, reach + 1, dtype=spectrum.dtype, device=spectrum.device) / width) ** 2
    )
    count = spectrum.shape[1]
    at = torch.arange(-reach, count + reach, device=spectrum.device) % (2 * (count - 1))
    mirrored = spectrum[:, torch.where(at < count, at, 2 * (count - 1) - at)]
    return mirrored.unfold(1, len(taps), 1) @ (taps / taps.sum())


def transfer(smooth: Tensor, phase: Literal["minimum", "zero"]) -> Tensor:
    """M (B, K, F) with |M| = E: real for zero phase; minimum phase by folding the cepstrum to positive times."""
    if phase == "zero":
        return smooth
    n_fft = 2 * (smooth.shape[1] - 1)
    cepstrum = torch.fft.irfft(smooth.log(), n=n_fft, dim=1)
    cepstrum[:, 1 : n_fft // 2] *= 2
    cepstrum[:, n_fft // 2 + 1 :] = 0
    return torch.fft.rfft(cepstrum, dim=1).exp()


def shape(noise: Tensor, filters: Tensor, grid: Grid) -> Tensor:
    """L n = G+ M G n: noise (B, T) with the spectrum of M (B, K, F), T = F * hop. Returns (B, T)."""
    return istft(fitted(filters, grid, noise.shape[-1]) * stft(noise, grid), grid, noise.shape[-1])


def unshape(wav: Tensor, filters: Tensor, grid: Grid) -> Tensor:
    """L^-1 x ~ G+ M^-1 G x, (B, T): 8 to 10 dB from exact, enough for a loss's weights."""
    return istft(stft(wav, grid) / fitted(filters, grid, wav.shape[-1]), grid, wav.shape[-1])


def fitted(filters: Tensor, grid: Grid, samples: int) -> Tensor:
    """Frames (B, K, F) to the N = F or F + 1 of a grid over that many samples: the last one holds on."""
    missing = grid.frames(samples) - filters.shape[-1]
    if not missing:
        return filters
    rows = filters.transpose(1, 2)  # frame after frame in memory, as `stft` has it
    return torch.cat([rows, rows[:, -1:].expand(-1, missing, -1)], dim=1).transpose(1, 2)


def mel_density(bins: int, sample_rate: float, like: Tensor) -> Tensor:
    """(K,): mels per hertz at each bin, 1 on the mean. Slaney's scale: constant below 1 kHz, then falling as 1 / f."""
    hertz = torch.linspace(0, sample_rate / 2, bins, dtype=like.dtype, device=like.device)
    density = torch.where(hertz < 1000, 3 / 200, 27 / log(6.4) / hertz.clamp(min=1))
    return density / density.mean()


def window_gain(grid: Grid) -> float:
    """sqrt(sum w^2): the amplitude that white noise of variance 1 has in an un-normalised STFT."""
    return float(torch.hann_window(grid.win_length, dtype=torch.float64).square().sum().sqrt())


@lru_cache(maxsize=8)
def _pseudo_inverse(config: MelConfig) -> np.ndarray:
    return np.linalg.pinv(filterbank(config))


@lru_cache(maxsize=8)
def _interpolation(config: MelConfig) -> np.ndarray:
    """(K, M): each bin the mean of the bands that see it; bins no filter sees take their nearest neighbour's."""
    filters = filterbank(config)
    peaks = filters / np.maximum(filters.max(axis=1, keepdims=True), 1e-12)
    seen = peaks.sum(axis=0)
    spread = (peaks / np.maximum(seen, 1e-12)).T / np.maximum(filters.sum(axis=1), 1e-12)
    known = np.flatnonzero(seen > 1e-6)
    nearest = known[np.abs(np.arange(len(seen))[:, None] - known[None]).argmin(axis=1)]
    return spread[nearest]


def _deemphasised(spectrum: Tensor, config: MelConfig, undo: bool = False) -> Tensor:
    """Undo the gain |1 - c e^-jw| of the front end's pre-emphasis, or undo that."""
    if not config.preemphasis:
        return spectrum
    angle = torch.linspace(0, np.pi, spectrum.shape[1], dtype=spectrum.dtype, device=spectrum.device)[:, None]
    c = config.preemphasis
    gain = (1 - 2 * c * angle.cos() + c * c).sqrt()
    return spectrum * gain if undo else spectrum / gain
