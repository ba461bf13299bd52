"""Log-mel spectrograms: one frozen MelConfig and one function, `log_mel`, for every dialect the vocoders use.

    wav (B, T) -> pre-emphasis -> pad -> |STFT|^power -> filters -> log -> (x - offset) / scale, floored -> (B, M, F)

Frame j of F = T // hop_length frames describes samples [j * hop, (j + 1) * hop). Where its window lies:

    centering="center"      window centred on the first of them: as librosa, without librosa's one extra frame
    centering="same"        window centred on their middle: as HiFi-GAN, padding (n_fft - hop) / 2

Filters after Slaney's Auditory Toolbox or HTK. Own code; librosa and torchaudio are its test oracles.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import log, log10
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F


@dataclass(frozen=True)
class MelConfig:
    """What turns a wave into the log-mel a vocoder reads. The defaults are RNN_MS's front end at 16 kHz.

    Frequencies in Hz, lengths in samples. `floor` clamps the mel amplitude (or power) before the logarithm;
    `offset`, `scale`, `minimum` and `maximum` then normalise: (log - offset) / scale, cut off at both.
    """

    sample_rate: int = 16_000
    n_fft: int = 2048
    win_length: int = 800  # 50 ms Hann, zero-padded centrally to n_fft
    hop_length: int = 200  # 12.5 ms
    n_mels: int = 80
    fmin: float = 50.0
    fmax: float | None = None  # None: half the sample rate
    mel_scale: Literal["slaney", "htk"] = "slaney"
    mel_norm: Literal["slaney", "l1", "none"] = "l1"  # slaney: area in Hz; l1: each filter sums to one
    power: float = 1.0  # exponent of |STFT|: 1 amplitude, 2 power
    magnitude_eps: float = 0.0  # |STFT| = sqrt(re^2 + im^2 + eps): HiFi-GAN's 1e-9 keeps the gradient finite
    preemphasis: float = 0.97  # 0: none
    centering: Literal["center", "same"] = "center"
    pad_mode: Literal["reflect", "constant"] = "reflect"  # pinned: librosa changed its default in 0.10
    log: Literal["ln", "log10", "db"] = "db"  # db: 20 log10 of an amplitude, 10 log10 of a power
    floor: float = 1e-5
    offset: float = 20.0
    scale: float = 80.0
    minimum: float | None = -1.0
    maximum: float | None = None  # 1 in lmnt's DiffWave and WaveGrad

    def __post_init__(self) -> None:
        nyquist, low, high = self.sample_rate / 2, self.minimum, self.maximum
        checks = [
            (self.sample_rate > 0, "sample_rate", self.sample_rate, "a positive rate in Hz"),
            (0 < self.win_length <= self.n_fft, "win_length", self.win_length, f"1 to n_fft={self.n_fft}"),
            (0 < self.hop_length <= self.win_length, "hop_length", self.hop_length, f"1 to {self.win_length}"),
            (self.n_mels > 0, "n_mels", self.n_mels, "at least 1"),
            (0 <= self.fmin < self.top, "fmin", self.fmin, f"0 to fmax={self.top:g} Hz"),
            (self.top <= nyquist, "fmax", self.fmax, f"at most half the sample rate, {nyquist:g} Hz"),
            (self.floor > 0, "floor", self.floor, "a positive number"),
            (self.scale > 0, "scale", self.scale, "a positive number"),
            (low is None or high is None or low < high, "maximum", high, f"more than minimum={low}"),
        ]
        for good, name, value, expected in checks:
            if not good:
                raise ValueError(f"mel.{name} is {value}; expected {expected}")

    @property
    def top(self) -> float:
        """Upper band edge in Hz."""
        return self.sample_rate / 2 if self.fmax is None else self.fmax

    def frames(self, samples: int) -> int:
        """Frames F of a wave of that many samples."""
        return samples // self.hop_length


def log_mel(wav: torch.Tensor, config: MelConfig) -> torch.Tensor:
    """Log-mel spectrogram of a wave, on the wave's device and in its dtype, differentiable.

    Computed in float64 inside: a float32 FFT misses the quiet bands beside loud ones by up to 4e-3 in ln units.

    wav: (T,) or (B, T) in [-1, 1]. Returns (M, F) or (B, M, F) with F = T // hop_length (0 for T < hop_length).
    Raises ValueError for another number of axes or for integer samples.
    """
    if wav.dim() not in (1, 2) or not wav.is_floating_point():
        raise ValueError(
            f"log_mel got a {wav.dtype} tensor of shape {tuple(wav.shape)}; expected float samples (T,) or (B, T)"
        )
    batch = wav if wav.dim() == 2 else wav[None]
    n_frames = config.frames(batch.shape[1])
    if n_frames == 0 or batch.shape[0] == 0:
        mel = batch.new_zeros(batch.shape[0], config.n_mels, n_frames)
    else:
        exact = batch if batch.device.type == "mps" else batch.double()  # Apple's GPU has no float64
        mel = normalised_log(_mel_bands(exact, config)[..., :n_frames], config).to(wav.dtype)
    return mel if wav.dim() == 2 else mel[0]


def _mel_bands(wav: torch.Tensor, config: MelConfig) -> torch.Tensor:
    """(B, T) -> mel amplitudes or powers (B, M, >= F)."""
    if config.preemphasis:
        wav = preemphasise(wav, config.preemphasis)
    return bands_of_windows(_pad(wav, config), config)


def bands_of_windows(wav: torch.Tensor, config: MelConfig) -> torch.Tensor:
    """(B, (F - 1) * hop + n_fft), pre-emphasised, the first window at its beginning -> bands (B, M, F)."""
    spectrum = torch.stft(
        wav,
        config.n_fft,
        config.hop_length,
        config.win_length,
        window=torch.hann_window(config.win_length, dtype=wav.dtype, device=wav.device),
        center=False,
        return_complex=True,
    )
    if config.magnitude_eps:
        magnitude = torch.view_as_real(spectrum).square().sum(-1).add(config.magnitude_eps).sqrt()
    else:
        magnitude = spectrum.abs()
    bands = _filterbank_tensor(config, wav.dtype, wav.device)
    return bands @ (magnitude if config.power == 1 else magnitude**config.power)


def normalised_log(bands: torch.Tensor, config: MelConfig) -> torch.Tensor:
    """Amplitudes or powers of bands as the config's log-mel."""
    value = bands.clamp(min=config.floor)
    if config.log == "ln":
        value = value.log()
    else:
        value = value.log10() * (1 if config.log == "log10" else 20 / config.power)
    value = (value - config.offset) / config.scale
    if config.minimum is None and config.maximum is None:
        return value
    return value.clamp(config.minimum, config.maximum)


