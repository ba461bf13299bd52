"""Tensor names of public WaveGlows, brought to one layout, read for their sizes, and renamed to those of this package.

    fused   NVIDIA/waveglow since August 2019       WN.k.cond_layer,    WN.k.res_skip_layers.i
    DLE     NVIDIA/DeepLearningExamples             WN.k.cond_layers.i, WN.k.res_skip_layers.i
    old     NVIDIA/waveglow of November 2018        WN.k.cond_layers.i, WN.k.res_layers.i, WN.k.skip_layers.i

All of them with weight norm (`weight_g`, `weight_v`) or after its removal (`weight`). Weight norm treats each output
row by itself, so that layers may be put on top of each other in either form.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from .flow import FlowConfig

PREFIXES = ("module.1.", "module.", "_orig_mod.")  # of data-parallel wrappers and compilers
OURS = {
    r"convinv\.(\d+)\.conv\.weight": r"mixings.\1.weight",
    r"WN\.(\d+)\.cond_layer\.": r"conditions.\1.",
    r"WN\.(\d+)\.in_layers\.": r"couplings.\1.dilated.",
    r"WN\.(\d+)\.res_skip_layers\.": r"couplings.\1.res_skip.",
    r"WN\.(\d+)\.(start|end)\.": r"couplings.\1.\2.",
    r"\.weight_g$": ".parametrizations.weight.original0",
    r"\.weight_v$": ".parametrizations.weight.original1",
}


@dataclass(frozen=True)
class Sizes:
    """What a checkpoint's tensors tell: the flow, and the transposed convolution that upsamples the mel before it."""

    flow: FlowConfig
    n_mels: int
    upsample_kernel: int


def fused(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Any of the three layouts in the fused one, in float32. Raises ValueError where there is no WaveGlow."""
    named = {_bare(name): tensor.float() for name, tensor in tensors.items()}
    named = {_old_weight_norm(name): tensor for name, tensor in named.items()}
    if "upsample.weight" not in named or "WN.0.start.bias" not in named:
        first = ", ".join(sorted(named)[:3])
        raise ValueError(f"the checkpoint's tensors ({first}, ...) are no WaveGlow's: it has upsample and WN.0.start")
    for k in range(_count(named, r"WN\.(\d+)\.")):
        layers = _count(named, rf"WN\.{k}\.in_layers\.(\d+)\.")
        if f"WN.{k}.cond_layers.0.bias" in named:
            _stack(named, [f"WN.{k}.cond_layers.{i}" for i in range(layers)], f"WN.{k}.cond_layer")
        if f"WN.{k}.skip_layers.0.bias" in named:
            for i in range(layers):
                parts = ["skip"] if i + 1 == layers else ["res", "skip"]
                _stack(named, [f"WN.{k}.{part}_layers.{i}" for part in parts], f"WN.{k}.res_skip_layers.{i}")
    return named


def sizes(tensors: dict[str, Tensor], swap_odd: bool = False) -> Sizes:
    """Sizes of a network in the fused layout. Raises ValueError for one this package cannot be."""
    n_mels, _, kernel = _shape(tensors, "upsample.weight", 3)
    flows, layers = _count(tensors, r"WN\.(\d+)\."), _count(tensors, r"WN\.0\.in_layers\.(\d+)\.")
    normed = "WN.0.start.weight_v" in tensors
    weight = "weight_v" if normed else "weight"
    channels, _, taps = _shape(tensors, f"WN.0.in_layers.0.{weight}", 3)
    widths = [_shape(tensors, f"convinv.{k}.conv.weight", 3)[0] for k in range(flows)]
    drops = [k for k in range(1, flows) if widths[k] != widths[k - 1]]
    flow = FlowConfig(
        group=_shape(tensors, f"WN.0.cond_layer.{weight}", 3)[1] // n_mels,
        flows=flows, layers=layers, channels=channels // 2, kernel=taps,
        early_every=drops[0] if drops else flows, early_size=widths[drops[0] - 1] - widths[drops[0]] if drops else 0,
        swap_odd=swap_odd, weight_norm=normed, **PARITY,
    )  # fmt: skip
    if flow.widths != widths:
        raise ValueError(f"the checkpoint's flows have {widths} channels; expected as many less every few flows")
    return Sizes(flow, n_mels, kernel)


def renamed(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The flow's tensors of the fused layout under this package's names and in its shapes; `upsample` is left out."""
    ours = {}
    for name, tensor in tensors.items():
        if name.startswith("upsample."):
            continue
        if ".in_layers." in name and tensor.dim() == 3 and not name.endswith("_g"):
            tensor = tensor.transpose(1, 2)  # (2C, taps, C): a convolution as one matrix product
        for pattern, replacement in OURS.items():
            name = re.sub(pattern, replacement, name)
        ours[name] = tensor.flatten(1) if tensor.dim() == 3 else tensor
    return ours


#: What NVIDIA's flow is beside its sizes.
PARITY: dict[str, Any] = {"cond": "group", "prenet": 0, "subframes": 1, "log_scale_bound": 0.0, "film": False}


def _bare(name: str) -> str:
    for prefix in PREFIXES:
        name = name.removeprefix(prefix)
    return name


def _old_weight_norm(name: str) -> str:
    name = name.replace(".parametrizations.weight.original0", ".weight_g")
    return name.replace(".parametrizations.weight.original1", ".weight_v")


def _count(names: Iterable[str], pattern: str) -> int:
    return 1 + max((int(found.group(1)) for name in names if (found := re.match(pattern, name))), default=-1)


def _stack(tensors: dict[str, Tensor], sources: list[str], target: str) -> None:
    """Rows of several layers on top of each other, as one layer; the several are removed."""
    for kind in ("bias", "weight", "weight_g", "weight_v"):
        names = [f"{source}.{kind}" for source in sources]
        if not any(name in tensors for name in names):
            continue
        missing = [name for name in names if name not in tensors]
        if missing:
            raise ValueError(f"the checkpoint does not hold one whole network: it lacks {missing[0]}")
        tensors[f"{target}.{kind}"] = torch.cat([tensors.pop(name) for name in names])


def _shape(tensors: dict[str, Tensor], name: str, axes: int) -> tuple[int, ...]:
    if name not in tensors or tensors[name].dim() != axes:
        raise ValueError(f"the checkpoint's {name} is missing or has not {axes} axes; expected a whole WaveGlow")
    return tuple(tensors[name].shape)
