"""What five public diffusion vocoders are, as a SpecGradConfig: network, front end, noise levels, prior.

Read off a checkpoint's tensors and params, and where neither tells, off the project's code (named, with its licence,
in import_checkpoint.py and NOTICE): its preprocess.py for the mel, its dataset.py for the noise. The network reads mels
as it did there, so they are not normalised again. One difference stays: noise is shaped in an STFT here, so PriorGrad's
standard deviation glides from frame to frame instead of jumping.
"""

from __future__ import annotations

from dataclasses import replace
from math import log10
from typing import TYPE_CHECKING, Any

import numpy as np

from vocoder_core.mel import MelConfig
from vocoder_core.mel_presets import PRESETS

from .diffusion import DiffusionConfig
from .diffwave import DiffWaveConfig
from .model import SpecGradConfig
from .shaping import ShapingConfig
from .wavegrad import WaveGradConfig

if TYPE_CHECKING:
    from torch import Tensor


def derive_config(
    project: str, tensors: dict[str, Tensor], params: dict[str, Any], preset: str | None = None
) -> SpecGradConfig:
    """The config of a network whose tensors have these shapes, behind the project's own front end or a preset.

    Raises ValueError when a tensor is missing, the settings are none this package has, or the preset is unknown.
    """
    mel = front_end(project, params) if preset is None else _preset(preset)
    if project in ("wavegrad", "teysir"):
        network = wavegrad_config(tensors)
        mel = replace(mel, n_mels=_shape(tensors, "first_conv.weight")[1])
        parts: dict[str, Any] = {"network": "wavegrad", "wavegrad": network}
    else:
        parts = {"network": "diffwave", "diffwave": diffwave_config(tensors, params)}
        mels = _shape(tensors, "residual_layers.0.conditioner_projection.weight")[1]
        if params.get("condition_prior") or params.get("condition_prior_global"):
            raise ValueError("the checkpoint also reads the energy (condition_prior); expected one that reads the mel")
        mel = replace(mel, n_mels=mels)
    return SpecGradConfig(
        mel=mel,
        process="diffusion",
        shaping=_shaping(project, params),
        diffusion=noise_levels(project, params),
        **parts,
    )


