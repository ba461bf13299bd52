"""SpecGrad: noise shaped like the speech to come, turned into it in a few steps. `synthesize(mel)` gives a wave.

Koizumi et al. 2022, arXiv 2203.16749 (process "diffusion", network "wavegrad" or "diffwave"), and what is the default
here: shaped noise as the start of a flow, on the frames of an STFT (flow.py, stft.py).

    mel (B, M, F) -> envelope -> filter L;   n white -> L n -> step -> step -> ... -> wav (B, F * hop)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from vocoder_core.mel import MelConfig
from vocoder_core.mel_presets import PRESETS
from vocoder_core.speakers import Speakers, Who, vectors
from vocoder_core.vocoder import Vocoder

from . import diffusion, flow, schedules
from .diffusion import DiffusionConfig
from .diffwave import DiffWave, DiffWaveConfig
from .flow import FlowConfig
from .settle import settled
from .shaping import ShapingConfig, envelope, mel_density, shape, transfer, window_gain
from .stft import StftConfig, StftNet
from .transform import grid_of
from .wavegrad import WaveGrad, WaveGradConfig

FLOW_STEPS, DIFFUSION_STEPS = 4, 6  # of synthesize, unless asked otherwise


@dataclass(frozen=True)
class SpecGradConfig:
    """What the vocoder is. The default is the quick one; `configs/paper24.yaml` holds the paper's."""

    mel: MelConfig = PRESETS["asr16"]
    process: Literal["flow", "diffusion"] = "flow"
    network: Literal["stft", "diffwave", "wavegrad"] = "stft"
    # a learned envelope and noise whose frames agree: after equal training PESQ 2.4, of plain shaped noise 1.45
    shaping: ShapingConfig = field(
        default_factory=lambda: ShapingConfig(smoothing="learned", phase="zero", floor=1e-3, iterations=32)
    )
    flow: FlowConfig = field(default_factory=FlowConfig)
    diffusion: DiffusionConfig = field(default_factory=DiffusionConfig)
    stft: StftConfig = field(default_factory=StftConfig)
    diffwave: DiffWaveConfig = field(default_factory=DiffWaveConfig)
    wavegrad: WaveGradConfig = field(default_factory=WaveGradConfig)
    speaker_size: int = 0  # S, of a speaker vector; 0: none, as a mel says who speaks
    speakers: tuple[str, ...] = ()  # whose vectors are learned; none: they come from outside
    level_db: float = -0.4455  # dBFS of the highest sample of the recordings it learns from: 0.95

    def __post_init__(self) -> None:
        if self.shaping.smoothing == "learned" and self.network != "stft":
            raise ValueError(f"shaping.smoothing is learned, network is {self.network}; only stft learns an envelope")
        steps = self.diffusion.steps if self.process == "diffusion" and self.diffusion.levels == "discrete" else 0
        known = self.diffwave.steps if self.network == "diffwave" else 0
        if steps != known:
            raise ValueError(
                f"the {self.process} tells {f'one of {steps} steps' if steps else 'a level in [0, 1]'}, the network "
                f"{self.network} knows {f'{known} steps' if known else 'levels in [0, 1]'}; expected diffusion.levels "
                "discrete with diffwave.steps = diffusion.steps, or neither"
            )
        if self.shaping.iterations and self.process == "diffusion":
            raise ValueError(f"shaping.iterations is {self.shaping.iterations}; a diffusion's noise is not settled: 0")
        if not -12 <= self.level_db <= 0:
            raise ValueError(f"level_db is {self.level_db}; expected -12 to 0")
        if self.speaker_size < 0:
            raise ValueError(f"speaker_size is {self.speaker_size}; expected 0 or more")
        if self.speakers and (not self.speaker_size or len(set(self.speakers)) < len(self.speakers)):
            raise ValueError(f"speakers has {len(self.speakers)} names; expected different ones, and speaker_size > 0")


