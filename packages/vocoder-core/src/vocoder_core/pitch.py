"""Pitch: how long a period of the voice is in each frame, and how periodic it is; numbers of it; whose it is.

Boersma 1993, "Accurate short-term analysis of the fundamental frequency and the harmonics-to-noise ratio of a sampled
sound": the autocorrelation of a windowed frame, divided by the window's own, has a peak of height 1 at each multiple of
the period of a periodic sound. The peaks of a frame are its candidates, and one more says that nothing repeats itself;
the cheapest way through all frames (Viterbi) chooses.

    wav   |<------------ window, 2.5 periods of the lowest ------------>|
    frame            |<---- hop, frame j: [j hop, (j + 1) hop) --->|          the window's middle is the frame's

Nothing is remembered between calls, nothing depends on the level of the rest of the file. Frames without a voice get
the lag between those of their neighbours, so that it never jumps; their voicing is 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import log, log2

import torch
import torch.nn.functional as F
from torch import Tensor

PERIODS = 2.5  # of the lowest pitch in a window
MURMUR_HZ = 1500.0  # above it, autocorrelation hears less and less: breath there does not repeat itself
UPSAMPLED = 2  # autocorrelation, by a longer inverse transform; a parabola does the rest
LEVELS = 63  # numbers of pitch beside 0, unvoiced
STRETCH = 1.5
PIECE = 4096  # frames whose autocorrelations are held at a time, 100 MB


@dataclass(frozen=True)
class PitchConfig:
    """Range and costs, Boersma's where nothing is said, in units of correlation, per octave or per change."""

    lowest_hz: float = 60.0
    highest_hz: float = 500.0
    candidates: int = 12
    voiced_above: float = 0.5  # correlation from which on a loud frame is voiced
    silence: float = 0.02  # of full scale: a frame whose highest sample is below it is hardly voiced
    octave: float = 0.01  # favours high candidates: every multiple of a period is one
    jump: float = 0.35
    switch: float = 0.14  # between voiced and not
    steps_ms: float = 10.0  # for which jump and switch are meant

    def __post_init__(self) -> None:
        if not 0 < self.lowest_hz < self.highest_hz:
            raise ValueError(f"pitch: {self.lowest_hz} to {self.highest_hz} Hz; expected two rising numbers")


def track(wav: Tensor, sample_rate: int, hop: int, config: PitchConfig = PitchConfig()) -> tuple[Tensor, Tensor]:
    """The lag of one period in samples (B, F) and the voicing (B, F) in [0, 1], 0 where unvoiced, of waves (B, T).

    F = T // hop. Raises ValueError for another shape or integer samples.
    """
    if wav.dim() != 2 or not wav.is_floating_point():
        raise ValueError(f"pitch got a {wav.dtype} wave of shape {tuple(wav.shape)}; expected float (B, T)")
    frames = wav.shape[1] // hop
    middle = (sample_rate / config.lowest_hz * sample_rate / config.highest_hz) ** 0.5
    if not frames or not len(wav):
        return wav.new_full((len(wav), frames), middle), wav.new_zeros(len(wav), frames)
    lags, heights, loud = _candidates(wav.float(), sample_rate, hop, config)
    chosen = _way(lags, heights, loud, hop / sample_rate * 1000 / config.steps_ms, config)
    lags, heights = F.pad(lags, (1, 0), value=middle), F.pad(heights, (1, 0))  # the first candidate is unvoiced
    lag, voicing = (values.gather(2, chosen[..., None])[..., 0] for values in (lags, heights))
    return filled(lag, chosen > 0, middle).to(wav), voicing.clamp(0, 1).to(wav)


def filled(lag: Tensor, voiced: Tensor, middle: float) -> Tensor:
    """Lags (B, F) whose unvoiced frames lie between their voiced neighbours, in the logarithm; middle: without any."""
    place = torch.arange(lag.shape[1], device=lag.device).expand_as(lag)
    before = torch.where(voiced, place, -1).cummax(1).values
    after = torch.where(voiced, place, lag.shape[1]).flip(1).cummin(1).values.flip(1)
    before, after = torch.where(before < 0, after, before), torch.where(after >= lag.shape[1], before, after)
    none = before >= lag.shape[1]  # nor after
    before, after = before.clamp(0, lag.shape[1] - 1), after.clamp(0, lag.shape[1] - 1)
    part = ((place - before) / (after - before).clamp(min=1)).to(lag)
    between = torch.lerp(lag.log().gather(1, before), lag.log().gather(1, after), part).exp()
    return torch.where(voiced, lag, torch.where(none, middle, between))


