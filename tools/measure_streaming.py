"""What a copy loses when it is made piece by piece: vqvaevc and samplernn-pase, by frames of look-ahead.

    python tools/measure_streaming.py vqvaevc [--frames 4 10 20 40] [--clips 8] [--checkpoint FOLDER]

Of each clip of shared-audio: the share of frames whose voicing another track of pitch says, piece by piece and of the
whole recording; PESQ-WB of the copies, settled as the model has it, against the recording. Means over clips with 95 %
bootstrap intervals; differences are those of the same clip with the same seed.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

CLIPS = Path(__file__).resolve().parents[1] / "shared-audio"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("vocoder", choices=["vqvaevc", "samplernn-pase"])
    parser.add_argument("--frames", type=int, nargs="+", default=[4, 10, 20, 40], help="of look-ahead, K")
    parser.add_argument("--clips", type=int, default=8, help="of shared-audio, of all speakers in turn (default 8)")
    parser.add_argument("--seconds", type=float, default=3.0, help="of each at most (default 3)")
    parser.add_argument("--checkpoint", type=Path, help="default: the weights in the package")
    arguments = parser.parse_args()

    from vocoder_core.metrics import summarise

    model = voice(arguments.vocoder, arguments.checkpoint)
    rows: list[dict[str, float]] = []
    for path in chosen(arguments.clips):
        rows.append(measured(model, heard(model, path, arguments.seconds), arguments.frames))
        print(path.name, *(f"{name} {value:.3f}" for name, value in rows[-1].items()), flush=True)
    print("\n| | n | mean [95 %] |\n|:--|--:|--:|")
    for name, (mean, low, high, n) in summarise(rows).items():
        print(f"| {name} | {n} | {mean:.3f} [{low:.3f}, {high:.3f}] |")


def voice(vocoder: str, checkpoint: Path | None) -> Any:
    """The model."""
    if vocoder == "vqvaevc":
        from vqvaevc import VQVAEVC

        return VQVAEVC.from_pretrained(checkpoint)
    from samplernn_pase import SampleRNNPASE

    return SampleRNNPASE.from_pretrained(checkpoint)


def chosen(count: int) -> list[Path]:
    """Clips of all speakers in turn."""
    each = [sorted(folder.glob("*.flac")) for folder in sorted(CLIPS.iterdir()) if folder.is_dir()]
    turns = [clips[turn] for turn in range(count) for clips in each if turn < len(clips)]
    return turns[:count]


def heard(model: Any, path: Path, seconds: float) -> torch.Tensor:
    """A clip (T,), whole frames, at the model's rate and level."""
    from vocoder_core import audio, inference

    wav, _ = audio.load(path, model.config.mel.sample_rate)
    own, _ = inference.level_of(model.config)(wav[: round(seconds * model.config.mel.sample_rate)], model.sample_rate)
    return inference.whole_frames(torch.from_numpy(own), model.config.mel)


def measured(model: Any, wav: torch.Tensor, frames: list[int]) -> dict[str, float]:
    """The figures of a wave."""
    from vocoder_core.metrics.perceptual import pesq_wb
    from vocoder_core.pitch import track

    config, reference = model.config.mel, wav.numpy()
    whole = track(wav[None], config.sample_rate, config.hop_length)[1][0] > 0
    best = pesq_wb(reference, copied(model, wav, None).numpy(), config.sample_rate)
    figures = {"PESQ, all heard": best}
    for ahead in frames:
        figures[f"{ahead} frames: voicing that differs, %"] = 100 * float(
            (voiced(model, wav, ahead) != whole).float().mean()
        )
        own = pesq_wb(reference, copied(model, wav, ahead).numpy(), config.sample_rate)
        figures[f"{ahead} frames: PESQ, more than with all"] = own - best
    return figures


def copied(model: Any, wav: torch.Tensor, look_ahead: int | None) -> torch.Tensor:
    """The model's copy of a wave."""
    if hasattr(model, "infer"):
        return model.infer(wav, seed=0, look_ahead=look_ahead)
    from samplernn_pase.listening import say

    return say(model, wav, None, seed=0, look_ahead=look_ahead)


def voiced(model: Any, wav: torch.Tensor, ahead: int) -> torch.Tensor:
    """Which frames a track of pitch by windows says are voiced (F,)."""
    import importlib

    from vocoder_core.pitch import track
    from vocoder_core.streaming.pieces import windows

    streaming = importlib.import_module(f"{type(model).__module__.split('.')[0]}.streaming")
    config, (grid, _) = model.config.mel, streaming.grids(model, ahead, 0)

    def parts() -> Iterator[torch.Tensor]:
        for window in windows([wav.unflatten(0, (-1, config.hop_length)).t()], grid):
            own = window.frames.t().reshape(1, -1)
            yield window.own(track(own, config.sample_rate, config.hop_length)[1][0]) > 0

    return torch.cat(list(parts()))


if __name__ == "__main__":
    main()
