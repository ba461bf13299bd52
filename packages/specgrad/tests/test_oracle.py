"""The networks, samplers and front ends of five public vocoders: same weights, noise and speech, same results.

The arrays in shared-audio/golden/specgrad.npz were computed by their code (tools/golden_specgrad.py). Where
SPECGRAD_ORACLES names a folder with their checkouts, `pytest -m oracle` meets them live.
"""

from __future__ import annotations

import importlib.util
import math
import os
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from specgrad import diffusion, schedules
from specgrad.diffusion import DiffusionConfig
from specgrad.diffwave import DiffWave, DiffWaveConfig
from specgrad.public_projects import front_end
from specgrad.shaping import ShapingConfig, envelope, transfer
from specgrad.wavegrad import WaveGrad, WaveGradConfig
from vocoder_core.mel import log_mel
from vocoder_core.mel_presets import PRESETS

SMALL = DiffWaveConfig(channels=4, layers=5, cycle=3, steps=50)
BASE = WaveGradConfig(widest=768, embedding_scale=1.0)
GAINS = {"small": 3.0, "diffwave": 1.7, "wavegrad": 0.85}


@pytest.fixture(scope="module")
def arrays(golden: Path) -> dict[str, np.ndarray]:
    with np.load(golden / "specgrad.npz") as stored:
        return dict(stored)


def fill(model: Any, seed: int, gain: float = 1.0, upsampler: str = "conv{}", first: int = 1) -> Any:
    """The weights of tools/golden_specgrad.py, drawn from [seed, CRC-32 of the original's name]."""
    state = {}
    for name, tensor in model.state_dict().items():
        original = name
        for n in (0, 1):
            original = original.replace(f"upsampler.layers.{n}.", f"upsampler.{upsampler.format(n + first)}.")
        draw = np.random.default_rng([seed, zlib.crc32(original.encode())]).random(tuple(tensor.shape))
        bound = gain * math.sqrt(3 / max(math.prod(tensor.shape[1:]), 30))
        state[name] = torch.from_numpy(((2 * draw - 1) * bound).astype(np.float32))
    model.load_state_dict(state)
    return model.eval()


