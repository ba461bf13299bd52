"""What the decoder is told beside the past: codes of the wave, a mel, a mel made of codes, or nothing.

    source   wave    heard wav -> WaveEncoder -> quantiser -> vectors, one a unit of 64 samples or more
             codec   mel and pitch -> codes -> mel of whoever is named (codec.py)   } frames: condition, and what can be
             mel     the mel itself, and pitch                                      } predicted of the wave by them
             none    nothing

Frames are heard `advance` units ahead, as codes are: timing.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vocoder_core.griffinlim import griffin_lim
from vocoder_core.linear_prediction import Predictor
from vocoder_core.mel import MelConfig, log_mel
from vocoder_core.mel_codec.perturb import jitter
from vocoder_core.pitch import track
from vocoder_core.vq import Quantizer, QuantizerConfig, quantizer

from .encoder import STRIDES, WaveEncoder
from .labels import LabelConfig
from .timing import UNIT, Timing

Pitch = tuple[Tensor, Tensor]  # the lag of one period in samples (B, F), and the voicing (B, F) in [0, 1]
NOT_SILENT = 1e-3  # the least deviation of a mel band
CODES = 8  # of a wave that are made at once, 512 samples: two thirds of what their fields see is shared
ITERATIONS = 16  # of Griffin-Lim: enough for the pitch of a mel
LAG_MIDDLE, LAG_SPREAD = 4.7, 0.5  # of log lags of speech at 16 kHz, so that what is heard of them is of unit size


@dataclass(frozen=True)
class EncoderConfig:
    """What makes codes, or stands in for them. The default is the original's; see the file."""

    source: Literal["wave", "codec", "mel", "none"] = "wave"
    channels: int = 128  # of the convolutions
    strides: tuple[int, ...] = STRIDES  # wave: a further (2, 1) halves the rate of the codes
    jitter: float = 0.0  # part of the codes that training replaces by a neighbour (Chorowski et al. 2019)
    frames_per_code: int = 2  # codec: 31 codes a second of frames of 16 ms
    encoder_layers: int = 3  # codec: of the encoder, after the first two
    layers: int = 6  # codec: of its decoder at the rate of codes, and
    fine_layers: int = 4  # of frames
    stretch: float = 0.2  # codec: the encoder hears formants up to e^0.2 as high or low
    dropout: float = 0.0  # codec: part of the codes that training leaves out
    mel_weight: float = 1.0  # codec: of the mel's error
    envelope_weight: float = 1.0  # codec: of that of its envelope, in which phones differ
    direct: float = 0.0  # codec: part of the rows whose decoder of speech hears the mel itself, as copies are made
    objective: Literal["speech", "mel", "both"] = "both"  # codec: what learns: the decoder of speech, the codec, both

    def __post_init__(self) -> None:
        for name in ("channels", "frames_per_code", "layers", "fine_layers"):
            if getattr(self, name) < 1:
                raise ValueError(f"encoder.{name} is {getattr(self, name)}; expected 1 or more")
        for name in ("jitter", "dropout", "direct"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"encoder.{name} is {getattr(self, name)}; expected 0 to below 1")
        if self.source != "codec" and self.objective != "both":
            raise ValueError(f"encoder.objective is {self.objective}, encoder.source {self.source}; expected both")


