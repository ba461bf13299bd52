"""waveglow-vq-convert in.wav out.wav --target NAME: what was said, in the voice of another speaker of the training set.

resynth   codes of the recording -> mel in the target's voice -> flow from fresh noise
invert    the noise that the flow finds in the recording -> flow under the target's condition: keeps its prosody
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from vocoder_core import cli, inference

from .infer import add_sampling_arguments, denoised, level, sampling

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from .model import WaveGlowVQ

MODES = ("resynth", "invert")


def main(argv: Sequence[str] | None = None) -> int:
    """The command; its exit status."""
    parser = inference.parser("waveglow-vq-convert", "A recording in the voice of another speaker.", mels=False)
    parser.add_argument("--target", metavar="NAME", required=True, help="whose voice: a speaker of the training set")
    parser.add_argument("--source", metavar="NAME", help="who speaks in in.wav (default: somebody unknown)")
    parser.add_argument("--mode", choices=MODES, default=MODES[0], help="see README (default resynth)")
    parser.add_argument(
        "--mix", type=_share, default=0.0, metavar="A", help="invert: part of fresh noise in the one found (default 0)"
    )
    add_sampling_arguments(parser)
    return cli.run(parser, _convert, argv)


def _convert(arguments: argparse.Namespace) -> None:
    from .model import WaveGlowVQ

    model = WaveGlowVQ.from_pretrained(arguments.checkpoint, device=cli.device(arguments.device))
    told = sampling(arguments) | {name: getattr(arguments, name) for name in ("source", "mode", "mix")}

    def work(own: Tensor) -> Tensor:
        return converted(model, own, arguments.target, **told)

    inference.rework_file(arguments, model.config.mel, level(model), work)


def convert(
    model: WaveGlowVQ,
    wav: np.ndarray,
    sample_rate: int,
    target: str,
    *,
    mode: Literal["resynth", "invert"] = "resynth",
    source: str | None = None,
    mix: float = 0.0,
    sigma: float | None = None,
    settle: int | None = None,
    seed: int | None = None,
    denoise: float = 0.0,
) -> np.ndarray:
    """A mono recording (T,) in the voice of `target`; (T,) at the same rate and level.

    Raises ValueError for an empty recording, and as `WaveGlowVQ.convert` does.
    """

    def work(own: Tensor) -> Tensor:
        how: dict[str, Any] = {"mode": mode, "source": source, "mix": mix, "sigma": sigma}
        how |= {"settle": settle, "seed": seed}
        return converted(model, own, target, denoise=denoise, **how)

    return inference.rework(wav, sample_rate, model.config.mel, level(model), work)


def converted(model: WaveGlowVQ, own: Tensor, target: str, *, denoise: float = 0.0, **told: Any) -> Tensor:
    """A wave (T,) at the model's rate and level in the voice of `target`, as `WaveGlowVQ.convert` is told."""
    return denoised(model, model.convert(own[None], target, **told), denoise, target)[0]


def _share(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a part, expected 0 to 1")
    return value


if __name__ == "__main__":
    raise SystemExit(main())