def silence_level(config: MelConfig) -> float:
    """The value log_mel gives for digital silence."""
    natural = log(config.floor)
    value = natural if config.log == "ln" else log10(config.floor) * (1 if config.log == "log10" else 20 / config.power)
    value = (value - config.offset) / config.scale
    return value if config.minimum is None else max(value, config.minimum)


def loudest_level(config: MelConfig) -> float:
    """A value that log_mel does not exceed for samples in [-1, 1]: by Cauchy-Schwarz and Parseval."""
    power = float(np.square(np.hanning(config.win_length + 1)).sum())
    if config.preemphasis:
        power = power * (1 + config.preemphasis) ** 2 + 16  # its first sample may be 4
    energy = config.n_fft * power  # of all bins of a frame together
    filters = filterbank(config)
    if config.power == 1:
        highest = float(np.sqrt(np.square(filters).sum(1).max() * (energy + len(filters[0]) * config.magnitude_eps)))
    else:
        highest = float(filters.max() * energy ** (config.power / 2))
    natural = log(max(highest, config.floor))
    value = natural if config.log == "ln" else natural / log(10) * (1 if config.log == "log10" else 20 / config.power)
    value = (value - config.offset) / config.scale
    return value if config.maximum is None else min(value, config.maximum)


def preemphasise(wav: torch.Tensor, coefficient: float) -> torch.Tensor:
    """y[t] = x[t] - c x[t-1] along the last axis, (..., T) -> (..., T).

    The first sample is 3 x[0] - x[1], as in librosa.effects.preemphasis (it hands 2 x[0] - x[1] to its filter as the
    state): the public checkpoints were trained behind that.
    """
    first = wav[..., :1]
    start = 3 * first - wav[..., 1:2] if wav.shape[-1] > 1 else first
    return torch.cat([start, wav[..., 1:] - coefficient * wav[..., :-1]], dim=-1)


def _pad(wav: torch.Tensor, config: MelConfig) -> torch.Tensor:
    """Pad both sides so that frame j's window lies as the centering says. Waves shorter than the pad are safe."""
    pad = config.n_fft // 2 if config.centering == "center" else (config.n_fft - config.hop_length) // 2
    after = pad if config.centering == "center" else config.n_fft - config.hop_length - pad
    length = wav.shape[-1]
    if config.pad_mode == "constant" or length > max(pad, after):
        return F.pad(wav, (pad, after), mode=config.pad_mode)
    # reflect a short wave again and again, as numpy does:  ... 2 1 | 0 1 2 3 | 2 1 0 1 ...   period 2 (T - 1)
    period = max(2 * (length - 1), 1)
    at = torch.arange(-pad, length + after, device=wav.device) % period
    return wav[..., torch.where(at < length, at, period - at)]


def filterbank(config: MelConfig) -> np.ndarray:
    """Triangular mel filters (M, n_fft // 2 + 1), float64. Equal to librosa.filters.mel for the same settings."""
    to_mel, to_hz = (_slaney_mel, _slaney_hz) if config.mel_scale == "slaney" else (_htk_mel, _htk_hz)
    edges = to_hz(np.linspace(to_mel(np.array(config.fmin)), to_mel(np.array(config.top)), config.n_mels + 2))
    bins = np.arange(config.n_fft // 2 + 1) * (config.sample_rate / config.n_fft)
    low, centre, high = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    weights = np.maximum(0, np.minimum((bins - low) / (centre - low), (high - bins) / (high - centre)))
    if config.mel_norm == "slaney":
        weights *= 2 / (high - low)
    elif config.mel_norm == "l1":
        weights /= np.maximum(weights.sum(axis=1, keepdims=True), np.finfo(np.float64).tiny)
    return weights


@lru_cache(maxsize=16)
@torch.inference_mode(False)  # a tensor made under inference_mode and kept here could never meet autograd again
def _filterbank_tensor(config: MelConfig, dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    return torch.from_numpy(filterbank(config)).to(device=device, dtype=dtype)


# Slaney's scale: linear below 1 kHz (15 mels), logarithmic above (27 mels to a factor 6.4).
def _slaney_mel(hz: np.ndarray) -> np.ndarray:
    return np.where(hz < 1000, hz * 3 / 200, 15 + 27 * np.log(np.maximum(hz, 1000) / 1000) / np.log(6.4))


def _slaney_hz(mel: np.ndarray) -> np.ndarray:
    return np.where(mel < 15, mel * 200 / 3, 1000 * np.exp(np.log(6.4) / 27 * (mel - 15)))


def _htk_mel(hz: np.ndarray) -> np.ndarray:
    return 2595 * np.log10(1 + hz / 700)


def _htk_hz(mel: np.ndarray) -> np.ndarray:
    return 700 * (10 ** (mel / 2595) - 1)
