"""denoise: two ways to take the constant tones of a flow out of its waves. Both are off unless asked for.

A flow of groups of G samples treats the G phases differently, and whatever it adds to one of them alone sounds as
tones at multiples of sample_rate / G.

    subtract   what the network makes of no noise at all is its bias; its spectrum is taken off every frame
               (NVIDIA/waveglow's denoiser, re-implemented; it takes the spectrum of the first frame, half of which is
               a mirror image, and so leaves two fifths of a constant tone: here it is the middle one of all others)
    comb       the running mean of each phase is taken off: a notch at each of those frequencies, and at 0 Hz

        sample   0  1  2  3 | 4  5  6  7 | 8  9 ...      G = 4
        phase    0  1  2  3 | 0  1  2  3 | 0  1 ...      mean of phase 1 around sample 5: samples ... 1, 5, 9 ...
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from vocoder_core.mel import silence_level
from vocoder_core.speakers import Who

if TYPE_CHECKING:
    from .model import WaveGlowVQ

N_FFT, HOP = 1024, 256  # of the subtraction; the published one's, at any sample rate
SAMPLES = 88 * 256  # of the wave that is the bias
WINDOW = 0.05  # seconds over which a phase's mean is taken


@torch.inference_mode()
def bias_spectrum(
    model: WaveGlowVQ,
    mel: Literal["zeros", "silence"] = "zeros",
    speaker: Who | None = None,
) -> Tensor:
    """|STFT| (N_FFT / 2 + 1,) of what the model makes of no noise: the median over the frames that lie whole in it.

    mel: "zeros" is the published choice, which in a mel of natural logarithms is loud; "silence" is digital silence.
    """
    config = model.config.mel
    frames = -(-SAMPLES // config.hop_length)
    if model.config.condition.source == "wav":  # codes of silence: it hears no mel
        wav = model.decode(model.encode(torch.zeros(1, frames * config.hop_length)), speaker, sigma=0.0, settle=0)
    else:
        level = 0.0 if mel == "zeros" else silence_level(config)
        wav = model.synthesize(torch.full((1, config.n_mels, frames), level), speaker=speaker, sigma=0.0, settle=0)
    edge = N_FFT // HOP
    return _stft(wav)[0, :, edge:-edge].abs().median(dim=1).values


def subtract(wav: Tensor, bias: Tensor, strength: float) -> Tensor:
    """wav (B, T) without `strength` times the bias (K,) of `bias_spectrum` in the magnitudes of its STFT, as float32.

    The phases stay; no magnitude falls below 0. Published: 0.1 (NVIDIA/waveglow), 0.01 (DeepLearningExamples).
    Raises ValueError for a strength below 0.
    """
    if not strength >= 0:
        raise ValueError(f"the denoiser's strength is {strength}; expected 0 (off) or more, such as 0.1")
    samples = wav.shape[-1]
    if not samples:
        return wav.float()
    whole = F.pad(wav.float(), (0, max(0, N_FFT - samples)))
    spectrum = _stft(whole)
    magnitude = spectrum.abs()
    kept = (magnitude - strength * bias.to(magnitude)[:, None]).clamp(min=0) / magnitude.clamp(min=1e-12)
    window = torch.hann_window(N_FFT, device=wav.device)
    return torch.istft(spectrum * kept, N_FFT, HOP, window=window, length=whole.shape[-1])[:, :samples]


def comb(wav: Tensor, group: int, sample_rate: int, window: float = WINDOW) -> Tensor:
    """wav (B, T) less the mean of each sample's phase, t mod `group`, over `window` seconds around it."""
    samples = wav.shape[-1]
    if not samples:
        return wav
    each = 2 * round(window * sample_rate / group / 2) + 1  # samples of a phase: odd, so that the middle is one of them
    tail = (0, -samples % group)  # where nothing is known
    total, count = (_phase_sums(F.pad(x, tail), group, each) for x in (wav, torch.ones_like(wav)))
    return wav - (total / count.clamp(min=1))[:, :samples]


def _phase_sums(wav: Tensor, group: int, each: int) -> Tensor:
    """(B, T) -> (B, T): the sum of the `each` samples of a sample's phase that lie around it; zeros beyond the ends."""
    phases = wav.unflatten(-1, (-1, group)).mT  # (B, G, L)
    means = F.avg_pool1d(phases, each, stride=1, padding=each // 2, count_include_pad=True)
    return (means * each).mT.flatten(-2)


def _stft(wav: Tensor) -> Tensor:
    """(B, T) -> complex (B, K, frames); T > N_FFT / 2."""
    window = torch.hann_window(N_FFT, device=wav.device)
    return torch.stft(wav, N_FFT, HOP, window=window, center=True, pad_mode="reflect", return_complex=True)
