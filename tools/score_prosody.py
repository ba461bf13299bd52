#!/usr/bin/env python3
"""Score the prosody of text on held-out recordings: durations, mel, pitch, and what a recogniser hears of the speech.

    samplernn-pase-preprocess kathleen DATA --config small && samplernn-pase-prosody DATA RUN
    python tools/score_prosody.py DATA RUN                     # --split test

Durations and log-mel are compared with those of the recording (mel and pitch with its durations, frame by frame); the
phone error rate is pocketsphinx's phone loop against the sentence's own phones, for the recording, for Griffin-Lim of
its mel, and for Griffin-Lim of the mel that text alone gives.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch

from samplernn_pase import hts_label, linguistic
from samplernn_pase.prosody import Prosody
from samplernn_pase.sentences import Sentence, prepared
from vocoder_core.corpus import Corpus
from vocoder_core.griffinlim import griffin_lim
from vocoder_core.metrics import neural

MERGED = {"ax": "ah", "axr": "er", "zh": "sh"}  # phones that pocketsphinx does not tell apart


def heard(wav: np.ndarray, wanted: list[str]) -> tuple[int, int]:
    """Phone errors, and phones."""
    phones = [MERGED.get(phone.lower(), phone.lower()) for phone in neural._phones(wav)]
    return neural.edit_distance(wanted, phones), len(wanted)


def durations(model: Prosody, sentence: Sentence) -> np.ndarray:
    """Frames (P, 2) of phones that are no pause: as said, and as guessed."""
    guessed = linguistic.frame_counts(model.durations(sentence.phones))
    kept = [phone.name not in hts_label.SILENCES for phone in sentence.phones]
    return np.stack([sentence.counts.numpy(), guessed], 1)[kept]


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("run", type=Path)
    parser.add_argument("--split", default="test")
    parser.add_argument("--heard", type=int, default=57, help="sentences that the recogniser hears (default 57)")
    arguments = parser.parse_args()
    model, corpus = Prosody.from_pretrained(arguments.run), Corpus.open(arguments.data)
    sentences = prepared(corpus, model.config, splits=("train", arguments.split))
    held_out = sentences[1].sentences
    waves = {entry.id: corpus.wav(entry) for entry in corpus.split(arguments.split)}
    score_durations(model, sentences[0].sentences, held_out)
    score_frames(model, held_out)
    score_phones(model, held_out[: arguments.heard], waves)


def score_durations(model: Prosody, train: list[Sentence], held_out: list[Sentence]) -> None:
    """Against what is known without a network: the mean length of each phone in the training set."""
    rows = np.concatenate([durations(model, sentence) for sentence in held_out]) * 5.0
    means: dict[str, list[int]] = {}
    for sentence in train:
        for phone, count in zip(sentence.phones, sentence.counts.tolist(), strict=True):
            means.setdefault(phone.name, []).append(count)
    usual = {name: float(np.mean(counts)) * 5 for name, counts in means.items()}
    names = [p.name for sentence in held_out for p in sentence.phones if p.name not in hts_label.SILENCES]
    table = np.array([usual.get(name, 80.0) for name in names])
    for label, guess in (("network", rows[:, 1]), ("mean of each phone", table)):
        error, r = guess - rows[:, 0], np.corrcoef(guess, rows[:, 0])[0, 1]
        rmse = np.sqrt((error**2).mean())
        print(f"durations, {label}: MAE {np.abs(error).mean():.1f} ms, RMSE {rmse:.1f} ms, r {r:.3f} ({len(names)})")


@torch.inference_mode()
def score_frames(model: Prosody, held_out: list[Sentence]) -> None:
    """With true durations: mel of the network, flat and sharpened; and pitch."""
    flat, sharp, cents, voicing = [], [], [], []
    for sentence in held_out:
        spoken = model.speak(sentence.phones)
        guess = model(model.raw(sentence.phones)[None], sentence.counts[None])
        true = sentence.mel.float().T
        flat.append((guess.mel[0] * model.mel_std[:, None] + model.mel_mean[:, None] - true).abs().mean().item())
        sharp.append((spoken.mel - true).abs().mean().item())
        both = (spoken.pitch[:, 1] > 0) & (sentence.pitch[:, 1] > 0)
        cents.append((1200 * torch.log2(spoken.pitch[both, 0] / sentence.pitch[both, 0])).square())
        voicing.append(((spoken.pitch[:, 1] > 0) == (sentence.pitch[:, 1] > 0)).float())
    own = torch.cat([sentence.pitch[sentence.pitch[:, 1] > 0, 0] for sentence in held_out])
    level = (1200 * torch.log2(own / own.log().mean().exp())).square().mean().sqrt()
    print(f"log-mel MAE (ln): {np.mean(flat):.3f}, sharpened {np.mean(sharp):.3f}")
    rmse = torch.cat(cents).mean().sqrt()
    print(f"F0 RMSE: {rmse:.0f} cents (its mean alone: {level:.0f}); voicing right: {torch.cat(voicing).mean():.1%}")


def score_phones(model: Prosody, held_out: list[Sentence], waves: dict[str, np.ndarray]) -> None:
    """What the recogniser hears of the recording, of its mel and of text."""
    totals: dict[str, list[tuple[int, int]]] = {}
    for sentence in held_out:
        wanted = [MERGED.get(p.name, p.name) for p in sentence.phones if p.name not in hts_label.SILENCES]
        untimed = [hts_label.Phone(phone.context) for phone in sentence.phones]
        spoken = model.speak(untimed)
        same = model.speak(sentence.phones)
        versions = {
            "recording": waves[sentence.id],
            "Griffin-Lim of its mel": griffin_lim(sentence.mel.float().T, model.config.mel, 60).numpy(),
            "Griffin-Lim of text with its durations": griffin_lim(same.mel, model.config.mel, 60).numpy(),
            "Griffin-Lim of text": griffin_lim(spoken.mel, model.config.mel, 60).numpy(),
        }
        for name, wav in versions.items():
            totals.setdefault(name, []).append(heard(wav, wanted))
    for name, counts in totals.items():
        wrong, phones = np.sum(counts, axis=0)
        print(f"phone error rate, {name}: {wrong / phones:.1%} of {phones}")


if __name__ == "__main__":
    main()
