"""samplernn-pase-embed: recordings and prepared corpora in, vectors out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from samplernn_pase import embed, speaker_vectors
from samplernn_pase.pase import PASE
from vocoder_core import audio
from vocoder_core.corpus import CorpusConfig, prepare
from vocoder_core.layouts import find

RATE = 16_000


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A PASE of random weights."""
    torch.manual_seed(0)
    torch.save(PASE().state_dict(), tmp_path_factory.mktemp("ckpt") / "PASE.ckpt")
    return next(tmp_path_factory.getbasetemp().glob("ckpt*/PASE.ckpt"))


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three voices of noise, one of them at another rate, and silence."""
    folder, rng = tmp_path_factory.mktemp("wav"), np.random.default_rng(0)
    for name, rate in (("anna", RATE), ("bob", 22_050), ("carl", RATE)):
        audio.save(folder / f"{name}.wav", 0.1 * rng.normal(size=2 * rate), rate)
    audio.save(folder / "nobody.wav", np.zeros(RATE), RATE)
    return folder


def run(*arguments: object) -> int:
    return embed.main([str(argument) for argument in arguments])


def test_recordings_become_named_vectors(
    recordings: Path, weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    out, how = tmp_path / "v.npz", ("--provider", "pase", "--weights", weights, "--seconds", 1.5)
    assert run(recordings / "bob.wav", recordings / "anna.wav", out, *how) == 0
    made = speaker_vectors.read(out)
    assert (made.names, made.provider, made.seconds) == (("bob", "anna"), "pase", 1.5)
    assert made.heard == pytest.approx((1.5, 1.5), abs=1e-4)
    said = capsys.readouterr().out
    assert "2 x 100 numbers by pase" in said and made.fingerprint[:12] in said
    by_hand = PASE.load(weights).embed(audio.load(recordings / "anna.wav")[0][: round(1.5 * RATE)], RATE)
    np.testing.assert_allclose(made.of(("anna",))[0], by_hand, atol=1e-6)


def test_one_recording_becomes_an_array(recordings: Path, weights: Path, tmp_path: Path) -> None:
    assert run(recordings / "carl.wav", tmp_path / "carl.npy", "--provider", "pase", "--weights", weights) == 0
    vector = np.load(tmp_path / "carl.npy", allow_pickle=False)
    assert vector.shape == (100,) and vector.dtype == np.float32
    assert speaker_vectors.read(tmp_path / "carl.npy").names == ("carl",)


def test_a_prepared_corpus_gets_its_speakers(recordings: Path, weights: Path, tmp_path: Path) -> None:
    config = CorpusConfig(RATE, 80, valid_fraction=0, test_fraction=0)
    spoken = [utterance for utterance in find(recordings) if utterance.id != "nobody"]
    prepare(spoken, tmp_path / "data", config, progress=False, jobs=1)
    assert run(tmp_path / "data", "--provider", "pase", "--weights", weights, "--seconds", 3) == 0
    made = speaker_vectors.read(tmp_path / "data" / "features" / "speakers-pase.npz")
    assert len(made.names) == 1 and made.values.shape == (1, 100)
    assert made.heard == pytest.approx((3.0,))


@pytest.mark.parametrize(
    "arguments, why",
    [
        (["anna.wav", "bob.wav", "out.npy"], "go into out.npz"),
        (["anna.wav", "out.txt"], "go into out.npz"),
        (["nobody.wav", "out.npz"], "nobody.wav: the 1.00 s of speech of a speaker are silent"),
        (["none.wav", "out.npz"], "none.wav"),
        (["anna.wav", "anna.wav", "out.npz"], "two recordings have the name 'anna'"),
        (["anna.wav"], "one argument is a prepared corpus"),
        (["anna.wav", "out.npz", "--seconds", "0"], "speaker.seconds is 0"),
        (["anna.wav", "out.npz", "--weights", "none.ckpt"], "none.ckpt: no such file; expected pase's weights"),
        (["anna.wav", "nowhere/out.npz"], "nowhere"),
    ],
)
def test_a_mistake_is_one_sentence(
    arguments: list[str], why: str, recordings: Path, weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    places = [recordings / name if name.endswith(".wav") else name for name in arguments]
    places = [tmp_path / name if str(name).startswith(("out.", "nowhere")) else name for name in places]
    more = [] if "--weights" in arguments else ["--weights", weights]
    assert run(*places, "--provider", "pase", *more) == 2
    said = capsys.readouterr().err
    assert why in said and said.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_without_weights_it_says_where_they_are(
    recordings: Path, capsys: pytest.CaptureFixture, tmp_path: Path
) -> None:
    assert run(recordings / "anna.wav", tmp_path / "a.npy", "--provider", "pase+") == 2
    assert "FE_e199.ckpt" in capsys.readouterr().err
