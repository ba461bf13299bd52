"""Tensors of the public SampleRNN with PASE, of any size, and its inputs: those of tools/golden_samplernn_pase.py."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from samplernn_pase import SampleRNNPASE
from samplernn_pase.import_checkpoint import KINDS, derive_config, network
from samplernn_pase.public_weights import TABLE, layout, renamed

Weights = dict[str, Tensor]
Shapes = dict[str, tuple[int, ...]]
Mode = Literal["acoustic", "linguistic", "linguistic_lf0"]
MODES: tuple[Mode, ...] = ("acoustic", "linguistic", "linguistic_lf0")
WIDTHS = {"acoustic": 43, "linguistic": 55, "linguistic_lf0": 57}
COUNTS = {"acoustic": 47_830_439, "linguistic": 47_838_039, "linguistic_lf0": 47_838_139}
FIELDS = {0: (2, 3, 4, 5, 6), 1: (27,), 2: (31, 33, 41), 3: (49,)}  # of each vocabulary


@dataclass(frozen=True)
class Sizes:
    """Of a public network: those of the golden arrays."""

    speakers: int = 3
    vocabularies: tuple[int, ...] = (7, 5, 4, 3)
    embedding: int = 4
    conds: int = 6
    hidden: int = 8


PUBLISHED = Sizes(126, (42, 21, 10, 8), 15, 50, 1024)


def weights(mode: Mode = "acoustic", sizes: Sizes = Sizes(), seed: int = 1) -> Weights:
    """As drawn, by the published code's names."""
    return {name: _drawn(name, shape, seed) for name, shape in shapes(mode, sizes).items()}


def _drawn(name: str, shape: tuple[int, ...], seed: int) -> Tensor:
    draw = 2 * np.random.default_rng([seed, zlib.crc32(name.encode())]).random(shape) - 1
    if name.endswith("weight_g"):
        return torch.from_numpy((1.5 + draw / 2).astype(np.float32))
    inputs = int(np.prod(shape[1:])) if len(shape) > 1 else 36
    return torch.from_numpy((2.5 / inputs**0.5 * draw).astype(np.float32))


def shapes(mode: Mode, s: Sizes) -> Shapes:
    """Name -> shape of every parameter."""
    spread, size = 0 if mode == "acoustic" else 10 * (s.embedding - 1), s.hidden
    found: Shapes = {TABLE: (s.speakers, 15)}
    found |= {f"conds_mixer.conds_utt_{k}_emb.weight": (n, s.embedding) for k, n in zip(KINDS, s.vocabularies)}
    found |= {
        "conds_mixer.conds_mix.weight": (s.conds, WIDTHS[mode] + spread + 15),
        "conds_mixer.conds_mix.bias": (s.conds,),
    }
    for i, (frame, ratio) in enumerate(((20, 20), (80, 4))):
        here = f"frames_layers.{i}"
        found |= {f"{here}.rnn_h0": (1, size), f"{here}.upsample_bias": (size, ratio)}
        found |= _normed(f"{here}.x_expand", size, frame, 1) | _normed(f"{here}.conds_expand", size, s.conds, 1)
        found |= {f"{here}.rnn.{n}_l0": (3 * size, size) for n in ("weight_ih", "weight_hh")}
        found |= {f"{here}.rnn.{n}_l0": (3 * size,) for n in ("bias_ih", "bias_hh")}
        found |= _normed(f"{here}.upsample", size, size, ratio, bias=False)
    here = "sample_layer"
    found |= {f"{here}.emb_layer.weight": (256, 256), f"{here}.conds_expand.weight": (size, s.conds, 1)}
    found |= _normed(f"{here}.emb_layer_expand", size, 256, 20, bias=False) | {f"{here}.conds_expand.bias": (size,)}
    found |= {f"{here}.comb_layer.weight": (size, 3 * size), f"{here}.comb_layer.bias": (size,)}
    return found | _normed(f"{here}.comb_layer_expand", size, size, 1) | _normed(f"{here}.adapt", 256, size, 1)


def _normed(here: str, out: int, inputs: int, taps: int, bias: bool = True) -> Shapes:
    found: Shapes = {f"{here}.weight_g": (out, 1, 1), f"{here}.weight_v": (out, inputs, taps)}
    return found | ({f"{here}.bias": (out,)} if bias else {})


def words(sizes: Sizes = Sizes()) -> dict[str, list[str]]:
    """Vocabularies of these sizes."""
    return {kind: [f"{kind}{i}" for i in range(n)] for kind, n in zip(KINDS, sizes.vocabularies)}


def ours(public: Weights, sizes: Sizes = Sizes()) -> SampleRNNPASE:
    """Our network with a public one's weights."""
    how = layout(public)
    tensors = renamed(public, how)
    return network(tensors, derive_config(tensors, how, None, words(sizes)))


# ---- the paper's names


PAPER = (
    ("conds_mixer.conds_mix.", "_conds_adaptation_layer."),
    ("conds_mixer.conds_utt_", "conds_linguistic_"),
    ("_emb.weight", ".weight"),
    ("frames_layers.", "frame_level_layers."),
    ("sample_layer.", "sample_level_layer."),
    (".x_expand.", "._samples_expand_layer."),
    (".conds_expand.", "._conds_expand_layer."),
    (".rnn.", "._rnn_layer."),
    (".rnn_h0", "._rnn_layer_h0"),
    (".upsample.", "._upsampling_layer."),
    (".upsample_bias", "._upsampling_layer_bias"),
    (".emb_layer.", "._embedding_layer."),
    (".emb_layer_expand.", "._embedding_expand_layer."),
    (".comb_layer.", "._inputs_comb_layer."),
    (".comb_layer_expand.", "._global_expand_layer."),
    (".adapt.", "._adaptation_layer."),
)


def papers(public: Weights) -> dict[str, Weights | None]:
    """A checkpoint of the paper's code with the same weights: content before speaker, the table apart."""
    model: Weights = {}
    for name, tensor in public.items():
        new = name
        for theirs, its in PAPER:
            new = new.replace(theirs, its)
        model[new] = tensor.roll(-15, 1) if name == "conds_mixer.conds_mix.weight" else tensor
    return {"model_state": model, "embedding_state": {"weight": model.pop(TABLE)}, "pase_state": None}


# ---- inputs of the golden arrays


def content(mode: Mode, rows: int, frames: int, sizes: Sizes = Sizes()) -> Tensor:
    """(rows, frames, C) float32, as their network reads it: numbers in -2 .. 2, and indices of categories."""
    random = np.random.default_rng([1, WIDTHS[mode]])
    made = 4 * random.random((rows, frames, WIDTHS[mode])) - 2
    if mode != "acoustic":
        for vocabulary, fields in FIELDS.items():
            for field in fields:
                made[..., field] = random.integers(sizes.vocabularies[vocabulary], size=(rows, frames))
    return torch.from_numpy(made.astype(np.float32))


def uniforms(length: int, seed: int) -> np.ndarray:
    """(length,) strictly within 0 and 1, exact in float32 too."""
    return (2 * np.random.default_rng(seed).integers(2**23, size=length) + 1) / 2**24
