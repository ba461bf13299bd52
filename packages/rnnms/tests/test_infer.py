"""rnnms-infer as its users run it: any recording or mel in, an aligned copy out, refusals in a sentence."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from rnnms import RNNMS, RNNMSConfig
from rnnms.infer import copy, main
from vocoder_core import audio
from vocoder_core.inference import analyse

CLIP = "slt/arctic_a0009.flac"


@pytest.fixture(scope="module")
def voice(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint folder with an untrained small voice: what it says does not matter, how long and how loud does."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("voice")
    RNNMS(RNNMSConfig(bits=8, hidden_size=16, linear_size=16, encoder_size=8, embedding_size=8)).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def speech(shared_audio: Path) -> np.ndarray:
    return audio.load(shared_audio / CLIP, 16_000)[0][8000:16000]


@pytest.mark.parametrize(
    ("rate", "channels", "samples"),
    [(8000, 1, 4001), (16_000, 2, 7999), (22_050, 1, 10_001), (44_100, 2, 20_000), (48_000, 6, 24_007), (16_000, 1, 1)],
)
def test_the_copy_has_the_recordings_rate_and_number_of_samples(
    voice: Path, speech: np.ndarray, tmp_path: Path, rate: int, channels: int, samples: int
) -> None:
    wav = np.resize(audio.resample(speech, 16_000, rate), samples)
    soundfile.write(tmp_path / "in put.wav", np.stack([wav] * channels, 1), rate)
    assert main([str(tmp_path / "in put.wav"), str(tmp_path / "out.wav"), "--checkpoint", str(voice)]) == 0
    made, made_rate = soundfile.read(tmp_path / "out.wav")
    assert made_rate == rate and made.shape == (samples,) and np.isfinite(made).all()


def test_the_models_own_rate_can_be_asked_for(voice: Path, speech: np.ndarray, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "in.wav", np.resize(speech, 8820), 44_100)
    command = [str(tmp_path / "in.wav"), str(tmp_path / "out.flac"), "--checkpoint", str(voice), "--rate", "model"]
    assert main(command) == 0
    made, rate = soundfile.read(tmp_path / "out.flac")
    assert rate == 16_000 and len(made) == 3200


def test_the_recordings_level_is_taken_off_and_given_back(voice: Path, speech: np.ndarray) -> None:
    model = RNNMS.from_pretrained(voice)
    loud, quiet = copy(model, speech, 16_000, seed=0), copy(model, speech / 8, 16_000, seed=0)
    assert np.allclose(loud, 8 * quiet, atol=2e-3 * np.abs(loud).max())


def test_a_seed_names_one_copy(voice: Path, speech: np.ndarray) -> None:
    model = RNNMS.from_pretrained(voice)
    assert np.array_equal(copy(model, speech, 16_000, seed=1), copy(model, speech, 16_000, seed=1))
    assert not np.array_equal(copy(model, speech, 16_000, seed=1), copy(model, speech, 16_000, seed=2))


def test_a_mel_file_gives_what_the_model_gives_for_it(voice: Path, speech: np.ndarray, tmp_path: Path) -> None:
    model = RNNMS.from_pretrained(voice)
    mel = analyse(torch.from_numpy(speech), model.config.mel)
    np.save(tmp_path / "mel.npy", mel.numpy()[None])
    assert main([str(tmp_path / "mel.npy"), str(tmp_path / "out.wav"), "--checkpoint", str(voice), "--seed", "5"]) == 0
    made, _ = soundfile.read(tmp_path / "out.wav", dtype="float32")
    assert np.allclose(made, model.synthesize(mel, seed=5).numpy(), atol=1 / 32000)


@pytest.mark.parametrize(
    ("mel", "said"),
    [
        (np.zeros((40, 80), np.float32), "transpose it"),
        (np.zeros((12, 7), np.float32), "expected float (80, frames)"),
        (np.zeros((80, 4), np.int16), "int16 array"),
        (np.full((80, 4), -11.5, np.float32), "Another front end made this one"),  # natural log, as WaveGlow's
        (np.full((80, 4), np.nan, np.float32), "Another front end"),
        (np.zeros((80, 0), np.float32), "no frames"),
    ],
)
def test_a_mel_of_another_kind_is_refused(
    voice: Path, tmp_path: Path, mel: np.ndarray, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    np.save(tmp_path / "mel.npy", mel)
    assert main([str(tmp_path / "mel.npy"), str(tmp_path / "out.wav"), "--checkpoint", str(voice)]) == 2
    assert said in capsys.readouterr().err and not (tmp_path / "out.wav").exists()


def test_pickled_arrays_are_not_unpickled(voice: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.save(tmp_path / "mel.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    assert main([str(tmp_path / "mel.npy"), str(tmp_path / "out.wav"), "--checkpoint", str(voice)]) == 2
    assert "not a readable .npy array" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["missing.wav", "out.wav"], "missing.wav"),
        (["in.wav", "nowhere/out.wav"], "nowhere: no such folder"),
        (["in.wav", "out.wav", "--checkpoint", "nowhere"], "nowhere: no config.yaml there"),
        (["in.wav", "out.wav", "--device", "abacus"], "no such kind of device"),
        (["in.wav", "out.wav", "--temperature", "-1"], "temperature"),
        (["in.wav", "out.xyz"], "out.xyz"),
        (["text.wav", "out.wav"], "text.wav"),
    ],
)
def test_what_cannot_be_done_is_refused_in_a_sentence(
    voice: Path,
    speech: np.ndarray,
    tmp_path: Path,
    arguments: list[str],
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    soundfile.write("in.wav", speech[:2000], 16_000)
    Path("text.wav").write_text("not audio")
    given = arguments if "--checkpoint" in arguments else [*arguments, "--checkpoint", str(voice)]
    assert main(given) == 2
    error = capsys.readouterr().err
    assert said in error and "Traceback" not in error
    assert not list(tmp_path.glob("out*"))
