"""The adversarial fine-tune as `vocoder_core.train.fit` runs it: the unrolled sampler is the model, the discriminators
and their optimiser live in the loss and are saved with the run.

    Unrolled(mel, white, steps) -> wave        AdversarialLoss: discriminators learn, then judge; spectral losses
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from vocoder_core.config import to_dict
from vocoder_core.train import TrainConfig
from vocoder_core.validation import CheckConfig
from vocoder_core.vocoder import Vocoder

from . import flow
from .batches import Batch, CropConfig
from .discriminators import (
    DiscriminatorConfig,
    Discriminators,
    Judgement,
    Objective,
    discriminator_loss,
    feature_loss,
    generator_loss,
)
from .model import Pass, SpecGrad, SpecGradConfig
from .settle import matched
from .spectral import SpectralLoss


@dataclass(frozen=True)
class DistillConfig:
    """What the sampler is trained for. Weights of 0 switch a loss off, and save its time."""

    steps: tuple[int, ...] = (4,)  # of the sampler; one of them is drawn for each update
    odds: tuple[float, ...] = ()  # how often each is drawn, relative; empty: all alike
    through: int = 0  # the last so many steps get gradients; 0: all of them
    objective: Objective = "hinge"
    adversarial: float = 1.0  # weights of the losses
    features: float = 2.0
    mel: float = 15.0
    stft: float = 5.0
    flow: float = 1.0  # the loss of specgrad-train: without it PESQ fell from the first updates on
    alone: int = 100  # updates before discriminators, who know nothing yet, have a say
    lr: float = 1e-3  # of the discriminators, constant
    beta1: float = 0.8
    beta2: float = 0.99

    def __post_init__(self) -> None:
        if not self.steps or min(self.steps) < 1:
            raise ValueError(f"distill.steps is {list(self.steps)}; expected one or more counts of 1 or more")
        if self.odds and (len(self.odds) != len(self.steps) or min(self.odds) < 0 or not sum(self.odds) > 0):
            raise ValueError(f"distill.odds is {list(self.odds)}; expected a part >= 0 for each of {list(self.steps)}")
        for name in ("through", "adversarial", "features", "mel", "stft", "flow", "alone"):
            if getattr(self, name) < 0:
                raise ValueError(f"distill.{name} is {getattr(self, name)}; expected 0 or more")
        if not self.lr > 0:
            raise ValueError(f"distill.lr is {self.lr}; expected more than 0")


def _train_config() -> TrainConfig:
    return TrainConfig(steps=2_500, batch_size=8, lr=2e-4, beta1=0.8, beta2=0.99, warmup=50, clip_grad=0.0)


@dataclass(frozen=True)
class DistillSettings:
    """The sections of a settings file for specgrad-distill. What the model is, its checkpoint says."""

    crop: CropConfig = field(default_factory=lambda: CropConfig(frames=48))
    distill: DistillConfig = field(default_factory=DistillConfig)
    discriminator: DiscriminatorConfig = field(default_factory=DiscriminatorConfig)
    train: TrainConfig = field(default_factory=_train_config)
    check: CheckConfig = field(default_factory=CheckConfig)

    def __post_init__(self) -> None:
        if self.train.amp == "fp16":
            raise ValueError("train.amp is fp16; the discriminators have no loss scale: expected auto, off or bf16")


class Unrolled(Vocoder):
    """A flow together with its sampler: forward is from noise to wave. Saved, it is the flow alone."""

    config_class = SpecGradConfig
    config: SpecGradConfig

    def __init__(self, vocoder: SpecGrad, distill: DistillConfig) -> None:
        super().__init__(vocoder.config)
        if vocoder.config.process != "flow":
            raise ValueError(f"the checkpoint's process is {vocoder.config.process}; only a flow can be distilled")
        self.vocoder = vocoder
        self.through, self.regular = distill.through, distill.flow > 0

    def forward(self, batch: Batch, steps: int) -> tuple[Tensor, Tensor]:
        """The waves (B, T) that `steps` steps make of the batch's noise, and the flow's own loss (0 if not wanted).

        The latter is that of specgrad-train, between the same noise and the recording: what the sampler itself passes
        through has phases of its own, and errors against a recording would teach it to be quiet.
        """
        vocoder = self.vocoder
        condition = vocoder.condition(batch.mel, batch.speaker)
        noise = vocoder.prior(batch.white, condition)
        passed = 0

        def estimate(x: Tensor, time: Tensor) -> Tensor:
            nonlocal passed
            passed += 1
            if self.through and passed <= steps - self.through:
                with torch.no_grad():
                    clean = vocoder.estimate(x, condition, time)
                torch.clear_autocast_cache()  # it keeps copies of the weights that know no gradient
                return clean
            return vocoder.estimate(x, condition, time)

        wave = flow.sample(estimate, noise, flow.times(steps))
        with torch.autocast(wave.device.type, enabled=False):
            wave = matched(wave.float(), vocoder.noise_grid, batch.mel, vocoder.config.mel)
        if not self.regular:
            return wave, wave.new_zeros(())
        noisy = flow.between(noise, batch.wav, batch.place)
        made = Pass(vocoder.estimate(noisy, condition, batch.place), batch.wav, condition, batch.place)
        return wave, vocoder.loss(made)["loss"]

    def save_pretrained(self, folder: str | Path) -> None:
        """Write the flow's checkpoint."""
        self.vocoder.save_pretrained(folder)


