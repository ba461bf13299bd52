"""Content: what is to be said, a vector every 5 ms; raw as features.py makes it, then as the tiers hear it.

    kind             C     fields
    mel80            80    log-mel: any recording, no pitch tracker; says who speaks, too
    world43          43    mel-cepstrum 0 to 39, aperiodicity, log F0, voicing (world43.py): the paper's acoustic mode
    linguistic       55    phone, its neighbours, stress, positions ... (linguistic.py), ten of them categories
    linguistic_lf0   57    the same, and log F0 and voicing of a recording

    raw (B, F, C) -> categories to vectors, the rest (x - mean) / std of the speaker, at most 8 -> (B, F, D)
                     [-> with the next frame's beside it (B, F - 1, 2 D): look-ahead, Barbany et al. 2018]

A number that is undefined, NaN, is one that no other is: the original's 0 was a count of zero as well. Vocabularies are
ordered, and kept with the weights: the original's order was that of a set, another one in every process.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor, nn

from . import linguistic

if TYPE_CHECKING:
    from .statistics import Statistics

Kind = Literal["mel80", "world43", "linguistic", "linguistic_lf0"]
WIDTHS: Mapping[str, int] = {"world43": 43, "linguistic": 55, "linguistic_lf0": 57}
CLIP = 8.0  # deviations: a rare binary feature may lie 37 away
UNDEFINED = -2.0  # deviations, of a number that is not defined
LF0: Mapping[str, int] = {"world43": 41, "linguistic_lf0": 55}  # of one who is never voiced: the mean


@dataclass(frozen=True)
class ContentConfig:
    """Which content, and how categories become vectors."""

    kind: Kind = "mel80"
    acoustic: Literal["world", "ahocoder"] = "world"  # who made the acoustic fields; training writes it down
    look_ahead: bool = False  # the next frame is told, too: 0.3 to 0.4 of mean opinion in Barbany et al. 2018
    embedding_size: int = 15  # of a category
    undefined: Literal["own", "zero"] = "own"  # what an undefined number is: a value of its own, or the original's 0
    phonemes: tuple[str, ...] = ()  # ordered vocabularies, index 0 is whatever is unknown; (), of linguistic content:
    # those of linguistic.py, which are written down here, and so kept with the weights
    vowels: tuple[str, ...] = ()
    gpos: tuple[str, ...] = ()
    tobi: tuple[str, ...] = ()
    n_mels: int = 80  # bands of mel80: those of the model's mel, which fills them in

    def __post_init__(self) -> None:
        if self.embedding_size < 1:
            raise ValueError(f"content.embedding_size is {self.embedding_size}; expected 1 or more")
        for name in linguistic.VOCABULARIES:
            words = getattr(self, name)
            if len(set(words)) < len(words):
                raise ValueError(f"content.{name} has {len(words)} words, some of them twice; expected different ones")
            if not words and self.categories:
                object.__setattr__(self, name, linguistic.VOCABULARIES[name])

    @property
    def width(self) -> int:
        """C, of raw content."""
        return self.n_mels if self.kind == "mel80" else WIDTHS[self.kind]

    @property
    def categories(self) -> dict[int, str]:
        """Fields that are categories: their place -> the vocabulary's name."""
        return dict(linguistic.CATEGORIES) if self.kind.startswith("linguistic") else {}

    @property
    def scored(self) -> tuple[int, ...]:
        """Fields that are normalised."""
        if self.kind == "mel80":
            return tuple(range(self.n_mels))
        if self.kind == "world43":
            return tuple(range(42))  # all but voicing
        return (*linguistic.SCORED, *((55,) if self.kind == "linguistic_lf0" else ()))

    @property
    def by_speaker(self) -> bool:
        """Whether the statistics are each speaker's own: not of a mel, which says who speaks as it is."""
        return self.kind != "mel80"

    def vocabulary(self, name: str) -> tuple[str, ...]:
        """The words of a vocabulary, in order."""
        own: tuple[str, ...] = getattr(self, name)
        return own or linguistic.VOCABULARIES[name]

    @property
    def told(self) -> int:
        """D, of what the tiers hear."""
        plain = self.width - len(self.categories) + len(self.categories) * self.embedding_size
        return plain * (2 if self.look_ahead else 1)


class Content(nn.Module):
    """Raw content (B, F, C) by statistics (B, 2, C) -> (B, F, D), or (B, F - 1, D) with look-ahead."""

    mean: Tensor
    std: Tensor

    def __init__(self, config: ContentConfig, speakers: tuple[str, ...]) -> None:
        """speakers: who have statistics of their own; the last row is everybody's."""
        super().__init__()
        self.config = config
        self.names = speakers if config.by_speaker else ()
        self.register_buffer("mean", torch.zeros(len(self.names) + 1, config.width))
        self.register_buffer("std", torch.ones(len(self.names) + 1, config.width))
        words = sorted(set(config.categories.values()))
        self.tables = nn.ModuleDict(
            {name: nn.Embedding(len(config.vocabulary(name)), config.embedding_size) for name in words}
        )
        self.plain = [field for field in range(config.width) if field not in config.categories]

    def set_statistics(self, statistics: Statistics) -> None:
        """Means and deviations of all of `names`, and everybody's; they are kept with the weights."""
        rows = [*(statistics.of(name) for name in self.names), statistics.everybody]
        with torch.no_grad():
            self.mean.copy_(torch.stack([torch.as_tensor(row.mean) for row in rows]))
            self.std.copy_(torch.stack([torch.as_tensor(row.std) for row in rows]))

    def normal(self, places: Tensor | None, rows: int) -> Tensor:
        """Statistics (B, 2, C) of speakers at places (B,) among `names`; of -1, and of all where None, everybody's."""
        if places is None or not self.names:
            places = torch.full((rows,), -1, device=self.mean.device)
        places = torch.where(places < 0, len(self.names), places.to(self.mean.device))
        return torch.stack([self.mean[places], self.std[places]], dim=1)

    def forward(self, raw: Tensor, normal: Tensor) -> Tensor:
        """See the class."""
        config = self.config
        fields = raw[..., self.plain]
        if config.undefined == "zero":
            fields = fields.nan_to_num(nan=0.0)
        scored = torch.tensor([field in config.scored for field in self.plain], device=raw.device)
        mean, std = normal[:, None, 0, self.plain], normal[:, None, 1, self.plain]
        values = torch.where(scored, ((fields - mean) / std).clamp(-CLIP, CLIP), fields)
        undefined = torch.full((len(self.plain),), UNDEFINED, dtype=values.dtype, device=values.device)
        if config.kind in LF0:
            undefined[self.plain.index(LF0[config.kind])] = 0.0
        values = torch.where(values.isnan(), undefined, values)
        words = [self._words(raw[..., field], name) for field, name in config.categories.items()]
        told = torch.cat([values, *words], dim=2)
        return torch.cat([told[:, :-1], told[:, 1:]], dim=2) if config.look_ahead else told

    def _words(self, index: Tensor, name: str) -> Tensor:
        """Vectors (B, F, E) of categories (B, F); what the vocabulary lacks is index 0."""
        table = self.tables[name]
        assert isinstance(table, nn.Embedding), "made as one"
        known = (index >= 0) & (index < table.num_embeddings)
        vectors: Tensor = table(torch.where(known, index, 0).long())
        return vectors
