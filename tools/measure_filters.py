"""Table of the filters that can shape SpecGrad's noise, measured on real speech: what its README shows.

    python tools/measure_filters.py [SPEECH] [--presets asr16,specgrad24] [--clips 3]

Whitening: standard deviation over time and frequency of |speech| / E|noise| in dB; noise of exactly the speech's
spectrum would give 5.6, the Rayleigh distribution's. Slope: of the noise's spectrum over the speech's, both in dB and
smoothed, 1 for noise that follows in full. Round trip: signal over error, in dB, of white noise after L, then L^-1.
Loss: of a network that says nothing, in the time domain. Bins below 7 kHz, where the recordings have something.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor

    from specgrad.shaping import ShapingConfig
    from vocoder_core.mel import MelConfig

HEARD = 7000.0  # Hz
DRAWS = 8  # of noise, to estimate E|noise|
COLUMNS = ("whitening dB", "slope", "noise / speech dB", "round trip dB", "loss", "range of M dB")
DIGITS = (1, 2, 1, 1, 2, 0)


def main() -> None:
    """Print a Markdown table for every preset."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("speech", type=Path, nargs="?", default=Path("shared-audio"), help="folder of recordings")
    parser.add_argument("--presets", default="asr16,specgrad24", help="front ends, comma-separated")
    parser.add_argument("--clips", type=int, default=3, help="recordings, evenly spread over the sorted list (3)")
    arguments = parser.parse_args()

    from vocoder_core.mel_presets import PRESETS

    paths = sorted(arguments.speech.rglob("*.flac"))
    paths = paths[:: max(1, len(paths) // arguments.clips)][: arguments.clips]
    for name in arguments.presets.split(","):
        print(f"\n| {name}: M | " + " | ".join(COLUMNS) + " |\n|---|" + "---|" * len(COLUMNS))
        clips = [speech(path, PRESETS[name]) for path in paths]
        for label, shaping in filters():
            rows = np.array([measure(wav, mel, PRESETS[name], shaping) for wav, mel in clips])
            cells = [f"{value:.{DIGITS[c]}f}" for c, value in enumerate(rows.mean(axis=0))]
            print(f"| {label} | {' | '.join(cells)} |", flush=True)


def filters() -> Iterator[tuple[str, ShapingConfig]]:
    """The rows: label and settings."""
    from specgrad.shaping import ShapingConfig

    paper = ShapingConfig()
    yield "white (WaveGrad)", replace(paper, prior="white")
    yield "frame energy (PriorGrad)", replace(paper, prior="priorgrad")
    for lifter in (12, 24, 48, 96):
        yield f"cepstrum r={lifter}" + (" (paper)" if lifter == 24 else ""), replace(paper, lifter=lifter)
    yield "cepstrum r=24, zero phase", replace(paper, phase="zero")
    yield "half a cepstrum r=24 (public ports)", replace(paper, smoothing="onesided")
    for floor in (1e-4, 1e-3, 0.1):
        yield f"cepstrum r=24, floor {floor:g}", replace(paper, floor=floor)
    for width in (4.0, 8.0, 16.0):
        yield f"power smoothing, {width:g} bins", replace(paper, smoothing="power", power_width=width)
    yield "filters interpolated, zero phase", replace(paper, smoothing="interpolate", phase="zero")
    yield "pinv of the mel, not smoothed", replace(paper, smoothing="none")


def speech(path: Path, config: MelConfig) -> tuple[Tensor, Tensor]:
    """wav (1, T), its highest sample 0.95, and its mel (1, M, F)."""
    import torch

    from vocoder_core.audio import load
    from vocoder_core.mel import log_mel

    wav, _ = load(path, config.sample_rate)
    whole = torch.from_numpy(wav[: len(wav) // config.hop_length * config.hop_length]).double()[None]
    whole = whole * (0.95 / whole.abs().max())
    return whole, log_mel(whole, config)


def measure(wav: Tensor, mel: Tensor, config: MelConfig, shaping: ShapingConfig) -> list[float]:
    """COLUMNS, for one recording."""
    import torch

    from specgrad import diffusion
    from specgrad.shaping import envelope, shape, transfer, unshape
    from specgrad.transform import grid_of, stft

    grid = grid_of(config)
    smooth = envelope(mel, config, shaping)
    transferred = transfer(smooth, shaping.phase)
    white = torch.randn(DRAWS, wav.shape[1], dtype=wav.dtype, generator=torch.Generator().manual_seed(0))
    noise = shape(white, transferred, grid)
    heard = int(HEARD / config.sample_rate * config.n_fft)
    power = stft(noise, grid).abs().square().mean(0)[:heard]
    magnitude = stft(wav, grid).abs()[0, :heard].clamp(min=1e-5)
    error = unshape(noise, transferred, grid) - white
    setting = diffusion.DiffusionConfig()
    return [
        float((20 * (magnitude / power.sqrt()).log10()).std()),
        slope(magnitude.square(), power),
        decibel(noise.square().mean(), wav.square().mean()),
        min(decibel(white.square().mean(), error.square().mean()), 200.0),
        float(diffusion.loss(noise, torch.zeros_like(noise), transferred, grid, setting)),
        decibel(smooth.max().square(), smooth.min().square()),
    ]


def slope(speech: Tensor, noise: Tensor) -> float:
    """Least-squares slope of the noise's dB over the speech's (K, N), powers averaged over 33 bins and 3 frames."""
    import torch.nn.functional as F

    x, y = (F.avg_pool2d(power[None], (33, 3), 1)[0].log10().flatten() for power in (speech, noise))
    return float(((x - x.mean()) * (y - y.mean())).sum() / (x - x.mean()).square().sum())


def decibel(upper: Tensor, lower: Tensor) -> float:
    """10 log10 of a ratio of powers."""
    return float(10 * (upper / lower).log10())


if __name__ == "__main__":
    main()
