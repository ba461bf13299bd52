"""stft and istft on the frames of a mel spectrogram: G and its exact inverse G+ of the SpecGrad paper.

    wav (B, T) -> zeros at both ends -> windows -> FFT -> (B, K, N)        T = F * hop, K = n_fft // 2 + 1

Frame j's Hann window is centred on sample j * hop + offset, where the mel's frame j has it:

    offset 0 ("center"):   N = F + 1, the last window is centred on the end of the wave
    offset hop / 2 ("same"):   N = F

G+ weights by the window and divides by the sum of squared windows (Griffin & Lim 1984): istft(stft(x)) = x.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from vocoder_core.mel import MelConfig


@dataclass(frozen=True)
class Grid:
    """Where the windows of an STFT lie; lengths in samples."""

    n_fft: int
    win_length: int
    hop_length: int
    offset: int = 0  # of frame 0's centre from sample 0

    @property
    def bins(self) -> int:
        """K, frequencies of a one-sided spectrum."""
        return self.n_fft // 2 + 1

    def frames(self, samples: int) -> int:
        """N of a wave of that many samples, a multiple of hop_length."""
        return samples // self.hop_length + (0 if self.offset else 1)


def grid_of(mel: MelConfig, scale: int = 1) -> Grid:
    """The grid on which a mel was made; with scale s: s times as many frames of windows s times as short.

    Raises ValueError when a length does not divide by the scale.
    """
    for name in ("n_fft", "win_length", "hop_length"):
        if getattr(mel, name) % (2 * scale):
            raise ValueError(f"mel.{name} is {getattr(mel, name)}; expected a multiple of {2 * scale}")
    hop = mel.hop_length // scale
    offset = 0 if mel.centering == "center" else hop // 2
    return Grid(mel.n_fft // scale, mel.win_length // scale, hop, offset)


def stft(wav: Tensor, grid: Grid) -> Tensor:
    """wav (B, T), T a multiple of hop_length -> complex spectrum (B, K, N), not normalised, in fp32 or fp64.

    In memory it lies frame after frame, as the FFT leaves it: operands of the same layout spare whole copies.
    """
    before, after = _padding(wav.shape[-1], grid)
    frames = F.pad(wav, (before, after)).unfold(-1, grid.win_length, grid.hop_length)  # (B, N, win)
    return torch.fft.rfft(_widened(frames * _window(grid, wav), grid)).transpose(1, 2)


def istft(spectrum: Tensor, grid: Grid, length: int) -> Tensor:
    """spectrum (B, K, N) -> wav (B, length): the wave whose STFT is nearest to it (least squares)."""
    frames = torch.fft.irfft(spectrum.transpose(1, 2), n=grid.n_fft)
    side = (grid.n_fft - grid.win_length) // 2
    window = _window(grid, frames)
    total = _overlap_add(frames[..., side : side + grid.win_length] * window, grid.hop_length)
    before, _ = _padding(length, grid)
    span = slice(before, before + length)
    return total[:, span] / _overlapping(window.square(), frames.shape[1], grid.hop_length)[span].clamp(min=1e-11)


def _padding(length: int, grid: Grid) -> tuple[int, int]:
    """Zeros before the wave and after it, so that the windows lie as the grid says."""
    if length % grid.hop_length:
        raise ValueError(f"a wave of {length} samples; expected a multiple of hop_length {grid.hop_length}")
    before = grid.win_length // 2 - grid.offset
    return before, (grid.frames(length) - 1) * grid.hop_length + grid.win_length - before - length


def _window(grid: Grid, like: Tensor) -> Tensor:
    return torch.hann_window(grid.win_length, dtype=like.dtype, device=like.device)


def _widened(frames: Tensor, grid: Grid) -> Tensor:
    """Zeros on both sides of each window up to n_fft."""
    missing = grid.n_fft - grid.win_length
    return F.pad(frames, (missing // 2, missing - missing // 2)) if missing else frames


def _overlap_add(frames: Tensor, hop: int) -> Tensor:
    """Frames (B, N, W) placed hop apart and summed: (B, (N - 1) hop + W), or up to hop - 1 zeros more.

    A frame is W / hop pieces of a hop each; piece p of all frames is one wave, p hops late.
    """
    batch, count, width = frames.shape
    pieces = -(-width // hop)
    parts = F.pad(frames, (0, pieces * hop - width)) if width % hop else frames
    parts = parts.view(batch, count, pieces, hop)
    total = frames.new_zeros(batch, count + pieces - 1, hop)
    for p in range(pieces):
        total[:, p : p + count] += parts[:, :, p]
    return total.view(batch, -1)


def _overlapping(window: Tensor, count: int, hop: int) -> Tensor:
    """`_overlap_add` of `count` times the same window (W,), without the frames: sums over the pieces that meet."""
    pieces = -(-len(window) // hop)
    parts = F.pad(window, (0, pieces * hop - len(window))).view(pieces, hop)
    sums = torch.cat([parts.new_zeros(1, hop), parts.cumsum(0)])
    row = torch.arange(count + pieces - 1, device=window.device)
    return (sums[(row + 1).clamp(max=pieces)] - sums[(row - count + 1).clamp(min=0)]).view(-1)
