"""From a mel that is still coming, or too long to be held, to its wave, frame by frame. Heard ahead: ahead.py."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from vocoder_core import mulaw
from vocoder_core.recurrent.streams import Backend
from vocoder_core.streaming.pieces import Source, portions

from .ahead import latents, whole
from .cell import Frames
from .generate import stream

if TYPE_CHECKING:
    from .model import RNNMS


@dataclass(frozen=True)
class Sampling:
    """How samples are drawn."""

    seed: int | Sequence[int] | None = None
    temperature: float = 1.0
    backend: Backend = "auto"


@torch.inference_mode()
def spoken(
    model: RNNMS, rows: Sequence[Source | Iterable[Tensor]], look_ahead: int | None, how: Sampling
) -> Iterator[Tensor]:
    """Waves (B, hop_length), frame by frame, of mels in portions (M, f), all alike; look_ahead None: of Sources.

    The encoder hears row after row: in a batch BLAS rounds otherwise, and the last bit of a latent can turn a sample.
    """
    speech = stream(model.decoder, len(rows), how.seed, how.temperature, how.backend)
    lag = model.config.delay // model.config.mel.hop_length
    if look_ahead is None:
        told = [whole(model.encoder, Held(model, row, lag)) for row in rows]
    else:
        told = [latents(model.encoder, held(model, row, lag), look_ahead) for row in rows]
    wave, made = Waves(model, len(rows)), 0
    for pieces in zip(*told):
        frames = Frames(torch.stack(pieces))
        for i in range(frames.count):
            wav = wave(speech(frames.cut(i, i + 1)))
            if made >= lag:  # labels lag the mel
                yield wav
            made += 1


class Held:
    """A Source whose last frame is held a little longer, as the model takes it. Raises ValueError for what is none."""

    def __init__(self, model: RNNMS, mel: Source | Iterable[Tensor], lag: int) -> None:
        if not isinstance(mel, Source):
            raise ValueError(
                f"look_ahead is None with mel frames in a {type(mel).__name__}, which cannot be heard from its end; "
                "expected a number of frames, or a whole mel (M, F)"
            )
        self.model, self.mel = model, mel
        self.frames = mel.frames + lag if mel.frames else 0

    def cut(self, first: int, last: int) -> Tensor:
        """Frames first ... last - 1, (M, last - first)."""
        own = self.mel.frames
        frames = self.model.checked(self.mel.cut(min(first, own - 1), min(last, own)))[0]
        return (
            frames
            if last <= own
            else torch.cat([frames, frames[:, -1:].expand(-1, last - own)], dim=1)[:, first - last :]
        )


def held(model: RNNMS, mel: Source | Iterable[Tensor], lag: int) -> Iterator[Tensor]:
    """Portions (M, f) as the model takes them, the last frame held `lag` frames longer."""
    end = None
    for portion in portions(mel, 64) if isinstance(mel, Source) else mel:
        frames = model.checked(portion)[0]
        yield frames
        end = frames[:, -1:] if frames.shape[1] else end
    if end is not None:
        yield end.expand(-1, lag)


class Waves:
    """Waves of codes, as model.deemphasise makes them, piece by piece: it remembers what it needs of the past."""

    def __init__(self, model: RNNMS, rows: int) -> None:
        from .model import response

        self.config = model.config
        weight = model.decoder.fc2.weight
        self.response = response(model.config.emphasis, weight.device) if model.config.emphasis else None
        taps = 0 if self.response is None else len(self.response) - 1
        self.past = weight.new_zeros(rows, taps, dtype=torch.float64)

    def __call__(self, codes: Tensor) -> Tensor:
        """The wave (B, n) in [-1, 1] of the next codes (B, n)."""
        wav = mulaw.decode(codes, self.config.bits, self.config.codec)
        if self.response is None:
            return wav.clamp(-1, 1)
        long = torch.cat([self.past, wav.double()], dim=1)
        self.past = long[:, long.shape[1] - self.past.shape[1] :]
        made = F.conv1d(long[:, None], self.response[None, None])[:, 0]
        return made.to(wav.dtype).clamp(-1, 1)
