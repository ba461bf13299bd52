"""WaveGlowVQ: an invertible vocoder on a mel, or on codes and a speaker. `synthesize(mel)` gives a wave.

Prenger et al. 2018, arXiv 1811.00002 (the flow), and what jaywalnut310/waveglow-vqvae promised on top: a condition
through vector-quantised codes, and voice conversion. The likelihood is exact, so is the way back from wave to noise:

    wav + dequantisation -> whiten(mel) -> periodicity(mel) -> flow(condition) -> z ~ N(0, 1)     forward, training
    sigma * noise -> flow^-1(condition) -> periodicity^-1(mel) -> whiten^-1(mel) -> wav            synthesize

    condition   source "mel":   the mel
                source "codes": mel -> codes -> mel of the speaker who is named; the flow hears it like any other mel
                source "wav":   wav -> codes -> hidden signal, as the seed had it
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from vocoder_core.mel import MelConfig
from vocoder_core.mel_presets import PRESETS
from vocoder_core.speakers import Speakers, Who, vectors
from vocoder_core.vocoder import Vocoder
from vocoder_core.vq import QuantizerConfig

from . import likelihood
from .condition import ConditionConfig, conditioner
from .flow import Flow, FlowConfig, Flowed
from .likelihood import Pass
from .periodicity import Periodicity, PeriodicityConfig
from .whiten import Whiten, WhitenConfig

if TYPE_CHECKING:
    from .generate import Sampling

STEP = 1 / 32768  # of 16-bit audio
NOT_SILENT = 1e-3  # the least deviation of a mel band, nat


@dataclass(frozen=True)
class WaveGlowVQConfig:
    """What the vocoder is. The default is the quick one; `configs/nvidia256.yaml` holds the public network."""

    mel: MelConfig = PRESETS["asr16"]
    flow: FlowConfig = field(default_factory=FlowConfig)
    whiten: WhitenConfig = field(default_factory=WhitenConfig)
    periodicity: PeriodicityConfig = field(default_factory=PeriodicityConfig)
    condition: ConditionConfig = field(default_factory=ConditionConfig)
    quantizer: QuantizerConfig = field(default_factory=QuantizerConfig)
    speakers: tuple[str, ...] = ()  # whose vectors are learned, for codes that do not say who speaks
    speaker_size: int = 0  # S, of their vectors
    speaker_in_flow: bool = False  # whether the flow hears them, too; a mel says who speaks
    normalise: bool = True  # the mel by its statistics over the training speech, before the flow hears it
    dequantise: bool = True  # training adds noise of one 16-bit step: else likelihood is endless on digital silence
    sigma: float = 1.0  # of z when synthesising: with less, loudness, which periodicity carries on, dies away
    settle: int = 16  # steps of Griffin-Lim from the flow's phases that bring a wave to its mel, if the flow hears one
    level_db: float = -0.4455  # dBFS of the highest sample of the recordings it learns from: 0.95

    def __post_init__(self) -> None:
        if self.whiten.order and self.condition.source == "wav":
            raise ValueError("whiten.order needs a mel, condition.source is wav; expected whiten.order 0 with it")
        if not 0 <= self.sigma <= 1.5:
            raise ValueError(f"sigma is {self.sigma}; expected 0 to 1.5")
        if self.settle < 0:
            raise ValueError(f"settle is {self.settle}; expected 0 or more")
        if not -12 <= self.level_db <= 0:
            raise ValueError(f"level_db is {self.level_db}; expected -12 to 0")
        if bool(self.speakers) > bool(self.speaker_size) or len(set(self.speakers)) < len(self.speakers):
            raise ValueError(f"speakers has {len(self.speakers)} names; expected different ones, and speaker_size > 0")
        if self.speaker_in_flow and not self.speaker_size:
            raise ValueError("speaker_in_flow is true, speaker_size is 0; expected a size")


class WaveGlowVQ(Vocoder):
    """The vocoder. `WaveGlowVQ.from_pretrained().synthesize(mel)` gives a wave."""

    config_class = WaveGlowVQConfig
    config: WaveGlowVQConfig
    mel_mean: Tensor
    mel_std: Tensor

    def __init__(self, config: WaveGlowVQConfig) -> None:
        super().__init__(config)
        self.condition = conditioner(config.condition, config.mel, config.quantizer, config.speaker_size)
        size = config.speaker_size if config.speaker_in_flow else 0
        self.flow = Flow(config.flow, self.condition.channels, self.condition.stride, size)
        self.whiten = Whiten(config.whiten, config.mel) if config.whiten.order else None
        periodic = config.whiten.order and config.periodicity.envelopes  # it is of whitened speech
        self.periodicity = Periodicity(config.periodicity, config.mel) if periodic else None
        self.speakers = Speakers(config.speakers, config.speaker_size) if config.speakers else None
        self.register_buffer("mel_mean", torch.zeros(config.mel.n_mels))
        self.register_buffer("mel_std", torch.ones(config.mel.n_mels))

    def forward(
        self, wav: Tensor, mel: Tensor, noise: Tensor, speaker: Who | None = None, seed: int | None = None
    ) -> Pass:
        """Training pass: the likelihood of waves given their mels, or given the codes of them.

        wav (B, T); mel (B, M, F), T = F * hop_length; noise (B, T) uniform in [-1/2, 1/2), in steps of 16 bits; speaker
        as `vectors` has it; seed: of the perturbation and jitter of codes, None: without.
        """
        who = vectors(speaker, self.config.speaker_size, self.speakers, mel)
        conditioned = self.condition(mel, wav, who, seed)
        if self.config.condition.objective == "mel":
            return Pass(conditioned, None, wav.new_zeros(len(wav)), wav.shape[1])
        x = wav + STEP * noise if self.config.dequantise else wav
        flowed, whitened = self.flow_forward(x, conditioned.condition, who)
        return Pass(conditioned, flowed, whitened, wav.shape[1])

    def loss(self, made: Pass) -> dict[str, Tensor]:
        """{"loss": what to minimise, and figures} of a training pass, as likelihood.py defines them."""
        return likelihood.loss(made)

    def set_statistics(self, mean: Tensor, std: Tensor) -> None:
        """Mean and standard deviation (M,) of the training speech's log-mel; they are kept with the weights."""
        self.mel_mean.copy_(mean)
        self.mel_std.copy_(std.clamp(min=NOT_SILENT))

    def flow_forward(self, wav: Tensor, condition: Tensor, who: Tensor | None = None) -> tuple[Flowed, Tensor]:
        """wav (B, T) -> what the flow makes of it, and the log of the volume change before the flow (B,)."""
        whitened = wav.new_zeros(len(wav))
        if self.whiten is not None:
            with torch.autocast(wav.device.type, enabled=False):
                wav, whitened = self.whiten(wav, condition)
                if self.periodicity is not None:
                    wav, periodic = self.periodicity(wav, self._heard(condition))
                    whitened = whitened + periodic
        return self.flow(wav, self._heard(condition), who if self.config.speaker_in_flow else None), whitened

    def flow_inverse(self, z: Tensor, condition: Tensor, who: Tensor | None = None) -> Tensor:
        """z (B, G, L) -> wav (B, T), not yet clamped."""
        return self.voiced(self.excitation(z, condition, who), condition)

    def excitation(self, z: Tensor, condition: Tensor, who: Tensor | None = None) -> Tensor:
        """z (B, G, L) -> what the flow makes of it (B, T): the wave, or where speech is whitened what excites it."""
        return self.flow.inverse(z, self._heard(condition), who if self.config.speaker_in_flow else None)

    def voiced(self, wav: Tensor, condition: Tensor) -> Tensor:
        """What the flow made (B, T), any length, with the pitch and the envelope of the mel: the wave, not clamped."""
        if self.periodicity is not None:
            wav = self.periodicity.inverse(wav, self._heard(condition))
        return wav if self.whiten is None else self.whiten.inverse(wav, condition)

    def _heard(self, condition: Tensor) -> Tensor:
        """The condition as the flow hears it: a mel by its statistics."""
        if not self.config.normalise or self.config.condition.source == "wav" or self.condition.stride == 1:
            return condition
        return (condition - self.mel_mean[:, None]) / self.mel_std[:, None]

    @torch.inference_mode()
    def synthesize(
        self,
        mel: Tensor,
        *,
        sigma: float | None = None,
        settle: int | None = None,
        seed: int | Sequence[int] | None = None,
        speaker: Who | None = None,
        progress: bool = False,
    ) -> Tensor:
        """Wave (B, F * hop_length), float32 in [-1, 1], of a mel (B, M, F) (or (F * hop_length,) of one (M, F)).

        sigma: of the noise it starts from, 0 to 1.5 (default: the config's); less is less noisy and duller.
        settle: steps of Griffin-Lim that bring it to its mel (default: the config's).
        seed: the same seed gives the same wave, alone or in a batch; a sequence gives each row its own; None: any.
        speaker: where the flow was trained to hear one: a name, a name for each row, numbers (B,) or vectors (B, S).
        """
        from .generate import generate

        if self.config.condition.source == "wav":
            raise ValueError("this model's condition is made of codes of a wave; use encode and decode, not a mel")
        batch = self.checked(mel)
        who = None
        if self.config.speaker_in_flow:
            told = speaker[None] if isinstance(speaker, Tensor) and mel.dim() == 2 else speaker
            who = vectors(told, self.config.speaker_size, self.speakers, batch)
        wav = generate(self, self.condition.of_mel(batch), self._sampling(sigma, settle, seed, progress), who)
        return wav if mel.dim() == 3 else wav[0]

    @torch.inference_mode()
    def encode(self, wav: Tensor) -> Tensor:
        """Codes (B, N) int64 of waves (B, T) at the model's rate and level; (N,) of one (T,). T: whole frames."""
        from .conversion import encode

        return encode(self, wav)

    @torch.inference_mode()
    def decode(
        self,
        codes: Tensor,
        speaker: Who | None = None,
        *,
        sigma: float | None = None,
        settle: int | None = None,
        seed: int | Sequence[int] | None = None,
        progress: bool = False,
    ) -> Tensor:
        """Wave (B, T) of codes (B, N) said by a speaker; (T,) of (N,)."""
        from .conversion import decode

        return decode(self, codes, speaker, self._sampling(sigma, settle, seed, progress))

    @torch.inference_mode()
    def convert(
        self,
        wav: Tensor,
        target: Who,
        *,
        mode: Literal["resynth", "invert"] = "resynth",
        source: Who | None = None,
        mix: float = 0.0,
        sigma: float | None = None,
        settle: int | None = None,
        seed: int | Sequence[int] | None = None,
        progress: bool = False,
    ) -> Tensor:
        """What a wave (B, T) or (T,) says, in the voice of a target.

        mode "resynth": its codes, spoken anew; "invert": its own z, given the target's condition, so that pitch and
        timing stay; mix: 0 the wave's own z ... 1 fresh noise, in "invert". source: who speaks in it, where the flow
        hears codes and not mels; None: nobody in particular.
        """
        from .conversion import convert

        return convert(self, wav, target, mode, source, mix, self._sampling(sigma, settle, seed, progress))

    def _sampling(
        self, sigma: float | None, settle: int | None, seed: int | Sequence[int] | None, progress: bool
    ) -> Sampling:
        from .generate import Sampling

        own = self.config
        hears_mel = own.condition.source != "wav" and own.condition.upsampler == "none"
        if settle and not hears_mel:
            raise ValueError(f"settle is {settle}; this model's flow hears no mel to settle on, expected 0")
        steps = own.settle if settle is None and hears_mel else settle or 0
        return Sampling(own.sigma if sigma is None else sigma, steps, seed, progress)
