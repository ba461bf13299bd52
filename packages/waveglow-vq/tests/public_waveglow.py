"""Tensors of the public WaveGlows, by their own names, of any size: the weights of tools/golden_waveglow_vq.py."""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

Weights = dict[str, Tensor]
SEED = 1


@dataclass(frozen=True)
class Sizes:
    """Of a public WaveGlow: those of the golden arrays."""

    mels: int = 5
    flows: int = 6
    group: int = 8
    every: int = 2
    early: int = 2
    layers: int = 3
    channels: int = 8
    kernel: int = 3


def weights(layout: str = "fused", sizes: Sizes = Sizes(), normed: bool = True) -> Weights:
    """layout: fused, dle or old. normed: with weight norm, or the same network after its removal."""
    filled = {name: _drawn(name, shape) for name, shape in shapes(layout, sizes).items()}
    if normed:
        return filled
    plain = {}
    for name, tensor in filled.items():
        if name.endswith("weight_v"):
            rows = tensor.double().flatten(1)
            scaled = rows / rows.norm(dim=1, keepdim=True) * filled[name[:-1] + "g"].double().flatten(1)
            plain[name[:-2]] = scaled.view(tensor.shape).float()
        elif not name.endswith("weight_g"):
            plain[name] = tensor
    return plain


def shapes(layout: str, s: Sizes) -> dict[str, tuple[int, ...]]:
    """Name -> shape of the tensors of a layout, with weight norm."""
    found: dict[str, tuple[int, ...]] = {"upsample.weight": (s.mels, s.mels, 1024), "upsample.bias": (s.mels,)}
    for k in range(s.flows):
        width = s.group - s.early * (k // s.every)
        found[f"convinv.{k}.conv.weight"] = (width, width, 1)
        for name, (rows, *columns) in _layers(layout, s, width // 2).items():
            here = f"WN.{k}.{name}"
            found[f"{here}.bias"] = (rows,)
            if name == "end":
                found[f"{here}.weight"] = (rows, *columns)
            else:
                found |= {f"{here}.weight_g": (rows, 1, 1), f"{here}.weight_v": (rows, *columns)}
    return found


def _layers(layout: str, s: Sizes, half: int) -> dict[str, tuple[int, ...]]:
    """Weights of one WN (rows, inputs, taps)."""
    layers: dict[str, tuple[int, ...]] = {"start": (s.channels, half, 1), "end": (2 * half, s.channels, 1)}
    if layout == "fused":
        layers["cond_layer"] = (2 * s.channels * s.layers, s.mels * s.group, 1)
    for i in range(s.layers):
        last = i + 1 == s.layers
        layers[f"in_layers.{i}"] = (2 * s.channels, s.channels, s.kernel)
        if layout != "fused":
            layers[f"cond_layers.{i}"] = (2 * s.channels, s.mels * s.group, 1)
        if layout == "old":
            parts = ["skip"] if last else ["res", "skip"]
            layers |= {f"{part}_layers.{i}": (s.channels, s.channels, 1) for part in parts}
        else:
            layers[f"res_skip_layers.{i}"] = ((1 if last else 2) * s.channels, s.channels, 1)
    return layers


def _drawn(name: str, shape: tuple[int, ...]) -> Tensor:
    draw = 2 * np.random.default_rng([SEED, zlib.crc32(name.encode())]).random(shape) - 1
    if name.startswith("convinv"):
        value = np.eye(shape[0])[..., None] + 0.3 * draw
    elif name.endswith("weight_g"):
        value = 1 + 0.5 * draw
    elif name == "upsample.weight":
        value = math.sqrt(3 / (4 * shape[0])) * draw
    else:
        value = (0.3 if ".end." in name else 1) * math.sqrt(3 / max(math.prod(shape[1:]), 8)) * draw
    return torch.from_numpy(value.astype(np.float32))


def inputs(frames: int = 6) -> tuple[Tensor, Tensor, Tensor]:
    """The mel (2, M, F), wave (2, 256 F) and z (2, 8, 32 F) of the golden arrays, in float64."""
    rng = np.random.default_rng(SEED)
    mel, wav = rng.standard_normal((2, Sizes.mels, frames)), 0.3 * rng.standard_normal((2, 256 * frames))
    return torch.from_numpy(mel), torch.from_numpy(wav), torch.from_numpy(rng.standard_normal((2, 8, 32 * frames)))
