#!/usr/bin/env python3
"""Make shared-audio/golden/waveglow_vq.npz: what the public WaveGlows compute, for the tests of waveglow-vq to meet.

    mkdir ORACLES && cd ORACLES
    git clone https://github.com/NVIDIA/waveglow                    # commit 8afb643, and 044cc4a out of its history
    git clone https://github.com/NVIDIA/DeepLearningExamples dle    # commit 729963d: .../Tacotron2
    python tools/golden_waveglow_vq.py --oracles ORACLES            # plus librosa, scipy

Small networks with weights that a seed makes: z, log-scales, log-determinants, loss and gradients in float64, waves out
of known noise in float32, and the mel front end on real speech. Nothing of ours is imported here, and none of their
code is kept. Same versions, same bytes.
"""

from __future__ import annotations

import argparse
import importlib
import math
import subprocess
import sys
import tempfile
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch

from make_golden import ROOT, clip

Arrays = dict[str, np.ndarray]
TACOTRON = "PyTorch/SpeechSynthesis/Tacotron2"
MELS, FRAMES, SEED = 5, 6, 1
SIZES = {"n_mel_channels": MELS, "n_flows": 6, "n_group": 8, "n_early_every": 2, "n_early_size": 2}
WN = {"n_layers": 3, "n_channels": 8, "kernel_size": 3}


# ---- their code


@contextmanager
def nvidia(oracles: Path, commit: str, *names: str) -> Iterator[list[Any]]:
    """Modules of NVIDIA/waveglow at a commit, which draw their noise on the CPU instead of a GPU: the only change."""
    with tempfile.TemporaryDirectory() as folder, mock.patch.object(sys, "path", [folder, *sys.path]):
        for name in {"glow", *names}:
            source = _show(oracles / "waveglow", f"{commit}:{name}.py")
            (Path(folder) / f"{name}.py").write_text(source.replace("torch.cuda.FloatTensor(", "torch.FloatTensor("))
        yield [importlib.import_module(name) for name in names]
        for name in {"glow", *names}:
            sys.modules.pop(name, None)


@contextmanager
def dle(oracles: Path, *names: str) -> Iterator[list[Any]]:
    """Modules of DeepLearningExamples' Tacotron2 folder, as they are."""
    with mock.patch.object(sys, "path", [str(oracles / "dle" / TACOTRON), *sys.path]):
        yield [importlib.import_module(name) for name in names]


def _show(repository: Path, what: str) -> str:
    return subprocess.run(["git", "-C", repository, "show", what], check=True, capture_output=True, text=True).stdout


# ---- weights and inputs that anyone can make again


def fill(model: Any, seed: int = SEED) -> Any:
    """Weights from [seed, CRC-32 of the name]: mixings near the identity, gains near 1, outputs small."""
    state = {}
    for name, tensor in model.state_dict().items():
        shape = tuple(tensor.shape)
        draw = 2 * np.random.default_rng([seed, zlib.crc32(name.encode())]).random(shape) - 1
        if name.startswith("convinv"):
            value = np.eye(shape[0])[..., None] + 0.3 * draw
            assert np.linalg.det(value[..., 0]) > 0, "NVIDIA's loss is NaN where it is negative"
        elif name.endswith("weight_g"):
            value = 1 + 0.5 * draw
        elif name == "upsample.weight":
            value = math.sqrt(3 / (4 * shape[0])) * draw
        else:
            value = (0.3 if ".end." in name else 1) * math.sqrt(3 / max(math.prod(shape[1:]), 8)) * draw
        state[name] = torch.from_numpy(value.astype(np.float32))
    model.load_state_dict(state)
    return model.eval()


def inputs() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """A mel (2, M, F), a wave (2, 256 F) and a z (2, 8, 32 F) of random numbers, in float64."""
    rng = np.random.default_rng(SEED)
    mel, wav = rng.standard_normal((2, MELS, FRAMES)), 0.3 * rng.standard_normal((2, 256 * FRAMES))
    z = rng.standard_normal((2, 8, 32 * FRAMES))
    return torch.from_numpy(mel), torch.from_numpy(wav), torch.from_numpy(z)