@dataclass(frozen=True)
class Conditioned:
    """What the decoder is told. Units: vectors for each 64 samples; frames: vectors for each hop of the mel."""

    units_: Tensor | None = None  # (B, D, N) from the first unit that the context stack reads
    frames: Tensor | None = None  # (B, D, F) from sample 0 of the wave
    hop: int = UNIT
    mel: Tensor | None = None  # (B, M, F): the frames' mel as it is,
    filters: Tensor | None = None  # (B, blocks, p + 1): predictors by the mel,
    gain: Tensor | None = None  # (B, blocks): gains of their errors,
    lag: Tensor | None = None  # (B, blocks): the pitch period in samples,
    voicing: Tensor | None = None  # (B, blocks): and how voiced it is, 0 to 1
    losses: dict[str, Tensor] = field(default_factory=dict)
    stats: dict[str, Tensor] = field(default_factory=dict)

    def units(self, timing: Timing, at: int, samples: int) -> Tensor | None:
        """(B, D, timing.units(samples)) for samples at ... at + samples - 1; frames beyond the ends repeat."""
        if self.frames is None:
            return None if self.units_ is None else self.units_[:, :, : timing.units(samples)]
        step = torch.arange(timing.units(samples), device=self.frames.device) - timing.units_before + timing.advance
        place = (at + UNIT * step).div(self.hop, rounding_mode="floor").clamp(0, self.frames.shape[2] - 1)
        return self.frames[:, :, place]


class Condition(nn.Module):
    """Base, and the source "none". `channels` D; `quantizer` or None."""

    def __init__(self) -> None:
        super().__init__()
        self.channels = 0
        self.code_hop = UNIT  # samples a code
        self.quantizer: Quantizer | None = None

    def forward(self, wav: Tensor, heard: Tensor, at: int, speaker: Tensor | None, seed: int | None) -> Conditioned:
        """wav, heard (B, T), speaker (B, S) -> what the decoder is told of the samples from `at` on."""
        return Conditioned()


