"""CorpusConfig: how recordings become a prepared corpus, and which split each of them falls into."""

from __future__ import annotations

import dataclasses
import difflib
import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from ..utterance import Utterance

if TYPE_CHECKING:
    from ..mel import MelConfig

SPLITS = ("train", "valid", "test")


@dataclasses.dataclass(frozen=True)
class CorpusConfig:
    """Settings of `prepare`. Raises ValueError for values that cannot be meant."""

    sample_rate: int = 16_000  # Hz
    hop_length: int = 200  # samples in a frame
    level: Literal["loudness", "peak", "none"] = "loudness"
    level_db: float = -24.0  # loudness: LUFS (BS.1770-4); peak: dBFS of the highest sample, -12 to 0; none: unused
    min_seconds: float = 0.4  # shorter recordings are rejected; loudness is not defined below 0.4
    valid_fraction: float = 0.02  # shares of the recordings for which the corpus itself names no split
    test_fraction: float = 0.02
    held_out_speakers: tuple[str, ...] = ()  # wholly in the split test, whatever the corpus says
    held_out_fraction: float = 0.0  # share of the speakers without any split who are wholly in test, too
    seed: int = 0  # of the hash that splits

    def __post_init__(self) -> None:
        lowest, highest = {"loudness": (-60.0, 0.0), "peak": (-12.0, 0.0)}.get(self.level, (-1e9, 1e9))
        for name, right, expected in (
            ("sample_rate", 4_000 <= self.sample_rate <= 384_000, "4000 to 384000 Hz"),
            ("hop_length", self.hop_length >= 1, "1 or more samples"),
            ("level", self.level in ("loudness", "peak", "none"), "loudness, peak or none"),
            ("level_db", lowest <= self.level_db <= highest, f"{lowest:g} to {highest:g} dB for level {self.level}"),
            ("min_seconds", self.min_seconds >= 0, "0 or more"),
            ("valid_fraction", 0 <= self.valid_fraction < 1, "0 to below 1"),
            ("test_fraction", 0 <= self.test_fraction < 1 - self.valid_fraction, "0 to below 1 - valid_fraction"),
            ("held_out_fraction", 0 <= self.held_out_fraction < 1, "0 to below 1"),
        ):
            if not right:
                raise ValueError(f"{name} is {getattr(self, name)!r}, expected {expected}")
        if self.level == "loudness" and self.min_seconds < 0.4:
            raise ValueError(
                f"min_seconds is {self.min_seconds}, expected 0.4 or more (or another level than loudness)"
            )

    def suit(self, mel: MelConfig, level: str, level_db: float) -> None:
        """Raise ValueError, naming the field, unless what is prepared so is what a model with that mel reads."""
        wanted = {
            "sample_rate": mel.sample_rate,
            "hop_length": mel.hop_length,
            "level": level,
            "level_db": level_db,
        }
        for name, value in wanted.items():
            if getattr(self, name) != value:
                raise ValueError(f"data.{name} is {getattr(self, name)}, the model needs {value}; set both alike")


def split_of(utterances: Sequence[Utterance], config: CorpusConfig) -> dict[str, str]:
    """The split of each id: held-out speakers first, then the utterance's own, else by a hash of the id.

    The hash depends on the id and the seed alone, so recordings that come or go move no other one. A share above zero
    gets at least one recording when there are three or more to divide, so that a small corpus can be validated, too.
    """
    _check_speakers(utterances, config.held_out_speakers)
    held_out = {*config.held_out_speakers, *_drawn_speakers(utterances, config)}
    own = {u.id: "test" if u.speaker in held_out else u.split for u in utterances}
    splits = {name: split for name, split in own.items() if split is not None}
    drawn = sorted((_uniform(config.seed, name), name) for name, split in own.items() if split is None)
    shares = (("test", config.test_fraction), ("valid", config.valid_fraction))
    bound = 0.0
    for split, share in shares:
        bound += share
        chosen = [name for place, name in drawn if place < bound]
        if share > 0 and not chosen and len(own) > 2 and len(drawn) > 1 and split not in splits.values():
            chosen = [drawn[0][1]]
        splits |= dict.fromkeys(chosen, split)
        drawn = [(place, name) for place, name in drawn if name not in splits]
    return splits | {name: "train" for _, name in drawn}


def _drawn_speakers(utterances: Sequence[Utterance], config: CorpusConfig) -> list[str]:
    """Who is held out by `held_out_fraction`: by a hash of the name, of three or more at least one, never all."""
    split = {utterance.speaker for utterance in utterances if utterance.split is not None}
    free = {utterance.speaker for utterance in utterances} - split - set(config.held_out_speakers)
    drawn = sorted((_uniform(config.seed, f"speaker {name}"), name) for name in free)
    count = sum(place < config.held_out_fraction for place, _ in drawn)
    least = config.held_out_fraction > 0 and len(drawn) > 2
    return [name for _, name in drawn[: max(min(count, len(drawn) - 1), int(least))]]


def _uniform(seed: int, name: str) -> float:
    """A number in [0, 1) from a hash."""
    digest = hashlib.sha256(f"{seed}:{name}".encode()).digest()
    return int.from_bytes(digest[:7]) / (1 << 56)


def _check_speakers(utterances: Sequence[Utterance], held_out: Sequence[str]) -> None:
    speakers = {utterance.speaker for utterance in utterances}
    for name in held_out:
        if name not in speakers:
            near = difflib.get_close_matches(name, speakers, 1)
            hint = f" (did you mean {near[0]}?)" if near else ""
            raise ValueError(f"held_out_speakers names {name!r}{hint}, who is none of the {len(speakers)} speakers")
