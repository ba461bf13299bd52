"""From content to waves: what each frame is told, seeds, backend, pieces. One sample: cell.py, kernel.py.

A seed names one utterance: alone, in a batch, in one piece, or streamed frame by frame (vocoder_core.recurrent.draws).
The loops are vocoder_core.recurrent's.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from vocoder_core.recurrent import engine
from vocoder_core.recurrent.draws import check_temperature, stream_keys
from vocoder_core.recurrent.engine import CompiledLoop, Loop, TorchLoop
from vocoder_core.recurrent.narrow import check_precision
from vocoder_core.recurrent.replay import Replayed
from vocoder_core.recurrent.streams import TIERS, choose
from vocoder_core.speakers import Who, vectors

from .cell import Cell, FoldedCell
from .packed import Packed
from .tellers import Frames

if TYPE_CHECKING:
    from .model import SampleRNNPASE
    from .speaking import Sampling


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
    if not rows or not count:
        return torch.empty(rows, count * model.config.mel.hop_length, device=content.device)
    return stream.all(told_of(model, content, speaker, pitch, normal), how.progress)


class Stream(engine.Stream):
    """Rows of speech that are made frame by frame, 5 ms each, and remember what they said.

    stream = Stream(model, 1, Sampling(seed=1))
    frames = told_of(model, content)     # of the whole utterance, or of as much as is known
    for wav in stream.each(frames):      # (B, 80), as soon as it is made
        ...
    """

    def __init__(self, model: SampleRNNPASE, rows: int, how: Sampling) -> None:
        """Raises ValueError for a wrong temperature, backend, precision or number of seeds."""
        check_temperature(how.temperature)
        keys, device = stream_keys(how.seed, rows), next(model.parameters()).device
        kind = choose(how.backend, device, TIERS)
        check_precision(how.precision, kind)
        loop: Loop
        if kind == "torch" or not rows:
            defined = how.backend == "torch" and device.type == "cpu"
            loop = TorchLoop(Cell(model, rows) if defined else FoldedCell(model, rows), how.temperature)
        elif kind == "graph":
            loop = Replayed(FoldedCell(model, rows), how.temperature, how.precision)
        else:
            tier = kind if kind == "int8" or kind == "int16" else None
            loop = CompiledLoop(Packed(model, rows, tier), how.temperature, device)
        super().__init__(loop, keys)

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
