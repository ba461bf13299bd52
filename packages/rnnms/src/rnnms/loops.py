"""The ways to run the decoder sample by sample.

TorchLoop    the definition, to be read on one screen. Any device, whole batch at once; on CUDA the host never waits.
NumbaLoop    the kernel of kernel.py: CPU, one stream per row, rows side by side on threads.
IntegerLoop  that of integers_kernel.py: CPU, the rows of a thread together, weights in 8 or 16 bits.

Each carries its state from call to call, so any split into calls gives the same codes:

    loop = TorchLoop(decoder, batch, temperature)
    codes = loop(latents[:, :4], uniforms[:, : 4 * hop])  # four frames; the next call goes on where this one stopped
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from vocoder_core.recurrent.draws import LEAST_TEMPERATURE, draw
from vocoder_core.recurrent.integers import Tier, matrices
from vocoder_core.recurrent.streams import compile_aloud, pack, shares, side_by_side


class TorchLoop:
    """p(x[t] | x[<t], latents) one t after another, in torch."""

    def __init__(self, decoder: Any, batch: int, temperature: float) -> None:
        self.decoder, self.temperature = decoder, temperature
        weight = decoder.fc2.weight
        self.table, _ = decoder.folded(weight.new_zeros(batch, 0, _conditioning(decoder).shape[1]))
        self.hidden = weight.new_zeros(batch, decoder.rnn.hidden_size)
        self.code = torch.full((batch,), decoder.fc2.out_features // 2, device=weight.device)  # silence

    def __call__(self, latents: Tensor, uniforms: np.ndarray) -> Tensor:
        """Codes (B, n) of the next frames: latents (B, F, 2C), uniforms (B, n) in [0, 1), n = F * hop_length."""
        draws = torch.from_numpy(uniforms).to(latents.device)
        codes = torch.empty(draws.shape, dtype=torch.int64, device=latents.device)
        for t in range(draws.shape[1]):
            if t % self.decoder.hop_length == 0:
                condition = latents[:, t // self.decoder.hop_length] @ _conditioning(self.decoder).t()
            self.code = draw(self.step(condition), draws[:, t], self.temperature)
            codes[:, t] = self.code
        return codes

    def step(self, condition: Tensor) -> Tensor:
        """Logits (B, Q) of the next sample, from the last one and the frame's part of the input gates (B, 3H)."""
        rnn, width = self.decoder.rnn, self.hidden.shape[1]
        entry = self.table[self.code] + condition
        product = F.linear(self.hidden, rnn.weight_hh_l0, rnn.bias_hh_l0)
        reset, update = (entry + product)[:, : 2 * width].sigmoid().chunk(2, dim=1)
        candidate = torch.tanh(entry[:, 2 * width :] + reset * product[:, 2 * width :])
        self.hidden = torch.lerp(candidate, self.hidden, update)
        logits: Tensor = self.decoder.fc2(F.relu(self.decoder.fc1(self.hidden)))
        return logits


class NumbaLoop:
    """The same by the compiled kernel. Its codes do not depend on the batch, nor on the number of threads."""

    def __init__(self, decoder: Any, batch: int, temperature: float) -> None:
        from . import kernel

        table, _ = decoder.folded(decoder.fc2.weight.new_zeros(batch, 0, _conditioning(decoder).shape[1]))
        rnn, first, second = decoder.rnn, decoder.fc1, decoder.fc2
        self.weights = pack(table, _conditioning(decoder), rnn.weight_hh_l0, rnn.bias_hh_l0, first.weight, first.bias,
                            second.weight.t(), second.bias)  # fmt: skip
        self.sharpness = np.float32(1 / max(temperature, LEAST_TEMPERATURE))
        self.hidden = np.zeros((batch, rnn.hidden_size), np.float32)
        self.code = np.full(batch, second.out_features // 2, np.int64)
        self.kernel = kernel.generate
        self._compile(_conditioning(decoder).shape[1])

    def __call__(self, latents: Tensor, uniforms: np.ndarray) -> Tensor:
        """Codes (B, n) of the next frames: latents (B, F, 2C), uniforms (B, n) float64, n = F * hop_length."""
        codes = np.empty((len(uniforms), uniforms.shape[1] + 1), np.int64)
        codes[:, 0] = self.code
        frames = latents.detach().float().cpu().contiguous().numpy()

        def row(b: int) -> None:
            self.kernel(*self.weights, frames[b], uniforms[b], self.sharpness, self.hidden[b], codes[b])

        side_by_side(row, len(codes))
        self.code = codes[:, -1].copy()
        return torch.from_numpy(codes[:, 1:]).to(latents.device)

    def _compile(self, latent_size: int) -> None:
        """Compile for these types."""
        nothing = np.zeros((0, latent_size), np.float32), np.zeros(0)
        ends = np.zeros_like(self.hidden[0]), np.zeros(1, np.int64)
        compile_aloud(lambda: self.kernel(*self.weights, *nothing, self.sharpness, *ends))


class IntegerLoop:
    """The decoder in whole numbers. Its codes depend neither on the batch nor on threads."""

    def __init__(self, decoder: Any, batch: int, temperature: float, tier: Tier, lanes: int | None = None) -> None:
        """lanes: of the registers that products use; None: the widest that the processor has (vnni.lanes)."""
        from vocoder_core.recurrent import vnni

        from . import integers_kernel as kernel

        rnn, first, second = decoder.rnn, decoder.fc1, decoder.fc2
        conditioning = _conditioning(decoder)
        table, _ = decoder.folded(conditioning.new_zeros(batch, 0, conditioning.shape[1]))
        parts = [(rnn.weight_hh_l0, True), (first.weight, True), (second.weight, False)]
        one, two, three = matrices(parts, tier, vnni.lanes() if lanes is None else lanes)
        rows, frame, *biases = pack(table, conditioning, rnn.bias_hh_l0, first.bias, second.bias)
        self.net = kernel.Net(rows, frame, one, biases[0], two, biases[1], three, biases[2])
        self.generate = kernel.generate
        self.sharpness = np.float32(1 / max(temperature, LEAST_TEMPERATURE))
        self.rows = shares(batch)
        self.works = [kernel.silent(self.net, rows.stop - rows.start) for rows in self.rows]
        self.code = np.full(batch, second.out_features // 2, np.int64)
        nothing = np.zeros((1, 0, conditioning.shape[1]), np.float32), np.zeros((1, 0)), self.sharpness
        compile_aloud(lambda: self.generate(self.net, kernel.silent(self.net, 1), *nothing, np.zeros((1, 1), np.int64)))

    def __call__(self, latents: Tensor, uniforms: np.ndarray) -> Tensor:
        """Codes (B, n) of the next frames: latents (B, F, 2C), uniforms (B, n) float64, n = F * hop_length."""
        codes = np.empty((len(uniforms), uniforms.shape[1] + 1), np.int64)
        codes[:, 0] = self.code
        frames = latents.detach().float().cpu().contiguous().numpy()

        def share(k: int) -> None:
            rows = self.rows[k]
            self.generate(self.net, self.works[k], frames[rows], uniforms[rows], self.sharpness, codes[rows])

        side_by_side(share, len(self.rows))
        self.code = codes[:, -1].copy()
        return torch.from_numpy(codes[:, 1:]).to(latents.device)


def _conditioning(decoder: Any) -> Tensor:
    """The input weights that read the latents, (3H, 2C)."""
    weight: Tensor = decoder.rnn.weight_ih_l0
    return weight[:, decoder.embedding.embedding_dim :]
