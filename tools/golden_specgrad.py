#!/usr/bin/env python3
"""Make shared-audio/golden/specgrad.npz: what five public vocoders compute, for the tests of specgrad to meet.

    mkdir ORACLES && cd ORACLES
    git clone https://github.com/microsoft/NeuralSpeech     # commit 8cf4fbc: PriorGrad-vocoder
    git clone https://github.com/lmnt-com/diffwave          # commit 0594106
    git clone https://github.com/lmnt-com/wavegrad          # commit c3d54c8
    git clone https://github.com/Teysir-B/SpecGrad          # commit afa3040
    git clone https://github.com/vvvm23/specgrad seed       # commit 705cdf7
    python tools/golden_specgrad.py --oracles ORACLES       # plus librosa, torchaudio 2.11.0 (--no-deps)

Networks with weights that a seed makes, a sampler with its noise, front ends on real speech; all in float64. Nothing of
ours is imported here, and none of their code is kept. Same versions, same bytes.
"""

from __future__ import annotations

import argparse
import importlib
import math
import sys
import tempfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import librosa
import numpy as np
import torch

from make_golden import ROOT, clip, import_torchaudio

Arrays = dict[str, np.ndarray]
FOLDERS = {
    "priorgrad": "NeuralSpeech/PriorGrad-vocoder", "diffwave": "diffwave/src", "wavegrad": "wavegrad/src",
    "teysir": "SpecGrad", "seed": "seed",
}  # fmt: skip
GAINS = {"small": 3.0, "diffwave": 1.7, "wavegrad": 0.85}  # of the weights: outputs of about 1
SMALL = {"residual_channels": 4, "residual_layers": 5, "dilation_cycle_length": 3, "n_mels": 6}


@contextmanager
def code_of(oracles: Path, name: str) -> Iterator[Callable[[str], Any]]:
    """Import function for modules of one project, forgotten again at the end: several call theirs `model`."""
    before = set(sys.modules)
    sys.path.insert(0, str(oracles / FOLDERS[name]))
    try:
        yield importlib.import_module
    finally:
        sys.path.pop(0)
        for module in set(sys.modules) - before:
            if str(oracles) in str(getattr(sys.modules[module], "__file__", "")):
                del sys.modules[module]


def fill(model: Any, seed: int, gain: float = 1.0) -> Any:
    """Weights anyone can make again: uniform, variance gain^2 / max(inputs, 30), from [seed, CRC-32 of the name]."""
    state = {}
    for name, tensor in model.state_dict().items():
        draw = np.random.default_rng([seed, zlib.crc32(name.encode())]).random(tuple(tensor.shape))
        bound = gain * math.sqrt(3 / max(math.prod(tensor.shape[1:]), 30))
        state[name] = torch.from_numpy(((2 * draw - 1) * bound).astype(np.float32))
    model.load_state_dict(state)
    return model.eval().double()


