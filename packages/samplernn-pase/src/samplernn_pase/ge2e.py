"""GE2E: a vector of 256 numbers of whoever speaks, by an LSTM that was trained to tell speakers apart.

Wan, Wang, Papir & Lopez Moreno, "Generalized end-to-end loss for speaker verification" (ICASSP 2018, 1710.10467).

    wav at 16 kHz -> 40 mel powers every 10 ms -> pieces of 1.6 s, 1.3 a second -> LSTM 3 x 256, its last state
    -> Linear -> ReLU -> length 1 -> mean of the pieces -> length 1

The weights are Resemblyzer's (Resemble AI, Apache-2.0), which lie in its wheel; the network and the front end are ours.
This is not PASE: it knows who speaks and was taught so by labels, PASE was taught by the wave alone.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Self

import numpy as np
import torch
from torch import Tensor, nn

from vocoder_core import foreign_checkpoint
from vocoder_core.mel import MelConfig, log_mel

from .seed_speech import levelled, spoken

MEL = MelConfig(
    sample_rate=16_000, n_fft=400, win_length=400, hop_length=160, n_mels=40, fmin=0.0, mel_norm="slaney", power=2.0,
    preemphasis=0.0, pad_mode="constant", log="ln", floor=1e-30, offset=0.0, scale=1.0, minimum=None,
)  # fmt: skip
PIECE = 160  # frames
STEP = 77  # frames from piece to piece: 1.3 pieces a second
COVERED = 0.75  # of a last piece that has to be wave, unless it is the only one
INSTALL = "pip install --no-deps Resemblyzer (its weights are enough), or name its pretrained.pt by --speaker-weights"


class GE2E(nn.Module):
    """Speech -> who speaks; a SpeakerEncoder."""

    name, dim = "ge2e", 256

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(MEL.n_mels, 256, 3, batch_first=True)
        self.linear = nn.Linear(256, 256)
        self.fingerprint = ""

    @classmethod
    def load(cls, weights: str | Path | None = None) -> Self:
        """The encoder with the weights in a file; None: in the installed package Resemblyzer, which is not imported.

        Raises FileNotFoundError where there are none, ValueError for a file that holds other things.
        """
        from .speaker import fingerprint

        path = Path(weights) if weights else built_in()
        tree = foreign_checkpoint.read(path, "the pretrained.pt of Resemblyzer")
        tensors = tree.get("model_state", tree)
        made = cls()
        own = made.state_dict()
        fitting = {name: tensor for name, tensor in tensors.items() if name in own and isinstance(tensor, Tensor)}
        if any(name not in fitting or fitting[name].shape != tensor.shape for name, tensor in own.items()):
            raise ValueError(
                f"{path}: not the weights of a GE2E encoder of 3 x 256; expected Resemblyzer's pretrained.pt"
            )
        made.load_state_dict(fitting)
        made.fingerprint = fingerprint(made)
        return made.eval().requires_grad_(False)

    def embed(self, wav: np.ndarray, sample_rate: int) -> np.ndarray:
        """The vector (256,) float32 of speech (T,), whatever its level. Raises ValueError where nothing is said."""
        from vocoder_core.audio import resample

        wave = levelled(resample(wav, sample_rate, MEL.sample_rate), MEL.sample_rate)
        return self.utterance(spoken(wave, MEL.sample_rate))

    def utterance(self, wav: np.ndarray) -> np.ndarray:
        """The vector (256,) float32 of a wave (T,) at 16 kHz just as it is."""
        firsts = pieces(len(wav))
        end = (firsts[-1] + PIECE) * MEL.hop_length
        padded = np.pad(np.asarray(wav, np.float32), (0, max(0, end - len(wav))))
        mel = log_mel(torch.from_numpy(padded).double(), MEL).exp().float().T
        with torch.no_grad():
            found = self(torch.stack([mel[first : first + PIECE] for first in firsts])).mean(0)
        return (found / found.norm()).numpy()

    def forward(self, mel: Tensor) -> Tensor:
        """Mel powers (B, F, 40) -> vectors of length 1 (B, 256), none of them negative."""
        _, (hidden, _) = self.lstm(mel)
        found = torch.relu(self.linear(hidden[-1]))
        return found / found.norm(dim=1, keepdim=True).clamp(min=1e-12)


def pieces(samples: int) -> list[int]:
    """The first frame of every piece of a wave of that many samples: at least one; a last one that is mostly wave."""
    frames = -(-(samples + 1) // MEL.hop_length)
    firsts = list(range(0, max(1, frames - PIECE + STEP + 1), STEP))
    covered = (samples - firsts[-1] * MEL.hop_length) / (PIECE * MEL.hop_length)
    return firsts[:-1] if covered < COVERED and len(firsts) > 1 else firsts


def built_in() -> Path:
    """Where the installed Resemblyzer has its weights. Raises FileNotFoundError where it is not installed."""
    found = importlib.util.find_spec("resemblyzer")
    places = list(found.submodule_search_locations or []) if found else []
    if not places:
        raise FileNotFoundError(
            f"speakers of ge2e need the weights in the package Resemblyzer, which is missing: {INSTALL}"
        )
    return Path(places[0]) / "pretrained.pt"