def height(lag: Tensor, sample_rate: int, config: PitchConfig = PitchConfig()) -> Tensor:
    """Lags -> 0 (the lowest pitch) to 1 (the highest), even in log F0."""
    low, high = sample_rate / config.highest_hz, sample_rate / config.lowest_hz
    return (torch.log(high / lag) / log(high / low)).clamp(0, 1)


def numbers(lag: Tensor, voicing: Tensor, sample_rate: int, config: PitchConfig = PitchConfig()) -> Tensor:
    """Lags and voicing (B, F) -> 0 for unvoiced, 1 ... LEVELS for pitch, int64: 6 bits a frame, 59 cents a step."""
    number = 1 + (height(lag, sample_rate, config) * (LEVELS - 1)).round().long()
    return torch.where(voicing > 0, number, 0)


def lags(number: Tensor, sample_rate: int, config: PitchConfig = PitchConfig()) -> tuple[Tensor, Tensor]:
    """Numbers (B, F) -> lags in samples, and voicing, 0 or 1. Their numbers are these."""
    low, high = sample_rate / config.highest_hz, sample_rate / config.lowest_hz
    up = (number.clamp(1, LEVELS) - 1) / (LEVELS - 1)
    lag = filled(high * torch.exp(up * log(low / high)), number > 0, (low * high) ** 0.5)
    return lag, (number > 0).to(lag)


def smoothed(lag: Tensor) -> Tensor:
    """Lags (B, F) over three frames, 1/4, 1/2, 1/4 in the logarithm: without the steps of their numbers."""
    if not lag.shape[1]:
        return lag
    around = F.pad(lag.log()[:, None], (1, 1), mode="replicate")
    return F.avg_pool1d(F.avg_pool1d(around, 2, 1), 2, 1)[:, 0].exp()


def voice(lag: Tensor, voicing: Tensor, sample_rate: int) -> Tensor:
    """Mean and deviation of log F0 (Hz) over the voiced frames of rows (B, F): (B, 2); 0 of a row without any."""
    voiced = (voicing > 0).to(lag)
    count = voiced.sum(1).clamp(min=1)
    up = torch.log(sample_rate / lag)
    mean = (up * voiced).sum(1) / count
    deviation = ((up - mean[:, None]).square() * voiced).sum(1).div(count).sqrt()
    return torch.stack([mean, deviation], dim=1)


def moved(
    lag: Tensor, voicing: Tensor, target: Tensor, sample_rate: int, config: PitchConfig = PitchConfig()
) -> Tensor:
    """Lags (B, F) moved into the range of target (B, 2), as `voice` gives it; rows of 0 stay.

    Its own mean of log F0 becomes the target's; its deviation, too, but at most STRETCH times as large or small: a
    short sentence may be monotonous.
    """
    own, target = voice(lag, voicing, sample_rate), target.to(lag)
    factor = (target[:, 1] / own[:, 1].clamp(min=1e-3)).clamp(1 / STRETCH, STRETCH)[:, None]
    up = (torch.log(sample_rate / lag) - own[:, :1]) * factor + target[:, :1]
    wanted = (sample_rate / up.exp()).clamp(sample_rate / config.highest_hz, sample_rate / config.lowest_hz)
    known = ((target[:, :1] > 0) & (own[:, :1] > 0)).expand_as(lag)
    return torch.where(known, wanted, lag)


