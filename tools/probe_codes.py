"""What codes cost and what they say about who speaks: rate, entropy, a linear speaker probe on how often each occurs.

Codes that convert well leave the probe near chance. It is fitted on the first half of each speaker's pieces and asked
about the second half, so it hears the same recordings: what it finds is an upper bound.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from vocoder_core.vq.speaker_probe import speaker_probe

if TYPE_CHECKING:
    from converters import Converter
    from vocoder_core.corpus import Corpus

PIECE = 4.0  # seconds whose codes are counted together
SPEAKERS, RECORDINGS, SECONDS = 60, 6, 20  # those with most training speech; of each at most, of each of them at most


def code_figures(made: Converter, corpus: Corpus) -> dict[str, str]:
    """Codes and bits a second, their entropy, and the speaker probe."""
    import torch

    speakers = most_heard(corpus, SPEAKERS)
    counts, who, late = [], [], []
    for place, speaker in enumerate(speakers):
        own = [e for e in corpus.split("train") if e.speaker == speaker][:RECORDINGS]
        seconds = SECONDS * corpus.config.sample_rate // corpus.config.hop_length * corpus.config.hop_length
        with torch.inference_mode():
            codes = torch.cat([made.codes(torch.from_numpy(corpus.wav(e)[:seconds])) for e in own])
        for piece in codes.split(round(PIECE * made.code_rate)):
            counts.append(np.bincount(piece.numpy(), minlength=made.size))
            who.append(place)
        pieces = who.count(place)
        late += [i >= (pieces + 1) // 2 for i in range(pieces)]
    share = np.sum(counts, axis=0) / np.sum(counts)
    entropy = -(share[share > 0] * np.log2(share[share > 0])).sum()
    accuracy = speaker_probe(np.array(counts, dtype=float), np.array(who), np.array(late))
    return {
        "codes a second": f"{made.code_rate:.3g}",
        "bit/s (entropy)": f"{np.log2(made.size) * made.code_rate:.0f} ({entropy * made.code_rate:.0f})",
        "pitch, bit/s": f"{made.side:.0f}" if made.side else "–",
        f"speaker probe ↓ (chance {1 / len(speakers):.3f})": f"{accuracy:.3f}",
    }


def most_heard(corpus: Corpus, count: int) -> list[str]:
    """The speakers with most training speech."""
    heard: dict[str, int] = {}
    for entry in corpus.split("train"):
        heard[entry.speaker] = heard.get(entry.speaker, 0) + entry.samples
    return sorted(heard, key=heard.__getitem__, reverse=True)[:count]
