"""rnnms-infer in.wav|mel.npy out.wav: a recording's copy, or a mel's wave, by a trained RNN_MS.

A recording of n samples at any rate and with any number of channels comes back with n samples at that rate, at its own
level: it is mixed down, resampled, brought to the loudness the model knows, and all of that is undone at the end.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from vocoder_core import cli

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from .model import RNNMS, Backend


def main(argv: Sequence[str] | None = None) -> int:
    """The command; its exit status."""
    parser = argparse.ArgumentParser(prog="rnnms-infer", description="Speech from a recording's mel, or from a mel.")
    parser.add_argument("input", type=Path, help="in.wav (flac, ogg, mp3 ... any rate) or mel.npy (M, F)")
    parser.add_argument("output", type=Path, help="out.wav (or .flac, .ogg)")
    parser.add_argument("--checkpoint", type=Path, help="a run or checkpoint folder (default: the built-in weights)")
    parser.add_argument("--seed", type=int, default=0, help="same seed, same samples (default 0)")
    parser.add_argument("--temperature", type=float, default=1.0, help="below 1: calmer, towards 0: buzzy (default 1)")
    parser.add_argument("--backend", choices=["auto", "torch", "numba"], default="auto")
    parser.add_argument("--rate", choices=["input", "model"], default="input", help="sample rate of the output")
    cli.add_device_argument(parser)
    return cli.run(parser, _infer, argv)


def _infer(arguments: argparse.Namespace) -> None:
    from vocoder_core import audio

    from .model import RNNMS

    if not arguments.output.parent.is_dir():
        raise FileNotFoundError(f"{arguments.output.parent}: no such folder for the output; make it first")
    model = RNNMS.from_pretrained(arguments.checkpoint, device=cli.device(arguments.device))
    options = {"seed": arguments.seed, "temperature": arguments.temperature, "backend": arguments.backend}
    if arguments.input.suffix == ".npy":
        mel, rate = read_mel(arguments.input, model), model.sample_rate
        wav = model.synthesize(mel, progress=True, **options).cpu().numpy()
    else:
        source, rate = audio.load(arguments.input)
        if arguments.rate == "model":
            source, rate = audio.resample(source, rate, model.sample_rate), model.sample_rate
        wav = copy(model, source, rate, progress=True, **options)
    audio.save(arguments.output, wav, rate)
    print(f"{arguments.output}: {len(wav) / rate:.2f} s at {rate} Hz")


def copy(
    model: RNNMS,
    wav: np.ndarray,
    sample_rate: int,
    *,
    seed: int | None = None,
    temperature: float = 1.0,
    backend: Backend = "auto",
    progress: bool = False,
) -> np.ndarray:
    """The vocoder's copy of a mono recording (T,): analysed, synthesised, aligned; (T,) at the same rate and level.

    Raises ValueError for an empty recording.
    """
    import numpy as np
    import torch

    from vocoder_core import audio

    config = model.config
    if not len(wav):
        raise ValueError("the recording is empty; expected at least one sample")
    own, gain = audio.set_loudness(
        audio.resample(wav, sample_rate, config.mel.sample_rate), config.mel.sample_rate, config.loudness
    )
    mel = analyse(torch.from_numpy(own), model)
    made = model.synthesize(
        mel,
        seed=seed,
        temperature=temperature,
        backend=backend,
        progress=progress,
    )
    result = audio.resample(made[: len(own)].cpu().numpy() / gain, config.mel.sample_rate, sample_rate)[: len(wav)]
    return np.pad(result, (0, len(wav) - len(result))).astype(np.float32)


def analyse(wav: Tensor, model: RNNMS) -> Tensor:
    """The mel (M, F) of a wave (T,) at the model's rate, F >= 1, F * hop_length >= T: zeros fill the last frame."""
    import torch.nn.functional as F

    from vocoder_core.mel import log_mel

    hop = model.config.mel.hop_length
    missing = -len(wav) % hop if len(wav) else hop
    return log_mel(F.pad(wav, (0, missing)), model.config.mel)


def read_mel(path: Path, model: RNNMS) -> Tensor:
    """The mel (M, F) in a .npy file. Raises ValueError when it is not one, or not this model's kind of mel."""
    import numpy as np
    import torch

    n_mels = model.config.mel.n_mels
    try:
        values = np.load(path, allow_pickle=False)
    except (ValueError, EOFError):
        raise ValueError(f"{path}: not a readable .npy array of numbers") from None
    if values.ndim == 3 and values.shape[0] == 1:
        values = values[0]
    if values.ndim != 2 or values.shape[0] != n_mels or values.dtype.kind != "f":
        hint = "; transpose it" if values.ndim == 2 and values.shape[1] == n_mels else ""
        raise ValueError(
            f"{path}: {values.dtype} array of shape {values.shape}; expected float ({n_mels}, frames){hint}"
        )
    _check_range(path, values, model)
    return torch.from_numpy(values.astype(np.float32))


def _check_range(path: Path, values: np.ndarray, model: RNNMS) -> None:
    """Refuse a mel of another front end: it would come out as noise, and nothing would say why."""
    mel = model.config.mel
    if not values.size:
        raise ValueError(f"{path}: the mel has no frames; expected at least one")
    low, high = float(values.min()), float(values.max())
    floor = mel.minimum
    if floor is not None and not (floor - 0.01 <= low and high <= 1):  # NaN fails this too
        raise ValueError(
            f"{path}: values from {low:.3g} to {high:.3g}; this model's mels lie between {floor:g} and 1: "
            f"({mel.log} of {mel.n_mels} bands - {mel.offset:g}) / {mel.scale:g}. Another front end made this one; "
            "see `vocoder_core.mel.log_mel` and the checkpoint's config.yaml"
        )


if __name__ == "__main__":
    raise SystemExit(main())
