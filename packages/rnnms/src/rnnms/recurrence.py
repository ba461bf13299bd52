"""A GRU whose input gates are already computed, forward and backward, for training on a CPU.

RNN_MS reads at every sample one of Q embeddings and one of F frames, so its input gates are a table row plus a frame
row and need no matrix product per sample. What is left is the recurrence,

    r, z = sigmoid(a_rz + h W_rz + b_rz)        n = tanh(a_n + r * (h W_n + b_n))        h <- n + z * (h - n)

(gate order r, z, n as in torch.nn.GRU, its test oracle). torch.nn.GRU adds the weight gradient up once per time step;
here the steps only collect the gate gradients, and one matrix product at the end gives the weight's.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def gru(gates: Tensor, state: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Hidden states (T, B, H) of a GRU from input gates (T, B, 3H) and state (B, H), with W_hh (3H, H) and b_hh (3H,).

    Differentiable in all four arguments; float32 or float64.
    """
    return _Recurrence.apply(gates, state, weight, bias)


class _Recurrence(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, gates: Tensor, state: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        steps, batch, width = gates.shape[0], gates.shape[1], state.shape[1]
        hidden = gates.new_empty(steps + 1, batch, width)
        hidden[0] = state
        reset_update = torch.empty_like(gates[..., : 2 * width])
        candidate = torch.empty_like(hidden[1:])
        inner = torch.empty_like(candidate)  # h W_n + b_n: the backward pass needs it
        transposed = weight.t().contiguous()
        product = gates.new_empty(batch, 3 * width)
        for t in range(steps):
            torch.addmm(bias, hidden[t], transposed, out=product)
            rz, n = reset_update[t], candidate[t]
            torch.add(gates[t, :, : 2 * width], product[:, : 2 * width], out=rz).sigmoid_()
            inner[t] = product[:, 2 * width :]
            torch.addcmul(gates[t, :, 2 * width :], rz[:, :width], inner[t], out=n).tanh_()
            torch.lerp(n, hidden[t], rz[:, width:], out=hidden[t + 1])
        ctx.save_for_backward(hidden, reset_update, candidate, inner, weight)
        return hidden[1:]

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        hidden, reset_update, candidate, inner, weight = ctx.saved_tensors
        steps, batch, width = candidate.shape
        before = hidden[:-1]
        r, z = reset_update[..., :width], reset_update[..., width:]
        # what multiplies dL/dh_t, the same for all t, so computed at once
        to_update = (before - candidate).mul_(z).mul_(1 - z)
        to_candidate = (1 - z).mul_(1 - candidate * candidate)
        to_reset = inner.mul(r).mul_(1 - r)
        d_gates = torch.empty(steps, batch, 3 * width, dtype=grad.dtype, device=grad.device)
        d_inner = torch.empty(steps, batch, 3 * width, dtype=grad.dtype, device=grad.device)  # towards h W + b
        d_state = torch.zeros_like(hidden[0])
        for t in range(steps - 1, -1, -1):
            d_hidden = d_state.add_(grad[t])
            own, through = d_gates[t], d_inner[t]
            torch.mul(d_hidden, to_candidate[t], out=own[:, 2 * width :])
            torch.mul(own[:, 2 * width :], to_reset[t], out=own[:, :width])
            torch.mul(d_hidden, to_update[t], out=own[:, width : 2 * width])
            through[:, : 2 * width] = own[:, : 2 * width]
            torch.mul(own[:, 2 * width :], r[t], out=through[:, 2 * width :])
            d_state = torch.addmm(d_hidden.mul_(z[t]), through, weight)
        flat = d_inner.view(steps * batch, 3 * width)
        d_weight = flat.t() @ before.reshape(steps * batch, width)
        return d_gates, d_state, d_weight, flat.sum(0)
