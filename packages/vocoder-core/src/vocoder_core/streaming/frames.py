"""Frames: the log-mel of a wave that comes in pieces, and of any part of a long wave; bit by bit what `log_mel` gives.

    wav      ...|<-------- win_length -------->|...       the rest of a window of n_fft samples is 0,
    frame j                |<- hop ->|                    so frame j is known once its win_length samples are

Latency: win_length / 2 samples behind the frame's first ("center": 25 ms of RNN_MS's), behind its middle ("same").
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from ..mel import MelConfig, bands_of_windows, log_mel, normalised_log

MOST = 512  # frames at a time


class MelOfWave:
    """A Source (pieces.py): the mel of a wave (T,) in memory, T // hop_length frames, made when it is asked for."""

    def __init__(self, wav: Tensor, config: MelConfig) -> None:
        self.wav, self.config = wav, config

    @property
    def frames(self) -> int:
        """F."""
        return self.config.frames(len(self.wav))

    def cut(self, first: int, last: int) -> Tensor:
        """Frames first ... last - 1, (M, last - first)."""
        if len(self.wav) <= _reach(self.config):
            return log_mel(self.wav, self.config)[:, first:last]
        parts = [
            _frames(self.wav, 0, len(self.wav), at, min(at + MOST, last), self.config)
            for at in range(first, last, MOST)
        ]
        return torch.cat(parts, dim=1) if parts else self.wav.new_zeros(self.config.n_mels, 0)


class MelStream:
    """A wave in, frames out, each once it is known.

    stream = MelStream(config)
    mel = stream(wav)       # (t,), any t -> (M, f), f >= 0
    mel = stream.close()    # the last ones
    """

    def __init__(self, config: MelConfig) -> None:
        self.config, self.held, self.first, self.made = config, torch.zeros(0), 0, 0

    def __call__(self, wav: Tensor) -> Tensor:
        """The frames (M, f) that become known by the next samples (t,)."""
        self.held = torch.cat([self.held.to(wav), wav])
        heard, config = self.first + len(self.held), self.config
        if heard <= _reach(config):
            return wav.new_zeros(config.n_mels, 0)
        start, size = _window(config)
        known = max(self.made, min(config.frames(heard), (heard - start - size) // config.hop_length + 1))
        mel = self._made(known, None)
        gone = max(0, min(self.made * config.hop_length + start - 1, heard - _reach(config) - 1) - self.first)
        self.held, self.first = self.held[gone:].clone(), self.first + gone
        return mel

    def close(self) -> Tensor:
        """The frames behind which nothing comes."""
        total = self.first + len(self.held)
        if total <= _reach(self.config):
            return log_mel(self.held, self.config)
        return self._made(self.config.frames(total), total)

    def _made(self, until: int, total: int | None) -> Tensor:
        parts = [self.held.new_zeros(self.config.n_mels, 0)]
        for at in range(self.made, until, MOST):
            parts.append(_frames(self.held, self.first, total, at, min(at + MOST, until), self.config))
        self.made = until
        return torch.cat(parts, dim=1)


def mel_frames(portions: Iterable[Tensor], config: MelConfig) -> Iterator[Tensor]:
    """Of a wave in portions (t,) the log-mel in portions (M, f)."""
    stream = MelStream(config)
    for wav in portions:
        yield stream(wav)
    yield stream.close()


def heard_frames(portions: Iterable[Tensor], config: MelConfig) -> Iterator[Tensor]:
    """Of a wave in portions (t,) its frames over those of its log-mel, (hop_length + M, n), once both are known."""
    stream, hop = MelStream(config), config.hop_length
    wave, mel = torch.zeros(0), torch.zeros(config.n_mels, 0)
    for portion in portions:
        wave = torch.cat([wave.to(portion), portion])
        mel = torch.cat([mel.to(portion), stream(portion)], dim=1)
        count = mel.shape[1]
        if count:
            yield torch.cat([wave[: count * hop].unflatten(0, (-1, hop)).t(), mel])
            wave, mel = wave[count * hop :], mel[:, :0]
    mel = torch.cat([mel, stream.close()], dim=1)
    yield torch.cat([wave[: mel.shape[1] * hop].unflatten(0, (-1, hop)).t(), mel])


def in_portions(wav: Tensor, config: MelConfig) -> Iterator[Tensor]:
    """A wave (T,) in portions of MOST frames."""
    return iter(wav.split(MOST * config.hop_length))


def whole_frames(portions: Iterable[Tensor], hop: int) -> Iterator[Tensor]:
    """A wave in portions (t,), with zeros behind it: whole frames, one at least."""
    count, last = 0, torch.zeros(0)
    for last in portions:
        count += len(last)
        yield last
    missing = -count % hop if count else hop
    if missing:
        yield last.new_zeros(missing)


def _frames(wav: Tensor, at: int, total: int | None, first: int, last: int, config: MelConfig) -> Tensor:
    """Frames first ... last - 1 (M, f) of a wave of `total` samples, of which `wav` are those from `at` on."""
    start, size = _window(config)
    low, high = first * config.hop_length + start, (last - 1) * config.hop_length + start + size
    exact = wav if wav.device.type == "mps" else wav.double()
    side = (config.n_fft - config.win_length) // 2
    seen = F.pad(_samples(exact, at, total, low, high, config), (side, config.n_fft - config.win_length - side))
    return normalised_log(bands_of_windows(seen[None], config), config)[0].to(wav.dtype)


def _samples(wav: Tensor, at: int, total: int | None, low: int, high: int, config: MelConfig) -> Tensor:
    """Samples low ... high - 1 of the whole wave, pre-emphasised, as it is padded before 0 and from `total` on."""
    place = torch.arange(low, high, device=wav.device)
    outside = (place < 0) | (place >= (high if total is None else total))
    place = place.abs()
    if total is not None:
        place = torch.where(place >= total, 2 * (total - 1) - place, place)
    if config.pad_mode == "constant":
        place = place.masked_fill(outside, at)
    value = wav[place - at]
    if config.preemphasis:
        before = wav[(place - at - 1).clamp(min=0)]
        value = torch.where(place > 0, value - config.preemphasis * before, value)
        if at == 0:
            value = torch.where(place == 0, 3 * wav[0] - wav[1], value)
    return value.masked_fill(outside, 0) if config.pad_mode == "constant" else value


def _window(config: MelConfig) -> tuple[int, int]:
    """Where what frame 0's window sees begins, and how many samples that is."""
    pad = config.n_fft // 2 if config.centering == "center" else (config.n_fft - config.hop_length) // 2
    return (config.n_fft - config.win_length) // 2 - pad, config.win_length


def _reach(config: MelConfig) -> int:
    """The most samples that a window sees beyond an end of the wave; of a shorter wave reflections are reflected."""
    start, size = _window(config)
    return max(-start, start + size)