@contextmanager
def noise_is(z: torch.Tensor, model: Any) -> Iterator[None]:
    """What the samplers draw, the last channels first, is z (2, 8, L) in the order in which `forward` returns it."""
    every, size = model.n_early_every, model.n_early_size
    early = size * sum(k % every == 0 for k in range(1, model.n_flows))
    parts = iter([z[:, early:], *[z[:, at - size : at] for at in range(early, 0, -size)]])
    with (
        mock.patch("torch.Tensor.normal_", lambda _: next(parts).float()),
        mock.patch("torch.randn", lambda *_, **__: next(parts).float()),
    ):
        yield
    assert next(parts, None) is None


# ---- what they make of it


def forward(model: Any, loss: Any = None) -> Arrays:
    """z and log-scales by every 7th column, log-determinants; with a loss its value and gradients (norm, along cos)."""
    mel, wav, _ = inputs()
    z, log_s, log_det = model.double()((mel, wav))
    out = {
        "z": z[..., ::7], "log_s": torch.cat([each[..., ::7] for each in log_s], 1),
        "log_det": torch.stack([each.double() for each in log_det]),
    }  # fmt: skip
    if loss is not None:
        out["loss"] = loss()([z, log_s, [each.clone() for each in log_det]])
        out["loss"].backward()
        grads = [(name, p.grad.flatten()) for name, p in sorted(model.named_parameters())]
        along = [g @ torch.cos(torch.arange(len(g)).double()) for _, g in grads]
        out["gradients"] = torch.stack([torch.stack([g.norm() for _, g in grads]), torch.stack(along)], 1)
    return {name: tensor.detach().numpy() for name, tensor in out.items()}


def sampled(model: Any) -> np.ndarray:
    """The wave of a z with sigma 0.7, by every 7th sample, in float32."""
    mel, _, z = inputs()
    with torch.no_grad(), noise_is(z, model):
        wave: np.ndarray = model.float().infer(mel.float(), sigma=0.7)[:, ::7].numpy()
    return wave


def networks(oracles: Path) -> Arrays:
    """NVIDIA's network of today, DLE's, that of November 2018, and the one before, which swaps halves."""
    out: Arrays = {}
    with nvidia(oracles, "8afb643", "glow") as [glow]:
        model = fill(glow.WaveGlow(**SIZES, WN_config=WN))
        out |= {f"fused_{k}": v for k, v in forward(model, glow.WaveGlowLoss).items()}
        out["fused_wave"] = sampled(model)
    with dle(oracles, "waveglow.model") as [module]:
        model = fill(module.WaveGlow(**SIZES, WN_config=WN))
        out |= {f"dle_{k}": v for k, v in forward(model).items()} | {"dle_wave": sampled(model)}
    with nvidia(oracles, "044cc4a", "glow") as [glow]:
        out |= {f"old_{k}": v for k, v in forward(fill(glow.WaveGlow(**SIZES, WN_config=WN))).items()}
    with nvidia(oracles, "8afb643", "glow_old") as [glow]:
        model = fill(glow.WaveGlow(**SIZES | {"n_early_every": 4}, WN_config=WN))
        out["swapped_wave"] = sampled(model)
    return out


def front_end(oracles: Path) -> Arrays:
    """TacotronSTFT's log-mel of real speech, with the speech (int16)."""
    wav = clip("slt/arctic_a0007", 22050, 0.5, 0.4)
    with dle(oracles, "tacotron2_common.layers") as [layers]:
        mel = layers.TacotronSTFT().mel_spectrogram(torch.from_numpy(wav / 32768).float()[None])[0]
    return {"front_wav": wav, "front_mel": mel.numpy()}


def main() -> None:
    """Make the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--oracles", type=Path, required=True, help="folder with the two checkouts")
    parser.add_argument("--out", type=Path, default=ROOT / "shared-audio" / "golden" / "waveglow_vq.npz")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")  # torch.qr, weight_norm, torch.jit: deprecated
    oracles = arguments.oracles.resolve()
    arrays = networks(oracles) | front_end(oracles)
    np.savez_compressed(arguments.out, **arrays)  # type: ignore[arg-type]
    print(f"{arguments.out}: {arguments.out.stat().st_size / 1024:.0f} KiB, {len(arrays)} arrays")
    for name, array in arrays.items():
        print(f"  {name:20} {array.shape!s:16} {array.dtype!s:8} std {array.std():.3g}")


if __name__ == "__main__":
    main()
