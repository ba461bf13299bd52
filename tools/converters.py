"""What tools/score_conversion.py and tools/probe_codes.py have to know of each vocoder that converts: an entry each.

A checkpoint's config.yaml names its model, and that its entry. A vocoder is imported when its entry is used.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from torch import Tensor

from vocoder_core.griffinlim import griffin_lim
from vocoder_core.mel import log_mel


class Converter(ABC):
    """A loaded checkpoint. code_rate in Hz; size: K of the codebook; side: bit/s beside the codes, of pitch."""

    model: Any
    code_rate: float
    size: int
    side: float = 0.0

    @abstractmethod
    def __init__(self, folder: Path) -> None: ...

    def say(self, wav: np.ndarray, target: str) -> np.ndarray:
        """What a wave (T,) says, in the voice of the target: (T,)."""
        return np.asarray(self.model.convert(torch.from_numpy(wav), target, seed=0))

    def griffin_lim(self, wav: np.ndarray, target: str) -> np.ndarray:
        """The same of its decoded mel, by Griffin-Lim. Raises ValueError where it decodes none."""
        return np.asarray(griffin_lim(self.mel(torch.from_numpy(wav)[None], target)[0], self.model.config.mel))

    @abstractmethod
    def codes(self, wav: Tensor) -> Tensor:
        """Codes (N,) of a wave (T,)."""

    @abstractmethod
    def mel(self, wav: Tensor, target: str) -> Tensor:
        """The mel (1, M, F) that it makes of a wave (1, T) for the target."""


class WaveGlowVQConverter(Converter):
    """waveglow-vq."""

    def __init__(self, folder: Path) -> None:
        from waveglow_vq import WaveGlowVQ

        self.model = WaveGlowVQ.from_pretrained(folder)
        self.code_rate, self.size = self.model.condition.code_rate, self.model.condition.quantizer.size

    def codes(self, wav: Tensor) -> Tensor:
        """See the base."""
        return self.model.condition.encode(log_mel(wav[None], self.model.config.mel), wav[None])[0]

    def mel(self, wav: Tensor, target: str) -> Tensor:
        """See the base."""
        condition = self.model.condition
        if self.model.config.condition.source != "codes":
            raise ValueError("this model decodes no mel; expected --vocoder own")
        given = log_mel(wav, self.model.config.mel)
        return condition.decode(condition.encode(given, wav), self.model.speakers.vector(target)[None], given.shape[2])


class VQVAEVCConverter(Converter):
    """vqvaevc."""

    def __init__(self, folder: Path) -> None:
        from vocoder_core.pitch import LEVELS
        from vqvaevc import VQVAEVC

        self.model = VQVAEVC.from_pretrained(folder)
        self.code_rate, self.size = self.model.code_rate, self.model.quantizer.size
        if self.model.config.encoder.source == "codec" and self.model.config.labels.pitch:
            self.side = np.log2(LEVELS + 1) * self.model.sample_rate / self.model.config.mel.hop_length

    def codes(self, wav: Tensor) -> Tensor:
        """See the base."""
        return self.model.encode(wav[None]).codes[0]

    def mel(self, wav: Tensor, target: str) -> Tensor:
        """See the base."""
        from vqvaevc.conversion import described, voices

        if self.model.config.encoder.source != "codec":
            raise ValueError("this model decodes no mel; expected --vocoder own")
        codes, condition = self.model.encode(wav), self.model.condition
        made = described(self.model, codes, self.model.who(target, codes.codes), voices(self.model, target, 1))
        assert made.frames is not None, "a codec says frames"
        assert made.frames is not None, "a codec decodes to frames"
        mel = made.frames[:, : self.model.config.mel.n_mels]
        return mel * condition.mel_std[:, None] + condition.mel_mean[:, None]


CONVERTERS: dict[str, type[Converter]] = {"WaveGlowVQ": WaveGlowVQConverter, "VQVAEVC": VQVAEVCConverter}


def converter(folder: Path) -> Converter:
    """The checkpoint in a folder. Raises ValueError for one of another vocoder."""
    name = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8")).get("model")
    if name not in CONVERTERS:
        raise ValueError(f"{folder} holds a {name}; expected one of {', '.join(CONVERTERS)}")
    return CONVERTERS[name](folder)
