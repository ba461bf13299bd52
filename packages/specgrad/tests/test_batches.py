"""Training batches: crops of single utterances at a random level, and all that is random, as functions of the step."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from specgrad.batches import Batch, Batches, CropConfig
from vocoder_core.corpus import Corpus, CorpusConfig, prepare
from vocoder_core.corpus.statistics import mel_statistics
from vocoder_core.mel import MelConfig, log_mel
from vocoder_core.utterance import Utterance

HOP = 100
MEL = MelConfig(n_mels=20, win_length=400, hop_length=HOP, n_fft=512, log="ln", offset=0, scale=1, minimum=None)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    """Six utterances of noise, 0.5 to 1.0 s, some no multiple of a frame; the last is held out and louder."""
    folder = tmp_path_factory.mktemp("corpus")
    rng = np.random.default_rng(0)
    utterances = []
    for i in range(6):
        soundfile.write(folder / f"{i}.wav", rng.uniform(-0.9, 0.9, 8000 + 1637 * i), 16_000)
        utterances.append(Utterance(str(i), "s", Path(folder / f"{i}.wav"), None, "train" if i < 5 else "test"))
    config = CorpusConfig(hop_length=HOP, level="peak", level_db=-0.4455)
    prepare(utterances, folder / "data", config, features=MEL, progress=False, jobs=1)
    return Corpus.open(folder / "data")


def batches(corpus: Corpus, size: int = 8, seed: int = 1, **crop: float) -> Batches:
    return Batches(corpus, MEL, CropConfig(**{"frames": 6, **crop}), size, seed, "cpu")


def parts(batch: Batch) -> tuple[torch.Tensor, ...]:
    return batch.mel, batch.wav, batch.white, batch.place


def test_batches_are_a_pure_function_of_the_step(corpus: Corpus) -> None:
    one, other = batches(corpus), batches(corpus)
    for step in (5, 1, 40):
        assert all(torch.equal(a, b) for a, b in zip(parts(one(step)), parts(other(step)), strict=True))
    for another in (one(2), batches(corpus, seed=2)(1), one(1, 1, 2)):
        assert not any(torch.equal(a, b) for a, b in zip(parts(one(1)), parts(another), strict=True))


def test_two_processes_share_the_batch_of_one(corpus: Corpus) -> None:
    """The same crops; each its own noise; places between noise and speech one in every eighth over both."""
    whole = batches(corpus, 8, gain_db=0)(3)
    halves = [batches(corpus, 4, gain_db=0)(3, rank, 2) for rank in (0, 1)]
    assert torch.equal(whole.wav, torch.cat([half.wav for half in halves]))
    assert torch.equal(whole.mel, torch.cat([half.mel for half in halves]))
    assert not torch.equal(halves[0].white, halves[1].white)
    for place in (whole.place, torch.cat([half.place for half in halves])):
        assert (place * 8).long().tolist() == list(range(8)) and (place < 1).all()


def test_a_crop_is_a_piece_of_one_utterance_softened(corpus: Corpus) -> None:
    batch = batches(corpus, 64, gain_db=12)(7)
    waves = [corpus.wav(entry) for entry in corpus.split("train")]
    gains = []
    for row in batch.wav.numpy():
        pieces = [w[f * HOP : (f + 6) * HOP] for w in waves for f in range(len(w) // HOP - 5)]
        fits = [(float(row @ p / (p @ p)), p) for p in pieces]
        gain, piece = min(fits, key=lambda fit: float(np.abs(fit[0] * fit[1] - row).max()))
        assert np.allclose(row, gain * piece, atol=1e-6)
        gains.append(20 * np.log10(gain))
    assert -12 <= min(gains) < -10 and -2 < max(gains) <= 1e-4, "uniform in decibels, never louder than the corpus"
    assert np.mean(gains) == pytest.approx(-6, abs=1.5)
    assert torch.equal(batch.mel, log_mel(batch.wav, MEL))


def test_short_utterances_end_in_silence(corpus: Corpus) -> None:
    longest = max(entry.frames for entry in corpus.split("train"))
    batch = batches(corpus, 4, frames=longest + 3)(1)
    assert not batch.wav[:, -3 * HOP :].any() and batch.wav[:, : 80 * HOP].abs().sum(1).all()
    assert batch.mel.shape == (4, 20, longest + 3)


def test_noise_is_standard_normal(corpus: Corpus) -> None:
    white = torch.cat([batches(corpus, 32, frames=10)(step).white for step in (1, 2)])
    assert abs(white.mean()) < 0.02 and abs(white.std() - 1) < 0.02 and (white.abs() < 1).float().mean() > 0.66


def test_statistics_are_those_of_the_training_split(corpus: Corpus) -> None:
    frames = [log_mel(torch.from_numpy(corpus.wav(e)), MEL).double().numpy() for e in corpus.split("train")]
    mean, std = mel_statistics(corpus, MEL)
    assert np.allclose(mean, np.concatenate(frames, 1).mean(1), atol=1e-4)
    assert np.allclose(std, np.maximum(np.concatenate(frames, 1).std(1, ddof=1), 0.1), atol=1e-4)


@pytest.mark.parametrize("wrong", [{"frames": 0}, {"gain_db": -1.0}])
def test_crops_that_cannot_be_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=f"crop.{next(iter(wrong))}"):
        CropConfig(**wrong)
