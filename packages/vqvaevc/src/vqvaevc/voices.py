"""OneHot: speakers as columns of the layers that hear them. Learned vectors: vocoder_core.speakers."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class OneHot(nn.Module):
    """The names of a model's speakers; a speaker's vector is 1 at his place. Nothing in it is learned."""

    def __init__(self, names: tuple[str, ...]) -> None:
        super().__init__()
        self.names = names

    def table(self, numbers: Tensor) -> Tensor:
        """Vectors (B, S) of places (B,) int64."""
        return F.one_hot(numbers, len(self.names)).to(torch.float32)

    def vector(self, name: str) -> Tensor:
        """The vector (S,) of a speaker; of one whom the model does not know the mean of all."""
        if name in self.names:
            return self.table(torch.tensor(self.names.index(name)))
        return torch.full((len(self.names),), 1 / len(self.names))
