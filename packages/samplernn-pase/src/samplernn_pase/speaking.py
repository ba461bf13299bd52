"""From a mel, or other content, to a wave: pitch, conditions, the loop that draws, and settling on the mel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from vocoder_core.griffinlim import griffin_lim, settled
from vocoder_core.pitch import track
from vocoder_core.recurrent.narrow import Precision
from vocoder_core.recurrent.streams import Backend
from vocoder_core.speakers import Who
from vocoder_core.streaming.pieces import InMemory

from .content import LF0

if TYPE_CHECKING:
    from .model import SampleRNNPASE, SampleRNNPASEConfig

ITERATIONS = 16  # of Griffin-Lim: enough for the pitch of a mel


@dataclass(frozen=True)
class Sampling:
    """How samples are drawn."""

    temperature: float = 1.0  # 0: the likeliest class every time
    settle: int = 0  # steps of Griffin-Lim that bring the wave to the mel it was made by
    seed: int | Sequence[int] | None = None  # one for all rows, one for each, or None: any
    backend: Backend = "auto"  # "torch", "numba" (CPU), "graph" (CUDA); auto: numba on a CPU that has it, graph on CUDA
    progress: bool = False
    precision: Precision = "fp32"  # of weights on CUDA: "bf16", "fp16"

    def __post_init__(self) -> None:
        if self.settle < 0:
            raise ValueError(f"settle is {self.settle}; expected 0 or more steps")


def sampling(
    config: SampleRNNPASEConfig, temperature: float | None, settle: int | None, seed: int | Sequence[int] | None,
    backend: Backend, progress: bool,
) -> Sampling:  # fmt: skip
    """How samples are drawn: as is said, else as the config says."""
    temperature = config.temperature if temperature is None else temperature
    return Sampling(temperature, config.settle if settle is None else settle, seed, backend, progress)


def speak(
    model: SampleRNNPASE, mel: Tensor, speaker: Who | None, pitch: Tensor | None, normal: Tensor | None, how: Sampling,
    look_ahead: int | None = None,
) -> Tensor:  # fmt: skip
    """Waves (B, F * hop), as `SampleRNNPASE.synthesize` has them. Row by row up to what the loops are told.

    In a batch BLAS rounds otherwise, and the last bit of a condition can turn a sample, then all others.
    """
    from .generate import generate
    from .streaming import LONG, spoken

    content = raw(model, mel)
    checked_settle(model, how)
    long = content.shape[1] > LONG and pitch is None and model.config.content.kind == "mel80"
    if content.shape[1] and (long or look_ahead is not None):
        rows = [InMemory(row.t()) for row in content]
        wav = torch.cat(list(spoken(model, rows, speaker, how, look_ahead, normal)), dim=1)
        return wav if mel.dim() == 3 else wav[0]
    tracks = pitch
    if model.config.labels.pitch and tracks is None and content.shape[1]:
        tracks = torch.cat([pitch_of_mel(model, row) for row in content.split(1)]) if len(content) else None
    wav = generate(model, content, speaker, tracks, normal, how)
    if how.settle and wav.numel():
        mels = content.transpose(1, 2)
        wav = torch.cat([settled(*row, model.config.mel, how.settle) for row in zip(wav.split(1), mels.split(1))])
    return wav if mel.dim() == 3 else wav[0]


def checked_settle(model: SampleRNNPASE, how: Sampling) -> None:
    """Raises ValueError for steps of settling where there is no mel to settle on."""
    if how.settle and model.config.content.kind != "mel80":
        raise ValueError(f"settle is {how.settle} with content {model.config.content.kind}; expected mel80, or 0")


def raw(model: SampleRNNPASE, mel: Tensor) -> Tensor:
    """Raw content (B, F, C) of what `synthesize` is given. Raises ValueError for another shape, or infinite values."""
    config = model.config
    if config.content.kind == "mel80":
        return model.checked(mel).transpose(1, 2)
    width = config.content.width
    if mel.dim() not in (2, 3) or mel.shape[-1] != width or not mel.is_floating_point():
        raise ValueError(
            f"synthesize got a {mel.dtype} tensor of shape {tuple(mel.shape)}; expected float content of kind "
            f"{config.content.kind}, (B, F, {width}) or (F, {width})"
        )
    wrong = mel.isinf() if config.content.categories else ~mel.isfinite()
    if config.content.kind == "world43":  # of a recording without a voice the pitch is NaN
        wrong[..., LF0["world43"]] = mel[..., LF0["world43"]].isinf()
    if wrong.any():
        raise ValueError("synthesize got content with NaN or infinite values; expected finite ones")
    return (mel if mel.dim() == 3 else mel[None]).to(next(model.parameters()))


def pitch_of_mel(model: SampleRNNPASE, content: Tensor) -> Tensor:
    """The pitch track (B, F, 2) of mels as content (B, F, M): of what Griffin-Lim makes of them."""
    config = model.config.mel
    wav = griffin_lim(content.transpose(1, 2), config, ITERATIONS)
    return torch.stack(track(wav, config.sample_rate, config.hop_length), dim=2)
