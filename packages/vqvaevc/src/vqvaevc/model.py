"""VQVAEVC: speech as discrete codes, and the codes as speech of whoever is named, sample by sample.

van den Oord et al. 2017 (arXiv 1711.00937) with the decoder of mkotha/WaveRNN (MIT, 2019), as tarepan/vqvaevc kept it:
15,041,920 parameters and 8,832 for each speaker, of which 1,344 masked ones do not exist here.

    encoder.source   wave    wav -> WaveEncoder -> codes on a sphere -> vectors, 64 samples each         the original
                     codec   mel -> codes -> mel in the voice named, and a pitch track                   what is shipped
                     mel     the mel itself: a vocoder                 none    nothing: it babbles
    decoder          past -> Overtone (every 4, 16, 64 samples) -> WaveRNN -> p(sample | what it knows)

`forward` is the training pass, teacher-forced; `decode` speaks. timing.py draws which sample meets which code.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from vocoder_core.mel import MelConfig
from vocoder_core.speakers import Speakers, Who, vectors
from vocoder_core.streaming.pieces import Source
from vocoder_core.vocoder import Vocoder
from vocoder_core.vq import Quantizer, QuantizerConfig

from . import conversion, labels, likelihood, streaming
from .condition import Condition, Conditioned, EncoderConfig, conditioner
from .generate import Backend, Sampling
from .labels import LabelConfig, Told
from .likelihood import Pass
from .overtone import Overtone, OvertoneConfig
from .timing import UNIT, timed
from .voices import OneHot
from .wavernn import WaveRNN

if TYPE_CHECKING:
    from .conversion import Codes

ORIGINAL_MEL = MelConfig(
    sample_rate=22050, n_fft=2048, win_length=1024, hop_length=64, n_mels=80, fmin=40.0, mel_norm="slaney",
    preemphasis=0.0, offset=-100.0, scale=100.0, minimum=0.0, maximum=1.0,
)  # fmt: skip


@dataclass(frozen=True)
class VQVAEVCConfig:
    """What the model is. The default is the original's network; `configs/small.yaml` holds the shipped one."""

    mel: MelConfig = ORIGINAL_MEL  # its hop is the corpus' frame; whether its bands are heard, `encoder` says
    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    quantizer: QuantizerConfig = field(default_factory=lambda: QuantizerConfig(kind="sphere", size=512, dim=128))
    overtone: OvertoneConfig = field(default_factory=OvertoneConfig)
    labels: LabelConfig = field(default_factory=LabelConfig)
    speakers: tuple[str, ...] = ()  # whose voices it has
    speaker: Literal["onehot", "learned"] = "onehot"  # a column of their own in every layer, or a vector in all
    speaker_size: int = 64  # of learned vectors
    settle: int = 0  # steps of Griffin-Lim that bring what was said to its mel, where the decoder hears one
    level: Literal["peak", "loudness"] = "peak"  # what of the recordings it learns from is alike
    level_db: float = -0.4455  # dBFS of the highest sample of the recordings it learns from: 0.95

    def __post_init__(self) -> None:
        if self.mel.hop_length % UNIT:
            raise ValueError(f"mel.hop_length is {self.mel.hop_length}; expected a multiple of {UNIT}")
        if len(set(self.speakers)) < len(self.speakers):
            raise ValueError(f"speakers has {len(self.speakers)} names, some of them twice; expected different ones")
        if self.settle < 0 or (self.settle and self.encoder.source not in ("mel", "codec")):
            raise ValueError(
                f"settle is {self.settle}; expected 0 or more, and more than 0 only of a model that hears mels"
            )
        if self.labels.order and self.encoder.source not in ("mel", "codec"):
            raise ValueError(
                f"labels.order is {self.labels.order}, encoder.source is {self.encoder.source}; a prediction needs a "
                "mel: expected mel or codec with it"
            )
        if self.mel.hop_length % self.labels.block:
            raise ValueError(f"labels.block is {self.labels.block}; expected a divisor of {self.mel.hop_length}")

    @property
    def hears_speakers(self) -> bool:
        """Whether anything in it is told who speaks."""
        return self.overtone.speaker or self.encoder.source == "codec"


