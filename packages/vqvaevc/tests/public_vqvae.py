"""Tensors of the public VQ-VAE with a WaveRNN, of any size: the weights of tools/golden_vqvaevc.py."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

Weights = dict[str, Tensor]
Shapes = dict[str, tuple[int, ...]]
Kind = Literal["vqvae", "nocond", "mel"]
SEEDS = {"vqvae": 1, "nocond": 2, "mel": 3}
STRIDES = (2, 2, 2, 1, 2, 1, 2, 1, 2, 1)


@dataclass(frozen=True)
class Sizes:
    """Of a public network: those of the golden arrays."""

    speakers: int = 3
    codes: int = 8
    dim: int = 5
    conv: int = 6
    rnn: int = 10
    hidden: int = 8
    linear: int = 7
    bands: int = 4


PUBLISHED = Sizes(109, 512, 128, 128, 512, 896, 896, 80)


def weights(kind: Kind = "vqvae", sizes: Sizes = Sizes(), seed: int | None = None) -> Weights:
    """As drawn, before any update: coarse units have weights for their own sample, vectors have any norm."""
    seed = SEEDS[kind] if seed is None else seed
    made = {name: _drawn(name, shape, seed) for name, shape in shapes(kind, sizes).items()}
    name = "wavernn.mask" if kind == "mel" else "overtone.wavernn.mask"
    return made | {name: mask(sizes.hidden, next(v for k, v in made.items() if "wavernn.gru.weight_ih" in k).shape[1])}


def mask(hidden: int, inputs: int) -> Tensor:
    """(3 H, I) of ones, and zeros where a unit of the coarse half would see the coarse byte it is to predict."""
    made = torch.ones(3, hidden, inputs)
    made[:, : hidden // 2, -1] = 0
    return made.view(3 * hidden, inputs)


def shapes(kind: Kind, s: Sizes) -> Shapes:
    """Name -> shape of every parameter."""
    if kind == "mel":
        found: Shapes = {}
        for i in range(3):
            found |= {f"upsample.up_layers.{i}.weight": (1, 1, 1, 7), f"upsample.up_layers.{i}.bias": (1,)}
        return found | _wavernn("wavernn", s, s.bands)
    speakers, dim = (s.speakers, s.dim) if kind == "vqvae" else (0, 0)
    found = _overtone(s, speakers, dim) | _wavernn("overtone.wavernn", s, s.rnn + speakers)
    if kind == "vqvae":
        found |= {"vq.embedding0": (1, s.codes, s.dim)} | _encoder(s.dim)
    return found


def _overtone(s: Sizes, speakers: int, dim: int) -> Shapes:
    found: Shapes = {}
    for i in range(3):
        for j in range(2):
            inputs, here = 1 if i == j == 0 else s.conv, f"overtone.conv{i}.block{j}"
            if speakers:
                found[f"{here}.w_cond.weight"] = (2 * s.conv, speakers)
            found |= {f"{here}.conv_wide.weight": (2 * s.conv, inputs, 4), f"{here}.conv_wide.bias": (2 * s.conv,)}
        inputs = s.conv + speakers + (s.rnn if i else dim)
        found |= _gru(f"overtone.rnn{i}.gru", inputs, s.rnn)
        found |= {f"overtone.rnn{i}.tconv.weight": (s.rnn, s.rnn, 4), f"overtone.rnn{i}.tconv.bias": (s.rnn,)}
    return found


def _wavernn(here: str, s: Sizes, condition: int) -> Shapes:
    found = _gru(f"{here}.gru", condition + 3, s.hidden)
    for i, (rows, columns) in enumerate(2 * [(s.linear, s.hidden // 2), (256, s.linear)]):
        found |= {f"{here}.fc{i + 1}.weight": (rows, columns), f"{here}.fc{i + 1}.bias": (rows,)}
    return found


def _gru(here: str, inputs: int, size: int) -> Shapes:
    return {
        f"{here}.weight_ih_l0": (3 * size, inputs), f"{here}.weight_hh_l0": (3 * size, size),
        f"{here}.bias_ih_l0": (3 * size,), f"{here}.bias_hh_l0": (3 * size,),
    }  # fmt: skip


def _encoder(dim: int) -> Shapes:
    found: Shapes = {}
    for i in range(len(STRIDES)):
        found |= {f"encoder.convs_wide.{i}.weight": (2 * dim, dim if i else 1, 4)}
        found |= {f"encoder.convs_wide.{i}.bias": (2 * dim,)}
        found |= {f"encoder.convs_1x1.{i}.weight": (dim, dim, 1), f"encoder.convs_1x1.{i}.bias": (dim,)}
    for i in range(2):
        found |= {f"encoder.final_conv_{i}.weight": (dim, dim, 1), f"encoder.final_conv_{i}.bias": (dim,)}
    return found


def _drawn(name: str, shape: tuple[int, ...], seed: int) -> Tensor:
    draw = 2 * np.random.default_rng([seed, zlib.crc32(name.encode())]).random(shape) - 1
    inputs = int(np.prod(shape[1:])) if len(shape) > 1 else 36
    inputs = shape[0] if "tconv.weight" in name else inputs
    return torch.from_numpy((3 / inputs**0.5 * draw).astype(np.float32))


# ---- inputs of the golden arrays


def samples(length: int, seed: int = 0, rows: int = 2) -> Tensor:
    """16-bit samples (rows, length) int64 of noise."""
    return torch.from_numpy(np.random.default_rng(seed).integers(-(2**15), 2**15, (rows, length)))


def heard(wave16: Tensor) -> Tensor:
    """What their encoder hears of samples, float64."""
    return (wave16.double() + 0.5) / 32767.5


def uniforms(rows: int, length: int, seed: int) -> np.ndarray:
    """(rows, length, 2) strictly within 0 and 1, exact in float32 too."""
    return (2 * np.random.default_rng(seed).integers(2**23, size=(rows, length, 2)) + 1) / 2**24
