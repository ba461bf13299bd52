"""Training batches against a slow reading of the corpus: every frame once with what is around it; tails."""

from __future__ import annotations

import sys
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from samplernn_pase.batches import Batch, Batches, CropConfig
from samplernn_pase.sequence import BEGINS, EMPTY, GOES_ON
from vocoder_core.corpus import Corpus, CorpusConfig, prepare
from vocoder_core.utterance import Utterance

sys.path.append(str(Path(__file__).parent))  # the folder of small_models.py
from small_models import EXCITED, HOP, SUNG, WAVE, WHO, drawn

CHUNK = 5


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    """Seven utterances of noise to train on, 12 to 37 frames, of three speakers; one held out."""
    folder, utterances = tmp_path_factory.mktemp("corpus"), []
    for i in range(8):
        wav = np.random.default_rng(i).uniform(-0.5, 0.5, 960 + 287 * i)
        soundfile.write(folder / f"{i}.wav", wav, 16_000)
        split = "train" if i < 7 else "test"
        utterances.append(Utterance(str(i), WHO[i % 3], folder / f"{i}.wav", None, split))
    prepare(utterances, folder / "data", CorpusConfig(hop_length=HOP, level="none", min_seconds=0.01), progress=False,
            jobs=1)  # fmt: skip
    return Corpus.open(folder / "data")


def features(corpus: Corpus, width: int = 3, pitch: bool = True, left_out: tuple[str, ...] = ()) -> Any:
    """Of frame j of the corpus j, j + 0.25, ...; and for its pitch 100 + j, 0.5."""
    frames = sum(entry.frames for entry in corpus.entries)
    content = np.arange(frames, dtype=np.float32)[:, None] + np.arange(width, dtype=np.float32) / 4
    tracks = np.stack([100 + np.arange(frames), np.full(frames, 0.5)], axis=1).astype(np.float32)
    return SimpleNamespace(content=content, pitch=tracks if pitch else None, left_out=dict.fromkeys(left_out, "why"))


def batches(
    corpus: Corpus, config: Any = WAVE, size: int = 3, seed: int = 1, given: Any = None, **crop: Any
) -> Batches:
    told = CropConfig(**{"frames": CHUNK, **crop})
    return Batches(corpus, given or features(corpus), drawn(config), told, size, seed, "cpu")


def epoch(made: Batches) -> list[Batch]:
    made.row(1)
    return [made(step) for step in range(1, 1 + len(made.epochs[1].epoch))]


def first_frame(corpus: Corpus, i: int) -> int:
    return corpus.split("train")[i].offset // HOP


@pytest.mark.parametrize("config", [WAVE, EXCITED, SUNG], ids=["wave", "excited", "look-ahead"])
def test_a_batch_is_what_a_slow_reading_of_the_corpus_finds(corpus: Corpus, config: Any) -> None:
    """Frame by frame: silence and the first frame before an utterance, silence and the last one behind it."""
    made = batches(corpus, config)
    before, after = drawn(config).context
    entries = corpus.split("train")
    for step, batch in enumerate(epoch(made), 1):
        row = made.row(step)
        for slot in range(3):
            if row.reset[slot] == EMPTY:
                assert not batch.active[slot].any()
                continue
            entry, own = entries[row.utterance[slot]], first_frame(corpus, row.utterance[slot])
            wav = corpus.wav(entry)
            for j in range(-before, CHUNK + after):
                frame = int(row.frame[slot]) + j
                inside = 0 <= frame < entry.frames
                near = own + min(max(frame, 0), entry.frames - 1)
                assert batch.content[slot, before + j].tolist() == [near, near + 0.25, near + 0.5]
                if j >= CHUNK:
                    continue
                at = slice((before + j) * HOP, (before + j + 1) * HOP)
                said = wav[frame * HOP : (frame + 1) * HOP] if inside else np.zeros(HOP, np.float32)
                assert np.array_equal(batch.wav[slot, at], said)
                assert batch.pitch is not None and batch.pitch[slot, before + j].tolist() == [100 + near, 0.5]
                if j >= 0:
                    assert bool(batch.active[slot, j * HOP : (j + 1) * HOP].all()) is inside
                    assert bool(batch.active[slot, j * HOP : (j + 1) * HOP].any()) is inside
            if batch.speaker is not None:
                assert config.speakers[int(batch.speaker[slot])] == entry.speaker
    assert (batch.speaker is None) is not config.speakers


def test_every_sample_of_every_utterance_counts_once_an_epoch(corpus: Corpus) -> None:
    """Tails of less than a chunk, too, which the public code cut off; and utterances shorter than a chunk."""
    for chunk in (CHUNK, 13, 100):
        made = batches(corpus, frames=chunk)
        heard = np.zeros(sum(entry.frames for entry in corpus.entries), int)
        for batch in epoch(made):
            frames = batch.content[:, 1:, 0][batch.active[:, ::HOP]].numpy().astype(int)
            np.add.at(heard, frames, 1)
        train = np.concatenate([
            first_frame(corpus, i) + np.arange(entry.frames) for i, entry in enumerate(corpus.split("train"))
        ])  # fmt: skip
        assert (heard[train] == 1).all() and heard.sum() == len(train)


