"""SampleRNNPASE: content and a speaker in, speech out, sample by sample in three tiers.

Alvarez, Pascual & Bonafonte 2019 (arXiv 1906.00733): SampleRNN (arXiv 1612.07837) whose every tier hears what is said
and who says it. 47,830,439 parameters in the public code with 126 speakers.

    content (B, F, C) -> Content -> Mixer <- speaker (B, S)          content.py, condition.py
                                      | conds, one each 80 samples
    the past -> top tier, every 80 -> mid tier, every 20 -> sample tier -> p(sample | what it knows)       tiers.py

`forward` is the training pass, teacher-forced, and hands on the state of its frame tiers; `synthesize` speaks.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from math import log
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from vocoder_core import excitation
from vocoder_core.excitation import Told
from vocoder_core.linear_prediction import Predictor
from vocoder_core.mel import MelConfig
from vocoder_core.recurrent.streams import Backend
from vocoder_core.speakers import Who, vectors
from vocoder_core.streaming.pieces import Source
from vocoder_core.vocoder import Vocoder

from . import labels, speaking, streaming
from .condition import Mixer
from .content import Content, ContentConfig
from .labels import LabelConfig
from .references import known
from .speaker import Given, SpeakerConfig
from .tiers import FrameTier, SampleTier, carried, frames_of

MEL = MelConfig(
    sample_rate=16000, n_fft=1024, win_length=1024, hop_length=80, n_mels=80, fmin=0.0, fmax=8000.0,
    mel_norm="slaney", preemphasis=0.0, log="ln", offset=0.0, scale=1.0, minimum=None,
)  # fmt: skip
PITCH_MIDDLE, PITCH_SPREAD = 4.7, 0.5  # of log lags of speech at 16 kHz, so that what is heard of them is of unit size
EXCITED = 320  # samples: the longest period, 267, what surrounds it, and what predicts that

State = tuple[Tensor, ...]  # (1, B, H) of the mid and of the top tier


@dataclass(frozen=True)
class SampleRNNPASEConfig:
    """What the model is. The default is the paper's network on a mel; `configs/small.yaml` holds the shipped one."""

    mel: MelConfig = MEL  # its hop is the content's frame and the top tier's
    content: ContentConfig = field(default_factory=ContentConfig)
    speaker: SpeakerConfig = field(default_factory=SpeakerConfig)
    labels: LabelConfig = field(default_factory=LabelConfig)
    ratios: tuple[int, ...] = (20, 4)  # samples a step of the mid tier, and those a step of the top one
    hidden_size: int = 1024  # H
    embedding_size: int = 256  # of a code of the past
    conds_size: int = 50
    combine: Literal["concat", "add"] = "concat"  # how the sample tier's inputs meet (tiers.py)
    weight_norm: bool = True
    speakers: tuple[str, ...] = ()  # whose voices it has
    settle: int = 0  # steps of Griffin-Lim that bring what was said to its mel, of content mel80
    temperature: float = 1.0  # at which it is sampled; below 1 a voice that is not learnt well yet is less noisy
    level: Literal["peak", "loudness"] = "peak"  # what of the recordings it learns from is alike
    level_db: float = -0.4455  # dBFS of the highest sample of the recordings it learns from: 0.95

    def __post_init__(self) -> None:
        for name in ("hidden_size", "embedding_size", "conds_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; expected 1 or more")
        if len(self.ratios) != 2 or min(self.ratios) < 1 or self.ratios[0] * self.ratios[1] != self.mel.hop_length:
            raise ValueError(
                f"ratios is {self.ratios}, mel.hop_length {self.mel.hop_length}; expected two numbers of this product"
            )
        if len(set(self.speakers)) < len(self.speakers):
            raise ValueError(f"speakers has {len(self.speakers)} names, some of them twice; expected different ones")
        object.__setattr__(self, "content", replace(self.content, n_mels=self.mel.n_mels))
        if (self.labels.order or self.settle) and self.content.kind != "mel80":
            raise ValueError(
                f"labels.order is {self.labels.order}, settle {self.settle}, content.kind {self.content.kind}; "
                "expected content mel80 with either"
            )
        if self.labels.order > self.mel.hop_length or self.settle < 0:
            raise ValueError(
                f"labels.order is {self.labels.order}, settle {self.settle}; expected at most one hop, and 0 or more"
            )


@dataclass(frozen=True)
class Pass:
    """A training pass: logits (B, T, Q), targets (B, T), and the state after it, without gradient."""

    logits: Tensor
    targets: Tensor
    state: State


