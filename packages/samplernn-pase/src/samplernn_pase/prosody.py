"""Prosody: what labels leave open, how long each phone lasts and how it sounds: labels -> mel and pitch of a voice.

The original fed its network the durations and the F0 of real recordings; without something like this, text alone does
not speak. A small feed-forward network in the manner of FastSpeech 2 (arXiv 2006.04558), all convolutions:

    phones (B, P, 55) -> phone layers -> durations in log frames
                              | repeated, each phone as often as it has frames, with where in it
                              frame layers -> lag of a pitch period, voicing
                              + how the harmonics of that pitch fall into the mel's bands
                              frame layers -> mel (B, M, F)

It hears no accents (fields a2 b2 c2 b10 b11 b14 b15), which a dictionary does not know, so labels of Festival and of
lexicon.py are alike to it. What it learnt is the average of all ways to say a thing: flatter than any of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from vocoder_core.mel import MelConfig
from vocoder_core.vocoder import Vocoder

from . import linguistic
from .full_context import PAUSE
from .hts_label import FIELDS, SILENCES, Phone
from .linguistic import FRAME_TICKS
from .model import MEL, PITCH_MIDDLE, PITCH_SPREAD
from .prosody_layers import Layers, centres, cosines, expanded, joined, parted, voiced

ACCENTS = frozenset({"a2", "b2", "c2", "b10", "b11", "b14", "b15"})
NUMBERS = [  # fields that are numbers, of 55, but for duration, position and accents
    i for i in range(linguistic.FIRST_FIELD, linguistic.LINGUISTIC_SIZE)
    if i not in linguistic.CATEGORIES and FIELDS[i - linguistic.FIRST_FIELD] not in ACCENTS
]  # fmt: skip
PHONE, PART_OF_SPEECH, TONE = 4, 33, 49  # fields that are embedded: p3, e1, h5
CLIP = 4.0  # deviations


@dataclass(frozen=True)
class ProsodyConfig:
    """What the network is; 1.5 million parameters."""

    mel: MelConfig = MEL
    level: Literal["peak", "loudness"] = "peak"  # of the recordings it learns from
    level_db: float = -0.4455
    phone_width: int = 128
    phone_layers: int = 3
    pitch_layers: int = 3
    mel_width: int = 164
    mel_layers: int = 6
    step: int = 2  # frames of 5 ms that the frame layers make at a time
    dropout: float = 0.25  # an hour of one voice is learnt by heart without: durations 0.07 there, 0.27 elsewhere
    voice: str = ""  # who it learnt to speak as

    def __post_init__(self) -> None:
        for name in ("phone_width", "phone_layers", "pitch_layers", "mel_width", "mel_layers", "step"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; expected 1 or more")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout is {self.dropout}; expected 0 up to, not including, 1")
        if self.mel.sample_rate != 200 * self.mel.hop_length:
            hop, rate = self.mel.hop_length, self.mel.sample_rate
            raise ValueError(f"mel.hop_length is {hop} at {rate} Hz; expected 5 ms, {rate / 200:g} samples")


@dataclass(frozen=True)
class Guess:
    """What the network says of phones (B, P) and frames (B, F)."""

    durations: Tensor  # (B, P), log frames
    height: Tensor  # (B, F), (log lag - PITCH_MIDDLE) / PITCH_SPREAD
    voicing: Tensor  # (B, F), logits
    mel: Tensor  # (B, M, F), normalised by mel_mean and mel_std


@dataclass(frozen=True)
class Spoken:
    """A sentence as it is to be said: timed labels, its mel (M, F), and its pitch (F, 2), lags and voicing."""

    phones: list[Phone]
    mel: Tensor
    pitch: Tensor


class Prosody(Vocoder):
    """The network. `Prosody.from_pretrained().speak(lexicon.transcribe("Good morning."))`."""

    config_class = ProsodyConfig
    config: ProsodyConfig
    number_mean: Tensor
    number_std: Tensor
    mel_mean: Tensor
    mel_std: Tensor
    sharpness: Tensor
    centres: Tensor

    def __init__(self, config: ProsodyConfig) -> None:
        super().__init__(config)
        narrow, wide, bands, step = config.phone_width, config.mel_width, config.mel.n_mels, config.step
        self.names = nn.Embedding(len(linguistic.PHONEMES), 48)
        self.words = nn.Embedding(len(linguistic.GPOS), 8)
        self.tones = nn.Embedding(len(linguistic.TOBI), 4)
        self.phones = Layers(48 + 8 + 4 + len(NUMBERS), narrow, config.phone_layers, config.dropout)
        self.duration = nn.Conv1d(narrow, 1, 1)
        self.melody = Layers(step * (narrow + 4), narrow, config.pitch_layers, config.dropout)
        self.pitch = nn.Conv1d(narrow, 2 * step, 1)
        self.sounds = Layers(narrow + step * (narrow + 4 + 2 + bands), wide, config.mel_layers, config.dropout)
        self.mel = nn.Conv1d(wide, bands * step, 1)
        for name in ("number_mean", "number_std"):
            self.register_buffer(name, torch.full((len(NUMBERS),), float(name.endswith("std"))))
        for name in ("mel_mean", "mel_std"):
            self.register_buffer(name, torch.full((bands,), float(name.endswith("std"))))
        self.register_buffer("sharpness", torch.ones(bands))  # of the mel's cosines: see `sharpened`
        self.register_buffer("centres", centres(config.mel), persistent=False)

    @classmethod
    def _own_weights(cls) -> Path:
        return Path(str(resources.files(__package__) / "weights" / "text"))

    def forward(
        self, raw: Tensor, counts: Tensor, height: Tensor | None = None, voicing: Tensor | None = None
    ) -> Guess:
        """raw (B, P, 55): linguistic.vectors, zeros after the last phone; counts (B, P): frames of each, there 0.

        height, voicing (B, F): the true pitch, by which training tells the mel; None: as it is guessed.
        """
        real = counts > 0
        phones = self.encode(raw, real)
        durations = self.duration(phones)[:, 0]
        frames, inside = expanded(phones, counts)
        by, length = self.config.step, frames.shape[2]
        steps, real = joined(frames, by), joined(inside[:, None].to(frames), by)[:, 0] > 0
        melody = self.melody(steps, real)
        pitch = parted(self.pitch(melody), by, length)
        told = pitch[:, 0] if height is None else height
        heard = voiced(pitch[:, 1]) if voicing is None else voicing
        beside = torch.cat([torch.stack([told, heard], dim=1), self._comb(told, heard)], dim=1)
        beside = (beside * inside[:, None]).to(frames)
        sounds = self.sounds(torch.cat([steps, melody, joined(beside, by)], dim=1), real)
        return Guess(durations, pitch[:, 0], pitch[:, 1], parted(self.mel(sounds), by, length))

    def encode(self, raw: Tensor, real: Tensor) -> Tensor:
        """Phones (B, P, 55), those that are real (B, P) -> what is known of each (B, D, P)."""
        numbers = (raw[..., NUMBERS] - self.number_mean) / self.number_std
        numbers = numbers.nan_to_num(nan=0.0).clamp(-CLIP, CLIP)
        tables = ((self.names, PHONE), (self.words, PART_OF_SPEECH), (self.tones, TONE))
        parts = [table(raw[..., field].long()) for table, field in tables]
        encoded: Tensor = self.phones(torch.cat([*parts, numbers], dim=2).transpose(1, 2), real)
        return encoded

    def _comb(self, height: Tensor, voicing: Tensor) -> Tensor:
        """Where in each band the nearest harmonic lies (B, M, F): the cosine is 1 at one, -1 between two."""
        lag = torch.exp(height.float() * PITCH_SPREAD + PITCH_MIDDLE)
        phase = self.centres[:, None] * lag[:, None] / self.config.mel.sample_rate
        return torch.cos(2 * torch.pi * phase) * voicing.float()[:, None]

    @torch.inference_mode()
    def durations(self, phones: Sequence[Phone], speed: float = 1.0) -> list[Phone]:
        """The phones with times as they would be said, `speed` times as fast as usual; whole frames, one at least."""
        if not 0.25 <= speed <= 4:
            raise ValueError(f"speed is {speed}; expected 0.25 to 4")
        raw = self.raw(phones)[None]
        logs = self.duration(self.encode(raw, torch.ones(raw.shape[:2], dtype=torch.bool)))[0, 0].float()
        counts = (logs.exp() / speed).round().clamp(1, 1000).long().tolist()
        ends = torch.tensor(counts).cumsum(0).tolist()
        return [
            replace(phone, begin=(end - count) * FRAME_TICKS, end=end * FRAME_TICKS)
            for phone, count, end in zip(phones, counts, ends, strict=True)
        ]

    @torch.inference_mode()
    def speak(self, phones: Sequence[Phone], speed: float = 1.0, pitch: Tensor | None = None) -> Spoken:
        """Labels -> mel and pitch. Phones that are timed keep their times; speed: of those that are not.

        pitch (F, 2): lags and voicing of a recording with those times; None: what is usual.
        """
        timed = list(phones) if linguistic.is_timed(phones) else self.durations(phones, speed)
        counts = torch.from_numpy(linguistic.frame_counts(timed))
        kept = [phone for phone, count in zip(timed, counts.tolist(), strict=True) if count]
        if not kept:
            raise ValueError("the labels last less than one frame of 5 ms; expected a sentence")
        given: tuple[Tensor, ...] = ()
        if pitch is not None:
            frames = int(counts.sum())
            pitch = torch.cat([pitch[:frames], pitch[-1:].expand(max(0, frames - len(pitch)), 2)])
            given = ((pitch[:, 0].log() - PITCH_MIDDLE) / PITCH_SPREAD)[None], pitch[:, 1][None]
        guess = self(self.raw(kept)[None], counts[counts > 0][None], *given)
        if pitch is None:
            lag = torch.exp(guess.height[0] * PITCH_SPREAD + PITCH_MIDDLE)
            pitch = torch.stack([lag, voiced(guess.voicing)[0]], dim=1)
        mel = self.sharpened(guess.mel * self.mel_std[:, None] + self.mel_mean[:, None])[0]
        return Spoken(timed, mel, pitch)

    def raw(self, phones: Sequence[Phone]) -> Tensor:
        """linguistic.vectors (P, 55) of phones, all kinds of silence alike."""
        alike = [
            replace(phone, context=(*phone.context[:2], PAUSE, *phone.context[3:])) if phone.name in SILENCES else phone
            for phone in phones
        ]
        return torch.from_numpy(linguistic.vectors(alike)).to(self.mel_mean)

    def sharpened(self, mel: Tensor) -> Tensor:
        """A mel (B, M, F) whose bands differ as much as those of speech do, each cosine along them by its factor."""
        basis = cosines(mel.shape[1]).to(mel)
        mean = self.mel_mean[:, None].to(mel)
        return mean + basis.T @ (self.sharpness[:, None].to(mel) * (basis @ (mel - mean)))
