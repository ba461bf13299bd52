"""Conds: content and who speaks, as every tier hears them: [speaker, content] -> Linear, no nonlinearity.

The speaker's vector is as wide as its provider makes it (speaker.py); this layer is what projects it.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Mixer(nn.Module):
    """speaker (B, S) or None, content (B, F, D) -> conds (B, F, size)."""

    def __init__(self, speaker: int, content: int, size: int) -> None:
        super().__init__()
        self.speaker = speaker
        self.mix = nn.Linear(speaker + content, size)

    def forward(self, speaker: Tensor | None, content: Tensor) -> Tensor:
        """See the class."""
        if speaker is None:
            mixed: Tensor = self.mix(content)
            return mixed
        who = speaker[:, None].expand(-1, content.shape[1], -1)
        mixed = self.mix(torch.cat([who.to(content), content], dim=2))
        return mixed
