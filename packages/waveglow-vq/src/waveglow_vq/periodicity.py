"""Periodicity: pitch and its pulses, taken out of the excitation by what lies some periods back.

What linear prediction over a few samples leaves of a voice (whiten.py) repeats itself at the pitch. The mel says
roughly where, so a small network over its frames gives, for each block of samples, weights over all lags of human
pitch: one set for the wave, which is subtracted (the long-term predictor of speech codecs; Atal & Schroeder 1970), and
a few for its magnitude, which tell how loud the next sample is likely to be: pulses come once a period. Both look back
at least the shortest period, never at the sample itself, so this is a step of the flow: triangular, exactly
invertible, cheap.

    e[n] -------------------------------------------------> (- shift[n]) / scale[n] -> r[n]
     |    |<---------- lags low ... high ---------->|<- low ->| n
     +--->|  weights w (sum < 1)       -> shift[n]  |
     +--->|  weights v_1 ... v_E of |e| -> scale[n] |              log |dr / de| = - sum of log scale

The weights are positive and those of the wave sum to less than one, so that the inverse cannot ring up.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vocoder_core.mel import MelConfig

BOUND = 3.0  # of the log-scale, nat
PIECE = 256  # frames whose weights the inverse holds at a time, 30 MB or so
QUIET = 0.1  # added to magnitudes, of excitation with variance 1, before their logarithm


@dataclass(frozen=True)
class PeriodicityConfig:
    """The lags and the network that weighs them. envelopes 0, or no whitening: no such step."""

    envelopes: int = 4  # E, sets of weights for the magnitude
    lowest_hz: float = 40.0
    highest_hz: float = 500.0
    width: int = 128  # channels over the frames
    block: int = 64  # samples with the same weights; hop_length is a multiple of it

    def __post_init__(self) -> None:
        if self.envelopes < 0 or min(self.width, self.block) < 1:
            raise ValueError("periodicity.envelopes, width or block is too small; expected at least 0, 1 and 1")
        if not 0 < self.lowest_hz < self.highest_hz:
            raise ValueError(f"periodicity: {self.lowest_hz} to {self.highest_hz} Hz; expected two rising numbers")


class Periodicity(nn.Module):
    """e (B, T) <-> r (B, T), given normalised mels (B, M, F) with T = F * hop_length."""

    def __init__(self, config: PeriodicityConfig, mel: MelConfig) -> None:
        super().__init__()
        if mel.hop_length % config.block:
            raise ValueError(f"periodicity.block is {config.block}; expected a divisor of hop_length {mel.hop_length}")
        self.config = config
        self.blocks = mel.hop_length // config.block  # of a frame
        self.low, self.high = round(mel.sample_rate / config.highest_hz), round(mel.sample_rate / config.lowest_hz)
        self.stride = next(n for n in range(min(self.low, config.block), 0, -1) if config.block % n == 0)
        self.lags = self.high - self.low
        self.n_fft = 1 << (config.block + self.lags - 2).bit_length()
        width, sets = config.width, 1 + config.envelopes
        self.first = nn.Conv1d(mel.n_mels, width, 5, padding=2)
        self.second = nn.Conv1d(width, width, 5, padding=2)
        self.third = nn.Conv1d(width, width, 3, padding=1)
        self.weigh = nn.Linear(width, sets * self.lags)
        self.gains = nn.Linear(width, 1 + config.envelopes + 1)  # of the wave, of each log magnitude, and a constant
        for layer in (self.weigh, self.gains):  # all lags alike at first, and little of the wave
            nn.init.zeros_(layer.bias)
            layer.weight.data *= 0.3
        self.gains.bias.data[0] = -2.0

    @property
    def context(self) -> int:
        """Frames on either side that the network hears of the mel."""
        return 6

    def forward(self, excitation: Tensor, mel: Tensor) -> tuple[Tensor, Tensor]:
        """excitation (B, T), normalised mel (B, M, F) -> r (B, T), log of the volume change (B,)."""
        weights, gains = self._weights(mel)
        padded = F.pad(excitation, (self.high, 0))
        shift = self._behind(padded, weights[:, :, :1])
        log_scale = self._log_scale(self._behind(padded.abs(), weights[:, :, 1:]), gains)
        r = (excitation.unflatten(1, (-1, self.config.block)) - shift[:, :, 0]) * torch.exp(-log_scale)
        return r.flatten(1), -log_scale.sum((1, 2))

    def inverse(self, r: Tensor, mel: Tensor) -> Tensor:
        """The excitation (B, T) of r (B, T): as many samples at a time as the shortest period has."""
        made = r.new_zeros(len(r), self.high + r.shape[1])
        samples = self.blocks * self.config.block  # of a frame
        for frame in range(0, mel.shape[2], PIECE):  # the weights of a piece at a time: they are large
            first = max(0, frame - self.context)
            weights, gains = self._weights(mel[:, :, first : frame + PIECE + self.context])
            backward = weights.flip(-1)
            for start in range(frame * samples, min(frame + PIECE, mel.shape[2]) * samples, self.stride):
                block, end = start // self.config.block - first * self.blocks, start + self.stride
                seen = made[:, start + 1 : end + self.lags].unfold(1, self.lags, 1).transpose(1, 2)  # (B, lags, stride)
                shift = (backward[:, block, :1] @ seen)[:, 0]
                magnitudes = backward[:, block, 1:] @ seen.abs()
                log_scale = self._log_scale(magnitudes[:, None], gains[:, block, None])[:, 0]
                made[:, self.high + start : self.high + end] = r[:, start:end] * torch.exp(log_scale) + shift
        return made[:, self.high :]

    def _weights(self, mel: Tensor) -> tuple[Tensor, Tensor]:
        """Weights (B, blocks, 1 + E, lags), the wave's first, and gains (B, blocks, E + 1) of the scale."""
        hidden = F.gelu(self.second(F.gelu(self.first(mel))))
        hidden = F.interpolate(hidden, scale_factor=self.blocks, mode="linear", align_corners=False)
        hidden = F.gelu(self.third(hidden)).transpose(1, 2)
        gains = self.gains(hidden)
        weights = torch.softmax(self.weigh(hidden).unflatten(-1, (-1, self.lags)), dim=-1)
        voiced = torch.sigmoid(gains[..., :1, None])
        return torch.cat([weights[:, :, :1] * voiced, weights[:, :, 1:]], dim=2), gains[..., 1:]

    def _behind(self, padded: Tensor, weights: Tensor) -> Tensor:
        """Weighted sums (B, blocks, S, block) of what lies low to high - 1 samples before each one."""
        block = self.config.block
        past = padded[:, 1:].unfold(1, block + self.lags - 1, block)[:, : weights.shape[1], None]
        spectrum = torch.fft.rfft(past, self.n_fft) * torch.fft.rfft(weights, self.n_fft)
        return torch.fft.irfft(spectrum, self.n_fft)[..., self.lags - 1 : self.lags - 1 + block]

    def _log_scale(self, magnitudes: Tensor, gains: Tensor) -> Tensor:
        """magnitudes (B, blocks, E, block), gains (B, blocks, E + 1) -> (B, blocks, block)."""
        loud = torch.log(magnitudes.clamp(min=0) + QUIET)  # rounding makes a sum of nothing negative
        raw = (torch.tanh(gains[..., :-1, None]) * loud).sum(2) + gains[..., -1:]
        return BOUND * torch.tanh(raw / BOUND)
