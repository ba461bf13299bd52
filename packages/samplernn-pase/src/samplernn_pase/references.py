"""pase-finetune: speakers by an encoder that learns with the vocoder, end to end (`pase_trained` in the paper's code).

    speech of each speaker (S, R) -> a second of it, each step another -> PASE -> vector -> the vocoder -> its loss
                                                                         <----------------- gradient -----

Its weights begin at a public checkpoint's, and belong to the model's own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from vocoder_core.speakers import Speakers

from .pase import PASE, SHORTEST
from .speaker import Given, SpeakerConfig

if TYPE_CHECKING:
    from .speaker_vectors import Vectors

WINDOW = 16_000  # samples that are heard of each speaker in a training step; validation hears all there is


class References(Given):
    """The names of a model's speakers, speech of theirs, and the encoder that makes vectors of it and learns.

    Filled like `Given` by the vectors that the encoder makes before it learns, whose mean all later ones are told
    without; their size is that of features with unit variance, and stays. `vectors` holds what the encoder as it was
    last validated makes of each speaker; a checkpoint keeps it, and needs no speech. The encoder's norms keep their
    statistics: a vector is of one speaker, not of a batch.
    """

    waves: Tensor

    def __init__(self, names: tuple[str, ...], size: int) -> None:
        super().__init__(names, size)
        self.encoder = PASE()
        self.register_buffer("waves", torch.zeros(len(names), 0), persistent=False)

    def fill(self, given: Vectors) -> None:
        """See Given."""
        super().fill(given)
        self.scale.fill_(1.0)

    def hear(self, waves: Tensor) -> None:
        """Learn from speech (S, R) at 16 kHz of all speakers, R at least 0.1 s. Raises ValueError for another shape."""
        if waves.dim() != 2 or len(waves) != len(self.names) or waves.shape[1] < SHORTEST:
            raise ValueError(
                f"speech of speakers is {tuple(waves.shape)}; expected ({len(self.names)}, {SHORTEST} or more) samples"
            )
        self.waves = waves.to(self.vectors)
        self.settle()

    def train(self, mode: bool = True) -> References:
        """As of any module; but the encoder's norms never learn, and who stops training settles."""
        super().train(mode)
        self.encoder.eval()
        if not mode and self.waves.shape[1]:
            self.settle()
        return self

    @torch.no_grad()
    def settle(self) -> None:
        """Make every speaker's vector of all of his speech, by the encoder as it is now."""
        for place in range(len(self.names)):
            self.vectors[place] = self.encoder.eval()(self.waves[place : place + 1])[0]

    def table(self, places: Tensor) -> Tensor:
        """Vectors (B, D) of places (B,) int64; in training with gradient, of one second of speech."""
        if not self.training or not self.waves.shape[1]:
            return super().table(places)
        whose, back = places.unique(return_inverse=True)
        window = min(WINDOW, self.waves.shape[1])
        first = int(torch.randint(self.waves.shape[1] - window + 1, ()))
        made: Tensor = self.encoder(self.waves[whose, first : first + window])
        return made[back]


def known(config: SpeakerConfig, speakers: tuple[str, ...]) -> Speakers | Given | None:
    """The speakers that a model knows by name: with learned vectors, or with given ones; None where it knows nobody."""
    if not speakers or not config.size:
        return None
    if config.provider == "lookup":
        return Speakers(speakers, config.size)
    return (References if config.provider == "pase-finetune" else Given)(speakers, config.size)
