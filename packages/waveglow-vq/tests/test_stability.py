"""Digital silence, which has endless likelihood, and half precision: what broke public training breaks nothing here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import inf, isfinite, log, pi

import pytest
import torch
from torch import Tensor

from vocoder_core.mel import log_mel
from vocoder_core.mel_presets import PRESETS
from waveglow_vq import WaveGlowVQ, WaveGlowVQConfig
from waveglow_vq.condition import ConditionConfig
from waveglow_vq.flow import FlowConfig
from waveglow_vq.periodicity import PeriodicityConfig
from waveglow_vq.whiten import WhitenConfig

MEL = replace(PRESETS["asr16"], hop_length=128, win_length=256, n_fft=256, n_mels=20)
OURS = WaveGlowVQConfig(
    mel=MEL,
    flow=FlowConfig(group=8, flows=2, layers=1, channels=8, early_every=1, early_size=2, prenet=8),
    whiten=WhitenConfig(order=8, block=64),
    periodicity=PeriodicityConfig(envelopes=1, width=8),
)
PUBLIC = replace(  # the flow as published, free log-scales included
    OURS,
    flow=replace(OURS.flow, cond="group", prenet=0, subframes=1, film=False, log_scale_bound=0.0),
    whiten=WhitenConfig(order=0),
    periodicity=PeriodicityConfig(envelopes=0),
    condition=ConditionConfig(upsampler="nvidia"),
    normalise=False,
)
CEILING = log(32768)  # nats per sample, of 16-bit speech that was dequantised: the density of a box one step wide
FLOOR = -CEILING - log(2 * pi) / 2  # of the loss


def half_silent(speech: Callable[..., Tensor]) -> Tensor:
    """Two rows (2, T) of speech and of digital silence, one changing to the other in its middle."""
    wav = speech(MEL, frames=60)[0].float().unflatten(0, (-1, 6 * 128))[6:8]
    wav[1] = 0
    wav[0, 3 * 128 :] = 0
    return torch.round(wav * 32768) / 32768


def trained(config: WaveGlowVQConfig, wav: Tensor, steps: int, lr: float, amp: bool = False) -> list[float]:
    """The losses of a new model's steps on the same batch, up to one that is not finite.

    AdamW and clipped gradients, as in `fit`, which would leave out such a step, and end after 20 of them.
    """
    torch.manual_seed(0)
    model, mel = WaveGlowVQ(config), log_mel(wav, config.mel)
    model.set_statistics(mel.mean((0, 2)), mel.std((0, 2)))
    adam = torch.optim.AdamW(model.parameters(), lr, (0.9, 0.99), weight_decay=0.0)
    losses = []
    for _ in range(steps):
        with torch.autocast("cpu", torch.bfloat16, enabled=amp):
            loss = model.loss(model(wav, mel, torch.rand_like(wav) - 0.5))["loss"]
        adam.zero_grad()
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        losses.append(float(loss.detach() + 0 * norm))
        if not isfinite(losses[-1]):
            break
        adam.step()
    return losses


@pytest.mark.parametrize("amp", [False, True], ids=["fp32", "bf16"])
@pytest.mark.parametrize("name", ["ours", "public flow"])
def test_200_steps_on_batches_that_are_half_silent_stay_finite(
    name: str, amp: bool, speech: Callable[..., Tensor]
) -> None:
    losses = trained(OURS if name == "ours" else PUBLIC, half_silent(speech), 200, 5e-3, amp)
    assert isfinite(losses[-1]), f"step {len(losses)}"
    assert sum(losses[-20:]) / 20 < losses[0] - 1, "it learns"
    assert min(losses) > FLOOR


def test_silence_has_no_more_likelihood_than_noise_of_one_bit() -> None:
    """Without dequantisation the loss of silence has no end: -18 was reported of the public code. With it, it does."""
    silence = torch.zeros(2, 768)
    losses = trained(PUBLIC, silence, 100, 3e-2)
    assert min(losses) > FLOOR - 0.05  # the noise drawn may be a little kind
    assert isfinite(losses[-1])
    endless = trained(replace(PUBLIC, dequantise=False), silence, 100, 3e-2)
    assert min(loss if isfinite(loss) else -inf for loss in endless) < FLOOR - 5


def test_halves_and_wholes_cost_what_they_should() -> None:
    """A flow that leaves noise as it is, is a Gaussian of deviation 1: its loss is 1/2 whatever the length."""
    for samples in (128, 1280):
        wav = torch.randn(4, samples, generator=torch.Generator().manual_seed(0))
        (loss,) = trained(PUBLIC, wav, 1, 0.0)
        assert loss == pytest.approx(0.5 * float(wav.square().mean()), abs=1e-4)
