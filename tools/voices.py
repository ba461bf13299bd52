"""What tools/score_voice.py and tools/ship_voice.py have to know of each vocoder: an entry for each in VOICES.

A vocoder is imported when its entry is used; the others need not be installed.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    from vocoder_core.vocoder import Vocoder

PACKAGES = Path(__file__).resolve().parents[1] / "packages"
Copies = dict[str, "np.ndarray"]  # system -> wave (T,)


@dataclass(frozen=True)
class Voice:
    """One vocoder."""

    vocoder: Callable[[], type[Vocoder]]
    copies: Callable[[Any, np.ndarray, argparse.Namespace], Copies]  # of a recording (T,) at the model's rate
    figures: Callable[[Any, list[np.ndarray]], dict[str, list[float]]]  # name -> one a recording; this vocoder's alone
    change: Callable[[Any, Any], str]  # what rounding changes, of (the model, the model rounded)
    weights: Path  # the folder that ships


def rnnms_class() -> type[Vocoder]:
    """RNNMS."""
    from rnnms import RNNMS

    return RNNMS


def rnnms_copies(model: Any, wav: np.ndarray, arguments: argparse.Namespace) -> Copies:
    """A system for each of --backend, at --temperature."""
    from rnnms.infer import copy

    temperature = 1.0 if arguments.temperature is None else arguments.temperature
    return {
        "rnnms" + (f", {backend}" if backend else ""): copy(
            model, wav, model.sample_rate, seed=0, temperature=temperature, backend=backend or "auto"
        )
        for backend in arguments.backend or [None]
    }


def rnnms_figures(model: Any, wavs: list[np.ndarray]) -> dict[str, list[float]]:
    """Bits per sample, every sample predicted from the true ones before it."""
    import torch

    from rnnms.check import bits_per_sample

    return {"bits per sample": bits_per_sample(model, [torch.from_numpy(wav) for wav in wavs])}


def rnnms_change(model: Any, rounded: Any) -> str:
    """The largest difference of a log-probability on a mel of noise."""
    import torch

    torch.manual_seed(0)
    config = model.config
    mel = torch.rand(1, config.mel.n_mels, 10) - 1
    codes = torch.randint(0, 2**config.bits, (1, 10 * config.mel.hop_length))
    with torch.inference_mode():
        first, second = (voice(mel, codes)[0].log_softmax(-1) for voice in (model, rounded))
    return f"moves log-probabilities by {(first - second).abs().max():.1e} at most"


def specgrad_class() -> type[Vocoder]:
    """SpecGrad."""
    from specgrad import SpecGrad

    return SpecGrad


def specgrad_copies(model: Any, wav: np.ndarray, arguments: argparse.Namespace) -> Copies:
    """A system for each of --steps."""
    from specgrad.infer import copy

    return {
        f"specgrad, {steps} step{'s' if steps > 1 else ''}": copy(model, wav, model.sample_rate, steps=steps, seed=0)
        for steps in arguments.steps
    }


def specgrad_figures(model: Any, wavs: list[np.ndarray]) -> dict[str, list[float]]:
    """None that compares across runs: its loss depends on the prior."""
    return {}


def copies_differ(model: Any, rounded: Any) -> str:
    """The ratio of a copy to what rounding changes in it, in dB, on a mel of noise."""
    import torch

    from vocoder_core.mel import log_mel

    config = model.config.mel
    noise = 0.1 * torch.randn(config.hop_length * 60, generator=torch.Generator().manual_seed(0))
    first, second = (voice.synthesize(log_mel(noise, config)[None], seed=0) for voice in (model, rounded))
    ratio = 10 * torch.log10(first.square().sum() / (first - second).square().sum().clamp(min=1e-20))
    return f"adds noise {ratio:.0f} dB below the copy"


def waveglow_vq_class() -> type[Vocoder]:
    """WaveGlowVQ."""
    from waveglow_vq import WaveGlowVQ

    return WaveGlowVQ


def waveglow_vq_copies(model: Any, wav: np.ndarray, arguments: argparse.Namespace) -> Copies:
    """A system for each of --sigma and of --settle, or one at the checkpoint's own."""
    from waveglow_vq.infer import copy

    copies = {}
    for sigma in arguments.sigma or [None]:
        for settle in arguments.settle or [None]:
            told = [f"sigma {sigma:g}"] if sigma is not None else []
            told += [f"settle {settle}"] if settle is not None else []
            name = ", ".join(["waveglow-vq", *told])
            copies[name] = copy(model, wav, model.sample_rate, seed=0, sigma=sigma, settle=settle)
    return copies


def waveglow_vq_figures(model: Any, wavs: list[np.ndarray]) -> dict[str, list[float]]:
    """Bits per 16-bit sample given the true mel, dequantised alike every time."""
    import torch

    from vocoder_core.mel import log_mel
    from waveglow_vq.condition import Conditioned
    from waveglow_vq.likelihood import Pass, bits, nll
    from waveglow_vq.model import STEP

    values: list[float] = []
    for wav in wavs:
        own = torch.from_numpy(wav)[None]
        condition = model.condition.of_mel(log_mel(own, model.config.mel))
        noise = torch.rand(own.shape, generator=torch.Generator().manual_seed(len(values))) - 0.5
        with torch.inference_mode():
            flowed, before = model.flow_forward(own + STEP * noise, condition)
            values.append(float(bits(nll(Pass(Conditioned(condition), flowed, before, len(wav))))))
    return {"bits per sample": values}


