"""Speakers: how a model is told who speaks, and where the vectors come from that tell it.

    lookup          a learned vector of 15 for each speaker of the training set; `init` begins at another provider's
    ge2e            256 numbers of the GE2E encoder (Wan et al. 2018), computed from speech: unseen speakers have one
    pase, pase+     the time mean of PASE's 100 features (1904.03416) or PASE+'s 256 (2001.09239): the paper's idea
    pase-finetune   the same 100, of an encoder whose weights learn with the vocoder's
    file            vectors that somebody computed, in an .npz or a folder of NAME.npy
    none            nobody is told anything

Alvarez, Pascual & Bonafonte, "Problem-Agnostic Speech Embeddings for Multi-Speaker Text-to-Speech with SampleRNN"
(SSW10 2019, 1906.00733). Vectors in files: speaker_vectors.py; which speech they are of: seed_speech.py.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np
import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from .speaker_vectors import Vectors

Provider = Literal["lookup", "none", "ge2e", "pase", "pase+", "pase-finetune", "file"]
SIZES = {"none": 0, "ge2e": 256, "pase": 100, "pase+": 256, "pase-finetune": 100}  # of those that have one size only
LOOKUP_SIZE = 15  # the code of 2021; that of the paper had 20
COMPUTED = ("ge2e", "pase", "pase+", "pase-finetune")  # from speech
SHOWN = 12  # hexadecimal digits of a fingerprint in a message


@dataclass(frozen=True)
class SpeakerConfig:
    """How a model is told who speaks."""

    provider: Provider = "lookup"
    size: int = 0  # numbers of a vector; 0: those the provider has, 15 of lookup, for file those in the file
    init: Literal["", "ge2e", "pase", "pase+", "file"] = ""  # whose vectors a lookup begins at; "": random ones
    seconds: float = 60.0  # of each speaker's speech that a vector is computed from; the paper tried 1, 10, 60 and 120
    fingerprint: str = ""  # sha256 of the weights that computed the vectors; training writes it down

    def __post_init__(self) -> None:
        """Fill in the size. Raises ValueError for values that do not fit each other."""
        if self.init and self.provider != "lookup":
            raise ValueError(
                f"speaker.init is {self.init!r} with speaker.provider {self.provider!r}; only a lookup has beginnings: "
                "leave init empty, or set speaker.provider=lookup"
            )
        if not 0 < self.seconds < float("inf"):
            raise ValueError(f"speaker.seconds is {self.seconds}; expected how much speech a vector is computed from")
        if self.size < 0:
            raise ValueError(f"speaker.size is {self.size}; expected 0 or more numbers, 0 being the provider's own")
        own = SIZES.get(self.init or self.provider, self.size if "file" in (self.init, self.provider) else None)
        expected = own if own is not None else self.size or LOOKUP_SIZE
        if self.size not in (0, expected):
            raise ValueError(
                f"speaker.size is {self.size}, vectors of {self.source or self.provider} have {expected} numbers: "
                "leave speaker.size out"
            )
        object.__setattr__(self, "size", expected)

    @property
    def source(self) -> str:
        """Whose vectors have to be there before training begins; "" where none have to."""
        return self.init or ("" if self.provider in ("lookup", "none") else self.provider)


class SpeakerEncoder(Protocol):
    """What makes a vector of somebody's speech."""

    @property
    def name(self) -> str:
        """The provider's name."""

    @property
    def dim(self) -> int:
        """Numbers of a vector, D."""

    @property
    def fingerprint(self) -> str:
        """sha256 of its weights."""

    def embed(self, wav: np.ndarray, sample_rate: int) -> np.ndarray:
        """The vector (D,) float32 of speech (T,) float32 at a rate in Hz. Raises ValueError where nothing is said."""


def encoder(provider: str, weights: str | Path | None = None) -> SpeakerEncoder:
    """The encoder of a provider that computes vectors; weights: its file, None for ge2e's own.

    Raises ValueError for a provider that computes none, FileNotFoundError without weights.
    """
    if provider == "ge2e":
        from .ge2e import GE2E

        return GE2E.load(weights)
    if provider == "pase+":
        from .pase_plus import PASEPlus

        return PASEPlus.load(weights)
    if provider in COMPUTED:
        from .pase import PASE

        return PASE.load(weights)
    raise ValueError(f"speakers of {provider!r} are not computed from speech; expected one of {', '.join(COMPUTED)}")