def _candidates(wav: Tensor, rate: int, hop: int, config: PitchConfig) -> tuple[Tensor, Tensor, Tensor]:
    """Lags and correlations (B, F, C) of each frame's highest peaks, and its highest sample (B, F)."""
    size = 2 * round(PERIODS * rate / config.lowest_hz / 2)
    frames = wav.shape[1] // hop
    before = size // 2 - hop // 2
    padded = F.pad(wav, (before, size))
    rows = padded.unfold(1, size, hop)[:, :frames]
    loud = F.pad(wav, (before, size)).abs().unfold(1, size, hop)[:, :frames].amax(-1)
    pieces = [_peaks(rows[:, i : i + PIECE], rate, config) for i in range(0, frames, PIECE)]
    lags, heights = (torch.cat(parts, dim=1) for parts in zip(*pieces, strict=True))
    return lags, heights, loud


def _peaks(rows: Tensor, rate: int, config: PitchConfig) -> tuple[Tensor, Tensor]:
    """Frames (B, F, N) -> lags in samples and correlations (B, F, C) of the highest peaks; height 0: no peak."""
    size = rows.shape[-1]
    window = torch.hann_window(size, dtype=rows.dtype, device=rows.device)
    low, high = int(rate / config.highest_hz), int(rate / config.lowest_hz) + 2
    n_fft = 1 << (size + high).bit_length()
    wanted = high * UPSAMPLED + 2
    centred = rows - rows.mean(-1, keepdim=True)
    hertz = torch.arange(n_fft // 2 + 1, device=rows.device) * (rate / n_fft)
    ours = _autocorrelation(centred * window, n_fft, wanted, 1 / (1 + (hertz / MURMUR_HZ) ** 4))
    own = _autocorrelation(window, n_fft, wanted)
    r = ours / ours[..., :1].clamp(min=1e-10) / (own / own[0])
    left, mid, right = r[..., :-2], r[..., 1:-1], r[..., 2:]
    bent = (left - 2 * mid + right).clamp(max=-1e-9)
    shift = (0.5 * (left - right) / bent).clamp(-0.5, 0.5)
    height = mid - 0.25 * (left - right) * shift
    lag = (torch.arange(1, mid.shape[-1] + 1, device=r.device) + shift) / UPSAMPLED
    peak = (
        (mid > left) & (mid >= right) & (mid > 0) & (lag >= rate / config.highest_hz) & (lag <= rate / config.lowest_hz)
    )
    worth = torch.where(peak, height - config.octave * torch.log2(lag / low), -1.0)
    best = worth.topk(config.candidates, dim=-1).indices
    return lag.gather(-1, best), torch.where(peak, height, 0.0).gather(-1, best)


def _autocorrelation(rows: Tensor, n_fft: int, wanted: int, weight: Tensor | None = None) -> Tensor:
    """(..., N) -> (..., wanted), UPSAMPLED values a sample, of a spectrum times `weight` (bins,)."""
    spectrum = torch.view_as_real(torch.fft.rfft(rows, n_fft)).square().sum(-1)
    power = spectrum if weight is None else spectrum * weight
    return torch.fft.irfft(power, n_fft * UPSAMPLED)[..., :wanted]


def _way(lags: Tensor, heights: Tensor, loud: Tensor, steps: float, config: PitchConfig) -> Tensor:
    """The cheapest way (B, F) int64 through the candidates: 0 unvoiced, 1 ... C."""
    octaves = torch.log2(lags)
    quiet = (2 - loud / (config.silence / (1 + config.voiced_above))).clamp(min=0)
    strength = torch.where(heights > 0, heights.clamp(max=1) - config.octave * (octaves - log2(16)), -1.0)
    gain = torch.cat([(config.voiced_above + quiet)[..., None], strength], dim=-1)
    jumps = config.jump / steps * (octaves[:, :-1, :, None] - octaves[:, 1:, None, :]).abs()
    price = F.pad(jumps, (1, 0, 1, 0), value=config.switch / steps)
    price[:, :, 0, 0] = 0
    total, came = gain[:, 0], []
    for frame in range(1, gain.shape[1]):
        best, at = (total[:, :, None] - price[:, frame - 1]).max(1)
        total = best + gain[:, frame]
        came.append(at)
    way = [total.argmax(1)]
    for at in reversed(came):
        way.append(at.gather(1, way[-1][:, None])[:, 0])
    return torch.stack(way[::-1], dim=1)