def test_a_slot_goes_on_where_it_was(corpus: Corpus) -> None:
    """The chunk after this one begins behind it, unless a new utterance begins, or nothing is left."""
    made = epoch(batches(corpus))
    for one, other in pairwise(made):
        for slot in range(3):
            if other.reset[slot] == GOES_ON:
                assert one.reset[slot] != EMPTY
                assert other.content[slot, 1, 0] == one.content[slot, 1, 0] + CHUNK
                assert torch.equal(other.wav[slot, :HOP], one.wav[slot, -HOP:]), "led up to by what was said"
            if other.reset[slot] == BEGINS:
                assert not other.wav[slot, :HOP].any()
    assert (made[0].reset == BEGINS).all() and (made[-1].reset == EMPTY).any()


def test_without_carrying_every_chunk_begins_anew(corpus: Corpus) -> None:
    """As the public refactor's did, unknowingly; for comparison only."""
    carried, not_carried = epoch(batches(corpus)), epoch(batches(corpus, carry=False))
    for one, other in zip(carried, not_carried, strict=True):
        assert (other.reset == BEGINS).all() and torch.equal(one.wav, other.wav)
        assert torch.equal(one.active, other.active), "empty slots still cost nothing"


def same(one: Batch, other: Batch) -> bool:
    pairs = ((getattr(one, name), getattr(other, name)) for name in Batch.__dataclass_fields__)
    return all((a is None and b is None) or torch.equal(a, b) for a, b in pairs)


def test_batches_are_a_pure_function_of_the_step(corpus: Corpus) -> None:
    """Asked in any order, and in the middle of any epoch: that is what makes resuming exact."""
    in_order = batches(corpus, EXCITED, past_noise=0.1)
    made = {step: in_order(step) for step in range(1, 90)}
    assert in_order.epochs[1].place(89)[0] >= 2
    asked = batches(corpus, EXCITED, past_noise=0.1)
    for step in (77, 3, 40, 1, 89):
        assert same(asked(step), made[step])
        assert same(batches(corpus, EXCITED, past_noise=0.1)(step), made[step])
    assert not same(batches(corpus, EXCITED, past_noise=0.1, seed=2)(5), made[5])


@pytest.mark.parametrize("world", [2, 3])
def test_processes_share_the_slots_of_one(corpus: Corpus, world: int) -> None:
    """The same utterances in the same slots; each draws its own noise."""
    whole = batches(corpus, SUNG, size=6, past_noise=0.1)
    parts = batches(corpus, SUNG, size=6 // world, past_noise=0.1)
    for step in (1, 2, 9):
        one = whole(step)
        ranks = [parts(step, rank, world) for rank in range(world)]
        for name in ("wav", "content", "reset", "active", "pitch", "speaker"):
            assert torch.equal(getattr(one, name), torch.cat([getattr(rank, name) for rank in ranks])), name
        assert ranks[0].noise is not None and ranks[1].noise is not None
        assert not torch.equal(ranks[0].noise[0], ranks[1].noise[0])


def test_noise_on_the_past_is_laplacian_and_each_row_has_its_own(corpus: Corpus) -> None:
    """A deviation uniform in 0 ... 0.5; of a Laplacian the fourth moment is 6 times the square of the second."""
    assert batches(corpus)(1).noise is None
    noise = batches(corpus, EXCITED, size=256, frames=30, past_noise=0.5)(1).noise
    assert noise is not None and noise.shape == (256, 34 * HOP)
    deviations = noise.std(1)
    assert deviations.max() < 0.58 and deviations.min() < 0.02 and abs(deviations.mean() - 0.25) < 0.03
    scaled = noise / deviations[:, None]
    assert abs(scaled.pow(4).mean() - 6) < 0.4 and abs(scaled.mean()) < 0.01


def test_recordings_without_features_are_left_out(corpus: Corpus) -> None:
    made = batches(corpus, given=features(corpus, left_out=("2", "5")))
    used = {int(made.used[i]) for step in range(1, 30) for i in made.row(step).utterance if i >= 0}
    assert used == {0, 1, 3, 4, 6}
    frames = {int(f) for batch in epoch(made) for f in batch.content[..., 0].flatten()}
    for i in (2, 5):
        own = first_frame(corpus, i) + np.arange(corpus.split("train")[i].frames)
        assert not frames & set(own.tolist())
    with pytest.raises(ValueError, match="no training utterance has features"):
        batches(corpus, given=features(corpus, left_out=tuple("0123456")))


def test_a_speaker_whom_the_model_lacks_is_refused(corpus: Corpus) -> None:
    with pytest.raises(ValueError, match="'bruno' is none of the model's 2 speakers"):
        batches(corpus, replace(SUNG, speakers=("anna", "carlo")))


def test_the_papers_chunk_is_65_ms() -> None:
    assert CropConfig().frames * HOP == 1040 and CropConfig().carry and not CropConfig().past_noise


@pytest.mark.parametrize("wrong", [{"frames": 0}, {"past_noise": -0.1}])
def test_chunks_that_cannot_be_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"crop.{next(iter(wrong))}"):
        CropConfig(**wrong)
