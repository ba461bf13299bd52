"""Why vvvm23/specgrad could not learn: its loss beside ours, on the same network, the same speech and the same noise.

    python tools/plot_seed_loss.py [--out packages/specgrad/docs/seed_loss.png]

The public code whitens the error and then stretches it so that its smallest value becomes -1 and its largest 1, over
the whole batch, before it is squared. Such a loss does not know how large the error is: ten times the error is the same
loss, the right answer is 0 / 0, and the best that a network can do is to answer with two giant spikes. A small
DiffWave is trained on one crop with either loss; what it is asked for and what it learns are printed and drawn.
"""

from __future__ import annotations

import argparse
import math
import statistics
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from specgrad import diffusion
from specgrad.diffusion import DiffusionConfig
from specgrad.diffwave import DiffWave, DiffWaveConfig
from specgrad.shaping import ShapingConfig, envelope, shape, transfer, unshape
from specgrad.transform import grid_of
from vocoder_core import audio
from vocoder_core.mel import log_mel
from vocoder_core.mel_presets import PRESETS

ROOT = Path(__file__).resolve().parents[1]
RECORDING = ROOT / "shared-audio" / "austen" / "austen_64kb-0880.flac"
MEL = PRESETS["asr16"]
GRID = grid_of(MEL)
FIRST, FRAMES = 60, 12  # the crop: 3,072 samples of speech
BATCH = 2  # rows of the same crop, each with its own noise and level
PROCESS = DiffusionConfig(levels="discrete", beta_start=1e-4, beta_end=0.05, steps=50)  # the public code's
Loss = Callable[[Tensor, Tensor, Tensor], Tensor]  # noise (B, T), estimate (B, T), filters M (B, K, F) -> scalar


def defective_loss(noise: Tensor, estimate: Tensor, filters: Tensor) -> Tensor:
    """THE DEFECT, kept only to show what it does: the whitened error, min-max normalised, squared."""
    error = unshape(noise - estimate, filters, GRID)
    lowest, highest = error.min(), error.max()
    return ((error - lowest) / (highest - lowest) * 2 - 1).square().mean()


def sound_loss(noise: Tensor, estimate: Tensor, filters: Tensor) -> Tensor:
    """Ours: the whitened error, squared."""
    return diffusion.loss(noise, estimate, filters, GRID, PROCESS)


LOSSES: dict[str, Loss] = {"min-max normalised (the defect)": defective_loss, "as it is (ours)": sound_loss}


@dataclass(frozen=True)
class Curve:
    """A training run, step by step."""

    objective: list[float]  # what is minimised
    error: list[float]  # |noise - estimate| / |noise|: 1 for a network that always says 0
    peak: list[float]  # of the error, in its standard deviations


def main() -> None:
    """Train twice, print, draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=ROOT / "packages/specgrad/docs/seed_loss.png")
    parser.add_argument("--steps", type=int, default=400, help="of training with each loss (default 400)")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    clean, mel, filters = crop()
    answers = estimates(clean, filters)
    print(answers_table(answers))
    curves = {name: train(loss, clean, mel, filters, arguments.steps) for name, loss in LOSSES.items()}
    print(curves_table(curves))
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    draw(curves, scales(clean, filters), arguments.out)
    print(f"{arguments.out}: {arguments.out.stat().st_size / 1000:.0f} kB")


def crop() -> tuple[Tensor, Tensor, Tensor]:
    """A piece of speech (B, T) as BATCH equal rows, its mel (B, M, F) and its filters (B, K, F)."""
    wav, _ = audio.load(RECORDING, MEL.sample_rate)
    wav = 0.95 * wav / abs(wav).max()
    first = FIRST * MEL.hop_length
    piece = torch.from_numpy(wav[first : first + FRAMES * MEL.hop_length]).expand(BATCH, -1).contiguous()
    mel = log_mel(piece, MEL)
    return piece, mel, transfer(envelope(mel, MEL, ShapingConfig()), "minimum")


def drawn(clean: Tensor, filters: Tensor, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Shaped noise (B, T), the noisy wave (B, T) at random levels, and what the network is told (B,)."""
    generator = torch.Generator().manual_seed(seed)
    noise = shape(torch.randn(clean.shape, generator=generator), filters, GRID)
    level, told = diffusion.draw_levels(torch.rand(BATCH, generator=generator), PROCESS)
    return noise, diffusion.diffuse(clean, noise, level), told


