"""From content to waves: what each frame is told, seeds, uniforms, backend, pieces. The loops themselves: loops.py.

A seed names one utterance: alone, in a batch, in one piece, or streamed frame by frame (vocoder_core.recurrent.draws).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from tqdm import tqdm

from vocoder_core.recurrent.draws import check_temperature, stream_keys, uniforms
from vocoder_core.recurrent.streams import TIERS, choose
from vocoder_core.speakers import Who, vectors

from .loops import FoldedLoop, NumbaLoop, TorchLoop
from .tellers import Frames

if TYPE_CHECKING:
    from .model import SampleRNNPASE
    from .speaking import Sampling

CHUNK = 12  # frames a row makes between two looks at the progress bar and at Ctrl-C


@torch.inference_mode()
def generate(
    model: SampleRNNPASE, content: Tensor, speaker: Who | None, pitch: Tensor | None, normal: Tensor | None,
    how: Sampling,
) -> Tensor:  # fmt: skip
    """Waves (B, F hop) of raw content (B, F, C), said by whoever is named; pitch (B, F, 2) where the labels want it.

    Raises ValueError for a wrong temperature, backend or number of seeds.
    """
    rows, count = content.shape[:2]
    stream = Stream(model, rows, how)
    hop = model.config.mel.hop_length
    wav = torch.empty(rows, count * hop, device=content.device)
    if not rows or not count:
        return wav
    frames = told_of(model, content, speaker, pitch, normal)
    with tqdm(total=count, unit=" frames", disable=None if how.progress else True) as bar:
        for first in range(0, count, CHUNK):
            part = frames.cut(first, first + CHUNK)
            wav[:, first * hop : (first + CHUNK) * hop] = stream(part)
            bar.update(part.count)
    return wav


class Stream:
    """Rows of speech that are made frame by frame, 5 ms each, and remember what they said.

    stream = Stream(model, 1, Sampling(seed=1))
    frames = told_of(model, content)     # of the whole utterance, or of as much as is known
    for wav in stream.each(frames):      # (B, 80), as soon as it is made
        ...
    """

    def __init__(self, model: SampleRNNPASE, rows: int, how: Sampling) -> None:
        """Raises ValueError for a wrong temperature, backend or number of seeds."""
        check_temperature(how.temperature)
        self.model, self.rows, self.how = model, rows, how
        self.keys = stream_keys(how.seed, rows)
        device = next(model.parameters()).device
        kind = choose(how.backend, device, TIERS)
        self.kind: Callable[[SampleRNNPASE, int, float], TorchLoop | NumbaLoop] = NumbaLoop
        if kind == "torch":
            self.kind = TorchLoop if how.backend == "torch" and device.type == "cpu" else FoldedLoop
        elif kind == "int8" or kind == "int16":
            self.kind = partial(NumbaLoop, tier=kind)
        self.loop: TorchLoop | NumbaLoop | None = None
        self.said = 0  # samples

    @torch.inference_mode()
    def __call__(self, frames: Frames) -> Tensor:
        """Waves (B, K hop) of the next K frames."""
        if self.loop is None:
            self.loop = self.kind(self.model, self.rows, self.how.temperature)
        last = self.said + frames.count * self.model.config.mel.hop_length
        drawn = uniforms(self.keys, self.said, last)
        self.said = last
        return self.loop(frames, drawn)

    def each(self, frames: Frames) -> Iterator[Tensor]:
        """Waves (B, hop), frame by frame."""
        for k in range(frames.count):
            yield self(frames.cut(k, k + 1))


@torch.inference_mode()
def told_of(
    model: SampleRNNPASE, content: Tensor, speaker: Who | None = None, pitch: Tensor | None = None,
    normal: Tensor | None = None,
) -> Frames:  # fmt: skip
    """What each frame of content (B, F, C) is told. Row by row: in a batch BLAS rounds otherwise, and the last bit of a
    condition can turn a sample, then all others."""
    who = vectors(speaker, model.speaker_size, model.voices, content)
    normal = model.normal(speaker, content) if normal is None else normal
    rows = []
    for b in range(len(content)):
        own = slice(b, b + 1)
        raw, track = content[own], None if pitch is None else pitch[own]
        ahead = torch.cat([raw, raw[:, -1:]], dim=1) if model.config.content.look_ahead else raw
        conds = model.conds(ahead, None if who is None else who[own], normal[own], track)
        filters, gain = model.prediction(raw) if model.config.labels.order else (conds[..., :1], conds[..., 0])
        lag, voicing = (gain, gain) if track is None else track.to(conds).unbind(2)
        rows.append(Frames(conds, filters, gain, lag, voicing))
    parts = zip(*((row.conds, row.filters, row.gain, row.lag, row.voicing) for row in rows))
    return Frames(*(torch.cat(part) for part in parts))
