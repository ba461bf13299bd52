"""Training batches: the right labels beside the right mel, as a pure function of the step."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from rnnms import RNNMS, RNNMSConfig
from rnnms.batches import Batches, CropConfig, Lanes
from vocoder_core import mulaw
from vocoder_core.corpus import Corpus, CorpusConfig, prepare
from vocoder_core.mel import MelConfig, log_mel
from vocoder_core.utterance import Utterance

CONFIG = RNNMSConfig(mel=MelConfig(n_mels=20, win_length=400, hop_length=100, n_fft=512), bits=8, hidden_size=8)
HOP = 100


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    """Seven utterances of noise under a slow beat, 0.5 to 1.1 s, some no multiple of a frame; the last is held out."""
    folder = tmp_path_factory.mktemp("corpus")
    rng = np.random.default_rng(0)
    utterances = []
    for i in range(7):
        samples = 8000 + 1637 * i
        wave = 0.2 * rng.standard_normal(samples) * np.sin(np.arange(samples) / 900) ** 2
        soundfile.write(folder / f"{i}.wav", wave, 16_000)
        utterances.append(Utterance(str(i), "s", Path(folder / f"{i}.wav"), None, "train" if i < 6 else "test"))
    prepare(utterances, folder / "data", CorpusConfig(hop_length=HOP), features=CONFIG.mel, progress=False)
    return Corpus.open(folder / "data")


@pytest.fixture
def model() -> RNNMS:
    return RNNMS(CONFIG)


@pytest.mark.parametrize("stateful", [False, True])
def test_batches_are_a_pure_function_of_the_step(corpus: Corpus, model: RNNMS, stateful: bool) -> None:
    crop = CropConfig(frames=4, context=2, stateful=stateful, label_noise=0.5, mel_noise=0.1, gain_db=6)
    one, other = Batches(corpus, model, crop, 3, 1), Batches(corpus, model, crop, 3, 1)
    for step in (5, 1, 40):
        a, b = one(step), other(step)
        assert torch.equal(a.mel, b.mel) and torch.equal(a.past, b.past) and torch.equal(a.target, b.target)
    assert not torch.equal(one(1).target, one(2).target)
    assert torch.equal(one(18).mel, other(18).mel) or not stateful  # another block, in one go and after others
    assert not torch.equal(one(1).target, Batches(corpus, model, crop, 3, 2)(1).target)


@pytest.mark.parametrize("stateful", [False, True])
def test_two_processes_share_the_batch_of_one(corpus: Corpus, model: RNNMS, stateful: bool) -> None:
    crop = CropConfig(frames=4, context=2, stateful=stateful)
    whole = Batches(corpus, model, crop, 4, 1)(3)
    halves = [Batches(corpus, model, crop, 2, 1)(3, rank, 2) for rank in (0, 1)]
    assert torch.equal(whole.target, torch.cat([half.target for half in halves]))
    assert torch.allclose(whole.mel, torch.cat([half.mel for half in halves]))


def test_a_crop_holds_the_utterances_own_labels_and_mel(corpus: Corpus, model: RNNMS) -> None:
    batch = Batches(corpus, model, CropConfig(frames=5, context=3), 16, 1)(7)
    whole = {e.id: mulaw.encode(torch.from_numpy(corpus.wav(e)), 8) for e in corpus.split("train")}
    mels = {e.id: log_mel(torch.from_numpy(corpus.wav(e)), CONFIG.mel) for e in corpus.split("train")}
    inner = 0
    for past, target, mel in zip(batch.past, batch.target, batch.mel, strict=True):
        assert torch.equal(past[1:], target[:-1])  # shifted by exactly one sample
        found = [
            (name, f)
            for name, codes in whole.items()
            for f in range(len(codes) // HOP - 4)
            if torch.equal(codes[f * HOP : (f + 5) * HOP], target)
        ]
        assert len(found) == 1
        name, frame = found[0]
        assert past[0] == (whole[name][frame * HOP - 1] if frame else 128)
        if 6 <= frame <= mels[name].shape[1] - 5 - 6:  # far from the ends, where the utterance's own mel is reflected
            assert torch.allclose(mel, mels[name][:, frame - 3 : frame + 8], atol=1e-5)
            inner += 1
    assert inner >= 8


def test_every_frame_is_trained_on_also_the_last(corpus: Corpus, model: RNNMS) -> None:
    """univoc's crops never reach the last frame."""
    batches = Batches(corpus, model, CropConfig(frames=4), 64, 1)
    ends = {entry.offset // HOP + entry.frames - 4 for entry in batches.audio.entries}
    lengths = [entry.frames for entry in batches.audio.entries]
    seen = set()
    for step in range(1, 60):
        from vocoder_core.corpus import crops

        index, first = crops(lengths, 1, step, 64, 4)
        seen |= {batches.audio.entries[i].offset // HOP + f for i, f in zip(index, first, strict=True)}
    assert ends <= seen


def test_utterances_shorter_than_a_crop_end_in_silence(corpus: Corpus, model: RNNMS) -> None:
    frames = max(entry.frames for entry in corpus.split("train")) + 3
    batch = Batches(corpus, model, CropConfig(frames=frames), 4, 1)(1)
    assert batch.target.shape == (4, frames * HOP) and (batch.target[:, -3 * HOP :] == 128).all()


def test_lanes_pass_over_every_frame_once_an_epoch(corpus: Corpus) -> None:
    lanes = Lanes(corpus.split("train"), 3, 4, 0)
    total = sum(entry.frames for entry in corpus.split("train"))
    epochs = [
        np.concatenate([lanes.places(e * lanes.per_epoch + s, 0) for s in range(1, lanes.per_epoch + 1)], 1)
        for e in (0, 1)
    ]
    for epoch in epochs:
        assert epoch.shape == (3, lanes.per_epoch * 4) and total - epoch.size < 12
        assert len(np.unique(epoch)) == epoch.size and epoch.min() >= 0
    assert not np.array_equal(*epochs)
    assert lanes.first(1) and not lanes.first(2) and lanes.first(lanes.per_epoch + 1)


def test_a_lane_goes_on_where_the_step_before_ended(corpus: Corpus, model: RNNMS) -> None:
    batches = Batches(corpus, model, CropConfig(frames=4, context=2, stateful=True), 3, 0)
    one, two = batches(1), batches(2)
    assert one.fresh and not two.fresh
    assert torch.equal(two.past[:, 0], one.target[:, -1])
    # the context of a piece is the mel of its neighbours
    assert torch.allclose(one.mel[:, :, 4:8], two.mel[:, :, :4], atol=1e-5)


def test_label_noise_is_laplacian_on_the_past_and_never_on_the_target(corpus: Corpus, model: RNNMS) -> None:
    clean = Batches(corpus, model, CropConfig(frames=20), 64, 1)(3)
    noisy = Batches(corpus, model, CropConfig(frames=20, label_noise=6.0), 64, 1)(3)
    assert torch.equal(noisy.target, clean.target)
    moved = (noisy.past - clean.past).double()
    assert abs(moved.mean()) < 0.05
    rows = moved.std(1)  # uniform in 0..6 over the rows
    assert rows.min() < 1 and rows.max() > 5 and abs(rows.mean() - 3) < 0.6
    loud = moved[rows > 4] / rows[rows > 4, None]
    assert abs(loud.abs().mean() - 0.5**0.5) < 0.03  # a Laplacian's mean deviation; a Gaussian's is 0.80


def test_gain_reaches_wave_and_mel_alike(corpus: Corpus, model: RNNMS) -> None:
    clean = Batches(corpus, model, CropConfig(frames=20), 8, 1)(3)
    louder = Batches(corpus, model, CropConfig(frames=20, gain_db=12), 8, 1)(3)
    difference = (louder.mel - clean.mel).mean((1, 2)) * 80  # dB, where nothing hits the floor
    assert difference.abs().max() < 12.1 and difference.std() > 1
    wave = [mulaw.decode(batch.target, 8).square().mean(1).sqrt() for batch in (clean, louder)]
    assert torch.allclose(20 * (wave[1] / wave[0]).log10(), difference, atol=1.0)


def test_a_corpus_too_small_for_the_lanes_is_refused(corpus: Corpus, model: RNNMS) -> None:
    with pytest.raises(ValueError, match="too few for 500 lanes"):
        Batches(corpus, model, CropConfig(frames=4, stateful=True), 500, 0)(1)


@pytest.mark.parametrize("wrong", [{"frames": 0}, {"context": -1}, {"label_noise": -0.1}])
def test_crops_that_cannot_be_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=f"crop.{next(iter(wrong))}"):
        CropConfig(**wrong)  # type: ignore[arg-type]
