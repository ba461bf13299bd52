"""How a codebook is used: entropy and coverage of the codes of the last passes."""

from __future__ import annotations

from math import log

import torch
from torch import Tensor, nn

BATCHES = 100  # passes of one half of the window


class Usage(nn.Module):
    """Counts of the codes of the last 100 to 200 training passes of this process; a checkpoint does not keep them."""

    recent: Tensor

    def __init__(self, size: int) -> None:
        super().__init__()
        self.passes = 0
        self.register_buffer("recent", torch.zeros(2, size), persistent=False)  # the half that fills, the full one

    @torch.no_grad()
    def forward(self, codes: Tensor, training: bool) -> dict[str, Tensor]:
        """Take in codes (R,); perplexity, used_fraction and bits_per_code of the window, in eval of these codes."""
        counts = torch.bincount(codes, minlength=self.recent.shape[1]).to(self.recent)
        if training:
            if self.passes % BATCHES == 0:
                self.recent.copy_(torch.stack([torch.zeros_like(counts), self.recent[0]]))
            self.passes += 1
            self.recent[0] += counts
            counts = self.recent.sum(0)
        part = counts / counts.sum().clamp_min(1)
        entropy = torch.special.entr(part).sum()
        return {
            "perplexity": entropy.exp(),
            "used_fraction": (counts > 0).to(part).mean(),
            "bits_per_code": entropy / log(2),
        }
