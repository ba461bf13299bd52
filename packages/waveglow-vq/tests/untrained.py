"""Tiny models whose weights were drawn, not learned: what they say does not matter, how long and how loud does."""

from __future__ import annotations

from pathlib import Path

import torch

from vocoder_core.vq import QuantizerConfig
from waveglow_vq import WaveGlowVQ, WaveGlowVQConfig
from waveglow_vq.condition import ConditionConfig
from waveglow_vq.flow import FlowConfig
from waveglow_vq.periodicity import PeriodicityConfig
from waveglow_vq.whiten import WhitenConfig

FLOW = FlowConfig(flows=2, layers=1, channels=8, early_every=1, prenet=8)
WAVE_FLOW = FlowConfig(
    group=8, flows=2, layers=1, channels=8, early_every=1, early_size=2, cond="group", prenet=0, subframes=1, film=False
)
CODES = QuantizerConfig(size=16, dim=8)
SMALL = {"channels": 16, "encoder_layers": 1, "decoder_layers": 1, "fine_layers": 1}
WHO = {"speakers": ("anna", "bruno", "carlo"), "speaker_size": 4}

MEL = WaveGlowVQConfig(flow=FLOW, periodicity=PeriodicityConfig(envelopes=1, width=8))
CODEC = WaveGlowVQConfig(
    flow=FLOW,
    periodicity=PeriodicityConfig(envelopes=1, width=8),
    condition=ConditionConfig(source="codes", frames_per_code=3, **SMALL),
    quantizer=CODES,
    **WHO,
)
WAVE = WaveGlowVQConfig(
    flow=WAVE_FLOW,
    whiten=WhitenConfig(order=0),
    periodicity=PeriodicityConfig(envelopes=0),
    condition=ConditionConfig(source="wav", channels=16),
    quantizer=CODES,
    normalise=False,
    speaker_in_flow=True,
    **WHO,
)


def untrained(config: WaveGlowVQConfig, folder: Path, seed: int = 0) -> Path:
    """A checkpoint folder. Layers that begin at zero are moved, so that everything heard makes a difference."""
    torch.manual_seed(seed)
    model = WaveGlowVQ(config)
    for parameter in model.parameters():
        if not parameter.any():
            parameter.data = 0.05 * torch.randn(parameter.shape)
    model.set_statistics(torch.full((80,), -5.0), torch.full((80,), 2.0))
    model.save_pretrained(folder)
    return folder
