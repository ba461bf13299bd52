"""Weights in 8 bits: how a model.safetensors that ships holds a matrix in half the bytes of 16-bit floats.

    NAME            int8, the matrix's own shape       steps, -127 to 127
    NAME.exponent   int8, (rows of dimension 0,)       -24 to 8
    value = steps * 2^exponent: at most 2^15 and a multiple of 2^-24, so that a 16-bit float holds every value exactly

The exponent of a row is the smallest that spans it, so that no value moves by more than half a step, which is at most
1/127 of the largest value in its row. Own format; `Vocoder.from_pretrained` reads it, tools/ship_voice.py writes it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

LARGEST, LOWEST, HIGHEST = 127, -24, 8  # steps; exponents
WORTH = 2**14  # numbers: smaller matrices stay floats
SUFFIX = ".exponent"


def in_steps(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """A float matrix (N, ...) as int8 steps (N, ...) and int8 exponents (N,), rounded to the nearest step.

    Raises ValueError for values that are not finite or beyond 127 * 2^8.
    """
    rows = matrix.detach().double().flatten(1)
    largest = rows.abs().amax(1)
    if not (largest <= LARGEST * 2.0**HIGHEST).all():
        raise ValueError(f"weights of up to {largest.max():g} do not go into 8 bits; expected finite ones below 2^15")
    share, exponents = torch.frexp(largest / LARGEST)  # share in [1/2, 1), or 0
    exponents = (exponents - (share == 0.5).int()).clamp(min=LOWEST)
    exponents[largest == 0] = LOWEST
    steps = (rows / _powers(exponents)[:, None]).round()
    return steps.to(torch.int8).reshape(matrix.shape), exponents.to(torch.int8)


def values(steps: Tensor, exponents: Tensor) -> Tensor:
    """int8 steps (N, ...) and exponents (N,) -> what they stand for, float32 (N, ...)."""
    return steps.float() * _powers(exponents).float().reshape(-1, *[1] * (steps.dim() - 1))


def _powers(exponents: Tensor) -> Tensor:
    """2^exponent, looked up: torch's own powers are not exact on every device."""
    table = torch.tensor([2.0**exponent for exponent in range(LOWEST, HIGHEST + 1)], dtype=torch.float64)
    return table[exponents.long() - LOWEST]


def packed(model: nn.Module, tensors: dict[str, Tensor], keep: Sequence[str] = ()) -> dict[str, Tensor]:
    """A state dict of `model` with its large matrices in 8 bits: learned ones of WORTH numbers or more.

    All other tensors stay as they are: small ones, statistics and other buffers, values beyond the format, and those
    whose names begin with one of `keep`.
    """
    learned = {name for name, _ in model.named_parameters() if not name.startswith(tuple(keep))}
    out: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        large = tensor.is_floating_point() and tensor.dim() >= 2 and tensor.numel() >= WORTH
        if large and name in learned and bool((tensor.abs() <= LARGEST * 2.0**HIGHEST).all()):
            out[name], out[name + SUFFIX] = in_steps(tensor)
        else:
            out[name] = tensor
    return out


def unpacked(tensors: dict[str, Tensor], own: dict[str, Tensor], path: Path) -> dict[str, Tensor]:
    """Tensors of a file with those that `own`, the model's state dict, has as floats made floats.

    Raises ValueError for steps without fitting exponents, and for exponents or steps beyond the format.
    """
    out = dict(tensors)
    for name, steps in tensors.items():
        if steps.dtype != torch.int8 or name not in own or not own[name].is_floating_point():
            continue
        exponents = out.pop(name + SUFFIX, None)
        if exponents is None:
            raise ValueError(f"{path}: {name} is int8 without {name}{SUFFIX}; expected both, or floats: it is damaged")
        rows = tuple(steps.shape[:1])
        if exponents.dtype != torch.int8 or not rows or tuple(exponents.shape) != rows:
            raise ValueError(
                f"{path}: {name}{SUFFIX} is {exponents.dtype} of shape {tuple(exponents.shape)}; expected torch.int8 "
                f"of shape {rows}, one for each row of {name}: it is damaged"
            )
        if ((exponents < LOWEST) | (exponents > HIGHEST)).any() or (steps < -LARGEST).any():
            raise ValueError(
                f"{path}: {name} holds steps of -128 or exponents beyond {LOWEST} to {HIGHEST}; expected steps of "
                f"-{LARGEST} to {LARGEST}: it is damaged"
            )
        out[name] = values(steps, exponents)
    return out
