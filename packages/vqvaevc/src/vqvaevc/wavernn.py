"""WaveRNN: a GRU that says one sample after another, by what it is told of the past and what the Overtone hears.

Kalchbrenner et al. 2018, "Efficient Neural Audio Synthesis" (arXiv 1802.08435), its dual softmax: the first half of the
state says the coarse byte; the second half, which alone may know it, the fine one. In the original a mask keeps the
weights from coarse byte to first half at zero, now and then; here they do not exist. Written from the description.

    heard (B, T, R) | values told (B, T, I) | codes told -> embeddings | coarse byte to half the gates
        -> GRU (B, T, H) -> halves -> ReLU(linear) -> softmax each            labels "dual"
                         -> ReLU(linear) -> softmax                          labels "mulaw"
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .gru import GRU
from .labels import LabelConfig, Told


class WaveRNN(nn.Module):
    """heard (B, T, R) and what is told of T samples -> logits (B, T - skip, Q) of each label."""

    def __init__(self, labels: LabelConfig, heard: int, hidden: int, linear: int, speaker: int) -> None:
        super().__init__()
        self.labels = labels
        inputs = heard + labels.values_told + (labels.embedding if labels.codes_told else 0)
        self.gru = DualGRU(inputs, hidden, speaker) if labels.kind == "dual" else GRU(inputs, hidden, speaker)
        self.embeddings = nn.ModuleList(
            nn.Embedding(labels.classes, labels.embedding) for _ in range(labels.codes_told)
        )
        heads = 2 if labels.kind == "dual" else 1
        self.linears = nn.ModuleList(nn.Linear(hidden // heads, linear) for _ in range(heads))
        self.logits = nn.ModuleList(nn.Linear(linear, labels.classes) for _ in range(heads))

    def forward(self, heard: Tensor, told: Told, speaker: Tensor | None, skip: int = 0) -> list[Tensor]:
        """See the class; speaker (B, S). skip: samples from a cold state, about which nothing is asked."""
        hidden = self.gru(self.inputs(heard, told), speaker)[:, skip:]
        return self.said(hidden)

    def inputs(self, heard: Tensor, told: Told) -> Tensor:
        """What the GRU reads (B, T, I); the coarse byte last, where there is one."""
        parts = [heard, told.values.to(heard.dtype)]
        if told.codes is not None:
            parts.append(sum(table(told.codes[..., k]) for k, table in enumerate(self.embeddings)))
        if told.coarse is not None:
            parts.append(told.coarse)
        return torch.cat([part.to(heard.dtype) for part in parts], dim=2)

    def said(self, hidden: Tensor) -> list[Tensor]:
        """Logits (..., Q) of each label by states (..., H)."""
        parts = hidden.chunk(len(self.linears), dim=-1)
        return [logits(F.relu(linear(part))) for part, linear, logits in zip(parts, self.linears, self.logits)]


class DualGRU(GRU):
    """A GRU whose last input reaches only the second half of each gate: the fine byte's."""

    def __init__(self, inputs: int, size: int, row: int = 0) -> None:
        super().__init__(inputs, size, row)
        self.weight_fine = nn.Parameter(torch.empty(3, size // 2).uniform_(-(size**-0.5), size**-0.5))

    def input_weight(self) -> Tensor:
        """The weights (3H, I + 1), zero where there are none."""
        column = F.pad(self.weight_fine, (self.size - self.weight_fine.shape[1], 0)).reshape(-1, 1)
        return torch.cat([self.weight_ih, column], dim=1)