def diffwave_config(tensors: dict[str, Tensor], params: dict[str, Any]) -> DiffWaveConfig:
    """Sizes of a DiffWave."""
    strides = [n for n in range(9) if f"spectrogram_upsampler.layers.{n}.weight" in tensors]
    return DiffWaveConfig(
        channels=_shape(tensors, "input_projection.weight")[0],
        layers=sum(name.endswith(".dilated_conv.weight") for name in tensors),
        cycle=int(_number(params, "dilation_cycle_length", 10)),
        embedding=_shape(tensors, "diffusion_embedding.projection1.weight")[0],
        steps=len(params.get("noise_schedule", range(50))),
        strides=tuple(_shape(tensors, f"spectrogram_upsampler.layers.{n}.weight")[-1] // 2 for n in strides),
    )


def wavegrad_config(tensors: dict[str, Tensor]) -> WaveGradConfig:
    """Sizes of a WaveGrad; its five factors are always those of hop 300."""
    deeper = [_shape(tensors, f"downsample.{n}.residual_dense.weight")[0] for n in range(1, 5)]
    return WaveGradConfig(
        widths=(_shape(tensors, "downsample.0.weight")[0], *deeper),
        widest=_shape(tensors, "first_conv.weight")[0],
        strides=(5, 5, 3, 2, 2),
        embedding_scale=1.0,
    )


def front_end(project: str, params: dict[str, Any]) -> MelConfig:
    """The mel of the project's preprocess.py. Raises ValueError for the seed's, which has no logarithm."""
    if project == "seed":
        raise ValueError(
            "vvvm23/specgrad's own front end (mel powers without a logarithm, every 301 samples) is none a vocoder "
            "learns from; name the one this network was trained behind, for example --mel specgrad24"
        )
    rate = int(_number(params, "sample_rate", 22_050))
    hop = int(_number(params, "hop_samples", 300 if project in ("wavegrad", "teysir") else 256))
    window = 4 * hop
    n_fft = 1024 if project in ("priorgrad", "diffwave") else 1 << (window - 1).bit_length()
    sizes = (rate, int(_number(params, "n_fft", n_fft)), window, hop)
    if project in ("diffwave", "wavegrad"):
        gain = 20 * log10((0.375 * window) ** 0.5)  # they divide spectra by sqrt(sum w^2): w^2 of a Hann has mean 3/8
        return MelConfig(
            *sizes, n_mels=int(_number(params, "n_mels", 80 if project == "diffwave" else 128)), fmin=20.0,
            mel_scale="htk", mel_norm="none", preemphasis=0.0, offset=gain - 80, scale=100.0, minimum=0.0, maximum=1.0,
        )  # fmt: skip
    return MelConfig(
        *sizes, n_mels=int(_number(params, "n_mels", 80)), fmin=float(_number(params, "fmin", 0.0)),
        fmax=float(_number(params, "fmax", 8000.0)), mel_norm="slaney", magnitude_eps=1e-9, preemphasis=0.0,
        centering="same" if project == "priorgrad" else "center", log="ln", offset=0.0, scale=1.0, minimum=None,
    )  # fmt: skip


def noise_levels(project: str, params: dict[str, Any]) -> DiffusionConfig:
    """The levels a network was trained on. Raises ValueError where they lie on no straight line."""
    continuous = project in ("wavegrad", "teysir")
    usual = np.linspace(1e-6, 0.01, 1000) if continuous else np.linspace(1e-4, 0.05, 50)
    try:
        betas = np.asarray(params.get("noise_schedule", usual), dtype=np.float64)
        straight = betas.ndim == 1 and np.allclose(
            betas, np.linspace(betas[0], betas[-1], len(betas)), rtol=1e-4, atol=0
        )
    except (TypeError, ValueError, IndexError):
        straight = False
    if not straight:
        raise ValueError(
            "the checkpoint's noise_schedule is no straight line of betas; expected one: others are unknown"
        )
    return DiffusionConfig(
        levels="continuous" if continuous else "discrete",
        beta_start=float(betas[0]), beta_end=float(betas[-1]), steps=len(betas),
        loss="l1" if project in ("diffwave", "wavegrad") else "l2",
        loss_domain="plain" if project in ("diffwave", "wavegrad") else "time",
    )  # fmt: skip


def _shaping(project: str, params: dict[str, Any]) -> ShapingConfig:
    """The noise the network was trained with."""
    if project == "priorgrad" and params.get("use_prior", True):
        # the lowest energy stood in a file beside the training data: nearly that of silence, which all recordings have
        silence = (int(_number(params, "n_mels", 80)) * 1e-5) ** 0.5
        highest = _number(params, "max_energy_override", 4.0)
        return ShapingConfig(
            prior="energy", phase="zero", floor=_number(params, "std_min", 0.1), energies=(silence, highest)
        )
    if project == "teysir":
        return ShapingConfig(smoothing="onesided", lifter=int(_number(params, "lifter", 24)))
    return ShapingConfig() if project == "seed" else ShapingConfig(prior="white", phase="zero")


def _number(params: dict[str, Any], name: str, usual: float) -> float:
    """A number the project noted, or its default. Raises ValueError for anything else there."""
    value = params.get(name, usual)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError(f"the checkpoint's params have {name} = {value!r}; expected a number")
    return value


def _shape(tensors: dict[str, Tensor], name: str) -> tuple[int, ...]:
    if name not in tensors or tensors[name].dim() < 2:
        raise ValueError(f"the checkpoint has no tensor {name} of two or three axes; expected one whole network")
    return tuple(tensors[name].shape)


def _preset(name: str) -> MelConfig:
    if name not in PRESETS:
        raise ValueError(f"--mel {name}: no such front end; expected one of {', '.join(PRESETS)}")
    return PRESETS[name]
