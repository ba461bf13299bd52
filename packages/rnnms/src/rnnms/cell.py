"""One sample of the decoder in torch: the definition of what the kernels do, to be read on one screen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class Frames:
    """What F frames of each row are told: latents (B, F, 2C)."""

    latents: Tensor

    @property
    def count(self) -> int:
        """F."""
        return self.latents.shape[1]

    def cut(self, first: int, last: int) -> Frames:
        """Frames first ... last - 1."""
        return Frames(self.latents[:, first:last])


class Cell:
    """p(x[t] | x[<t], latents), one t after another: codes of B rows. Any device, whole batch at once."""

    draws = 1

    def __init__(self, decoder: Any, batch: int) -> None:
        self.decoder, self.block = decoder, decoder.hop_length
        weight = decoder.fc2.weight
        self.table, _ = decoder.folded(weight.new_zeros(batch, 0, conditioning(decoder).shape[1]))
        self.hidden = weight.new_zeros(batch, decoder.rnn.hidden_size)
        self.code = torch.full((batch,), decoder.fc2.out_features // 2, device=weight.device)  # silence

    def begin(self, told: Frames) -> None:
        """A frame begins."""
        self.condition = told.latents.sum(1) @ conditioning(self.decoder).t()
        self.said: list[Tensor] = []

    def logits(self, k: int) -> Tensor:
        """Logits (B, Q) of the next sample, from the last one and the frame's part of the input gates (B, 3H)."""
        rnn, width = self.decoder.rnn, self.hidden.shape[1]
        entry = self.table[self.code] + self.condition
        product = F.linear(self.hidden, rnn.weight_hh_l0, rnn.bias_hh_l0)
        reset, update = (entry + product)[:, : 2 * width].sigmoid().chunk(2, dim=1)
        candidate = torch.tanh(entry[:, 2 * width :] + reset * product[:, 2 * width :])
        self.hidden = torch.lerp(candidate, self.hidden, update)
        logits: Tensor = self.decoder.fc2(F.relu(self.decoder.fc1(self.hidden)))
        return logits

    def take(self, label: Tensor) -> None:
        """The sample's code (B,) is drawn."""
        self.code = label
        self.said.append(label)

    def end(self) -> Tensor:
        """The frame's codes (B, hop_length)."""
        return torch.stack(self.said, dim=1) if self.said else self.code.new_zeros(len(self.code), 0)

    def state(self) -> list[Tensor]:
        """What is remembered."""
        return [self.hidden, self.code]

    def resume(self, state: list[Tensor]) -> None:
        """Go on from there."""
        self.hidden, self.code = state


def conditioning(decoder: Any) -> Tensor:
    """The input weights that read the latents, (3H, 2C)."""
    weight: Tensor = decoder.rnn.weight_ih_l0
    return weight[:, decoder.embedding.embedding_dim :]
