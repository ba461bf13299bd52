"""What whole numbers cost vqvaevc: how far its distributions move from float32's on held-out speech, in bits a sample.

    vqvaevc-preprocess shared-audio DATA --config small
    python tools/measure_codec_tiers.py DATA [--clips 12] [--seconds 1]

The decoder hears each recording's own mel and pitch and is made to say the recording's labels. Its cell in torch runs
beside itself with weights, states and features rounded as packed.py and integers.py have it. Means over clips with 95 %
bootstrap intervals. For models of a mel, as the shipped one is.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from math import log
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from score_voice import cut, held_out
from vocoder_core.recurrent import integers
from vqvaevc.cell import Cell, stepped

if TYPE_CHECKING:
    from vocoder_core.recurrent.integers import Tier
    from vqvaevc import VQVAEVC


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="a corpus prepared by vqvaevc-preprocess")
    parser.add_argument("--checkpoint", type=Path, help="default: the weights in the package")
    parser.add_argument("--clips", type=int, default=12, help="held-out utterances (default 12)")
    parser.add_argument("--seconds", type=float, default=1.0, help="of each, behind its first half second (default 1)")
    arguments = parser.parse_args()

    from vocoder_core.corpus import Corpus
    from vocoder_core.metrics import summarise
    from vqvaevc import VQVAEVC

    model, corpus = VQVAEVC.from_pretrained(arguments.checkpoint), Corpus.open(arguments.data)
    entries = [entry for group in held_out(corpus, "test", arguments.clips).values() for entry in group]
    hop = model.config.mel.hop_length
    samples, first = (int(x * model.sample_rate) // hop * hop for x in (arguments.seconds, 0.5))
    wavs = [cut(corpus, entry, 1 + arguments.seconds)[first : first + samples] for entry in entries]
    wav = torch.stack([torch.from_numpy(one) for one in wavs if len(one) == samples])
    rows: list[dict[str, float]] = [{} for _ in wav]
    exact, label = said(model, wav, None)
    for tier in ("int8", "int16"):
        near, _ = said(model, wav, tier)
        apart = (exact.exp() * (exact - near)).sum(2).mean(1) / log(2)
        more = (exact - near).gather(2, label[..., None])[..., 0].mean(1) / log(2)
        for row, one, other in zip(rows, more.tolist(), apart.tolist()):
            row |= {f"{tier}, more than float32": one, f"{tier}, divergence": other}
    print("| bits a sample | n | mean [95 %] |\n|:--|--:|--:|")
    for name, (mean, low, high, n) in summarise(rows).items():
        print(f"| {name} | {n} | {mean:.5f} [{low:.5f}, {high:.5f}] |")


@torch.inference_mode()
def said(model: VQVAEVC, wav: Tensor, tier: Tier | None) -> tuple[Tensor, Tensor]:
    """Log-probabilities (B, T, Q) of waves (B, T), each sample by the labels before it; and the labels (B, T)."""
    from vocoder_core.mel import log_mel
    from vqvaevc.condition import Frames
    from vqvaevc.generate import of_units
    from vqvaevc.warmup import Past, warmed

    own = model.config
    model.config = replace(own, labels=replace(own.labels, loudest=1e6))  # what speech says is let through
    condition = model.condition
    assert isinstance(condition, Frames), "a model of mels"
    made = condition.told(log_mel(wav, own.mel), condition.pitch(wav))
    label = model.told(wav, made).targets[..., 0]
    units, before = made.units(model.timing, 0, wav.shape[1]), model.timing.units_before
    assert units is not None, "what the decoder is told"
    state = warmed(model, Past.silence(model, len(wav)), units[..., :before], None)
    cell = Cell(model, state, None) if tier is None else Rounded(model, state, tier)
    told, kept = of_units(model, units, made, len(wav), wav.shape[1] // 64), list[Tensor]()
    for t in range(wav.shape[1]):
        if t % 64 == 0:
            cell.begin(told.cut(t // 64, t // 64 + 1))
        kept.append(cell.logits(0).double().log_softmax(1))
        cell.take(label[:, t])
    model.config = own
    return torch.stack(kept, dim=1), label


class Rounded(Cell):
    """The cell with what packed.py holds in whole numbers rounded, in floats."""

    def __init__(self, model: Any, state: Any, tier: Tier) -> None:
        super().__init__(model, state, None)
        rnns, net, conv = model.overtone.rnns, model.wavernn, model.config.overtone.conv
        whole = [rnn.gru.weight_hh for rnn in rnns] + [net.gru.weight_hh]
        largest = {True: 127, False: 255} if tier == "int8" else {True: 1024, False: 1024}  # of int16 at least so much
        self.most, self.least = largest, integers.LARGEST[tier]
        self.recurrent = [self.rounded(weight) for weight in whole]
        weights = [gru[0] for gru in self.grus]
        heard = [conv, conv, conv, rnns[2].gru.size]
        self.own = [weights[0], *(self.rounded(w[:, :c]) for w, c in zip(weights[1:], heard[1:]))]
        self.rest = [None, *(self.rounded(w[:, conv:]) for w in weights[1:3]), weights[3][:, heard[3] :]]
        self.spread = [self.rounded(rnn.spread.weight.permute(2, 1, 0).flatten(0, 1)) for rnn in rnns]
        self.linears = [self.rounded(layer.weight) for layer in net.linears]
        self.heads = [self.rounded(layer.weight) for layer in net.logits]

    def rounded(self, weight: Tensor) -> Tensor:
        """A matrix, its rows rounded."""
        whole, scale = integers.rounded(weight.detach().numpy(), self.least)
        return torch.from_numpy(whole.astype(np.float32) * scale[:, None])

    def levels(self, x: Tensor, signed: bool = True) -> Tensor:
        """Vectors (B, C), each rounded by its extent."""
        extent = x.abs().amax(1, keepdim=True).clamp(min=1e-20)
        return (x * (self.most[signed] / extent) + 0.5).floor() * (extent / self.most[signed])

    def upper(self, i: int, x: Tensor) -> Tensor:
        """See Cell."""
        self.hidden[i] = stepped(*self.products(i, x), self.hidden[i])
        spread = F.linear(self.levels(self.hidden[i]), self.spread[i])
        return (spread + self.model.overtone.rnns[i].spread.bias.repeat(4)).unflatten(1, (4, -1))

    def products(self, i: int, x: Tensor) -> tuple[Tensor, Tensor]:
        """See Cell."""
        _, bias, _, recurrent_bias = self.grus[i]
        product = F.linear(self.levels(self.hidden[i]), self.recurrent[i], recurrent_bias)
        if i == 0:
            return F.linear(x, self.own[0], bias), product
        first, second = x[:, : self.own[i].shape[1]], x[:, self.own[i].shape[1] :]
        second = self.levels(second) if i < 3 else second  # values and tables stay as they are
        return F.linear(self.levels(first), self.own[i], bias) + F.linear(second, self.rest[i]), product

    def scores(self, head: int, hidden: Tensor) -> Tensor:
        """See Cell."""
        net, part = self.model.wavernn, hidden.chunk(len(self.linears), dim=1)[head]
        features = F.relu(F.linear(self.levels(part), self.linears[head], net.linears[head].bias))
        return F.linear(self.levels(features, signed=False), self.heads[head], net.logits[head].bias)


if __name__ == "__main__":
    main()