def hearing(config: SpeakerConfig, voices: nn.Module | None, weights: str | Path | None = None) -> SpeakerEncoder:
    """What makes the vectors that a model takes, of anybody's speech; voices: the model's, weights as in `encoder`.

    Raises ValueError for a model whose voices are a table, and, naming both, for weights that are not those that made
    its speakers' vectors; FileNotFoundError without weights.
    """
    own = getattr(voices, "encoder", None)
    if own is not None:  # it has learned with the model
        return own
    made = encoder(config.provider, weights)
    if config.fingerprint not in ("", made.fingerprint):
        raise ValueError(
            f"the encoder is {_described(made.name, made.dim, made.fingerprint)}, the model takes vectors that are "
            f"{_described(config.provider, config.size, config.fingerprint)}: give it the weights it was trained with"
        )
    return made


def fingerprint(weights: nn.Module) -> str:
    """The sha256 of an encoder's weights: of their names, shapes and float32 values, whatever file they came in."""
    found = hashlib.sha256()
    for name, tensor in sorted(weights.state_dict().items()):
        if tensor.is_floating_point():
            values = tensor.detach().cpu().float().contiguous()
            found.update(f"{name} {tuple(values.shape)}".encode() + values.numpy().astype("<f4").tobytes())
    return found.hexdigest()


class Given(nn.Module):
    """The names of a model's speakers, and their vectors, which somebody else computed: nothing in it is learned.

    Like vocoder_core.speakers.Speakers, whose place it takes. Vectors, told by name or computed of anybody's speech,
    are as their provider makes them; called, the module brings them to zero mean and unit mean square over its own
    speakers, since GE2E's differ by hundredths. NaN as long as nobody has given any.
    """

    vectors: Tensor
    mean: Tensor
    scale: Tensor

    def __init__(self, names: tuple[str, ...], size: int) -> None:
        super().__init__()
        self.names = names
        self.register_buffer("vectors", torch.full((len(names), size), torch.nan))
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("scale", torch.ones(()))

    def fill(self, given: Vectors) -> None:
        """Take the vectors of its names. Raises ValueError, naming whom, where one is missing or none fits."""
        values = torch.from_numpy(given.of(self.names))
        if values.shape != self.vectors.shape:
            raise ValueError(
                f"vectors of {given.provider} have {values.shape[1]} numbers, the model takes {self.vectors.shape[1]}"
            )
        mean = values.mean(0)
        spread = (values - mean).square().mean().sqrt()
        self.vectors.copy_(values)
        self.mean.copy_(mean if len(values) > 1 else torch.zeros_like(mean))
        self.scale.copy_(spread if spread > 1e-6 else values.square().mean().sqrt().clamp(min=1e-6))

    def table(self, places: Tensor) -> Tensor:
        """Vectors (B, D) of places (B,) int64."""
        return self.vectors[places]

    def vector(self, name: str) -> Tensor:
        """The vector (D,) of a speaker; of one whom the model does not know the mean of all."""
        return self.vectors[self.names.index(name)] if name in self.names else self.vectors.mean(0)

    def forward(self, vectors: Tensor) -> Tensor:
        """Vectors (B, D) of anybody as a network should be told them, (B, D)."""
        return (vectors - self.mean) / self.scale


def begin(table: nn.Embedding, names: tuple[str, ...], given: Vectors) -> None:
    """Let a lookup begin at given vectors, standardised like `Given`'s. Raises ValueError as `Given.fill`."""
    standard = Given(names, table.embedding_dim)
    standard.fill(given)
    with torch.no_grad():
        table.weight.copy_(standard(standard.vectors))


def recorded(config: SpeakerConfig, given: Vectors) -> SpeakerConfig:
    """The same settings with the size and the fingerprint of the vectors: what a checkpoint keeps.

    Raises ValueError, naming both, for vectors that are not the settings'.
    """
    check(config, given)
    return replace(config, size=given.values.shape[1], fingerprint=given.fingerprint)


def check(config: SpeakerConfig, given: Vectors) -> None:
    """Raise ValueError, naming both, when vectors are not of the provider, weights and size that a model has."""
    same = config.source in (given.provider, "file") and config.fingerprint in ("", given.fingerprint)
    if same and config.size in (0, given.values.shape[1]):
        return
    raise ValueError(
        f"the speaker vectors are {_described(given.provider, given.values.shape[1], given.fingerprint)}, the model "
        f"takes {_described(config.source or config.provider, config.size, config.fingerprint)}: make them with the "
        "model's provider and weights (samplernn-pase-embed)"
    )


def _described(provider: str, size: int, fingerprint: str) -> str:
    weights = f", of weights {fingerprint[:SHOWN]}" if fingerprint else ""
    return f"{provider}'s of {size} numbers{weights}"
