"""Training batches: crops and the mels of where they stood, no digital silence, and all that is random by the step."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from vocoder_core.corpus import Corpus, CorpusConfig, prepare
from vocoder_core.mel import MelConfig, log_mel
from vocoder_core.utterance import Utterance
from waveglow_vq.batches import Batch, Batches, CropConfig

HOP = 100
MEL = MelConfig(n_mels=20, win_length=400, hop_length=HOP, n_fft=512, log="ln", offset=0, scale=1, minimum=None)


def noise(samples: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-0.9, 0.9, samples)


def corpus_of(folder: Path, waves: list[np.ndarray]) -> Corpus:
    """Utterances 0 ... N - 1, all but the last for training, each of a speaker of its own."""
    utterances = []
    for i, wav in enumerate(waves):
        soundfile.write(folder / f"{i}.wav", wav, 16_000)
        split = "train" if i < len(waves) - 1 else "test"
        utterances.append(Utterance(str(i), f"speaker{i}", folder / f"{i}.wav", None, split))
    config = CorpusConfig(hop_length=HOP, level="peak", level_db=-0.4455)
    prepare(utterances, folder / "data", config, features=MEL, progress=False, jobs=1)
    return Corpus.open(folder / "data")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    """Six utterances of noise, 0.5 to 1.0 s, some no multiple of a frame."""
    return corpus_of(tmp_path_factory.mktemp("corpus"), [noise(8000 + 1637 * i, i) for i in range(6)])


def batches(corpus: Corpus, size: int = 8, seed: int = 1, speakers: tuple[str, ...] = (), **crop: float) -> Batches:
    return Batches(corpus, MEL, CropConfig(**{"frames": 6, **crop}), size, seed, "cpu", speakers)


def parts(batch: Batch) -> tuple[torch.Tensor, ...]:
    return batch.wav, batch.mel, batch.noise


def test_batches_are_a_pure_function_of_the_step(corpus: Corpus) -> None:
    one, other = batches(corpus, gain_db=3), batches(corpus, gain_db=3)
    for step in (5, 1, 40):
        first, second = one(step), other(step)
        assert all(torch.equal(a, b) for a, b in zip(parts(first), parts(second), strict=True))
        assert first.seed == second.seed
    for another in (one(2), batches(corpus, seed=2, gain_db=3)(1), one(1, 1, 2)):
        assert not any(torch.equal(a, b) for a, b in zip(parts(one(1)), parts(another), strict=True))
        assert another.seed != one(1).seed


def test_two_processes_share_the_batch_of_one(corpus: Corpus) -> None:
    """The same crops; each its own noise."""
    whole = batches(corpus, 8)(3)
    halves = [batches(corpus, 4)(3, rank, 2) for rank in (0, 1)]
    assert torch.equal(whole.wav, torch.cat([half.wav for half in halves]))
    assert torch.equal(whole.mel, torch.cat([half.mel for half in halves]))
    assert not torch.equal(halves[0].noise, halves[1].noise)


def test_a_crop_is_a_piece_of_a_recording_and_its_mel_is_the_recordings_own(corpus: Corpus) -> None:
    """NVIDIA computes the mel of the crop, whose outer frames then differ from all a vocoder will meet."""
    batch, differs = batches(corpus, 64)(7), 0
    found = 0
    waves = [torch.from_numpy(corpus.wav(entry)) for entry in corpus.split("train")]
    mels = [log_mel(wav, MEL) for wav in waves]
    for row, mel in zip(batch.wav, batch.mel):
        ((i, f),) = [
            (i, f)
            for i, wav in enumerate(waves)
            for f in range(len(wav) // HOP - 5)
            if torch.equal(wav[f * HOP : (f + 6) * HOP], row)
        ]
        if 3 <= f and f + 9 <= mels[i].shape[1]:  # at its ends a recording's mel sees its own reflection
            assert torch.allclose(mel, mels[i][:, f : f + 6], atol=1e-5)
            found += 1
        differs += not torch.allclose(mel, log_mel(row, MEL), atol=0.05)
    assert found > 40 and differs == 64


def test_gain_is_uniform_in_decibels_and_moves_wave_and_mel_alike(corpus: Corpus) -> None:
    loud, soft = batches(corpus, 64)(7), batches(corpus, 64, gain_db=12)(7)
    gain = 20 * torch.log10((loud.wav * soft.wav).sum(1) / loud.wav.square().sum(1))
    assert gain.min() < -10 and -2 < gain.max() <= 1e-4 and abs(gain.mean() + 6) < 1.5
    assert torch.allclose(soft.wav, loud.wav * 10 ** (gain[:, None] / 20), atol=1e-6)
    shift = (soft.mel - loud.mel).flatten(1)
    assert torch.allclose(shift, (gain * np.log(10) / 20)[:, None].expand_as(shift), atol=1e-3)


def test_short_utterances_are_repeated(corpus: Corpus) -> None:
    """Zeros behind them would be digital silence, of whose likelihood there is no end: what broke public training."""
    longest = max(entry.frames for entry in corpus.split("train"))
    batch = batches(corpus, 6, frames=2 * longest)(1)
    waves = [corpus.wav(entry) for entry in corpus.split("train")]
    for row in batch.wav.numpy():
        repeated = (np.resize(wav, len(row) + 2 * HOP)[2 * HOP :] for wav in waves)  # from behind the margin on
        assert any(np.array_equal(whole, row) for whole in repeated)
        frames = row.reshape(-1, HOP).std(1)
        assert (frames > 0.1).mean() > 0.95
    assert batch.mel.shape == (6, 20, 2 * longest)


def test_silent_crops_are_drawn_again(tmp_path: Path) -> None:
    """Two thirds of this recording are digital silence; eight draws in a row that miss the rest are one in 25."""
    wav = np.concatenate([np.zeros(32_000), noise(16_000, 0)])
    made = batches(corpus_of(tmp_path, [wav, noise(9000, 1)]), 64)
    silent = [(made(step).wav.std(1) < 1e-4).float().mean() for step in range(1, 5)]
    assert np.mean(silent) < 0.1
    once = made.audio.crops(1, 1, 64, 6)
    assert (made.power[once].mean(1) < 1e-8).mean() > 0.5, "what would be there otherwise"


def test_noise_is_one_step_wide(corpus: Corpus) -> None:
    made = torch.cat([batches(corpus, 32)(step).noise for step in (1, 2)])
    assert -0.5 <= made.min() < -0.49 and 0.49 < made.max() < 0.5
    assert abs(made.mean()) < 0.01 and abs(made.std() - 12**-0.5) < 0.01


def test_every_row_knows_who_speaks(corpus: Corpus) -> None:
    names = tuple(sorted({entry.speaker for entry in corpus.split("train")}))
    batch = batches(corpus, 32, speakers=names)(3)
    assert batch.speaker is not None and len(batch.speaker.unique()) > 3
    for row, index in zip(batch.wav.numpy(), batch.speaker):
        (entry,) = [entry for entry in corpus.split("train") if entry.speaker == names[int(index)]]
        windows = np.lib.stride_tricks.sliding_window_view(corpus.wav(entry), len(row))[::HOP]
        assert (windows == row).all(1).any()
    with pytest.raises(ValueError, match="speaker0"):
        batches(corpus, speakers=names[1:])


@pytest.mark.parametrize("wrong", [{"frames": 0}, {"gain_db": -1.0}])
def test_crops_that_cannot_be_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=f"crop.{next(iter(wrong))}"):
        CropConfig(**wrong)


def test_speakers_are_drawn_as_their_seconds_and_the_balance_say(corpus: Corpus) -> None:
    """Lengths of 1 to 1.8: by length, all alike, and a square root between them; within 3 deviations of 4,000 draws."""
    lengths = np.array([entry.frames for entry in corpus.split("train")], float)
    for balance in (0.0, 0.5, 1.0):
        drawn = batches(corpus, size=4000, balance=balance)
        middle = drawn.places(1, 1)[:, drawn.margin]
        counts = np.bincount(np.searchsorted(drawn.audio.starts, middle, side="right") - 1, minlength=len(lengths))
        wanted = lengths ** (1 - balance) / (lengths ** (1 - balance)).sum()
        assert np.abs(counts / 4000 - wanted).max() < 3 * np.sqrt(0.25 * 0.75 / 4000), balance