def inputs(mels: int, samples: int, frames: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng(seed)
    wave, mel = rng.standard_normal((2, samples)), rng.standard_normal((2, mels, frames))
    return torch.from_numpy(wave), torch.from_numpy(mel)


def small() -> DiffWave:
    model: DiffWave = fill(DiffWave(SMALL, replace(PRESETS["hifi22"], n_mels=6)), 1, GAINS["small"])
    return model


@torch.no_grad()
def assert_same(
    model: Any, wave: torch.Tensor, mel: torch.Tensor, level: tuple[float, ...], theirs: np.ndarray
) -> None:
    """Within 1e-5 of theirs, which are every n-th sample in float64."""
    assert 0.05 < theirs.std() < 2, "outputs that vary, of a size float32 has six digits for, or this says little"
    told = torch.tensor(level).expand(2)
    every = -(-wave.shape[1] // theirs.shape[1])
    estimate = model(wave.float(), model.condition(mel.float(), mel.float()), told)
    np.testing.assert_allclose(estimate[:, ::every].numpy(), theirs, rtol=0, atol=1e-5)


# ---- networks


@pytest.mark.parametrize("original", ["priorgrad", "diffwave"])
def test_a_small_diffwave_is_the_originals(original: str, arrays: dict[str, np.ndarray]) -> None:
    assert_same(small(), *inputs(6, 768, 3, 1), (3.0, 49.0), arrays[f"{original}_small"])


def test_fractions_of_a_step_may_differ_in_a_batch(arrays: dict[str, np.ndarray]) -> None:
    """PriorGrad's own code takes one such row at a time."""
    assert_same(small(), *inputs(6, 768, 3, 1), (0.894, 42.919), arrays["priorgrad_small_fractions"])


def test_the_published_diffwave_is_priorgrads_and_lmnts(arrays: dict[str, np.ndarray]) -> None:
    model = fill(DiffWave(DiffWaveConfig(steps=50), PRESETS["hifi22"]), 1, GAINS["diffwave"])
    for original in ("priorgrad", "diffwave"):
        assert_same(model, *inputs(80, 768, 3, 2), (10.452,), arrays[f"{original}_full"])


def test_the_seeds_network_is_diffwave_at_hop_300(arrays: dict[str, np.ndarray]) -> None:
    config = DiffWaveConfig(steps=50, strides=(10, 30))
    model = fill(DiffWave(config, PRESETS["specgrad24"]), 1, GAINS["diffwave"], "layers.{}.0", first=0)
    assert_same(model, *inputs(128, 900, 3, 3), (3.0, 49.0), arrays["seed_full"])


def test_wavegrad_is_lmnts_and_teysirs(arrays: dict[str, np.ndarray]) -> None:
    model = fill(WaveGrad(BASE, PRESETS["specgrad24"]), 2, GAINS["wavegrad"])
    assert_same(model, *inputs(128, 600, 2, 4), (0.35, 0.93), arrays["wavegrad"])
    np.testing.assert_array_equal(arrays["teysir"], arrays["wavegrad"])


# ---- sampler


@pytest.mark.parametrize(("steps", "name"), [(6, "pg6"), (12, "pg12"), (50, "wg50")])
def test_the_sampler_is_priorgrads(steps: int, name: str, arrays: dict[str, np.ndarray]) -> None:
    """Noise, network and schedule alike; no sample came near 1, where PriorGrad clamps on the way."""
    model = small()
    for parameter in model.output_projection.parameters():
        parameter.data *= 0.2
    _, mel = inputs(6, 512, 2, 5)
    rng = np.random.default_rng(steps)
    std = torch.tensor([[0.02], [0.05]])

    def draw() -> torch.Tensor:
        return torch.from_numpy(rng.standard_normal((2, 512)).astype(np.float32)) * std

    def sampled(estimate: Any) -> np.ndarray:
        betas = schedules.SCHEDULES[name]
        config = DiffusionConfig(levels="discrete", beta_start=1e-4, beta_end=0.05, steps=50)
        wave: np.ndarray = diffusion.sample(estimate, draw(), betas, diffusion.told(betas, config), draw).numpy()
        return wave

    with torch.no_grad():
        condition = model.condition(mel.float(), mel.float())
        ours = sampled(lambda x, told: model(x, condition, told))
    np.testing.assert_allclose(ours, arrays[f"sampled_{steps}"], rtol=0, atol=1e-5)
    rng = np.random.default_rng(steps)
    silent = sampled(lambda x, told: torch.zeros_like(x))
    assert np.abs(ours - silent).max() > 1e-3, "the network has a part in the result, or the comparison says little"


# ---- front ends


@pytest.mark.parametrize("project", ["priorgrad", "diffwave", "wavegrad", "teysir"])
def test_the_front_end_of_an_imported_network_is_its_own(project: str, arrays: dict[str, np.ndarray]) -> None:
    """On speech and a loud tone, where lmnt's mels end at 1."""
    params = {"teysir": {"n_mels": 128, "fmin": 20, "fmax": 11025}, "priorgrad": {"fmin": 0, "fmax": 8000}}
    config = front_end(project, params.get(project, {}))
    mel = log_mel(torch.from_numpy(arrays["front_wav"] / 32768), config).numpy()
    wanted = arrays[f"front_{project}"][:, : mel.shape[1]]
    np.testing.assert_allclose(mel, wanted, rtol=0, atol=1e-5)
    assert project not in ("diffwave", "wavegrad") or (wanted.max() == 1 and wanted.min() == 0)


def test_the_noise_of_teysirs_weights_is_shaped_as_there(arrays: dict[str, np.ndarray]) -> None:
    """Half a cepstrum, which halves the envelope's variation, is what they were trained with. Theirs: complex64."""
    config = front_end("teysir", {"n_mels": 128, "fmin": 20, "fmax": 11025})
    shaping = ShapingConfig(smoothing="onesided")
    mel = log_mel(torch.from_numpy(arrays["front_wav"] / 32768), config)[None]
    ours = transfer(envelope(mel, config, shaping), shaping.phase)[0, ::8, 10:20].numpy()
    np.testing.assert_allclose(ours, arrays["front_teysir_filter"], rtol=1e-4, atol=1e-5)


def test_the_noise_of_priorgrads_weights_is_as_loud_as_there(arrays: dict[str, np.ndarray]) -> None:
    """Its dataset.py: sqrt of the summed mel, up to 4, its range mapped to 0 ... 1, no less than 0.1."""
    config = front_end("priorgrad", {})
    shaping = ShapingConfig(prior="energy", floor=0.1, energies=(0.03, 4.0), phase="zero")
    mel = arrays["front_priorgrad"]
    energy = np.clip(np.sqrt(np.exp(mel).sum(0)), None, 4.0)
    wanted = np.clip((energy - 0.03) / (4.0 - 0.03), 0.1, None)
    assert wanted.min() == pytest.approx(0.1)
    assert wanted.max() > 0.5
    ours = envelope(torch.from_numpy(mel)[None], config, shaping)[0].numpy()
    np.testing.assert_allclose(ours, np.broadcast_to(wanted, ours.shape), rtol=1e-5)


# ---- live


def live(project: str, module: str) -> Any:
    """A module of one of the five projects, from the folder of checkouts that SPECGRAD_ORACLES names."""
    folder = os.environ.get("SPECGRAD_ORACLES")
    if not folder:
        pytest.skip("SPECGRAD_ORACLES names no folder of checkouts: see tools/golden_specgrad.py")
    path = Path(folder) / project / f"{module}.py"
    spec = importlib.util.spec_from_file_location(f"live_{module}", path)
    assert spec is not None
    assert spec.loader is not None
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


@pytest.mark.oracle
def test_priorgrad_and_diffwave_live_have_our_output() -> None:
    from specgrad.import_checkpoint import state_dict

    folders = {"PriorGrad": "NeuralSpeech/PriorGrad-vocoder", "DiffWave": "diffwave/src/diffwave"}
    for name, folder in folders.items():
        theirs = getattr(live(folder, "model"), name)(live(folder, "params").params).eval()
        torch.nn.init.normal_(theirs.output_projection.weight, std=0.3)
        ours = DiffWave(DiffWaveConfig(steps=50), PRESETS["hifi22"]).eval()
        ours.load_state_dict(state_dict({"model": theirs.state_dict()}))
        wave, mel = inputs(80, 512, 2, 0)
        step = torch.tensor([22.992])
        with torch.no_grad():
            wave, mel = wave.float(), mel.float()
            wanted = (theirs(wave, mel, step) if name == "PriorGrad" else theirs(wave, step, mel))[:, 0]
        assert_same(ours, wave, mel, (22.992,), wanted.numpy())


@pytest.mark.oracle
def test_wavegrad_live_has_our_output() -> None:
    for folder, name in {"wavegrad/src/wavegrad": "WaveGrad", "SpecGrad": "SpecGrad"}.items():
        theirs = getattr(live(folder, "model"), name)(None).eval()
        ours = WaveGrad(BASE, PRESETS["specgrad24"]).eval()
        ours.load_state_dict(theirs.state_dict())
        wave, mel = inputs(128, 300, 1, 0)
        with torch.no_grad():
            wanted = theirs(wave.float(), mel.float(), torch.tensor([0.1, 0.8]))[:, 0]
        assert_same(ours, wave, mel, (0.1, 0.8), wanted.numpy())
