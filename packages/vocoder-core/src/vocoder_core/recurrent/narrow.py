"""Weights in 16 bits for a GPU: what a cell multiplies by, rounded once, so that half as much is read.

    y = x W^T + b        x and W as 16-bit floats, their products summed in float32, b and y float32

Nothing else is narrowed: tables of which one row is read, states, gates and the draw stay as they are. A cell says
F.linear, @ or addmm as ever; while the mode is entered those three meet the rounded copies.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

Precision = Literal["fp32", "bf16", "fp16"]
DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


def check_precision(precision: str, backend: str = "graph") -> None:
    """Raises ValueError for one that there is not, or not with this backend."""
    if precision not in get_args(Precision):
        known = ", ".join(get_args(Precision))
        raise ValueError(f"precision is {precision!r}; expected one of {known}")
    if precision != "fp32" and backend != "graph":
        raise ValueError(f"precision is {precision!r} with backend {backend!r}; expected fp32, or 'graph' on CUDA")


class Narrow(TorchFunctionMode):
    """While entered, products (..., I) x (I, O) by float32 weights are of 16-bit numbers.

    known: weights that are rounded so far; with `learning` new ones are added, else they are met as they are. Each is
    kept, so that no other can come to lie where it lay.
    """

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self.dtype, self.learning = dtype, True
        self.known: dict[object, tuple[Tensor, Tensor]] = {}

    def __torch_function__(self, func: Any, types: Iterable[type], args: Any = (), kwargs: Any = None) -> Any:
        """What torch calls in place of its functions."""
        if not kwargs and func in PRODUCTS:
            made = self.product(*PRODUCTS[func](*args)) if len(args) > 1 else None
            if made is not None:
                return made
        return func(*args, **(kwargs or {}))

    def product(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor | None:
        """x (..., I) times weight (O, I), plus bias; None where there is nothing to narrow."""
        wide = torch.float32
        if x.dim() < 2 or weight.dim() != 2 or x.dtype != wide or weight.dtype != wide:
            return None
        rounded = self.rounded(weight)
        if rounded is None:
            return None
        made = summed(x.flatten(0, -2).to(self.dtype), rounded).unflatten(0, x.shape[:-1])
        return made if bias is None else made + bias

    def rounded(self, weight: Tensor) -> Tensor | None:
        """The copy of a weight that is known."""
        place = weight.untyped_storage()._cdata, weight.storage_offset(), weight.shape, weight.stride()
        if place not in self.known:
            if not self.learning:
                return None
            self.known[place] = weight, weight.to(self.dtype).contiguous()
        return self.known[place][1]


def summed(x: Tensor, weight: Tensor) -> Tensor:
    """x (B, I) times weight (O, I), 16-bit floats, in float32."""
    if x.device.type == "cpu":  # as it is defined: products of 16-bit floats are exact in float32
        return x.float() @ weight.float().t()
    if sums_in_float32(x.device.type):
        return torch.mm(x, weight.t(), out_dtype=torch.float32)
    return F.linear(x, weight).float()  # summed in float32, rounded once more


_sums: dict[str, bool] = {}


def sums_in_float32(kind: str) -> bool:
    """Whether torch hands out such sums on a kind of device: on CUDA from 2.8 on. Asked once, of a small product."""
    if kind not in _sums:
        one = torch.ones(16, 16, dtype=torch.bfloat16, device=kind)
        try:
            _sums[kind] = torch.mm(one, one, out_dtype=torch.float32).dtype == torch.float32
        except (RuntimeError, TypeError):
            _sums[kind] = False
    return _sums[kind]


def _of_linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor | None]:
    return x, weight, bias


def _of_matmul(x: Tensor, matrix: Tensor) -> tuple[Tensor, Tensor, None]:
    return x, matrix.mT if matrix.dim() == 2 else matrix, None


def _of_addmm(bias: Tensor, x: Tensor, matrix: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    return x, matrix.mT, bias


PRODUCTS: dict[Any, Callable[..., tuple[Tensor, Tensor, Tensor | None]]] = {
    F.linear: _of_linear,
    torch.matmul: _of_matmul,
    Tensor.matmul: _of_matmul,
    Tensor.__matmul__: _of_matmul,
    torch.addmm: _of_addmm,
}
