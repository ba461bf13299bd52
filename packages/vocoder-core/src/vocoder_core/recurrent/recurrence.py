"""A GRU for training on a CPU, forward and backward, its input products done beforehand.

`gru` is given the input gates of every step: one large product for all steps, where torch.nn.GRU on a CPU does as much.
`gru_of_codes` is for a network that reads at every sample one of Q embeddings and one of F frames: its input gates are
a table row plus a frame row. What is left is the recurrence (gate order r, z, n as in torch.nn.GRU, its test oracle),

    a = table[code] + condition        p = h W + b
    r, z = sigmoid(a_rz + p_rz)        n = tanh(a_n + r * p_n)        h <- n + z * (h - n)

Here a step is one matrix product and one element-wise pass, `_advance`, or `_retreat` on the way back. Those two have
twins in recurrence_kernel.py, compiled by numba, which do the pass in one loop over memory: float32 on a CPU.
torch.nn.GRU adds the weight gradient up once per time step; here WINDOW steps share one matrix product.
"""

from __future__ import annotations

import importlib.util
from typing import Any

import torch
from torch import Tensor

WINDOW = 32  # steps whose gate gradients wait for their product with the states: few enough to stay in the cache


def gru(entries: Tensor, state: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Hidden states (T, B, H) of a GRU whose input gates, b_ih included, are entries (T, B, 3H).

    state (B, H) before the first step, W_hh (3H, H), b_hh (3H). Differentiable in all four; float32 or float64. Entries
    of half precision, as autocast makes them, are computed in the weights' precision: so are their states.
    """
    entries, state = entries.to(weight.dtype), state.to(weight.dtype)
    nothing = entries.new_zeros(1, entries.shape[2])
    codes = torch.zeros(entries.shape[:2], dtype=torch.int64, device=entries.device)
    return gru_of_codes(nothing, codes, entries, state, weight, bias)


def gru_of_codes(
    table: Tensor, codes: Tensor, conditions: Tensor, state: Tensor, weight: Tensor, bias: Tensor
) -> Tensor:
    """Hidden states (T, B, H) of a GRU whose input gates are table[codes[t]] + conditions[t // (T / F)].

    table (Q, 3H), codes (T, B) int64, conditions (F, B, 3H) with T a multiple of F, state (B, H) before the first
    step, W_hh (3H, H), b_hh (3H). Differentiable in all but the codes; float32 or float64.
    Raises ValueError for codes the table does not have.
    """
    if codes.numel() and not 0 <= codes.min() <= codes.max() < len(table):  # compiled code would read what lies beside
        raise ValueError(f"codes lie between {codes.min()} and {codes.max()}; expected 0 to {len(table) - 1}")
    learned = (table, conditions, state, weight, bias)
    keep = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in learned)
    return _Recurrence.apply(table, codes, conditions, state, weight, bias, keep)


class _Recurrence(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        table: Tensor,
        codes: Tensor,
        conditions: Tensor,
        state: Tensor,
        weight: Tensor,
        bias: Tensor,
        keep: bool,
    ) -> Tensor:
        steps, (batch, width) = len(codes), state.shape
        hop = steps // max(len(conditions), 1)
        hidden = table.new_empty(steps + 1, batch, width)
        hidden[0] = state
        saved = table.new_empty(steps if keep else 1, 4, batch, width)  # r, z, n, p_n
        product, transposed = table.new_empty(batch, 3 * width), weight.t().contiguous()
        advance, (rows, at, frames, p, h, kept) = _step("advance", table, codes, conditions, product, hidden, saved)
        for t in range(steps):
            torch.addmm(bias, hidden[t], transposed, out=product)
            advance(rows, at[t], frames[t // hop], p, h[t], kept[t if keep else 0], h[t + 1])
        ctx.save_for_backward(hidden, saved, codes, weight)
        ctx.sizes = table.shape, conditions.shape
        return hidden[1:]

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        hidden, saved, codes, weight = ctx.saved_tensors
        steps, _, batch, width = saved.shape
        d_table, d_conditions = (grad.new_zeros(size) for size in ctx.sizes)
        hop = steps // max(len(d_conditions), 1)
        d_hidden, d_weight, d_bias = grad.new_zeros(batch, width), torch.zeros_like(weight), grad.new_zeros(3 * width)
        window = grad.new_empty(min(WINDOW, steps), batch, 3 * width)  # dL/dp
        retreat, (above, at, h, kept, d_h, through, d_rows, d_frames) = _step(
            "retreat", grad, codes, hidden, saved, d_hidden, window, d_table, d_conditions
        )
        for t in range(steps - 1, -1, -1):
            slot = t % WINDOW
            retreat(above[t], at[t], h[t], kept[t], d_h, through[slot], d_rows, d_frames[t // hop])
            d_hidden.addmm_(window[slot], weight)
            if slot == 0:
                count = min(WINDOW, steps - t)
                part = window[:count].flatten(0, 1)
                d_weight.addmm_(part.t(), hidden[t : t + count].flatten(0, 1))
                d_bias += part.sum(0)
        return d_table, None, d_conditions, d_hidden, d_weight, d_bias, None


def _step(name: str, *tensors: Tensor) -> tuple[Any, list[Any]]:
    """One step's function and what it reads and writes: compiled with NumPy's views, or in torch with the tensors."""
    first = tensors[0]
    if first.device.type == "cpu" and first.dtype == torch.float32 and importlib.util.find_spec("numba"):
        from . import recurrence_kernel

        return getattr(recurrence_kernel, name), [tensor.detach().contiguous().numpy() for tensor in tensors]
    return {"advance": _advance, "retreat": _retreat}[name], list(tensors)


def _advance(
    table: Tensor, codes: Tensor, condition: Tensor, product: Tensor, before: Tensor, saved: Tensor, after: Tensor
) -> None:
    """One step: from h (B, H) and p (B, 3H) to the next h, with r, z, n, p_n kept (4, B, H)."""
    width = before.shape[1]
    entry = table[codes] + condition
    r, z = (entry + product)[:, : 2 * width].sigmoid().chunk(2, dim=1)
    n = torch.tanh(entry[:, 2 * width :] + r * product[:, 2 * width :])
    torch.stack([r, z, n, product[:, 2 * width :]], out=saved)
    torch.lerp(n, before, z, out=after)


def _retreat(
    grad: Tensor,
    codes: Tensor,
    before: Tensor,
    saved: Tensor,
    d_hidden: Tensor,
    through: Tensor,
    d_table: Tensor,
    d_condition: Tensor,
) -> None:
    """The same step backwards: dL/dp into `through`, dL/da added to table and condition, dL/dh carried on in d_hidden.

    What reaches h by way of p is left to the caller: d_hidden += through W.
    """
    r, z, n, p_n = saved
    d_hidden += grad
    own = d_hidden * (1 - z) * (1 - n * n)  # dL/da_n
    torch.cat([own * p_n * r * (1 - r), d_hidden * (before - n) * z * (1 - z), own * r], dim=1, out=through)
    d_gates = torch.cat([through[:, : 2 * z.shape[1]], own], dim=1)
    d_condition += d_gates
    d_table.index_add_(0, codes, d_gates)
    d_hidden *= z