class SampleRNNPASE(Vocoder):
    """The model. `SampleRNNPASE.from_pretrained().synthesize(mel)` gives a wave."""

    config_class = SampleRNNPASEConfig
    config: SampleRNNPASEConfig

    def __init__(self, config: SampleRNNPASEConfig) -> None:
        super().__init__(config)
        lab, size, conds, normed = config.labels, config.hidden_size, config.conds_size, config.weight_norm
        self.content = Content(config.content, config.speakers)
        self.voices = known(config.speaker, config.speakers)
        self.speaker_size = config.speaker.size
        self.predictor = Predictor(lab.order, config.mel.hop_length, config.mel) if lab.order else None
        self.mixer = Mixer(self.speaker_size, config.content.told + 2 * lab.pitch, conds)
        hop, taps = config.mel.hop_length, config.ratios[0]
        self.top = FrameTier(hop * lab.channels, config.ratios[1], conds, size, normed)
        self.mid = FrameTier(taps * lab.channels, taps, conds, size, normed)
        self.sample = SampleTier(
            taps, lab.classes, config.embedding_size, conds, size, told=lab.told, values=lab.values,
            concat=config.combine == "concat", normed=normed,
        )  # fmt: skip

    @property
    def context(self) -> tuple[int, int]:
        """Frames before and after the predicted ones that `forward` is given."""
        lab = self.config.labels
        before = -(-EXCITED // self.config.mel.hop_length) if lab.order else 1
        return before, int(bool(lab.order) or self.config.content.look_ahead)

    def forward(
        self, wav: Tensor, content: Tensor, speaker: Who | None = None, *, state: State | None = None,
        reset: Tensor | None = None, normal: Tensor | None = None, pitch: Tensor | None = None,
        noise: Tensor | None = None,
    ) -> Pass:  # fmt: skip
        """Training pass: every sample by the true ones before it.

        wav (B, (before + n) hop) in [-1, 1], content (B, before + n + after, C) raw; before, after: `context`. The last
        n frames of the wave are predicted. state: after the chunk before, None: none was; reset (B,): 0 goes on, else
        begins. normal (B, 2, C): statistics of content, None: of the speakers that are named. pitch (B, before + n, 2):
        lags and voicing. noise (B, T): disturbs what is told of the past (labels.py).
        """
        before, after = self.context
        hop, frames = self.config.mel.hop_length, content.shape[1] - before - after
        if frames < 1 or wav.shape[1] != (before + frames) * hop:
            raise ValueError(
                f"forward got {wav.shape[1]} samples and {content.shape[1]} frames; expected {before} frames before "
                f"and {after} after the predicted ones, and {hop} samples for each but the latter"
            )
        heard = content[:, before : content.shape[1] - after + int(self.config.content.look_ahead)]
        conds = self.conds(heard, speaker, normal, pitch)
        told = self.told(wav, content, pitch, noise)
        mid_state, top_state = state or (None, None)
        history, at, samples = told.past[..., 1:], before * hop, frames * hop  # history[s]: sample s itself
        first = self.top.begin(top_state, reset, len(wav))
        top, top_state = self.top(frames_of(history, hop, at, samples), conds, None, first)
        fine = conds.repeat_interleave(self.config.ratios[1], 1)
        first = self.mid.begin(mid_state, reset, len(wav))
        mid, mid_state = self.mid(frames_of(history, self.config.ratios[0], at, samples), fine, top, first)
        taken = told.cut(at - self.sample.taps + 1, at + samples)
        logits = self.sample(taken.codes, taken.values[:, self.sample.taps - 1 :], conds, mid)
        return Pass(logits, told.targets[:, at:], carried((mid_state, top_state)))

    def loss(self, made: Pass, active: Tensor | None = None) -> dict[str, Tensor]:
        """{"loss": nats a sample, "bits": the same in bits}, mean over the active (B, T) samples; None: all are."""
        nats = F.cross_entropy(made.logits.float().flatten(0, 1), made.targets.flatten(), reduction="none")
        if active is None:
            loss = nats.mean()
        else:  # of nobody: 0, where the mean of nothing is NaN; the public loader never ended, and so its loss did
            loss = torch.where(active.flatten(), nats, 0.0).sum() / active.sum().clamp(min=1)
        return {"loss": loss, "bits": loss.detach() / log(2)}

    def conds(
        self, content: Tensor, speaker: Who | None, normal: Tensor | None = None, pitch: Tensor | None = None
    ) -> Tensor:
        """Conds (B, n, conds_size) of raw content (B, n, C), or (B, n + 1, C) with look-ahead, and its last pitch."""
        who = self.who(speaker, content)
        normal = self.normal(speaker, content) if normal is None else normal
        heard = self.content(content, normal)
        if self.config.labels.pitch:
            assert pitch is not None, "labels with pitch come with it"
            lag, voicing = pitch[:, pitch.shape[1] - heard.shape[1] :].unbind(2)
            height = (lag.log() - PITCH_MIDDLE) / PITCH_SPREAD
            heard = torch.cat([heard, torch.stack([height, voicing], dim=2).to(heard)], dim=2)
        mixed: Tensor = self.mixer(who, heard)
        return mixed

    def told(self, wav: Tensor, content: Tensor, pitch: Tensor | None, noise: Tensor | None = None) -> Told:
        """What is known of each sample of waves (B, T) before it is made, and what it is."""
        if self.predictor is None:
            return labels.of_wave(wav, self.config.labels, noise)
        filters, gain = self.prediction(content)
        frames = wav.shape[1] // self.config.mel.hop_length
        lag, voicing = (None, None) if pitch is None else pitch[:, :frames].unbind(2)
        config = self.config.labels.excitation(self.config.mel.hop_length)
        return excitation.told(wav, config, filters[:, :frames], gain[:, :frames], lag, voicing, noise)

    @torch.no_grad()
    def prediction(self, content: Tensor) -> tuple[Tensor, Tensor]:
        """Predictors (B, F, p + 1) and gains (B, F) by a mel as content (B, F, M)."""
        assert self.predictor is not None, "made with one"
        with torch.autocast(content.device.type, enabled=False):
            made: tuple[Tensor, Tensor] = self.predictor(content.float().transpose(1, 2))
            return made

    def who(self, speaker: Who | None, rows: Tensor) -> Tensor | None:
        """Vectors (B, S) of those who speak in rows (B, ...), as the mixer is told them."""
        who = vectors(speaker, self.speaker_size, self.voices, rows)
        return self.voices(who) if isinstance(self.voices, Given) and who is not None else who

    def normal(self, speaker: Who | None, rows: Tensor) -> Tensor:
        """Statistics (B, 2, C) of content: the named speakers' own, everybody's for vectors and for strangers."""
        if speaker is None or (isinstance(speaker, Tensor) and speaker.is_floating_point()):
            return self.content.normal(None, len(rows))
        if not isinstance(speaker, Tensor):
            names = [speaker] * len(rows) if isinstance(speaker, str) else speaker
            speaker = torch.tensor([self.config.speakers.index(n) if n in self.config.speakers else -1 for n in names])
        return self.content.normal(speaker, len(rows))

    @torch.inference_mode()
    def synthesize(
        self, mel: Tensor, speaker: Who | None = None, *, pitch: Tensor | None = None, normal: Tensor | None = None,
        temperature: float | None = None, settle: int | None = None, seed: int | Sequence[int] | None = None,
        backend: Backend = "auto", progress: bool = False, look_ahead: int | None = None,
    ) -> Tensor:  # fmt: skip
        """Wave (B, F * hop_length), float32 in [-1, 1], of a mel (B, M, F) or (M, F), or other raw content (B, F, C).

        speaker: a name, names, numbers or vectors (B, S), where the model has voices. pitch (B, F, 2): lags, voicing;
        None: read off the mel. normal (B, 2, C): statistics of the content, None: the speaker's. temperature: 1 samples
        the model's distribution, towards 0 it takes the likeliest sample. settle: steps of Griffin-Lim (default: the
        config's). seed: the same seed gives the same samples, alone or in a batch; a sequence gives each row its own.
        backend: "torch" is the reference loop, "numba" the compiled one for CPUs, "graph" one for CUDA, "auto" the
        fastest. look_ahead: frames, as `synthesize_stream` has it; None: all of up to a minute.
        """
        how = speaking.sampling(self.config, temperature, settle, seed, backend, progress)
        return speaking.speak(self, mel, speaker, pitch, normal, how, look_ahead)

    def synthesize_stream(
        self, mel_frames: Iterable[Tensor] | Source, speaker: Who | None = None, *, normal: Tensor | None = None,
        temperature: float | None = None, settle: int | None = None, seed: int | None = None,
        backend: Backend = "auto", look_ahead: int | None = streaming.LOOK_AHEAD,
    ) -> Iterator[Tensor]:  # fmt: skip
        """Waves (t,), whole frames, as soon as they can be said, of a mel in portions (M, f) of any f.

        The same samples as `synthesize` with the same seed and look_ahead, however the mel is cut; streaming.py has the
        latency. A portion (hop_length + M, f) has the recording's frames before the mel's: the pitch is then theirs.
        """
        how = speaking.sampling(self.config, temperature, settle, seed, backend, False)
        for wav in streaming.spoken(self, [mel_frames], speaker, how, look_ahead, normal):
            yield wav[0]
