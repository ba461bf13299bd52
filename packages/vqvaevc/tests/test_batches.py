"""Training batches: crops around what is predicted, what the encoder hears of them, all that is random by the step."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from vocoder_core.corpus import Corpus, CorpusConfig, prepare
from vocoder_core.mel import MelConfig
from vocoder_core.utterance import Utterance
from vqvaevc.batches import GRID, Batch, Batches, CropConfig

HOP = 64
MEL = MelConfig(n_mels=20, win_length=256, hop_length=HOP, n_fft=256)
REACH = (500, 200)
QUIET = {"shift": 0, "gain": 0.0, "noise": 0.0}


def corpus_of(folder: Path, waves: list[np.ndarray]) -> Corpus:
    """Utterances 0 ... N - 1, all but the last for training, each of a speaker of its own."""
    utterances = []
    for i, wav in enumerate(waves):
        soundfile.write(folder / f"{i}.wav", wav, 16_000)
        split = "train" if i < len(waves) - 1 else "test"
        utterances.append(Utterance(str(i), f"speaker{i}", folder / f"{i}.wav", None, split))
    config = CorpusConfig(hop_length=HOP, level="none")
    prepare(utterances, folder / "data", config, features=MEL, progress=False, jobs=1)
    return Corpus.open(folder / "data")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    """Six utterances of noise, 0.5 to 1.0 s."""
    waves = [np.random.default_rng(i).uniform(-0.5, 0.5, 8000 + 1637 * i) for i in range(6)]
    return corpus_of(tmp_path_factory.mktemp("corpus"), waves)


def batches(corpus: Corpus, size: int = 8, seed: int = 1, disturbed: bool = True, **crop: float) -> Batches:
    config = CropConfig(**{"frames": 16, "samples": 128, **crop})
    return Batches(corpus, REACH, config, size, seed, "cpu", disturbed=disturbed)


def parts(batch: Batch) -> tuple[torch.Tensor, ...]:
    return batch.wav, batch.heard


def test_batches_are_a_pure_function_of_the_step(corpus: Corpus) -> None:
    one, other = batches(corpus, gain_db=3), batches(corpus, gain_db=3)
    for step in (5, 1, 40):
        first, second = one(step), other(step)
        assert all(torch.equal(a, b) for a, b in zip(parts(first), parts(second), strict=True))
        assert (first.seed, first.at) == (second.seed, second.at)
    for another in (one(2), batches(corpus, seed=2, gain_db=3)(1), one(1, 1, 2)):
        assert not any(torch.equal(a, b) for a, b in zip(parts(one(1)), parts(another), strict=True))
        assert another.seed != one(1).seed


def test_no_epoch_repeats_the_offsets_of_another(corpus: Corpus) -> None:
    """The original drew them from NumPy's generator in workers forked anew each epoch: the same ones every time."""
    made = batches(corpus, 8)
    drawn = {made.places(step, 1)[:, made.margin].tobytes() for step in range(1, 201)}
    shifts = {_moved(made(step)).tobytes() for step in range(1, 21)}
    assert len(drawn) == 200 and len(shifts) == 20


def test_two_processes_share_the_batch_of_one(corpus: Corpus) -> None:
    """The same crops; each its own disturbance."""
    whole = batches(corpus, 8)(3)
    halves = [batches(corpus, 4)(3, rank, 2) for rank in (0, 1)]
    assert torch.equal(whole.wav, torch.cat([half.wav for half in halves]))
    assert not torch.equal(halves[0].heard[0] - halves[0].wav[0], halves[1].heard[0] - halves[1].wav[0])


def test_a_row_is_a_piece_of_a_recording_clean(corpus: Corpus) -> None:
    """Noise, gain and shift are the encoder's alone: what is to be said, and what the decoder is told, is clean."""
    waves = [corpus.wav(entry) for entry in corpus.split("train")]
    for row in batches(corpus, 16)(7).wav.numpy():
        found = [(np.lib.stride_tricks.sliding_window_view(wav, len(row))[::HOP] == row).all(1).any() for wav in waves]
        assert sum(found) == 1


def test_what_the_encoder_hears_is_moved_scaled_and_noisy(corpus: Corpus) -> None:
    """mkotha/WaveRNN's recipe: a shift of -128 ... 127, a gain exp(0.02 N) for a row, and noise of 0.003 a sample."""
    shifts, gains, rests = [], [], []
    for step in range(1, 25):
        batch = batches(corpus, 16, frames=32)(step)
        for wav, heard, shift in zip(batch.wav.numpy(), batch.heard.numpy(), _moved(batch)):
            inner = slice(128, len(wav) - 128)
            own = wav[128 + shift : len(wav) - 128 + shift]
            gain = float(own @ heard[inner]) / float(own @ own)
            shifts.append(int(shift)), gains.append(np.log(gain)), rests.append((heard[inner] - gain * own).std())
    assert min(shifts) < -115 and max(shifts) > 115 and -128 <= min(shifts) and max(shifts) <= 127
    assert abs(np.mean(shifts)) < 12 and abs(np.std(shifts) - 256 / 12**0.5) < 6
    assert abs(np.std(gains) - 0.02) < 0.003 and abs(np.mean(gains)) < 0.004
    assert np.mean(rests) == pytest.approx(0.003, rel=0.02)