class WaveCodes(Condition):
    """Source "wave": the original's. Its state is the encoder's and the quantiser's."""

    def __init__(self, config: EncoderConfig, codes: QuantizerConfig, timing: Timing) -> None:
        super().__init__()
        self.config, self.timing = config, timing
        self.channels, self.code_hop = codes.dim, timing.hop
        self.encoder = WaveEncoder(config.channels, config.strides, codes.dim)
        self.quantizer = quantizer(codes)

    @property
    def codes(self) -> Quantizer:
        """The quantiser, which it has."""
        assert self.quantizer is not None, "made with one"
        return self.quantizer

    def forward(self, wav: Tensor, heard: Tensor, at: int, speaker: Tensor | None, seed: int | None) -> Conditioned:
        """See the base."""
        first = at - self.timing.left + self.timing.encoder_start
        seen = self.codes(self.encoder(centred(heard[:, first:])))
        vectors = seen.quantized
        if seed is not None and self.config.jitter:
            vectors = jitter(vectors, self.config.jitter, drawn(seed, wav))
        return Conditioned(self.repeated(vectors), losses=seen.losses, stats=seen.stats)

    def encode(self, wav: Tensor) -> Tensor:
        """Codes (B, N) of whole waves (B, T): from the first one that sample 0 is said with, silence around."""
        rows = [list(self.codes_of([row])) for row in wav]
        return torch.cat([torch.cat(row, dim=1) for row in rows]) if rows else wav.new_zeros(0, 0, dtype=torch.int64)

    def codes_of(self, portions: Iterable[Tensor]) -> Iterator[Tensor]:
        """The same of one wave in portions (t,), CODES at a time, (1, n): always as many, so that they are the same."""
        hop, field, before = self.timing.hop, self.timing.field, self.timing.left - self.timing.encoder_start
        held, heard, made, size = torch.zeros(before), 0, 0, (CODES - 1) * hop + field
        for portion in portions:
            held, heard = torch.cat([held.to(portion), portion]), heard + len(portion)
            while len(held) >= size:
                yield self._codes(held[:size])
                held, made = held[CODES * hop :], made + CODES
        count = -(-self.timing.units(-(-heard // UNIT) * UNIT) * UNIT // hop) - made
        for first in range(0, count, CODES):
            part = F.pad(held[first * hop :], (0, size))[:size]
            yield self._codes(part)[:, : min(CODES, count - first)]

    def _codes(self, wav: Tensor) -> Tensor:
        return self.codes.encode(self.encoder(centred(wav[None])))

    def decode(self, codes: Tensor) -> Conditioned:
        """What the decoder is told of codes (B, N)."""
        return Conditioned(self.repeated(self.codes.decode(codes)))

    def repeated(self, vectors: Tensor) -> Tensor:
        """Vectors (B, D, N) of codes, one for each unit."""
        return vectors.repeat_interleave(self.timing.hop // UNIT, 2)


class Frames(Condition):
    """Source "mel": the mel by its statistics, with it pitch, and what can be predicted by them."""

    mel_mean: Tensor
    mel_std: Tensor

    def __init__(self, mel: MelConfig, labels: LabelConfig) -> None:
        super().__init__()
        self.mel, self.labels = mel, labels
        self.channels = mel.n_mels + 2 * labels.pitch
        self.predictor = Predictor(labels.order, labels.block, mel) if labels.order else None
        self.register_buffer("mel_mean", torch.zeros(mel.n_mels))
        self.register_buffer("mel_std", torch.ones(mel.n_mels))

    def set_statistics(self, mean: Tensor, std: Tensor) -> None:
        """Mean and standard deviation (M,) of the training speech's log-mel; they are kept with the weights."""
        self.mel_mean.copy_(mean)
        self.mel_std.copy_(std.clamp(min=NOT_SILENT))

    def forward(self, wav: Tensor, heard: Tensor, at: int, speaker: Tensor | None, seed: int | None) -> Conditioned:
        """See the base."""
        return self.told(log_mel(wav, self.mel), self.pitch(wav))

    def pitch(self, wav: Tensor) -> Pitch | None:
        """The pitch track of waves (B, T), where the labels want one."""
        return track(wav, self.mel.sample_rate, self.mel.hop_length) if self.labels.pitch else None

    def pitch_of_mel(self, mel: Tensor) -> Pitch:
        """The pitch track of mels (B, M, F): of what Griffin-Lim makes of them."""
        return track(griffin_lim(mel, self.mel, ITERATIONS), self.mel.sample_rate, self.mel.hop_length)

    @torch.no_grad()
    def told(self, mel: Tensor, pitch: Pitch | None) -> Conditioned:
        """What the decoder is told by mels (B, M, F) and pitch (B, F)."""
        frames = (mel - self.mel_mean[:, None]) / self.mel_std[:, None]
        lag = voicing = filters = gain = None
        per_frame = self.mel.hop_length // self.labels.block
        if pitch is not None:
            height = (pitch[0].log() - LAG_MIDDLE) / LAG_SPREAD
            frames = torch.cat([frames, torch.stack([height, pitch[1]], dim=1).to(frames)], dim=1)
            lag, voicing = (each.repeat_interleave(per_frame, 1) for each in pitch)
        if self.predictor is not None:
            with torch.autocast(mel.device.type, enabled=False):
                filters, gain = self.predictor(mel.float())
        hop = self.mel.hop_length
        return Conditioned(frames=frames, hop=hop, mel=mel, filters=filters, gain=gain, lag=lag, voicing=voicing)


def centred(wav: Tensor) -> Tensor:
    """Waves as the original's encoder hears them: the middle of each 16-bit step, by 32767.5."""
    return (wav * 32768 + 0.5) / 32767.5


def drawn(seed: int, like: Tensor) -> torch.Generator:
    """A generator on the device of a tensor."""
    return torch.Generator(like.device).manual_seed(seed)


def conditioner(
    config: EncoderConfig, mel: MelConfig, codes: QuantizerConfig, labels: LabelConfig, timing: Timing,
    speaker_size: int, speakers: int,
) -> Condition:  # fmt: skip
    """The condition that a config describes; speakers: how many the model knows."""
    if config.source == "wave":
        return WaveCodes(config, codes, timing)
    if config.source == "mel":
        return Frames(mel, labels)
    if config.source == "codec":
        from .codec import Codec  # a Frames whose mel is made of codes

        return Codec(config, mel, codes, labels, speaker_size, speakers)
    return Condition()
