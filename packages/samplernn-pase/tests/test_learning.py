"""Learning: a sentence that is heard long enough is known, sample by sample, and said again better than by chance."""

from __future__ import annotations

import sys
from math import log
from pathlib import Path
from statistics import mean

import numpy as np
import pytest
import torch

from samplernn_pase import SampleRNNPASE
from vocoder_core import metrics
from vocoder_core.corpus import Corpus
from vocoder_core.mel import log_mel

sys.path.append(str(Path(__file__).parent))
from speech_world import prepare, table, trained

WHOLE = ("--set", "data.valid_fraction=0", "--set", "data.test_fraction=0")
NARROW = ("--set", "model.embedding_size=32", "--set", "train.schedule=cosine", "--set", "train.warmup=50")


@pytest.mark.slow
def test_a_sentence_is_learned_to_less_than_a_bit_and_a_half(shared_audio: Path, tmp_path: Path) -> None:
    """On the default config's mel, from chance, 8 bits; and what it then says is nearer than what it said before."""
    given, how = table(tmp_path, [(shared_audio / "slt/arctic_a0009.flac", "slt", "train")]), ["--config", "default"]
    data = prepare(given, tmp_path / "data", *how, *WHOLE)
    run = trained(data, tmp_path / "run", steps=1000, lr=2e-3, size=256, rows=1, how=how, options=NARROW)
    assert run.losses[0] / log(2) == pytest.approx(8, abs=0.3)
    assert mean(run.losses[-50:]) / log(2) < 1.5
    assert max(run.clipped) <= 1 + 1e-4
    model, corpus = run.model(), Corpus.open(data)
    untrained = SampleRNNPASE(model.config).eval()
    untrained.content.load_state_dict(model.content.state_dict())
    wav = np.array(corpus.wav(corpus.entries[0]))
    mel = log_mel(torch.from_numpy(wav)[None], model.config.mel)
    learned, chance = (distance(wav, one.synthesize(mel, seed=0)[0].numpy()) for one in (model, untrained))
    assert learned < chance - 1


def distance(wav: np.ndarray, copy: np.ndarray) -> float:
    """Mean absolute difference of log-mels."""
    return metrics.score(wav, copy, 16_000, metrics=("log_mel_mae",))["log_mel_mae"]
