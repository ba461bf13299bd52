"""The table of vocoders: for each, how a tiny one is built and fed. test_conformance.py asks the same of all of them.

A new vocoder adds one entry. Sizes are so small that the whole suite takes seconds: hop 20, at most 200 samples.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from rnnms import RNNMS, RNNMSConfig
from vocoder_core.mel import MelConfig
from vocoder_core.vocoder import Vocoder

MEL = MelConfig(n_fft=128, win_length=80, hop_length=20, n_mels=8)


@dataclass(frozen=True)
class Case:
    """One vocoder of the table."""

    name: str  # its distribution, and the stem of its commands
    vocoder: type[Vocoder]
    config: Any
    inputs: Callable[[Any, Tensor, Tensor], dict[str, Tensor]]  # (model, mel, wav) -> arguments of forward
    output: Callable[[Any, dict[str, Tensor]], Tensor]  # (model, inputs) -> what forward predicts, batch first
    loss: Callable[[Any, dict[str, Tensor], Tensor], Tensor]  # (model, inputs, wav) -> scalar
    overfit: tuple[int, float, float]  # steps, learning rate, the factor by which the loss of one batch falls at least


def rnnms_inputs(model: RNNMS, mel: Tensor, wav: Tensor) -> dict[str, Tensor]:
    """The mel and the codes before the predicted ones."""
    codes = model.labels(wav)
    first = torch.full_like(codes[:, :1], 2 ** (model.config.bits - 1))
    return {"mel": mel, "codes": torch.cat([first, codes[:, :-1]], dim=1)}


def rnnms_loss(model: RNNMS, inputs: dict[str, Tensor], wav: Tensor) -> Tensor:
    """Cross-entropy of the next code, nats per sample."""
    return F.cross_entropy(model(**inputs)[0].flatten(0, 1), model.labels(wav).flatten())


CASES = [
    Case(
        name="rnnms",
        vocoder=RNNMS,
        config=RNNMSConfig(mel=MEL, bits=8, encoder_size=8, embedding_size=16, hidden_size=32, linear_size=32),
        inputs=rnnms_inputs,
        output=lambda model, inputs: model(**inputs)[0],
        loss=rnnms_loss,
        overfit=(80, 1e-2, 3.0),
    )
]
