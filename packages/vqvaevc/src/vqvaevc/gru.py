"""GRU: torch.nn.GRU's arithmetic, told apart what changes from step to step and what holds for a whole row.

The speaker is a vector for the row: its product is made once and not at every step. On a CPU the recurrence itself is
vocoder_core.recurrent's, on other devices torch's own; both have torch.nn.GRU's gates, in the order r, z, n.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vocoder_core.recurrent.recurrence import gru


class GRU(nn.Module):
    """x (B, N, I), row (B, S) -> hidden (B, N, H). Keys and first values as in torch.nn.GRU, batch first."""

    def __init__(self, inputs: int, size: int, row: int = 0) -> None:
        super().__init__()
        self.size = size
        self.weight_ih = nn.Parameter(torch.empty(3 * size, inputs))
        self.weight_row = nn.Parameter(torch.empty(3 * size, row)) if row else None
        self.weight_hh = nn.Parameter(torch.empty(3 * size, size))
        self.bias_ih = nn.Parameter(torch.empty(3 * size))
        self.bias_hh = nn.Parameter(torch.empty(3 * size))
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -(size**-0.5), size**-0.5)

    def input_weight(self) -> Tensor:
        """The weights (3H, I) of what changes from step to step."""
        return self.weight_ih

    def forward(self, x: Tensor, row: Tensor | None = None, state: Tensor | None = None) -> Tensor:
        """See the class. state (B, H) before the first step; None: zeros."""
        weight = self.input_weight()
        if state is None:
            state = torch.zeros(len(x), self.size, dtype=weight.dtype, device=x.device)
        if x.device.type == "cpu":
            entries = x @ weight.t()
            entries = entries + self.bias_of(row)[:, None] if row is not None else entries + self.bias_ih
            with torch.autocast("cpu", enabled=False):
                entries = entries.to(weight.dtype).transpose(0, 1)
                return gru(entries, state, self.weight_hh, self.bias_hh).transpose(0, 1)
        if self.weight_row is not None and row is not None:
            x = torch.cat([x, row[:, None].expand(-1, x.shape[1], -1).to(x.dtype)], dim=2)
            weight = torch.cat([weight, self.weight_row], dim=1)
        weights = [weight, self.weight_hh, self.bias_ih, self.bias_hh]
        hidden: Tensor = torch.gru(x, state[None].to(x.dtype), weights, True, 1, 0.0, False, False, True)[0]
        return hidden

    def bias_of(self, row: Tensor | None) -> Tensor:
        """What a row's steps have in common (B, 3H), or (3H,) without rows."""
        if self.weight_row is None or row is None:
            return self.bias_ih
        return row @ self.weight_row.t() + self.bias_ih