def _moved(batch: Batch) -> np.ndarray:
    """By how many samples each row is heard later, by correlation."""
    wav, heard = batch.wav.numpy(), batch.heard.numpy()
    inner = heard[:, 128:-128]
    scores = [(wav[:, 128 + s : wav.shape[1] - 128 + s] * inner).sum(1) for s in range(-128, 128)]
    return np.argmax(scores, axis=0) - 128


@pytest.mark.parametrize(("off", "same"), [(QUIET, True), ({**QUIET, "noise": 0.003}, False)])
def test_each_disturbance_is_a_switch(corpus: Corpus, off: dict[str, float], same: bool) -> None:
    batch = batches(corpus, **off)(1)
    assert torch.equal(batch.wav, batch.heard) is same
    assert torch.allclose(batch.wav, batch.heard, atol=0.02)


def test_an_encoder_of_mels_hears_the_wave_itself(corpus: Corpus) -> None:
    made = batches(corpus, disturbed=False)
    batch = made(1)
    assert made.margin == 0 and batch.heard is batch.wav


def test_what_is_predicted_lies_on_the_grid_between_all_that_is_needed(corpus: Corpus) -> None:
    """Every place that fits is used: 512, 576 and 640 of 1,024, with 500 before and 200 after 128."""
    starts = {batches(corpus, 2)(step).at for step in range(1, 60)}
    assert starts == {512, 576, 640} and all(at % GRID == 0 for at in starts)
    assert 512 >= REACH[0] and 640 + 128 + REACH[1] <= 16 * HOP


def test_short_utterances_are_repeated(corpus: Corpus) -> None:
    """An encoder with instance norm would take the statistics of the silence behind them."""
    longest = max(entry.frames for entry in corpus.split("train"))
    wav = batches(corpus, 8, frames=2 * longest, disturbed=False)(1).wav.numpy()
    assert (wav.reshape(8, -1, HOP).std(2) > 0.1).mean() > 0.95


def test_noise_on_the_past_is_laplacian_and_each_row_has_its_own(corpus: Corpus) -> None:
    """A deviation uniform in 0 ... 0.5; of a Laplacian the fourth moment is 6 times the square of the second."""
    assert batches(corpus)(1).noise is None
    noise = batches(corpus, 256, past_noise=0.5)(1).noise
    assert noise is not None and noise.shape == (256, 16 * HOP)
    deviations = noise.std(1)
    assert deviations.max() < 0.58 and deviations.min() < 0.02 and abs(deviations.mean() - 0.25) < 0.03
    scaled = noise / deviations[:, None]
    assert abs(scaled.pow(4).mean() - 6) < 0.4 and abs(scaled.mean()) < 0.01


def test_gain_is_uniform_in_decibels(corpus: Corpus) -> None:
    loud, soft = batches(corpus, 64, **QUIET)(7), batches(corpus, 64, gain_db=12, **QUIET)(7)
    gain = 20 * torch.log10((loud.wav * soft.wav).sum(1) / loud.wav.square().sum(1))
    assert gain.min() < -10 and -2 < gain.max() <= 1e-4 and abs(gain.mean() + 6) < 1.5
    assert torch.equal(soft.wav, soft.heard)


def test_every_row_knows_who_speaks(corpus: Corpus) -> None:
    names = tuple(sorted({entry.speaker for entry in corpus.split("train")}))
    made = Batches(corpus, REACH, CropConfig(16, 128), 32, 1, "cpu", names)
    batch = made(3)
    assert batch.speaker is not None and len(batch.speaker.unique()) > 3
    for row, index in zip(batch.wav.numpy(), batch.speaker):
        (entry,) = [entry for entry in corpus.split("train") if entry.speaker == names[int(index)]]
        windows = np.lib.stride_tricks.sliding_window_view(corpus.wav(entry), len(row))[::HOP]
        assert (windows == row).all(1).any()
    with pytest.raises(ValueError, match="speaker0"):
        Batches(corpus, REACH, CropConfig(16, 128), 8, 1, "cpu", names[1:])


def test_speakers_are_drawn_as_their_seconds_and_the_balance_say(corpus: Corpus) -> None:
    """Lengths of 1 to 1.8: by length, all alike, and a square root between them; within 3 deviations of 4,000 draws."""
    lengths = np.array([entry.frames for entry in corpus.split("train")], float)
    for balance in (0.0, 0.5, 1.0):
        made = batches(corpus, 4000, balance=balance)
        drawn = made.audio.utterances(made.places(1, 1)[:, made.margin]).numpy()
        counts = np.bincount(drawn, minlength=len(lengths))
        wanted = lengths ** (1 - balance) / (lengths ** (1 - balance)).sum()
        assert np.abs(counts / 4000 - wanted).max() < 3 * np.sqrt(0.25 * 0.75 / 4000), balance


def test_the_originals_window() -> None:
    """5,632 + 1,024 + 960 samples, and 128 to move in."""
    crop = CropConfig()
    assert (crop.frames * HOP, crop.samples) == (7744, 1024)


def test_crops_that_are_too_short_are_refused(corpus: Corpus) -> None:
    with pytest.raises(ValueError, match="crop.frames is 13; 128 samples need 14 around them"):
        batches(corpus, frames=13)
    assert batches(corpus, frames=14).starts == range(512, 513, GRID)


@pytest.mark.parametrize("wrong", [{"frames": 0}, {"samples": 100}, {"shift": -1}, {"gain_db": -1.0}, {"balance": 2.0}])
def test_crops_that_cannot_be_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=f"crop.{next(iter(wrong))}"):
        CropConfig(**wrong)