def inputs(mels: int, samples: int, frames: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """A noisy wave (2, T) and a mel (2, M, F) of random numbers."""
    rng = np.random.default_rng(seed)
    wave, mel = rng.standard_normal((2, samples)), rng.standard_normal((2, mels, frames))
    return torch.from_numpy(wave), torch.from_numpy(mel)


# ---- networks


@torch.no_grad()
def diffwaves(oracles: Path) -> Arrays:
    """Outputs of PriorGrad, lmnt's DiffWave and the seed: small and, by every 7th sample, of the published sizes."""
    out: Arrays = {}
    wave, mel = inputs(6, 768, 3, 1)
    full_wave, full_mel = inputs(80, 768, 3, 2)
    seed_wave, seed_mel = inputs(128, 900, 3, 3)
    whole, part = torch.tensor([3, 49]), torch.tensor([10.452]).double()
    with code_of(oracles, "priorgrad") as load:
        params = load("params").params
        full = fill(load("model").PriorGrad(params), 1, GAINS["diffwave"])
        small = fill(load("model").PriorGrad(load("params").AttrDict(params | SMALL)), 1, GAINS["small"])
        out["priorgrad_small"] = small(wave, mel, whole)[:, 0].numpy()
        # it broadcasts fractions of a step rightly for one row only
        rows = [
            small(wave[i : i + 1], mel[i : i + 1], torch.tensor([s]).double())[0] for i, s in enumerate((0.894, 42.919))
        ]
        out["priorgrad_small_fractions"] = torch.cat(rows).numpy()
        out["priorgrad_full"] = full(full_wave, full_mel, part)[:, 0, ::7].numpy()
    with code_of(oracles, "diffwave") as load:
        params = load("diffwave.params").params
        small = fill(
            load("diffwave.model").DiffWave(load("diffwave.params").AttrDict(params | SMALL)), 1, GAINS["small"]
        )
        out["diffwave_small"] = small(wave, whole, mel)[:, 0].numpy()
        full = fill(load("diffwave.model").DiffWave(params), 1, GAINS["diffwave"])
        out["diffwave_full"] = full(full_wave, part, full_mel)[:, 0, ::7].numpy()
    with code_of(oracles, "seed") as load:
        full = fill(load("model").SpecGrad(n_mels=128), 1, GAINS["diffwave"])
        out["seed_full"] = full(seed_wave, seed_mel, whole)[:, ::7].numpy()
    return out


@torch.no_grad()
def wavegrads(oracles: Path) -> Arrays:
    """Outputs of lmnt's WaveGrad and Teysir-B's SpecGrad, by every 3rd sample."""
    out: Arrays = {}
    wave, mel = inputs(128, 600, 2, 4)
    levels = torch.tensor([0.35, 0.93]).double()
    with code_of(oracles, "teysir") as load:
        out["teysir"] = fill(load("model").SpecGrad(None), 2, GAINS["wavegrad"])(wave, mel, levels)[:, 0, ::3].numpy()
    with code_of(oracles, "wavegrad") as load:
        model = fill(load("wavegrad.model").WaveGrad(load("wavegrad.params").params), 2, GAINS["wavegrad"])
        out["wavegrad"] = model(wave, mel, levels)[:, 0, ::3].numpy()
    return out


# ---- samplers


@contextmanager
def noise_of(seed: int) -> Iterator[None]:
    """torch.randn and torch.randn_like give out what NumPy's generator does: noise that anyone can make again."""
    rng = np.random.default_rng(seed)

    def draw(*shape: int, **_: Any) -> torch.Tensor:
        return torch.from_numpy(rng.standard_normal(shape))

    with mock.patch("torch.randn", draw), mock.patch("torch.randn_like", lambda x: draw(*x.shape)):
        yield


def samplers(oracles: Path) -> Arrays:
    """PriorGrad's waves in 6, 12 and 50 steps: a small network, and quiet noise, as it clamps at every step."""
    out: Arrays = {}
    _, mel = inputs(6, 512, 2, 5)
    std = torch.tensor([[0.02], [0.05]])
    betas = {
        6: [0.0001, 0.001, 0.01, 0.05, 0.2, 0.5],
        12: [0.0001, 0.0005, 0.0008, 0.001, 0.005, 0.008, 0.01, 0.05, 0.08, 0.1, 0.2, 0.5],
    }
    with code_of(oracles, "priorgrad") as load:
        model = fill(load("model").PriorGrad(load("params").AttrDict(load("params").params | SMALL)), 1, GAINS["small"])
        model.output_projection.weight.data *= 0.2
        model.output_projection.bias.data *= 0.2
        inference = load("inference")
        inference.device = torch.device("cpu")
        network = model.forward  # it is told steps in float32
        model.forward = lambda wave, mel, step, _: network(wave, mel, step.double())
        for steps in (6, 12, 50):
            model.params.inference_noise_schedule = betas.get(steps)
            with noise_of(steps):
                wave = inference.predict(model, mel, std, fast_sampling=steps != 50)
            assert wave.abs().max() < 1, "a clamp on the way would hide behind this"
            out[f"sampled_{steps}"] = wave.numpy()
    return out


# ---- front ends


def front_ends(oracles: Path) -> Arrays:
    """Log-mels of all four, PriorGrad's standard deviation of the noise, Teysir-B's filter; with the waves (int16)."""
    wav = clip("carlo/it-demo-thanks", 22050, 0.5, 0.5)
    loud = np.round(wav * (31129 / np.abs(wav).max())).astype(np.int16)
    loud[2000:5000] = np.round(30000 * np.sin(0.1 * np.arange(3000)))  # lmnt's mels end at 1: a tone that goes there
    out: Arrays = {"front_wav": loud}
    audio = torch.from_numpy(loud / 32768)
    torch.set_default_dtype(torch.float64)
    keyword = lambda sr, n_fft, n, low, high: librosa.filters.mel(  # noqa: E731  librosa's arguments have names today
        sr=sr, n_fft=n_fft, n_mels=n, fmin=low, fmax=high, dtype=np.float64
    )
    with code_of(oracles, "priorgrad") as load:
        module = load("preprocess")
        with (
            mock.patch.object(module, "librosa_mel_fn", keyword),
            mock.patch("torch.Tensor.float", torch.Tensor.double),
        ):
            mel = module.get_mel(audio, load("params").params)[0]
        out["front_priorgrad"] = mel.numpy().astype(np.float32)
    for name in ("diffwave", "wavegrad"):
        with code_of(oracles, name) as load, tempfile.TemporaryDirectory() as folder:
            module = load(f"{name}.preprocess")
            with mock.patch.object(module, "T", SimpleNamespace(load=lambda _: (audio[None], 22050))):
                module.transform(f"{folder}/a")
            out[f"front_{name}"] = np.load(f"{folder}/a.spec.npy").astype(np.float32)
    with code_of(oracles, "teysir") as load:
        module = load("preprocess")
        double = lambda **settings: librosa.filters.mel(**settings, dtype=np.float64)  # noqa: E731
        with mock.patch.object(module, "librosa_mel_fn", double), mock.patch("torch.Tensor.float", torch.Tensor.double):
            mel, filters = module.get_spec_filter(audio, load("params").params)
        out["front_teysir"] = mel.numpy().astype(np.float32)
        out["front_teysir_filter"] = filters[::8, 10:20].numpy().astype(np.complex64)
    torch.set_default_dtype(torch.float32)
    return out


def main() -> None:
    """Make the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--oracles", type=Path, required=True, help="folder with the five checkouts")
    parser.add_argument("--out", type=Path, default=ROOT / "shared-audio" / "golden" / "specgrad.npz")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    import_torchaudio()
    sys.modules["torch.utils.tensorboard"] = SimpleNamespace(SummaryWriter=None)  # type: ignore[assignment]
    oracles = arguments.oracles.resolve()
    arrays = diffwaves(oracles) | wavegrads(oracles) | samplers(oracles) | front_ends(oracles)
    np.savez_compressed(arguments.out, **arrays)  # type: ignore[arg-type]
    print(f"{arguments.out}: {arguments.out.stat().st_size / 1024:.0f} KiB, {len(arrays)} arrays")
    for name, array in arrays.items():
        print(f"  {name:28} {array.shape!s:18} std {array.std():.3g}")


if __name__ == "__main__":
    main()
