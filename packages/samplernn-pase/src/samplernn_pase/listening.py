"""Listening: what a model hears of a recording before it says it again.

mel80      its log-mel, and its pitch, tracked on the recording itself as it was for training
world43    WORLD's 43 numbers, in deviations of the recording's own means: what is said, less of who says it
both       who speaks, where the model takes vectors that are computed from speech: somebody else, or the same voice
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from vocoder_core import audio
from vocoder_core.mel import log_mel
from vocoder_core.pitch import track
from vocoder_core.speakers import Who
from vocoder_core.streaming.frames import heard_frames, in_portions

from . import statistics, world43
from .seed_speech import spoken
from .speaker import COMPUTED, SpeakerConfig, hearing
from .statistics import Moments
from .streaming import LONG

if TYPE_CHECKING:
    from .model import SampleRNNPASE
    from .speaker import SpeakerEncoder


@dataclass(frozen=True)
class Heard:
    """A recording as `SampleRNNPASE.synthesize` takes it."""

    content: Tensor  # (1, M, F) a mel, else (1, F, C) raw
    pitch: Tensor | None  # (1, F, 2), of a model that is told it
    normal: Tensor | None  # (1, 2, C): the recording's own statistics; None: the model's


def hear(model: SampleRNNPASE, wav: Tensor) -> Heard:
    """What a model hears of a wave (F * hop,) at its rate and level.

    Raises ValueError for a model whose content no recording has.
    """
    config = model.config
    device = next(model.parameters()).device
    if config.content.kind == "mel80":
        pitch = None
        if config.labels.pitch:
            pitch = torch.stack(track(wav[None], config.mel.sample_rate, config.mel.hop_length), dim=2).to(device)
        return Heard(log_mel(wav, config.mel)[None].to(device), pitch, None)
    if config.content.kind != "world43":
        raise ValueError(
            f"this model hears content {config.content.kind}, labels of a text, which a recording does not have: "
            "say a text by samplernn-pase-tts"
        )
    if config.content.acoustic != "world":
        raise ValueError(
            "this model hears Ahocoder's 43 numbers, which are not made here, and not WORLD's: give `synthesize` its "
            "own files (ahocoder.py), or train on WORLD's"
        )
    content = world43.analyse(wav.numpy())
    return Heard(torch.from_numpy(content)[None].to(device), None, own_statistics(model, content).to(device))


def own_statistics(model: SampleRNNPASE, content: np.ndarray) -> Tensor:
    """Means and deviations (1, 2, C) of raw content (F, C), everybody's where it has none."""
    mean, std = (buffer[-1].double().cpu().numpy() for buffer in (model.content.mean, model.content.std))
    own = statistics.of_recording(content, model.config.content.scored, Moments(mean, std))
    return torch.from_numpy(np.stack([own.mean, own.std])[None]).float()


def say(
    model: SampleRNNPASE, wav: Tensor, speaker: Who | None, *, temperature: float | None = None,
    settle: int | None = None, seed: int | None = None, backend: str = "auto", progress: bool = False,
    look_ahead: int | None = None,
) -> Tensor:  # fmt: skip
    """A wave (F * hop,) at the model's rate and level, said by it: (F * hop,). speaker: one for it, as `synthesize`."""
    told: dict[str, Any] = {"temperature": temperature, "settle": settle, "seed": seed, "backend": backend}
    long = len(wav) > LONG * model.config.mel.hop_length
    if model.config.content.kind == "mel80" and (long or look_ahead is not None):
        return torch.cat(list(say_pieces(model, wav, speaker, look_ahead=look_ahead, **told)))
    heard = hear(model, wav)
    told |= {"pitch": heard.pitch, "normal": heard.normal, "progress": progress}
    made: Tensor = model.synthesize(heard.content, speaker, **told)[0]
    return made


def say_pieces(
    model: SampleRNNPASE, wav: Tensor | Iterator[Tensor], speaker: Who | None = None, **told: Any
) -> Iterator[Tensor]:
    """The same of a wave, or of portions (t,) of one, piece by piece; told: as `SampleRNNPASE.synthesize_stream`."""
    config = model.config.mel
    frames = heard_frames(wav if isinstance(wav, Iterator) else in_portions(wav, config), config)
    yield from model.synthesize_stream(frames, speaker, **told)


def computed(config: SpeakerConfig) -> bool:
    """Whether a model's vectors of speakers are computed from speech, so that anybody has one."""
    return config.provider in COMPUTED


def vector(encoder: SpeakerEncoder, wav: np.ndarray, sample_rate: int, seconds: float) -> Tensor:
    """Who speaks (1, D) in a recording (T,), by its first seconds of speech, as training speakers' vectors are made.

    Raises ValueError where nothing is said.
    """
    said = spoken(wav, sample_rate)[: max(1, round(seconds * sample_rate))]
    return torch.from_numpy(encoder.embed(said, sample_rate))[None]


def who_speaks(model: SampleRNNPASE, recording: Path, weights: Path | None = None) -> Tensor:
    """The vector (1, D) of who is heard in a recording, by the encoder of the model's speakers.

    Raises ValueError where nothing is said, or for an encoder that is another one; FileNotFoundError.
    """
    encoder = hearing(model.config.speaker, model.voices, weights)
    wav, rate = audio.load(recording)
    try:
        return vector(encoder, wav, rate, model.config.speaker.seconds)
    except ValueError as error:
        raise ValueError(f"{recording}: {error}") from None