@dataclass(frozen=True)
class Condition:
    """All that depends on the mel alone, computed once per utterance."""

    network: Any  # what the network's own `condition` gives
    filters: Tensor  # M (B, K, F) of the noise
    spectrum: Tensor  # (B, K, F), the mel's amplitudes over the bins: what a flow's errors are weighted by


@dataclass(frozen=True)
class Pass:
    """One training pass."""

    estimate: Tensor  # (B, T)
    target: Tensor  # (B, T): the clean wave of a flow, the shaped noise of a diffusion
    condition: Condition
    level: Tensor  # (B,) time of the flow, or signal level of the diffusion


class SpecGrad(Vocoder):
    """The vocoder. `SpecGrad.from_pretrained().synthesize(mel)` gives a wave."""

    config_class = SpecGradConfig
    config: SpecGradConfig
    mel_mean: Tensor
    mel_std: Tensor

    def __init__(self, config: SpecGradConfig) -> None:
        super().__init__(config)
        self.grid = grid_of(config.mel)
        networks = {"stft": StftNet, "diffwave": DiffWave, "wavegrad": WaveGrad}
        self.net = networks[config.network](getattr(config, config.network), config.mel, config.speaker_size)
        # a learned envelope lies on the network's own frames
        self.learned = config.shaping.smoothing == "learned" and config.shaping.prior == "specgrad"
        self.noise_grid = self.net.spectrum.grid if self.learned and isinstance(self.net, StftNet) else self.grid
        self.speakers = Speakers(config.speakers, config.speaker_size) if config.speakers else None
        self.register_buffer("mel_mean", torch.zeros(config.mel.n_mels))
        self.register_buffer("mel_std", torch.ones(config.mel.n_mels))

    def forward(self, mel: Tensor, wav: Tensor, white: Tensor, uniform: Tensor, speaker: Who | None = None) -> Pass:
        """Training pass: noise is shaped by the mel and mixed into the wave, the network estimates what is asked.

        mel (B, M, F); wav (B, T) clean, T = F * hop_length; white noise (B, T) ~ N(0, 1); uniform (B,) in [0, 1), from
        which the noise levels are drawn; speaker as `condition` has it. Its `loss` says how wrong it was.
        """
        condition = self.condition(mel, speaker)
        noise = self.prior(white, condition)
        if self.config.process == "flow":
            noisy = flow.between(noise, wav, uniform)
            return Pass(self.estimate(noisy, condition, uniform), wav, condition, uniform)
        level, told = diffusion.draw_levels(uniform, self.config.diffusion)
        estimate = self.estimate(diffusion.diffuse(wav, noise, level), condition, told)
        return Pass(estimate, noise, condition, level)

    def loss(self, made: Pass) -> dict[str, Tensor]:
        """{"loss": what to minimise, and its parts} of a training pass, computed in fp32."""
        config = self.config
        with torch.autocast(made.target.device.type, enabled=False):
            if config.process == "diffusion":
                filters = made.condition.filters
                return {
                    "loss": diffusion.loss(
                        made.target, made.estimate.float(), filters, self.noise_grid, config.diffusion
                    )
                }
            spectrum = made.condition.spectrum
            density = None
            if config.flow.frequency == "mel":
                density = mel_density(self.grid.bins, config.mel.sample_rate, spectrum)
            estimate = made.estimate.float()
            error = flow.loss(made.target, estimate, spectrum, made.level, self.grid, config.flow, density)
            if not isinstance(self.net, StftNet):
                return {"loss": error}
            if density is not None:
                density = mel_density(self.net.spectrum.grid.bins, config.mel.sample_rate, spectrum)
            distance = self.net.spectrum.loss(made.condition.network.spectrum, made.target, density)
            return {"loss": error + config.flow.spectrum * distance, "flow": error, "spectrum": distance}

    def set_statistics(self, mean: Tensor, std: Tensor) -> None:
        """Mean and standard deviation (M,) of the training speech's log-mel; they are kept with the weights."""
        self.mel_mean.copy_(mean)
        self.mel_std.copy_(std.clamp(min=1e-3))

    def condition(self, mel: Tensor, speaker: Who | None = None) -> Condition:
        """What mels (B, M, F) say, and who speaks where the model has speakers: (B, S), (B,) int64, or names."""
        config = self.config
        who = vectors(speaker, config.speaker_size, self.speakers, mel)
        normal = (mel - self.mel_mean[:, None]) / self.mel_std[:, None]
        network = self.net.condition(mel, normal, who)
        with torch.no_grad(), torch.autocast(mel.device.type, enabled=False):
            raw, shaping = mel.float(), config.shaping
            if self.learned:
                smooth = network.spectrum.amplitude + shaping.floor
            else:
                smooth = envelope(raw, config.mel, shaping)
            spectrum = envelope(raw, config.mel, ShapingConfig(smoothing="interpolate"))
            return Condition(network, transfer(smooth, shaping.phase), spectrum)

    @torch.no_grad()
    def prior(self, white: Tensor, condition: Condition) -> Tensor:
        """Shaped noise (B, T) of white noise (B, T): in the paper's units, or for a flow as loud as the speech."""
        config = self.config
        with torch.autocast(white.device.type, enabled=False):
            noise, grid = shape(white, condition.filters, self.noise_grid), self.noise_grid
            if config.process == "diffusion":
                return noise
            loud = condition.filters.abs()
            return config.flow.gamma * settled(noise / window_gain(grid), loud, grid, config.shaping.iterations)

    def estimate(self, noisy: Tensor, condition: Condition, level: Tensor) -> Tensor:
        """noisy (B, T) at levels (B,) -> the clean wave (flow) or the noise in it (diffusion), (B, T)."""
        if self.config.process == "diffusion":
            # the paper's noise is far louder than the envelope by which StftNet divides: by the gain of its window
            unit = window_gain(self.grid) if isinstance(self.net, StftNet) else 1.0
            result: Tensor = self.net(noisy / unit, condition.network, level) * unit
            return result
        into, past, out = flow.coefficients(level)
        return past * noisy + out * self.net(into * noisy, condition.network, level)

    @torch.inference_mode()
    def synthesize(
        self,
        mel: Tensor,
        *,
        steps: int | None = None,
        seed: int | Sequence[int] | None = None,
        schedule: str | Path | Sequence[float] | None = None,
        speaker: Who | None = None,
        progress: bool = False,
    ) -> Tensor:
        """Wave (B, F * hop_length), float32 in [-1, 1], of a mel (B, M, F) (or (F * hop_length,) of one (M, F)).

        steps: of the sampler, more of them cost more (default 4, of a diffusion 6).
        seed: the same seed gives the same wave, alone or in a batch; a sequence gives each row its own; None: any.
        schedule: of a diffusion: a name (wg6, pg6, ...), "linear", "even", betas or a YAML file of them.
        speaker: where the model was made with speakers: a name, a name for each row, their numbers (B,) int64 or
            vectors (B, S), or for one mel () or (S,).
        """
        from .generate import generate

        batch = self.checked(mel)
        how = self._sampler(steps, schedule)
        who = speaker[None] if isinstance(speaker, Tensor) and mel.dim() == 2 else speaker
        wav = generate(self, batch, how, seed, who, progress)
        return wav if mel.dim() == 3 else wav[0]

    def _sampler(self, steps: int | None, schedule: str | Path | Sequence[float] | None) -> int | tuple[float, ...]:
        """The number of a flow's steps, or a diffusion's betas."""
        if self.config.process == "diffusion":
            wanted = DIFFUSION_STEPS if steps is None and schedule in (None, "linear", "even") else steps
            return schedules.choose(schedule, wanted, self.config.diffusion.training)
        if schedule is not None:
            raise ValueError(f"schedule is {schedule}; this model is a flow, which takes a number of steps alone")
        return len(flow.times(FLOW_STEPS if steps is None else steps))
