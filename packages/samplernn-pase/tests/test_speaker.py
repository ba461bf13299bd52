"""Who speaks: settings, given vectors, vectors in files, seed speech, and those of a prepared corpus."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from samplernn_pase import corpus_speakers, seed_speech, speaker, speaker_vectors
from samplernn_pase.speaker import Given, SpeakerConfig, begin, check, encoder, hearing, recorded
from samplernn_pase.speaker_vectors import Vectors
from vocoder_core import config as configs
from vocoder_core.corpus import Corpus, CorpusConfig, prepare
from vocoder_core.layouts import find
from vocoder_core.speakers import vectors

RATE = 16_000


def some(*names: str, size: int = 4, seed: int = 0, **more: Any) -> Vectors:
    values = np.random.default_rng(seed).normal(size=(len(names), size)).astype(np.float32)
    return Vectors(names, values, **{"provider": "ge2e", "fingerprint": "ab" * 32, "seconds": 60.0, **more})


# ---- settings


@pytest.mark.parametrize(
    "provider, size", [("lookup", 15), ("none", 0), ("ge2e", 256), ("pase", 100), ("pase+", 256), ("file", 0)]
)
def test_a_vector_is_as_wide_as_its_provider_makes_it(provider: str, size: int) -> None:
    made = configs.load(SpeakerConfig, None, [f"provider={provider}"])
    assert made.size == size
    assert configs.from_dict(SpeakerConfig, configs.to_dict(made)) == made
    assert made.source == ("" if provider in ("lookup", "none") else provider)


def test_settings_that_do_not_fit_are_one_sentence() -> None:
    with pytest.raises(ValueError, match=r"speaker.size is 15, vectors of ge2e have 256 numbers"):
        SpeakerConfig("ge2e", 15)
    with pytest.raises(ValueError, match=r"speaker.size is -1; expected 0 or more"):
        SpeakerConfig(size=-1)
    with pytest.raises(ValueError, match=r"speaker.init is 'pase' with speaker.provider 'ge2e'"):
        SpeakerConfig("ge2e", init="pase")
    with pytest.raises(ValueError, match=r"speaker.seconds is 0"):
        SpeakerConfig(seconds=0)
    assert SpeakerConfig(init="ge2e").size == 256 and SpeakerConfig(size=20).size == 20
    with pytest.raises(ValueError, match=r"speakers of 'lookup' are not computed from speech"):
        encoder("lookup")


def test_a_checkpoint_keeps_whose_vectors_it_takes_and_refuses_others() -> None:
    given = some("anna", size=256)
    config = recorded(SpeakerConfig("ge2e"), given)
    assert (config.provider, config.size, config.fingerprint) == ("ge2e", 256, "ab" * 32)
    check(config, given)
    other = some("anna", size=256, provider="pase+", fingerprint="cd" * 32)
    with pytest.raises(ValueError, match=r"pase\+'s of 256 numbers, of weights cdcdcdcdcdcd, the model takes "
                                         r"ge2e's of 256 numbers, of weights abababababab"):  # fmt: skip
        check(config, other)
    with pytest.raises(ValueError, match=r"of weights cdcdcdcdcdcd, the model takes ge2e's .*abababababab"):
        check(config, some("anna", size=256, fingerprint="cd" * 32))
    brought = recorded(SpeakerConfig("file"), some("anna", size=7, provider="x-vectors"))
    assert (brought.size, brought.fingerprint) == (7, "ab" * 32)
    with pytest.raises(ValueError, match=r"of 8 numbers.*takes file's of 7"):
        check(brought, some("anna", size=8))


def test_a_model_hears_by_the_encoder_that_it_was_trained_with(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speaker, "encoder", lambda provider, weights: Loudness())
    assert hearing(SpeakerConfig("ge2e", fingerprint="12" * 32), Given(("anna",), 256)).dim == 256
    with pytest.raises(ValueError, match=r"weights 121212121212, the model takes vectors .* of weights abababababab"):
        hearing(SpeakerConfig("ge2e", fingerprint="ab" * 32), None)
    monkeypatch.undo()
    with pytest.raises(ValueError, match=r"speakers of 'lookup' are not computed from speech"):
        hearing(SpeakerConfig(), None)


# ---- given vectors


def test_given_vectors_take_the_place_of_learned_ones() -> None:
    given, made = some("bob", "anna", "carl"), Given(("anna", "carl"), 4)
    assert made.table(torch.tensor([0])).isnan().all()
    made.fill(given)
    found = vectors(["carl", "anna"], 4, made, torch.zeros(2, 1))
    np.testing.assert_array_equal(found, given.values[[2, 1]])
    np.testing.assert_array_equal(made.vector("carl"), given.values[2])
    np.testing.assert_allclose(made.vector("nobody"), given.values[1:].mean(0), rtol=1e-6)
    assert not list(made.parameters())
    with pytest.raises(ValueError, match=r"no speaker vector of 'dora' \(1 of 2 missing\)"):
        Given(("anna", "dora"), 4).fill(given)
    with pytest.raises(ValueError, match="have 4 numbers, the model takes 5"):
        Given(("anna",), 5).fill(given)


def test_a_network_is_told_vectors_of_unit_size() -> None:
    given = some("anna", "bob", "carl", "dora")
    near = Vectors(given.names, 0.3 + 0.01 * given.values, "ge2e", "", 60.0)
    made = Given(given.names, 4)
    made.fill(near)
    told = made(made.vectors)
    np.testing.assert_allclose(told.mean(0), 0, atol=1e-5)
    np.testing.assert_allclose(told.square().mean(), 1, rtol=1e-4)
    alone = Given(("anna",), 4)
    alone.fill(near)
    assert alone(alone.vectors).isfinite().all() and alone(alone.vectors).square().mean() == pytest.approx(1, rel=1e-3)
    again = Given(given.names, 4)
    again.load_state_dict(made.state_dict())
    assert torch.equal(again(again.vectors), told)


def test_a_lookup_begins_at_given_vectors_and_learns() -> None:
    given, table = some("anna", "bob", "carl"), nn.Embedding(2, 4)
    begin(table, ("carl", "anna"), given)
    pair = given.values[[2, 0]]
    centred = pair - pair.mean(0)
    np.testing.assert_allclose(table.weight.detach(), centred / np.sqrt(np.mean(centred**2)), rtol=1e-4)
    assert table.weight.requires_grad


# ---- files


def test_vectors_are_read_back_whole(tmp_path: Path) -> None:
    made = some("p225", "zoë", heard=(60.0, 3.5))
    speaker_vectors.write(tmp_path / "deep" / "v.npz", made)
    read = speaker_vectors.read(tmp_path / "deep" / "v.npz")
    np.testing.assert_array_equal(read.values, made.values)
    assert (read.names, read.provider, read.fingerprint, read.seconds, read.heard) == (
        made.names, made.provider, made.fingerprint, made.seconds, made.heard
    )  # fmt: skip
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["v.npz"]  # nothing half-written is left


def test_a_folder_of_arrays_is_read_in_the_order_of_the_names(tmp_path: Path) -> None:
    for number, name in enumerate(("p10", "p9", "anna")):
        np.save(tmp_path / f"{name}.npy", np.full((1, 3), number, np.float64))
    read = speaker_vectors.read(tmp_path)
    assert (read.names, read.provider) == (("anna", "p9", "p10"), "file")
    np.testing.assert_array_equal(read.values[:, 0], [2, 1, 0])
    assert speaker_vectors.read(tmp_path).fingerprint == read.fingerprint
    np.save(tmp_path / "anna.npy", np.zeros(3))
    assert speaker_vectors.read(tmp_path).fingerprint != read.fingerprint
    assert speaker_vectors.read(tmp_path / "p9.npy").names == ("p9",)
    np.save(tmp_path / "p9.npy", np.zeros(4))
    with pytest.raises(ValueError, match=r"p9.npy: \(4,\) instead of one vector \(\(3,\)\)"):
        speaker_vectors.read(tmp_path)


def test_files_that_hold_no_vectors_are_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="none.npz: there is no such file of speaker vectors"):
        speaker_vectors.read(tmp_path / "none.npz")
    with pytest.raises(FileNotFoundError, match=r"the folder has no NAME.npy"):
        speaker_vectors.read(tmp_path)
    (tmp_path / "text.npz").write_text("hello")
    np.savez(tmp_path / "mel.npz", mel=np.zeros(3))
    np.savez(tmp_path / "nan.npz", names=np.array(["a"]), vectors=np.array([[np.nan]]))
    np.savez(tmp_path / "twice.npz", names=np.array(["a", "a"]), vectors=np.zeros((2, 3)))
    np.savez(tmp_path / "count.npz", names=np.array(["a", "b"]), vectors=np.zeros((3, 3)))
    for name, why in (
        ("text", "not a readable"), ("mel", "no names"), ("nan", "NaN"), ("twice", "'a' has two"), ("count", "2 names"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=f"{name}.npz: .*{why}"):
            speaker_vectors.read(tmp_path / f"{name}.npz")


# ---- seed speech


def test_pauses_are_found_where_they_are() -> None:
    rng = np.random.default_rng(0)
    wav = 1e-4 * rng.normal(size=5 * RATE)
    wav[RATE : 2 * RATE] += 0.1 * np.sin(np.arange(RATE))
    wav[3 * RATE : 3 * RATE + 800] += 0.02 * np.sin(np.arange(800))  # 50 ms, 14 dB below
    found = seed_speech.speaking(wav.astype(np.float32), RATE)
    assert len(found) == 500
    expected = np.zeros(500, bool)
    expected[90:210] = expected[290:315] = True  # 0.1 s around either
    assert (found != expected).sum() <= 6  # a window sees what begins 7.5 ms away
    assert not seed_speech.speaking(np.zeros(RATE, np.float32), RATE).any()
    assert seed_speech.speaking(0.1 * rng.normal(size=RATE), RATE).all()


@pytest.mark.parametrize("clip", ["slt/arctic_a0007", "ru_nsh/ru_0027", "carlo/it-vm-review", "ivrvoice/ru-vm-review"])
def test_speech_is_what_librosa_hears_above_the_same_level(clip: str, shared_audio: Path) -> None:
    import librosa

    from vocoder_core import audio

    wav, _ = audio.load(shared_audio / f"{clip}.flac", RATE)
    ours = np.repeat(seed_speech.speaking(wav, RATE), 160)[: len(wav)]
    theirs = np.zeros(len(wav), bool)
    for start, end in librosa.effects.split(wav, top_db=30, frame_length=400, hop_length=160):
        theirs[max(0, start - 1600) : end + 1600] = True
    assert (ours == theirs).mean() > 0.93  # its level is of the loudest frame, ours of the 95th of a hundred


@pytest.fixture(scope="module")
def corpus(shared_audio: Path, tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    folder = tmp_path_factory.mktemp("corpus")
    prepare(find(shared_audio), folder / "data", CorpusConfig(RATE, 80), progress=False, jobs=1)
    return Corpus.open(folder / "data")


def test_longer_seeds_begin_with_shorter_ones_and_hold_no_pause(corpus: Corpus) -> None:
    own = seed_speech.recordings(corpus)["carlo"]
    assert {entry.split for entry in own} == {"train"}
    one, _ = seed_speech.seed(corpus, own, 1)
    ten, heard = seed_speech.seed(corpus, own, 10)
    assert (len(one), len(ten)) == (RATE, 10 * RATE)
    np.testing.assert_array_equal(ten[:RATE], one)
    everything, all_heard = seed_speech.seed(corpus, own, 1e4)
    assert len(all_heard) == len(own) and heard == all_heard[: len(heard)]
    whole = sum(entry.length for entry in own)
    assert 0.5 * whole < len(everything) < whole
    assert seed_speech.seed(corpus, own[::-1], 10)[1] == heard  # whatever the order of the entries


def test_an_unseen_speaker_has_seeds_too(corpus: Corpus) -> None:
    speech = seed_speech.recordings(corpus)
    assert list(speech) == sorted(corpus.speakers, key=lambda name: corpus.speakers[name])
    assert {entry.split for entry in speech["slt"]} == {"test"} and "slt" in corpus.unseen_speakers


def test_the_same_seconds_are_chosen_in_any_process(corpus: Corpus) -> None:
    code = (
        "import sys, zlib; from vocoder_core.corpus import Corpus; from samplernn_pase import seed_speech as s;"
        "c = Corpus.open(sys.argv[1]); r = s.recordings(c);"
        "print([(n, zlib.crc32(s.seed(c, r[n], 5)[0].tobytes())) for n in r])"
    )
    told = {
        subprocess.run(
            [sys.executable, "-c", code, str(corpus.folder)], capture_output=True, text=True, check=True,
            env=os.environ | {"PYTHONHASHSEED": seed},
        ).stdout
        for seed in ("0", "1")
    }  # fmt: skip
    assert len(told) == 1 and "carlo" in told.pop()


# ---- a prepared corpus


class Loudness:
    """An encoder whose vectors are easily told: length and spread of the speech."""

    name, dim, fingerprint = "ge2e", 256, "12" * 32
    calls = 0

    def embed(self, wav: np.ndarray, sample_rate: int) -> np.ndarray:
        Loudness.calls += 1
        return np.full(256, len(wav) / sample_rate, np.float32)


def test_vectors_of_a_corpus_are_made_once(corpus: Corpus, monkeypatch: pytest.MonkeyPatch) -> None:
    made = Loudness()
    monkeypatch.setattr(corpus_speakers, "encoder", lambda provider, weights: made)
    Loudness.calls = 0
    config = SpeakerConfig("ge2e", seconds=2.0)
    first = corpus_speakers.prepare(corpus, config, progress=False)
    assert first is not None and first.names == tuple(sorted(corpus.speakers))
    np.testing.assert_allclose(first.values, 2.0)
    assert Loudness.calls == len(first.names) and first.heard == (2.0,) * len(first.names)
    again = corpus_speakers.prepare(corpus, config, progress=False)
    assert Loudness.calls == len(first.names) and again is not None and again.names == first.names
    longer = corpus_speakers.prepare(corpus, SpeakerConfig("ge2e", seconds=1e3), progress=False)
    assert longer is not None and min(longer.heard) > 5 and len(set(longer.heard)) == len(longer.names)
    made.fingerprint = "34" * 32  # type: ignore[misc]
    newer = corpus_speakers.prepare(corpus, SpeakerConfig("ge2e", seconds=1e3), progress=False)
    read = speaker_vectors.read(corpus.folder / "features" / "speakers-ge2e.npz")
    assert newer is not None and read.fingerprint == newer.fingerprint == "34" * 32
    assert corpus_speakers.prepare(corpus, SpeakerConfig(), progress=False) is None


def test_vectors_that_somebody_brings_are_kept_beside_the_corpus(corpus: Corpus, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="name an .npz or a folder of NAME.npy by --speaker-weights"):
        corpus_speakers.prepare(corpus, SpeakerConfig("file"))
    speaker_vectors.write(tmp_path / "mine.npz", some("carlo", "ru_nsh"))
    with pytest.raises(ValueError, match=r"no speaker vector of 'ivrvoice' \(1 of 3 missing\)"):
        corpus_speakers.prepare(corpus, SpeakerConfig("file"), tmp_path / "mine.npz")
    speaker_vectors.write(tmp_path / "mine.npz", some("carlo", "ru_nsh", "ivrvoice"))
    made = corpus_speakers.prepare(corpus, SpeakerConfig("file"), tmp_path / "mine.npz")
    again = corpus_speakers.prepare(corpus, SpeakerConfig("file"))
    assert made is not None and again is not None
    np.testing.assert_array_equal(again.of(made.names), made.values)


def test_references_are_level_and_of_one_length(corpus: Corpus) -> None:
    waves = corpus_speakers.references(corpus, ("ru_nsh", "slt"), 9.0)
    assert waves.shape == (2, 9 * RATE) and waves.dtype == np.float32
    np.testing.assert_allclose(10 * np.log10(np.mean(waves**2, axis=1)), -24, atol=0.5)
    with pytest.raises(ValueError, match="has no recordings of 'nobody'"):
        corpus_speakers.references(corpus, ("nobody",), 9.0)
