"""waveglow-vq-infer in.wav|mel.npz out.wav: a recording's copy, or a mel's wave, out of noise in one pass.

Any length in, the same length out, at the recording's own rate and level; see vocoder_core.inference.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from vocoder_core import cli, inference

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from vocoder_core.speakers import Who

    from .model import WaveGlowVQ


def main(argv: Sequence[str] | None = None) -> int:
    """The command; its exit status."""
    parser = inference.parser("waveglow-vq-infer", "Speech from a recording's mel, or from a mel.")
    add_sampling_arguments(parser)
    parser.add_argument("--speaker", metavar="NAME", help="who speaks, for a model trained with speakers")
    return cli.run(parser, _infer, argv)


def add_sampling_arguments(parser: argparse.ArgumentParser) -> None:
    """--sigma, --settle and --denoise: of every command that draws a wave."""
    parser.add_argument(
        "--sigma", "--temperature", type=_not_negative, metavar="S",
        help="deviation of the noise it begins with (default: the checkpoint's)",
    )  # fmt: skip
    parser.add_argument(
        "--settle",
        type=int,
        metavar="N",
        help="steps of Griffin-Lim that bring it to its mel (default: the checkpoint's)",
    )
    parser.add_argument(
        "--denoise", type=_not_negative, default=0.0, metavar="A",
        help="take off A times the constant tones of the model (default 0; try 0.1)",
    )  # fmt: skip


def _infer(arguments: argparse.Namespace) -> None:
    from .model import WaveGlowVQ

    model = WaveGlowVQ.from_pretrained(arguments.checkpoint, device=cli.device(arguments.device))
    told = sampling(arguments) | {"speaker": arguments.speaker}
    if model.config.condition.source == "wav":  # no mel says what it needs
        inference.rework_file(arguments, model.config.mel, level(model), lambda own: reproduce(model, own, **told))
    else:
        inference.infer(arguments, model.config.mel, level(model), lambda mel: voice(model, mel, **told))


def sampling(arguments: argparse.Namespace) -> dict[str, Any]:
    """What these options and --seed tell `voice` and its like; on a terminal they show their progress."""
    return {name: getattr(arguments, name) for name in ("sigma", "settle", "seed", "denoise")} | {"progress": True}


def copy(
    model: WaveGlowVQ,
    wav: np.ndarray,
    sample_rate: int,
    *,
    sigma: float | None = None,
    settle: int | None = None,
    seed: int | None = None,
    denoise: float = 0.0,
    speaker: Who | None = None,
) -> np.ndarray:
    """The vocoder's copy of a mono recording (T,): analysed, synthesised, aligned; (T,) at the same rate and level.

    Raises ValueError for an empty recording, and as `WaveGlowVQ.synthesize` does.
    """

    def work(own: Tensor) -> Tensor:
        return reproduce(model, own, sigma=sigma, settle=settle, seed=seed, denoise=denoise, speaker=speaker)

    return inference.rework(wav, sample_rate, model.config.mel, level(model), work)


def reproduce(model: WaveGlowVQ, own: Tensor, **told: Any) -> Tensor:
    """The copy (T,) of a wave (T,) at the model's rate and level: by its mel, or by its codes where no mel suffices.

    told: as `voice` takes it.
    """
    if model.config.condition.source == "wav":
        denoise = told.pop("denoise", 0.0)
        wav = model.decode(model.encode(own[None]), **told)
        return denoised(model, wav, denoise, told.get("speaker"))[0]
    return voice(model, inference.analyse(own, model.config.mel), **told)


def voice(model: WaveGlowVQ, mel: Tensor, *, denoise: float = 0.0, **told: Any) -> Tensor:
    """The wave (F * hop_length,) of a mel (M, F). told: sigma, settle, seed, speaker and progress of `synthesize`."""
    return denoised(model, model.synthesize(mel[None], **told), denoise, told.get("speaker"))[0]


def denoised(model: WaveGlowVQ, wav: Tensor, strength: float, speaker: Who | None = None) -> Tensor:
    """Waves (B, T) without `strength` times the model's constant tones."""
    if not strength:
        return wav
    from .denoise import bias_spectrum, subtract

    return subtract(wav, bias_spectrum(model, speaker=speaker), strength)


def level(model: WaveGlowVQ) -> Callable[[np.ndarray, int], tuple[np.ndarray, float]]:
    """What brings a wave to the peak that the model learnt from."""
    from vocoder_core import audio

    return lambda wav, sample_rate: audio.set_peak(wav, model.config.level_db)


def _not_negative(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of 0 or more")
    return value


if __name__ == "__main__":
    raise SystemExit(main())
