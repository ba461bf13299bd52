"""What rnnms' encoder loses when it hears K frames ahead instead of the whole utterance: bits, divergence, labels.

    python tools/measure_look_ahead.py DATA [--checkpoint FOLDER] [--clips 24] [--frames 0 1 2 4 8 16 32 64]

Every sample of held-out speech is predicted from the true ones before it, by latents that heard K to K + 3 frames ahead
(rnnms/ahead.py) and by latents that heard everything. Of each clip: bits a sample by the latter; how much more by the
former; the divergence of its distributions, in bits; the share of labels that would be another one, drawn with the same
uniforms after the same past. Means over clips with 95 % bootstrap intervals. DATA: prepared by rnnms-preprocess.
"""

from __future__ import annotations

import argparse
from math import log
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from score_voice import cut, held_out

if TYPE_CHECKING:
    from rnnms import RNNMS


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="a corpus prepared by rnnms-preprocess")
    parser.add_argument("--checkpoint", type=Path, help="default: the weights in the package")
    parser.add_argument("--frames", type=int, nargs="+", default=[0, 1, 2, 4, 8, 16, 32, 64], help="of look-ahead, K")
    parser.add_argument("--clips", type=int, default=24, help="held-out utterances (default 24)")
    parser.add_argument("--seconds", type=float, default=4.0, help="of each at most (default 4)")
    parser.add_argument("--split", default="test", help="of the corpus (default test)")
    arguments = parser.parse_args()

    from rnnms import RNNMS
    from vocoder_core.corpus import Corpus
    from vocoder_core.metrics import summarise

    model, corpus = RNNMS.from_pretrained(arguments.checkpoint), Corpus.open(arguments.data)
    chosen = held_out(corpus, arguments.split, arguments.clips)
    rows: dict[int, list[dict[str, float]]] = {look_ahead: [] for look_ahead in arguments.frames}
    for entry in (entry for entries in chosen.values() for entry in entries):
        wav = torch.from_numpy(cut(corpus, entry, arguments.seconds))
        for look_ahead, figures in measured(model, wav, arguments.frames).items():
            rows[look_ahead].append(figures)
        print(entry.id, flush=True)
    print("\n| frames ahead | n | bits, more than with all | divergence, bits | labels that differ, % |")
    print("|--:|--:|--:|--:|--:|")
    for look_ahead, each in rows.items():
        told = summarise(each)
        cells = " | ".join(f"{mean:.4g} [{low:.4g}, {high:.4g}]" for mean, low, high, _ in list(told.values())[1:])
        print(f"| {look_ahead} | {len(each)} | {cells} |")
    mean, low, high, _ = summarise(next(iter(rows.values())))["bits"]
    print(f"\nbits a sample with all: {mean:.3f} [{low:.3f}, {high:.3f}]")


@torch.inference_mode()
def measured(model: RNNMS, wav: torch.Tensor, frames: list[int]) -> dict[int, dict[str, float]]:
    """The figures of a wave (T,) by frames of look-ahead."""
    from rnnms.ahead import latents
    from vocoder_core.mel import log_mel
    from vocoder_core.recurrent.draws import draw, stream_keys, uniforms

    mel, codes = log_mel(wav, model.config.mel), model.labels(wav[None])
    codes = codes[:, : mel.shape[1] * model.config.mel.hop_length]
    before = torch.cat([torch.full((1, 1), 2 ** (model.config.bits - 1)), codes[:, :-1]], 1)
    u = torch.from_numpy(uniforms(stream_keys(0, 1), 0, codes.shape[1])[0])

    def seen(told: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        logits = model.decoder(told[None], before)[0][0]
        return logits.double().log_softmax(1), draw(logits, u, 1.0)

    exact, said = seen(model.encode(mel[None])[0])
    bits = -exact.gather(1, codes[0][:, None]).mean() / log(2)
    made = {}
    for look_ahead in frames:
        own, other = seen(torch.cat(list(latents(model.encoder, [mel], look_ahead))))
        made[look_ahead] = {
            "bits": float(bits),
            "more": float(-own.gather(1, codes[0][:, None]).mean() / log(2) - bits),
            "divergence": float((exact.exp() * (exact - own)).sum(1).mean() / log(2)),
            "labels": 100 * float((said != other).double().mean()),
        }
    return made


if __name__ == "__main__":
    main()
