"""What whole numbers cost: bits a sample of held-out speech by rnnms' float32 network and by its integer kernels.

    rnnms-preprocess shared-audio DATA --config small
    python tools/measure_tiers.py DATA [--checkpoint FOLDER] [--clips 24]

Every sample is predicted from the true ones before it. Of each clip: bits by float32; how much more by a tier; and the
divergence of its distributions from float32's, in bits, which no luck with the samples can hide. Means over clips with
95 % bootstrap intervals.
"""

from __future__ import annotations

import argparse
from math import log
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from score_voice import cut, held_out

if TYPE_CHECKING:
    from rnnms import RNNMS

TIERS = ("int8", "int16")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="a corpus prepared by rnnms-preprocess")
    parser.add_argument("--checkpoint", type=Path, help="default: the weights in the package")
    parser.add_argument("--clips", type=int, default=24, help="held-out utterances (default 24)")
    parser.add_argument("--seconds", type=float, default=4.0, help="of each at most (default 4)")
    parser.add_argument("--split", default="test", help="of the corpus (default test)")
    arguments = parser.parse_args()

    from rnnms import RNNMS
    from vocoder_core.corpus import Corpus
    from vocoder_core.metrics import summarise

    model, corpus = RNNMS.from_pretrained(arguments.checkpoint), Corpus.open(arguments.data)
    chosen = held_out(corpus, arguments.split, arguments.clips)
    rows = []
    for entry in (entry for entries in chosen.values() for entry in entries):
        rows.append(measured(model, torch.from_numpy(cut(corpus, entry, arguments.seconds))))
        print(entry.id, *(f"{name} {value:.5f}" for name, value in rows[-1].items()), flush=True)
    print("\n| bits a sample | n | mean [95 %] |\n|:--|--:|--:|")
    for name, (mean, low, high, n) in summarise(rows).items():
        print(f"| {name} | {n} | {mean:.5f} [{low:.5f}, {high:.5f}] |")


@torch.inference_mode()
def measured(model: RNNMS, wav: torch.Tensor) -> dict[str, float]:
    """The figures of a wave (T,)."""
    from vocoder_core.mel import log_mel

    latents, codes = model.encode(log_mel(wav, model.config.mel)[None]), model.labels(wav[None])
    before = torch.cat([torch.full((1, 1), 2 ** (model.config.bits - 1)), codes[:, :-1]], 1)
    exact = model.decoder(latents, before)[0][0].double().log_softmax(1)
    bits = -exact.gather(1, codes[0][:, None]).mean() / log(2)
    figures = {"float32": float(bits)}
    for tier in TIERS:
        said = torch.from_numpy(logits_of(model, latents, before[0], tier)).double().log_softmax(1)
        own = -said.gather(1, codes[0][:, None]).mean() / log(2)
        figures[f"{tier}, more than float32"] = float(own - bits)
        figures[f"{tier}, divergence"] = float((exact.exp() * (exact - said)).sum(1).mean() / log(2))
    return figures


def logits_of(model: RNNMS, latents: torch.Tensor, before: torch.Tensor, tier: Any) -> np.ndarray:
    """Logits (T, Q) of a tier's kernel, of latents (1, F, 2C), after the codes (T,)."""
    from rnnms import kernel
    from rnnms.packed import Packed

    packed, frames = Packed(model.decoder, 1, tier), latents.contiguous().numpy()
    work, lines = packed.work(slice(0, 1)), (before.numpy()[None].copy(),)
    said = np.empty((len(before), 2**model.config.bits), np.float32)
    for t in range(len(before)):
        kernel.advance(packed.net, work, frames, lines, t, 0)
        said[t] = work.logits[0]
    return said


if __name__ == "__main__":
    main()
