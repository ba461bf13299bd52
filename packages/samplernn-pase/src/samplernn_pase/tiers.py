"""The three tiers of SampleRNN (Mehri et al. 2017, arXiv 1612.07837), conditioned, as the PASE paper's code has them.

    tier        reads                                      steps          gives the one below
    top         the 80 samples before, conds               every 80       4 vectors, one for each 20 samples
    mid         the 20 samples before, conds, top's        every 20       20 vectors, one for each sample
    sample      the 20 codes before, conds, mid's          every sample   logits of the sample

    samples     |<- 80 before ->|<------------- 80 ------------->|
    top         [ reads these  ] o one step: h, 4 vectors
    mid              [  20 of  ] o       o       o       o           reads the 20 samples before each o
    sample             [ codes ]oooooooooooooooooooooooooooooooo      reads the 20 codes before each o

Frame tiers are a GRU between two linear maps; an upsampler is one, too: y[r] = W[:, r] h + b[r]. The sample tier is a
perceptron. What it reads meets in one of two ways: `concat`, [samples, conds, upper] -> Linear, is the PASE code's;
`add` is SampleRNN's own sum. Written from the description; the public network with the same weights is the oracle.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from vocoder_core.recurrent.recurrence import gru


class Spread(nn.Module):
    """Upsampling by r: x (B, N, H) -> (B, N r, H), vector n r + k = x[n] W[:, k] + b[k]. No bias but one for each k."""

    def __init__(self, size: int, ratio: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(size, ratio, size))  # in, place, out: one product for all places
        self.bias = nn.Parameter(torch.zeros(ratio, size))
        nn.init.uniform_(self.weight, -sqrt(6 / size), sqrt(6 / size))

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        _, ratio, out = self.weight.shape
        spread = F.linear(x, self.weight.flatten(1).t(), self.bias.flatten())
        return spread.reshape(len(x), x.shape[1] * ratio, out)


class FrameTier(nn.Module):
    """One step a frame: history (B, N, frame), conds (B, N, C), upper (B, N, H) -> (B, N ratio, H), state (1, B, H)."""

    def __init__(self, frame: int, ratio: int, conds: int, size: int, normed: bool) -> None:
        """frame: numbers of the past that it reads; ratio: vectors it gives for each step."""
        super().__init__()
        self.frame, self.ratio, self.size = frame, ratio, size
        self.expand = begun(nn.Linear(frame, size), normed)
        self.conds = begun(nn.Linear(conds, size), normed)
        self.rnn = nn.GRU(size, size, batch_first=True)
        self.spread = Spread(size, ratio)
        self.first = nn.Parameter(torch.zeros(1, size))  # the state before an utterance's first frame, learned
        begin_gru(self.rnn)
        if normed:
            weight_norm(self.spread)

    def forward(self, history: Tensor, conds: Tensor, upper: Tensor | None, state: Tensor) -> tuple[Tensor, Tensor]:
        """See the class; state (1, B, H) before the first step."""
        x = self.expand(history) + self.conds(conds)
        hidden = self.states(x if upper is None else x + upper, state)
        return self.spread(hidden), hidden[:, -1][None]

    def states(self, x: Tensor, state: Tensor) -> Tensor:
        """Hidden states (B, N, H) by inputs (B, N, H) from state (1, B, H) on."""
        if x.device.type != "cpu":
            hidden: Tensor = self.rnn(x, state.to(x.dtype))[0]
            return hidden
        inputs, recurrent, bias, recurrent_bias = self.rnn.all_weights[0]
        entries = F.linear(x, inputs, bias)
        with torch.autocast("cpu", enabled=False):  # one product for all steps above; the recurrence in full precision
            entries = entries.to(recurrent.dtype).transpose(0, 1)
            return gru(entries, state[0], recurrent, recurrent_bias).transpose(0, 1)

    def begin(self, state: Tensor | None, reset: Tensor | None, rows: int) -> Tensor:
        """The state (1, B, H) of rows that go on from `state`, or begin an utterance: reset (B,) not 0, state None."""
        first = self.first[:, None].expand(-1, rows, -1)
        if state is None:
            return first.contiguous()
        return state if reset is None else torch.where((reset != 0)[:, None], first, state)


class SampleTier(nn.Module):
    """Codes of the past and what else is told (labels.py), conds and the mid tier's vectors -> logits (B, T, Q)."""

    def __init__(
        self, taps: int, classes: int, embedding: int, conds: int, size: int, *, told: int, values: int,
        concat: bool, normed: bool,
    ) -> None:  # fmt: skip
        """taps: codes of the past that it reads. told, values: further codes and numbers of each sample."""
        super().__init__()
        self.taps, self.classes, self.concat = taps, classes, concat
        self.embedding = nn.Embedding(classes, embedding)
        self.history = begun(nn.Linear(taps * embedding, size, bias=False), normed)  # tap 0 is the oldest code
        self.conds = begun(nn.Linear(conds, size), False)
        tables = [nn.Embedding(classes, size) for _ in range(told)]
        self.told = nn.ModuleList(tables)
        self.values = begun(nn.Linear(values, size, bias=False), False) if values else None
        self.combine = nn.Linear(3 * size, size) if concat else None
        self.hidden = begun(nn.Linear(size, size), normed)
        self.logits = nn.Linear(size, classes)
        lecun(self.logits.weight)
        nn.init.zeros_(self.logits.bias)
        for table in tables:
            nn.init.normal_(table.weight, std=0.1)
        if normed:
            weight_norm(self.logits)

    def forward(self, codes: Tensor, values: Tensor, conds: Tensor, upper: Tensor) -> Tensor:
        """Logits (B, T, Q).

        codes (B, taps - 1 + T, 1 + told) int64: of sample u those told of it, the first the code of u - 1; values
        (B, T, I); conds (B, N, C), one for T / N samples; upper (B, T, H).
        """
        said = self.history(self.windows(codes[..., 0]))
        samples = upper.shape[1]
        now = codes[:, self.taps - 1 :, 1:]
        for k, table in enumerate(self.told):
            said = said + table(now[..., k])
        if self.values is not None:
            said = said + self.values(values)
        frames = self.conds(conds)
        if self.combine is not None:
            frames = frames.repeat_interleave(samples // conds.shape[1], 1)
            met = self.combine(torch.cat([said, frames, upper], dim=2))
        else:
            met = (said + upper).unflatten(1, (conds.shape[1], -1)).add(frames[:, :, None]).flatten(1, 2)
        logits: Tensor = self.logits(F.relu(self.hidden(F.relu(met))))
        return logits

    def windows(self, codes: Tensor) -> Tensor:
        """Embeddings (B, T, taps E) of the codes before each sample, the oldest first; codes (B, taps - 1 + T)."""
        embedded = self.embedding(codes)  # (B, taps - 1 + T, E)
        return embedded.unfold(1, self.taps, 1).transpose(2, 3).flatten(2)


def frames_of(history: Tensor, frame: int, before: int, samples: int) -> Tensor:
    """What a frame tier reads (B, samples / frame, channels frame) of histories (B, channels, L).

    Step i reads the `frame` samples before sample before + frame i.
    """
    seen = history[..., before - frame : before - frame + samples]
    return seen.unflatten(2, (-1, frame)).transpose(1, 2).flatten(2)


def begun(layer: nn.Linear, normed: bool) -> nn.Linear:
    """Kaiming's uniform weights, no bias; with weight norm (Salimans & Kingma 2016) if asked."""
    nn.init.kaiming_uniform_(layer.weight, nonlinearity="relu")
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return weight_norm(layer) if normed else layer


def begin_gru(rnn: nn.GRU) -> None:
    """LeCun's uniform weights, the candidate's recurrent ones orthogonal, no bias."""
    inputs, recurrent, bias, recurrent_bias = rnn.all_weights[0]
    for blocks in (inputs.chunk(3), recurrent.chunk(3)[:2]):
        lecun(*blocks)
    nn.init.orthogonal_(recurrent.chunk(3)[2])
    nn.init.zeros_(bias)
    nn.init.zeros_(recurrent_bias)


def lecun(*weights: Tensor) -> None:
    """Uniform in +-sqrt(3 / inputs), each."""
    for weight in weights:
        bound = sqrt(3 / weight.shape[1])
        nn.init.uniform_(weight, -bound, bound)


def carried(states: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """States for the next chunk: as they are, without a gradient."""
    return tuple(state.detach() for state in states)