def estimates(clean: Tensor, filters: Tensor) -> dict[str, tuple[float, float]]:
    """Answer -> (the defective loss, the sound one)."""
    noise, _, _ = drawn(clean, filters, 0)
    spikes = torch.zeros_like(noise)
    spikes[0, 1000], spikes[0, 2000] = 1e4, -1e4
    given = {
        "0": 0 * noise,
        "0.99 of the noise": 0.99 * noise,
        "the noise, exactly": noise,
        "two giant spikes": shape(spikes, filters, GRID),
    }
    return {
        name: (float(defective_loss(noise, answer, filters)), float(sound_loss(noise, answer, filters)))
        for name, answer in given.items()
    }


def scales(clean: Tensor, filters: Tensor) -> dict[str, tuple[list[float], list[float]]]:
    """Loss -> (sizes of the error relative to the noise, the loss of each)."""
    noise, _, _ = drawn(clean, filters, 0)
    sizes = [10 ** (power / 2) for power in range(-6, 5)]
    return {
        name: (sizes, [float(loss(noise, (1 - s) * noise, filters)) for s in sizes]) for name, loss in LOSSES.items()
    }


def train(loss: Loss, clean: Tensor, mel: Tensor, filters: Tensor, steps: int) -> Curve:
    """The small network, from the same weights and on the same noise whatever the loss."""
    torch.manual_seed(0)
    network = DiffWave(DiffWaveConfig(channels=16, layers=8, cycle=8, steps=PROCESS.steps), MEL)
    optimizer = torch.optim.AdamW(network.parameters(), 4e-4)
    normal = (mel - mel.mean()) / mel.std()
    curve = Curve([], [], [])
    for step in range(steps):
        noise, noisy, told = drawn(clean, filters, step)
        estimate = network(noisy, network.condition(mel, normal), told)
        value = loss(noise, estimate, filters)
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        error = (noise - estimate).detach()
        curve.objective.append(value.item())
        curve.error.append(float(error.norm() / noise.norm()))
        curve.peak.append(float(error.abs().max() / error.std()))
    return curve


def answers_table(answers: dict[str, tuple[float, float]]) -> str:
    """Markdown: what each loss says to the same answers."""
    lines = ["| answer | the defective loss | ours |", "|---|--:|--:|"]
    lines += [f"| {name} | {defect:.4g} | {ours:.4g} |" for name, (defect, ours) in answers.items()]
    return "\n".join([*lines, ""])


def curves_table(curves: dict[str, Curve]) -> str:
    """Markdown: the first and the last tenth of each training run."""
    lines = ["| loss | what is minimised | error / noise | peak of the error / its deviation |", "|---|--:|--:|--:|"]
    for name, curve in curves.items():
        part = max(1, len(curve.error) // 10)
        cells = [
            f"{statistics.mean(values[:part]):.3g} -> {statistics.mean(values[-part:]):.3g}"
            for values in (curve.objective, curve.error, curve.peak)
        ]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join([*lines, ""])


def draw(curves: dict[str, Curve], sizes: dict[str, tuple[list[float], list[float]]], path: Path) -> None:
    """Three panels: the losses against the size of the error, the objectives and the true errors against the steps."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, (left, middle, right) = plt.subplots(1, 3, figsize=(10, 3), layout="constrained")
    for (name, curve), color in zip(curves.items(), ("tab:red", "tab:blue")):
        left.loglog(*sizes[name], color=color, label=name)
        middle.semilogy(smooth(curve.objective), color=color)
        right.plot(smooth(curve.error), color=color)
    left.set(xlabel="size of the error / noise", ylabel="loss", title="What the loss sees")
    middle.set(xlabel="training step", ylabel="loss", title="What is minimised")
    right.set(xlabel="training step", ylabel="|error| / |noise|", title="What is learned", ylim=(0, None))
    right.axhline(1, color="gray", linewidth=0.8, linestyle=":")
    figure.legend(loc="outside lower center", ncols=2, frameon=False)
    figure.savefig(path, dpi=80)
    plt.close(figure)


def smooth(values: list[float], width: int = 20) -> list[float]:
    """Means of up to `width` values before each; a value that is no number leaves a gap."""
    means = [statistics.mean(values[max(0, i - width + 1) : i + 1]) for i in range(len(values))]
    return [mean if math.isfinite(mean) else float("nan") for mean in means]


if __name__ == "__main__":
    main()