def vqvaevc_class() -> type[Vocoder]:
    """VQVAEVC."""
    from vqvaevc import VQVAEVC

    return VQVAEVC


def vqvaevc_copies(model: Any, wav: np.ndarray, arguments: argparse.Namespace) -> Copies:
    """What the decoder alone makes of its mel and pitch."""
    from vqvaevc.infer import copy

    return settled_copies("vqvaevc", copy, model, wav, arguments)


def settled_copies(name: str, copy: Any, model: Any, wav: np.ndarray, arguments: argparse.Namespace) -> Copies:
    """A system for each of --settle and --backend, or one at the checkpoint's own; at --temperature."""
    told = {"seed": 0} | ({} if arguments.temperature is None else {"temperature": arguments.temperature})
    return {
        name + ("" if settle is None else f", settle {settle}") + (f", {backend}" if backend else ""): copy(
            model, wav, model.sample_rate, settle=settle, backend=backend or "auto", **told
        )
        for backend in arguments.backend or [None]
        for settle in arguments.settle or [None]
    }


def vqvaevc_figures(model: Any, wavs: list[np.ndarray]) -> dict[str, list[float]]:
    """Bits per sample, every sample predicted from the true ones before it; a speaker is told as the mean of all."""
    import torch

    from vqvaevc.check import bits_of

    said = [bits_of(model, [torch.from_numpy(wav)], [""]) for wav in wavs]
    return {"bits per sample": [figures["bits"] for figures in said if "bits" in figures]}


def vqvaevc_change(model: Any, rounded: Any) -> str:
    """The largest difference of a log-probability on noise."""
    import torch

    from vqvaevc.batches import GRID
    from vqvaevc.check import spoken_by

    at, hop = -(-model.reach[0] // GRID) * GRID, model.config.mel.hop_length
    frames = -(-(at + 4 * GRID + model.reach[1]) // hop)
    wav = 0.1 * torch.randn(1, frames * hop, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        first, second = (
            torch.stack(voice(wav, wav, at, 4 * GRID, spoken_by(voice, [""])).logits).log_softmax(-1)
            for voice in (model, rounded)
        )
    return f"moves log-probabilities by {(first - second).abs().max():.1e} at most"


def samplernn_pase_class() -> type[Vocoder]:
    """SampleRNNPASE."""
    from samplernn_pase import SampleRNNPASE

    return SampleRNNPASE


def samplernn_pase_copies(model: Any, wav: np.ndarray, arguments: argparse.Namespace) -> Copies:
    """What it makes of what it hears of the recording, and what WORLD makes of the paper's 43 numbers of it."""
    from samplernn_pase import world43
    from samplernn_pase.infer import copy

    world = {"WORLD, 43 numbers": world43.synthesise(world43.analyse(wav))} if world43.available() else {}
    return settled_copies("samplernn-pase", copy, model, wav, arguments) | world


def samplernn_pase_figures(model: Any, wavs: list[np.ndarray]) -> dict[str, list[float]]:
    """Bits per sample, every sample predicted from the true ones before it; a speaker is told as the mean of all."""
    from samplernn_pase.check import heard_pass

    return {"bits per sample": [float(model.loss(heard_pass(model, wav))["bits"]) for wav in wavs]}


def samplernn_pase_change(model: Any, rounded: Any) -> str:
    """The largest difference of a log-probability on noise."""
    import numpy as np

    from samplernn_pase.check import heard_pass

    wav = 0.1 * np.random.default_rng(0).standard_normal(40 * model.config.mel.hop_length).astype(np.float32)
    first, second = (heard_pass(voice, wav).logits.log_softmax(-1) for voice in (model, rounded))
    return f"moves log-probabilities by {(first - second).abs().max():.1e} at most"


VOICES = {
    "rnnms": Voice(rnnms_class, rnnms_copies, rnnms_figures, rnnms_change, PACKAGES / "rnnms/src/rnnms/weights"),
    "samplernn-pase": Voice(samplernn_pase_class, samplernn_pase_copies, samplernn_pase_figures, samplernn_pase_change,
                            PACKAGES / "samplernn-pase/src/samplernn_pase/weights"),
    "specgrad": Voice(specgrad_class, specgrad_copies, specgrad_figures, copies_differ,
                      PACKAGES / "specgrad/src/specgrad/weights"),
    "waveglow-vq": Voice(waveglow_vq_class, waveglow_vq_copies, waveglow_vq_figures, copies_differ,
                         PACKAGES / "waveglow-vq/src/waveglow_vq/weights"),
    "vqvaevc": Voice(vqvaevc_class, vqvaevc_copies, vqvaevc_figures, vqvaevc_change,
                     PACKAGES / "vqvaevc/src/vqvaevc/weights"),
}  # fmt: skip