class AdversarialLoss:
    """loss(model, batch) for `fit`: one update of the discriminators, then what the generator is told."""

    def __init__(self, settings: DistillSettings, sample_rate: int) -> None:
        self.settings, self.config = settings, settings.distill
        self.judges = Discriminators(settings.discriminator)
        self.spectral = SpectralLoss(sample_rate)
        self.optimizer = torch.optim.AdamW(
            self.judges.parameters(), self.config.lr, (self.config.beta1, self.config.beta2), weight_decay=0.0
        )
        self.calls = 0

    def to(self, device: torch.device | str) -> AdversarialLoss:
        """The same, on a device."""
        self.judges.to(device)
        self.spectral.to(device)
        return self

    def __call__(self, model: nn.Module, batch: Batch) -> dict[str, Any]:
        """The weighted sum of all losses, and each of them."""
        config = self.config
        self.calls += 1
        wave, own = model(batch, self.draw())
        stft, mel = self.spectral(batch.wav, wave)
        total = config.stft * stft + config.mel * mel + config.flow * own
        figures = {"stft": stft, "mel": mel, "flow": own}
        if config.adversarial or config.features:
            figures["judges"] = self.learn(batch.wav, wave.detach())
            adversarial, features = self.verdict(batch.wav, wave)
            figures |= {"adversarial": adversarial, "features": features}
            if self.calls > config.alone:
                total = total + config.adversarial * adversarial + config.features * features
        told = {name: value.detach() for name, value in figures.items()}
        return {"loss": total, **told, "samples": batch.wav.numel()}

    def draw(self) -> int:
        """How many steps the sampler takes this time: the same on all processes, and again after a resumption."""
        config = self.config
        odds = torch.tensor(config.odds or [1.0] * len(config.steps))
        seeded = torch.Generator().manual_seed(self.settings.train.seed * 1_000_003 + self.calls)
        return config.steps[int(torch.multinomial(odds, 1, generator=seeded))]

    def learn(self, real: Tensor, fake: Tensor) -> Tensor:
        """One update of the discriminators with waves (B, T); their loss. Not finite: no update."""
        recorded, generated = halves(self.judges(torch.cat([real, fake])))
        loss = discriminator_loss(recorded, generated, self.config.objective)
        self.optimizer.zero_grad()
        loss.backward()
        average_gradients(self.judges)
        if nn.utils.get_total_norm([p.grad for p in self.judges.parameters() if p.grad is not None]).isfinite():
            self.optimizer.step()
        return loss.detach()

    def verdict(self, real: Tensor, fake: Tensor) -> tuple[Tensor, Tensor]:
        """(adversarial loss, feature loss) of generated waves, with gradients for the waves alone."""
        with frozen(self.judges):
            with torch.no_grad():
                recorded = self.judges(real)
            generated = self.judges(fake)
        return generator_loss(generated, self.config.objective), feature_loss(recorded, generated)

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run needs."""
        return {
            "settings": {"distill": to_dict(self.config), "discriminator": to_dict(self.settings.discriminator)},
            "calls": self.calls,
            "judges": self.judges.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }

    def load_state_dict(self, values: dict[str, Any]) -> None:
        """Go on from what `state_dict` gave. Raises ValueError when it was given by a run with other settings."""
        for section, now in self.state_dict()["settings"].items():
            for name, value in now.items():
                if value != values["settings"][section][name]:
                    before = values["settings"][section][name]
                    raise ValueError(f"this run has {section}.{name}={before}, now it is {value}; start another run")
        self.calls = values["calls"]
        self.judges.load_state_dict(values["judges"])
        self.optimizer.load_state_dict(values["optimizer"])


def halves(judgements: list[Judgement]) -> tuple[list[Judgement], list[Judgement]]:
    """Judgements of a batch -> those of its first and of its second half."""
    pairs = [([tensor.chunk(2) for tensor in (j.score, *j.features)]) for j in judgements]
    first, second = ([Judgement(p[0][side], [f[side] for f in p[1:]]) for p in pairs] for side in (0, 1))
    return first, second


def average_gradients(module: nn.Module) -> None:
    """Mean over the processes of a run, as DistributedDataParallel takes it for the generator."""
    if not (dist.is_available() and dist.is_initialized()) or dist.get_world_size() == 1:
        return
    gradients = [p.grad for p in module.parameters() if p.grad is not None]
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    dist.all_reduce(flat)
    flat /= dist.get_world_size()
    for gradient, mean in zip(gradients, flat.split([gradient.numel() for gradient in gradients])):
        gradient.copy_(mean.view_as(gradient))


@contextmanager
def frozen(module: nn.Module) -> Iterator[None]:
    """Within the block the parameters get no gradients, but what goes in does."""
    module.requires_grad_(False)
    try:
        yield
    finally:
        module.requires_grad_(True)
