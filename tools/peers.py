"""Public vocoders that tools/bench_specgrad.py, bench_waveglow_vq.py and bench_vqvaevc.py time ours beside, and how.

They are installed apart from everything else, by hand, below one folder; nothing of them is part of this repository.
Weights are random: speed does not depend on them. Each runs as its authors' inference does, at its default size;
weight normalisation is folded where the authors fold it. Of a diffusion vocoder only the network is run, once, and the
seconds are multiplied by its steps: all 50 would take minutes, and what its sampler adds to a step is under 1 %.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import sys
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any
from unittest import mock

import torch

from public_wavernn import on_a_cpu, project
from vocoder_core import timing

GIT = "git clone --depth 1 https://github.com/"
PIP = "pip install --no-deps"
# what the peers' files import at their head and do not need here; of torchaudio a broken one is often installed
UNUSED = ("torchaudio", "torchaudio.functional", "torchaudio.functional.functional", "encodec", "huggingface_hub")


@dataclass(frozen=True)
class Loaded:
    """A peer's network on this machine."""

    parameters: int
    run: Callable[[float], float]  # makes about that many seconds of audio; returns how many it made
    train: Callable[[int, float], float] | None = None  # one step on so many rows of so many seconds; seconds in all


@dataclass(frozen=True)
class Peer:
    """A row of the table."""

    name: str
    folder: str  # below the peers' folder
    source: str  # with the folder's path behind it, the command that puts it there
    load: Callable[[Path], Loaded]
    steps: tuple[int, ...] = ()  # of the diffusion samplers the network is used in; its run is one of them


def load(folder: Path, peers: tuple[Peer, ...]) -> tuple[list[tuple[Peer, Loaded]], list[str]]:
    """Those of the peers that are there, and a sentence for each that is not."""
    found, absent = [], []
    for peer in peers:
        place = folder / peer.folder
        if not place.is_dir():
            absent.append(f"{peer.name}: left out; to have it: {peer.source} {place}")
            continue
        try:
            found.append((peer, peer.load(place)))
        except Exception as error:  # other people's code
            absent.append(f"{peer.name}: left out, as {place} cannot be used ({type(error).__name__}: {error})")
    return found, absent


def priorgrad(folder: Path) -> Loaded:
    """PriorGrad as published for LJSpeech: 30 layers of 64 channels, 80 mels, hop 256, 22.05 kHz."""
    with importing_from(folder / "PriorGrad-vocoder"):
        params = importlib.import_module("params").params
        network = importlib.import_module("model").PriorGrad(params).eval()

    def run(seconds: float) -> float:
        frames = round(seconds * params.sample_rate / params.hop_samples)
        noise, mel = torch.randn(1, frames * params.hop_samples), torch.randn(1, params.n_mels, frames)
        with torch.no_grad():
            return network(noise, mel, torch.tensor([3.5])).numel() / params.sample_rate

    return Loaded(timing.parameters(network), run)


def wavegrad(folder: Path) -> Loaded:
    """lmnt's WaveGrad: 128 mels, hop 300, at the paper's 24 kHz."""
    with importing_from(folder):
        params = importlib.import_module("wavegrad.params").params
        network = importlib.import_module("wavegrad.model").WaveGrad(params).eval()

    def run(seconds: float) -> float:
        frames = round(seconds * 24_000 / params.hop_samples)
        noise, mel = torch.randn(1, frames * params.hop_samples), torch.randn(1, 128, frames)
        with torch.no_grad():
            return network(noise, mel, torch.tensor([0.5])).numel() / 24_000

    return Loaded(timing.parameters(network), run)


def vocos(folder: Path) -> Loaded:
    """Vocos as published for mels at 24 kHz: 8 ConvNeXt blocks of 512 channels, 100 mels, hop 256."""
    with importing_from(folder):
        package = ModuleType("vocos")  # its own __init__ imports what only its features need
        package.__path__ = [str(folder / "vocos")]
        sys.modules["vocos"] = package
        backbone = importlib.import_module("vocos.models").VocosBackbone(100, 512, 1536, 8)
        head = importlib.import_module("vocos.heads").ISTFTHead(512, 1024, 256, padding="center")
    network = torch.nn.Sequential(backbone, head).eval()

    def run(seconds: float) -> float:
        with torch.inference_mode():
            return network(torch.randn(1, 100, round(seconds * 24_000 / 256))).numel() / 24_000

    return Loaded(timing.parameters(network), run)


def hifigan(folder: Path) -> Loaded:
    """HiFi-GAN V1: 80 mels, hop 256, 22.05 kHz."""
    settings = SimpleNamespace(**json.loads((folder / "config_v1.json").read_text(encoding="utf-8")))
    with importing_from(folder):
        network = importlib.import_module("models").Generator(settings).eval()
        network.remove_weight_norm()

    def run(seconds: float) -> float:
        with torch.no_grad():
            mel = torch.randn(1, settings.num_mels, round(seconds * settings.sampling_rate / settings.hop_size))
            return network(mel).numel() / settings.sampling_rate

    return Loaded(timing.parameters(network), run)