class VQVAEVC(Vocoder):
    """The model. `VQVAEVC.from_pretrained().convert(wav, target)` gives a wave."""

    config_class = VQVAEVCConfig
    config: VQVAEVCConfig
    condition: Condition

    def __init__(self, config: VQVAEVCConfig) -> None:
        super().__init__(config)
        known = len(config.speakers)
        self.speaker_size = (known if config.speaker == "onehot" else config.speaker_size) if known else 0
        self.speakers: Speakers | OneHot | None = None
        if known:
            learned = config.speaker == "learned"
            self.speakers = Speakers(config.speakers, config.speaker_size) if learned else OneHot(config.speakers)
        size, lab = config.overtone, config.labels
        self.timing = timed(config.encoder.source, config.encoder.strides, size.warmup, size.advance)
        self.condition = conditioner(
            config.encoder, config.mel, config.quantizer, lab, self.timing, self.speaker_size, known
        )
        told = self.speaker_size if size.speaker else 0
        self.overtone = Overtone(size, self.timing, lab.past_channels, self.condition.channels, told)
        self.wavernn = WaveRNN(lab, size.rnn, size.hidden, size.linear, told)

    @property
    def quantizer(self) -> Quantizer | None:
        """What makes the codes, if it has any."""
        return self.condition.quantizer

    @property
    def code_rate(self) -> float:
        """Codes a second."""
        return self.config.mel.sample_rate / self.condition.code_hop if self.quantizer is not None else 0.0

    @property
    def reach(self) -> tuple[int, int]:
        """Samples before and after the predicted ones that a training crop holds; (0, 0) where none are predicted."""
        if self.config.encoder.objective == "mel":
            return 0, 0
        return self.timing.before, self.timing.right

    def forward(
        self, wav: Tensor, heard: Tensor, at: int, samples: int, speaker: Who | None = None,
        seed: int | None = None, noise: Tensor | None = None,
    ) -> Pass:  # fmt: skip
        """Training pass: every sample by the true ones before it.

        wav (B, T) in [-1, 1]; heard (B, T): what the encoder hears of it. The samples at ... at + samples - 1 are said;
        at and samples are multiples of 64, at >= timing.before, at + samples + timing.right <= T. seed: of what the
        condition draws, None: nothing. noise (B, T): disturbs what the WaveRNN and the Overtone are told (labels.py).
        """
        before, after = self.reach
        if at % UNIT or samples % UNIT or at < before or at + samples + after > wav.shape[1]:
            raise ValueError(
                f"forward got samples {at} to {at + samples} of {wav.shape[1]}; expected multiples of {UNIT}, "
                f"{before} before and {after} after them"
            )
        who = self.who(speaker, wav)
        made = self.condition(wav, heard, at, who, seed)
        if self.config.encoder.objective == "mel":
            return Pass([], wav.new_zeros(len(wav), 0, 1, dtype=torch.int64), made)
        left, warm = self.timing.left, self.timing.warmup
        told = self.told(wav, made, noise).cut(at - left, at + samples)
        units = made.units(self.timing, at, samples)
        who = who if self.config.overtone.speaker else None
        vectors = self.overtone(told.past, units, who)
        said = self.wavernn(vectors, told.cut(left - warm, left + samples), who, warm)
        return Pass(said, told.targets[:, left:], made)

    def loss(self, made: Pass) -> dict[str, Tensor]:
        """{"loss": what to minimise, "bits" a sample and of each byte, and figures} of a training pass."""
        return likelihood.loss(made)

    @torch.inference_mode()
    def encode(self, wav: Tensor) -> Codes:
        """Codes, and pitch where the model keeps it, of waves (B, T) at the model's rate and level; T: whole frames."""
        return conversion.encode(self, wav)

    @torch.inference_mode()
    def decode(
        self, codes: Codes, speaker: Who | None = None, *, temperature: float = 1.0, settle: int | None = None,
        seed: int | Sequence[int] | None = None, backend: Backend = "auto", progress: bool = False,
    ) -> Tensor:  # fmt: skip
        """Waves (B, T), float32 in [-1, 1], of codes, said by a speaker: a name, one a row, numbers or vectors.

        temperature: 1 samples the model's distribution, towards 0 it takes the likeliest sample. settle: steps of
        Griffin-Lim that bring the wave to its mel (default: the config's). seed: the same seed gives the same samples,
        alone or in a batch; a sequence gives each row its own; None: any. backend: generate.Sampling.
        """
        return conversion.decode(self, codes, speaker, self.how(temperature, settle, seed, backend, progress))

    @torch.inference_mode()
    def convert(
        self, wav: Tensor, target: Who, *, temperature: float = 1.0, settle: int | None = None,
        seed: int | Sequence[int] | None = None, backend: Backend = "auto", progress: bool = False,
    ) -> Tensor:  # fmt: skip
        """What a wave says, in the voice of a target: (T,) of one (T,) and a name, else (targets, T) or (B, T).

        wav (T,), (1, T) or (B, T) with as many targets; the rest as in `decode`. Raises ValueError for an unknown name.
        """
        how = self.how(temperature, settle, seed, backend, progress)
        made = conversion.convert(self, wav if wav.dim() == 2 else wav[None], target, how)
        return made[0] if wav.dim() == 1 and isinstance(target, str) else made

    @torch.inference_mode()
    def infer(
        self, wav: Tensor, speaker: Who | None = None, *, temperature: float = 1.0, settle: int | None = None,
        seed: int | Sequence[int] | None = None, backend: Backend = "auto", progress: bool = False,
        look_ahead: int | None = None,
    ) -> Tensor:  # fmt: skip
        """A copy (B, T) of waves (B, T), or (T,) of one (T,): by codes in the voice of a speaker, as `decode` has them.

        None: in their own, where the decoder hears mels; no codes are used then. look_ahead: as in `synthesize`.
        """
        how = self.how(temperature, settle, seed, backend, progress, look_ahead)
        made = conversion.copy(self, wav if wav.dim() == 2 else wav[None], speaker, how)
        return made if wav.dim() == 2 else made[0]

    @torch.inference_mode()
    def synthesize(
        self, mel: Tensor, *, pitch: tuple[Tensor, Tensor] | None = None, temperature: float = 1.0,
        settle: int | None = None, seed: int | Sequence[int] | None = None, backend: Backend = "auto",
        progress: bool = False, look_ahead: int | None = None,
    ) -> Tensor:  # fmt: skip
        """Wave (B, F * hop_length) of a mel (B, M, F) (or of one (M, F)), where the decoder hears mels.

        pitch: lags in samples and voicing, (B, F) each; None: read off the mel. look_ahead: frames, as
        `synthesize_stream` has it; None: all of up to a minute. The rest as in `decode`.
        """
        how = self.how(temperature, settle, seed, backend, progress, look_ahead)
        wav = conversion.vocode(self, self.checked(mel), pitch, how)
        return wav if mel.dim() == 3 else wav[0]

    def synthesize_stream(
        self, mel_frames: Iterable[Tensor] | Source, *, temperature: float = 1.0, settle: int | None = None,
        seed: int | None = None, backend: Backend = "auto", look_ahead: int | None = streaming.LOOK_AHEAD,
    ) -> Iterator[Tensor]:  # fmt: skip
        """Waves (t,), whole frames, as soon as they can be said, of a mel in portions (M, f) of any f.

        The same samples as `synthesize` with the same seed and look_ahead, however the mel is cut; streaming.py has the
        latency. A portion (hop_length + M, f) has the recording's frames before the mel's: the pitch is then theirs.
        """
        how = self.how(temperature, settle, seed, backend, look_ahead=look_ahead)
        for wav in streaming.spoken(self, [mel_frames], how):
            yield wav[0]

    def told(self, wav: Tensor, made: Conditioned, noise: Tensor | None = None) -> Told:
        """What is known of each sample of waves (B, T) before it is made, and what it is."""
        if self.config.labels.kind == "dual":
            return labels.dual(wav, noise)
        return labels.excited(wav, self.config.labels, made.filters, made.gain, made.lag, made.voicing, noise)

    def who(self, speaker: Who | None, rows: Tensor) -> Tensor | None:
        """Vectors (B, S) of those who speak in rows (B, ...)."""
        who = vectors(speaker, self.speaker_size, self.speakers, rows)
        return None if who is None else who.to(self.wavernn.gru.weight_hh.dtype)

    def how(
        self, temperature: float = 1.0, settle: int | None = None, seed: int | Sequence[int] | None = None,
        backend: Backend = "auto", progress: bool = False, look_ahead: int | None = None,
    ) -> Sampling:  # fmt: skip
        """How samples are drawn, as the methods here are told."""
        steps = self.config.settle if settle is None else settle
        return Sampling(temperature, steps, seed, backend, progress, look_ahead=look_ahead)
