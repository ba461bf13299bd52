"""The mel dialects of the five vocoders and of their public checkpoints, by name."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from .mel import MelConfig

_PLAIN = {"mel_norm": "slaney", "preemphasis": 0.0, "log": "ln", "offset": 0.0, "scale": 1.0, "minimum": None}

#: name -> MelConfig
PRESETS: Mapping[str, MelConfig] = MappingProxyType(
    {
        # RNN_MS, univoc: 20 log10, L1 filters, pre-emphasis, [-80, 0] dB below +20 dB mapped to [-1, 0]
        "rnnms16": MelConfig(),
        # NVIDIA WaveGlow, Tacotron 2: natural log of the clipped magnitude
        "waveglow22": MelConfig(22_050, 1024, 1024, 256, 80, 0.0, 8000.0, **_PLAIN),  # type: ignore[arg-type]
        # SpecGrad, PriorGrad-style 24 kHz, 128 bands
        "specgrad24": MelConfig(24_000, 2048, 1200, 300, 128, 20.0, 12_000.0, **_PLAIN),  # type: ignore[arg-type]
        # 16 kHz, 80 bands: speech recognition and voice conversion front ends
        "asr16": MelConfig(16_000, 1024, 1024, 256, 80, 0.0, 8000.0, **_PLAIN),  # type: ignore[arg-type]
        # HiFi-GAN, PriorGrad: padding (n_fft - hop) / 2, sqrt(. + 1e-9)
        "hifi22": MelConfig(
            22_050,
            1024,
            1024,
            256,
            80,
            0.0,
            8000.0,
            centering="same",
            magnitude_eps=1e-9,
            **_PLAIN,  # type: ignore[arg-type]
        ),
        # Vocos, 24 kHz, 100 bands
        "libri24": MelConfig(24_000, 1024, 1024, 256, 100, 0.0, 12_000.0, **_PLAIN),  # type: ignore[arg-type]
    }
)