def waveglow(folder: Path) -> Loaded:
    """NVIDIA's WaveGlow: 12 flows of 256 channels, 80 mels, hop 256, 22.05 kHz; sigma 1, which changes no speed."""
    settings = json.loads((folder / "config.json").read_text(encoding="utf-8"))["waveglow_config"]
    with importing_from(folder), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch.qr and the old weight normalisation
        glow = importlib.import_module("glow")
        network = glow.WaveGlow(**settings)
        folded = glow.WaveGlow.remove_weightnorm(glow.WaveGlow(**settings)).eval()
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-4)

    def run(seconds: float) -> float:
        # it draws its noise on a GPU alone
        with torch.no_grad(), mock.patch.object(torch.cuda, "FloatTensor", torch.FloatTensor):
            return folded.infer(torch.randn(1, 80, round(seconds * 22_050 / 256))).numel() / 22_050

    def train(rows: int, seconds: float) -> float:
        samples = round(seconds * 22_050 / 256) * 256
        mel, wav = torch.randn(rows, 80, samples // 256 + 1), 0.1 * torch.randn(rows, samples)
        network.zero_grad()
        glow.WaveGlowLoss()(network((mel, wav))).backward()
        optimizer.step()
        return wav.numel() / 22_050

    return Loaded(timing.parameters(network), run, train)


def overtone(folder: Path) -> Loaded:
    """mkotha/WaveRNN's VQ-VAE with 109 speakers, 22.05 kHz: codes to wave, without its encoder, which costs little."""
    with project(folder) as its:
        network = its.vqvae.Model(896, 896, 109, (4, 4, 4), True, True, True)
        network.after_update()
    optimizer, who = torch.optim.Adam(network.parameters(), lr=1e-4), torch.eye(109)[:1]

    def run(seconds: float) -> float:
        units = torch.randn(1, 85 + max(1, round(seconds * 22_050 / 64)), 128)
        with torch.no_grad(), on_a_cpu(), contextlib.redirect_stdout(io.StringIO()):
            return network.overtone.generate(units, who).numel() / 22_050

    def train(rows: int, seconds: float) -> float:
        samples = round(seconds * 22_050 / 64) * 64
        past, heard = torch.rand(rows, 5629 + samples, 3) * 2 - 1, 0.1 * torch.randn(rows, 5926 + samples)
        with on_a_cpu():
            said, *penalties, _ = network(who.expand(rows, -1), past, heard)
        target = torch.randint(0, 256, (rows, samples))
        nll = sum(torch.nn.functional.nll_loss(each.transpose(1, 2), target) for each in said)
        optimizer.zero_grad()
        (nll + penalties[0] + 0.01 * penalties[1]).backward()
        optimizer.step()
        network.after_update()
        return rows * samples / 22_050

    return Loaded(timing.parameters(network), run, train)


@contextlib.contextmanager
def importing_from(folder: Path) -> Iterator[None]:
    """While entered, modules come from `folder` first, what they import in vain exists, and their prints are unheard.

    What was loaded is forgotten afterwards: two peers have a module named `model`.
    """
    before = dict(sys.modules)
    sys.path.insert(0, str(folder))
    sys.modules.update({name: _unused(name) for name in UNUSED})
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        sys.path.remove(str(folder))
        for name, module in list(sys.modules.items()):
            place = getattr(module, "__file__", None) or next(iter(getattr(module, "__path__", ())), "")
            if name in UNUSED or (name not in before and str(folder) in str(place)):
                del sys.modules[name]
        sys.modules.update({name: before[name] for name in UNUSED if name in before})


def _unused(name: str) -> ModuleType:
    """A module that has every name, each None."""
    module = ModuleType(name)
    values: dict[str, Any] = {"__getattr__": lambda _: None, "__path__": []}
    module.__dict__.update(values)
    return module


PRIORGRAD = Peer("PriorGrad", "NeuralSpeech", f"{GIT}microsoft/NeuralSpeech", priorgrad, steps=(6, 50))
WAVEGRAD = Peer("WaveGrad (lmnt)", "wavegrad", f"{PIP} wavegrad==0.1.5 --target", wavegrad, steps=(6,))
VOCOS = Peer("Vocos", "vocos", f"{PIP} vocos==0.1.0 --target", vocos)
HIFIGAN = Peer("HiFi-GAN V1", "hifi-gan", f"{GIT}jik876/hifi-gan", hifigan)
WAVEGLOW = Peer("WaveGlow (NVIDIA)", "waveglow", f"{GIT}NVIDIA/waveglow", waveglow)
OVERTONE = Peer("VQ-VAE + WaveRNN (mkotha)", "mkotha", f"{GIT}mkotha/WaveRNN", overtone)
