"""vqvaevc-infer as its users run it: any recording or mel in, an aligned copy out, refusals in a sentence."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from vocoder_core import audio, mel_file
from vocoder_core.inference import analyse
from vqvaevc import VQVAEVC
from vqvaevc.infer import copy, main

sys.path.append(str(Path(__file__).parent))  # the folder of drawn_models.py
from drawn_models import BABBLE, CODEC, MEL, VOCODER, WAVE, untrained

TORCH = ["--backend", "torch"]  # these models are so small that compiling would take longer than running


@pytest.fixture(scope="module")
def codec(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return untrained(CODEC, tmp_path_factory.mktemp("codec"))


@pytest.fixture(scope="module")
def wave(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return untrained(WAVE, tmp_path_factory.mktemp("wave"))


@pytest.fixture(scope="module")
def vocoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return untrained(VOCODER, tmp_path_factory.mktemp("vocoder"))


@pytest.fixture(scope="module")
def clip(shared_audio: Path) -> np.ndarray:
    return audio.load(shared_audio / "slt" / "arctic_a0009.flac", 16_000)[0][8800:9056]


@pytest.mark.parametrize(
    ("rate", "channels", "samples"),
    [(16_000, 1, 1), (16_000, 1, 255), (16_000, 1, 257), (44_100, 2, 601), (8000, 6, 201), (22_050, 1, 64)],
)
def test_the_copy_has_the_recordings_rate_and_number_of_samples(
    wave: Path, clip: np.ndarray, tmp_path: Path, rate: int, channels: int, samples: int
) -> None:
    wav = np.resize(audio.resample(clip, 16_000, rate), samples)
    soundfile.write(tmp_path / "in put.wav", np.stack([wav] * channels, 1), rate)
    told = [str(tmp_path / "in put.wav"), str(tmp_path / "out.wav"), "--checkpoint", str(wave), *TORCH]
    assert main([*told, "--speaker", "anna"]) == 0
    made, made_rate = soundfile.read(tmp_path / "out.wav")
    assert made_rate == rate and made.shape == (samples,) and np.isfinite(made).all()


def test_a_seed_names_one_copy_in_every_process(wave: Path, clip: np.ndarray, tmp_path: Path) -> None:
    """The command in a process of its own gives what the function gives here; another seed gives another copy."""
    soundfile.write(tmp_path / "in.wav", clip, 16_000, subtype="FLOAT")
    command = [sys.executable, "-m", "vqvaevc.infer", "in.wav", "out.wav", "--checkpoint", str(wave), *TORCH]
    run = subprocess.run(
        [*command, "--seed", "5", "--speaker", "bruno"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    assert "out.wav: 0.02 s at 16000 Hz" in run.stdout
    model = VQVAEVC.from_pretrained(wave)
    five, six = (copy(model, clip, 16_000, speaker="bruno", seed=seed, backend="torch") for seed in (5, 6))
    assert np.allclose(soundfile.read(tmp_path / "out.wav", dtype="float32")[0], five, atol=1e-4)
    assert np.abs(five - six).max() > 1e-2
    calm = copy(model, clip, 16_000, speaker="bruno", seed=5, temperature=0.5, backend="torch")
    assert np.abs(five - calm).max() > 1e-2


def test_the_recordings_level_is_taken_off_and_given_back(wave: Path, clip: np.ndarray) -> None:
    model = VQVAEVC.from_pretrained(wave)
    loud, quiet = (copy(model, wav, 16_000, speaker="anna", seed=0, backend="torch") for wav in (clip, clip / 8))
    assert np.allclose(loud, 8 * quiet, atol=2e-3 * np.abs(loud).max())


def test_loudness_is_a_level_too(clip: np.ndarray, tmp_path: Path) -> None:
    """What the speech that a model learnt from had alike is what its input gets: here -30 LUFS."""
    from vqvaevc.infer import level

    model = VQVAEVC.from_pretrained(untrained(replace(VOCODER, level="loudness", level_db=-30.0), tmp_path / "model"))
    wav, gain = level(model)(np.tile(clip, 40), 16_000)
    assert audio.loudness(wav, 16_000) == pytest.approx(-30.0, abs=0.1) and gain > 0


def test_without_a_name_a_codec_says_the_mel_and_pitch_as_they_are(
    codec: Path, vocoder: Path, clip: np.ndarray, tmp_path: Path
) -> None:
    """No codes and nobody's voice: the decoder's own copy. With a name it is -convert."""
    soundfile.write(tmp_path / "in.wav", clip, 16_000, subtype="FLOAT")
    command = [str(tmp_path / "in.wav"), str(tmp_path / "out.wav"), "--checkpoint", str(codec), *TORCH]
    assert main(command) == 0
    plain = soundfile.read(tmp_path / "out.wav", dtype="float32")[0]
    model = VQVAEVC.from_pretrained(codec)
    own, gain = audio.set_peak(clip, model.config.level_db)
    wav = torch.from_numpy(own)
    mel, pitch = analyse(wav, model.config.mel), model.condition.pitch(wav[None])
    by_mel = model.synthesize(mel[None], pitch=pitch, seed=0, backend="torch")[0].numpy() / gain
    assert np.allclose(plain, by_mel, atol=1e-4)
    assert main([*command, "--speaker", "anna"]) == 0
    anna = soundfile.read(tmp_path / "out.wav", dtype="float32")[0]
    assert np.abs(anna - plain).max() > 1e-3
    converted = model.convert(wav, "anna", seed=0, backend="torch").numpy() / gain
    assert np.allclose(anna, converted, atol=1e-4)


def test_settling_brings_the_copy_to_its_mel(vocoder: Path, clip: np.ndarray, tmp_path: Path) -> None:
    """Griffin-Lim from the phases of what was said; the config's own number of steps, unless told."""
    model, long = VQVAEVC.from_pretrained(vocoder), np.tile(clip, 4)
    soundfile.write(tmp_path / "in.wav", long, 16_000, subtype="FLOAT")
    command = [str(tmp_path / "in.wav"), str(tmp_path / "out.wav"), "--checkpoint", str(vocoder), *TORCH]
    assert main([*command, "--settle", "4"]) == 0
    near = soundfile.read(tmp_path / "out.wav", dtype="float32")[0]
    far, again = (copy(model, long, 16_000, settle=steps, seed=0, backend="torch") for steps in (None, 4))
    assert np.allclose(near, again, atol=1e-4)
    asked, settled, said = (analyse(torch.from_numpy(one), MEL) for one in (long, near, far))
    assert (settled - asked).abs().mean() < 0.8 * (said - asked).abs().mean()


@pytest.mark.parametrize("suffix", [".npy", ".npz"])
def test_a_mel_file_gives_what_the_model_gives_for_it(
    vocoder: Path, clip: np.ndarray, tmp_path: Path, suffix: str
) -> None:
    model, path = VQVAEVC.from_pretrained(vocoder), tmp_path / f"mel{suffix}"
    mel = analyse(torch.from_numpy(clip), model.config.mel)
    np.save(path, mel.numpy()) if suffix == ".npy" else mel_file.write(path, mel, model.config.mel)
    assert main([str(path), str(tmp_path / "out.wav"), "--checkpoint", str(vocoder), "--seed", "5", *TORCH]) == 0
    made, _ = soundfile.read(tmp_path / "out.wav", dtype="float32")
    assert np.allclose(made, model.synthesize(mel, seed=5, backend="torch").numpy(), atol=1e-4)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["missing.wav", "out.wav"], "missing.wav"),
        (["in.wav", "nowhere/out.wav"], "nowhere: no such folder"),
        (["in.wav", "out.wav", "--checkpoint", "nowhere"], "nowhere: no config.yaml there"),
        (["in.wav", "out.wav", "--device", "abacus"], "no such kind of device"),
        (["in.wav", "out.wav", "--temperature", "-1"], "temperature"),
        (["in.wav", "out.wav", "--settle", "-1"], "settle is -1"),
        (["in.wav", "out.wav", "--checkpoint", "WAVE", "--speaker", "anna", "--settle", "2"], "no mel to settle on"),
        (["in.wav", "out.xyz"], "out.xyz"),
        (["text.wav", "out.wav"], "text.wav"),
        (["in.wav", "out.wav", "--checkpoint", "WAVE"], "the model got no speaker"),
        (["in.wav", "out.wav", "--checkpoint", "WAVE", "--speaker", "ana"], "did you mean anna?"),
        (["in.wav", "out.wav", "--speaker", "anna"], "expected none"),
        (["mel.npz", "out.wav", "--checkpoint", "WAVE"], "mel.npz"),
        (["other.npz", "out.wav"], "its mel has centering = same, this model reads centering = center"),
        (["mel.npz", "out.wav", "--speaker", "anna"], "--speaker anna with a mel"),
    ],
)
def test_what_cannot_be_done_is_refused_in_a_sentence(
    vocoder: Path, wave: Path, clip: np.ndarray, tmp_path: Path, arguments: list[str], said: str,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    soundfile.write("in.wav", clip, 16_000)
    Path("text.wav").write_text("not audio")
    mel = analyse(torch.from_numpy(clip), MEL)
    mel_file.write("mel.npz", mel, MEL)
    mel_file.write("other.npz", mel, replace(MEL, centering="same"))
    given = [str(wave) if argument == "WAVE" else argument for argument in arguments] + TORCH
    assert main(given if "--checkpoint" in given else [*given, "--checkpoint", str(vocoder)]) == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1 and "Traceback" not in error, error
    assert not list(tmp_path.glob("out*"))


def test_what_hears_nothing_babbles_in_the_voice_of_whoever_is_named(clip: np.ndarray, tmp_path: Path) -> None:
    model = VQVAEVC.from_pretrained(untrained(BABBLE, tmp_path / "babble"))
    anna, bruno = (copy(model, clip, 16_000, speaker=who, seed=0, backend="torch") for who in ("anna", "bruno"))
    assert anna.shape == clip.shape and np.abs(anna - bruno).max() > 1e-3


def test_a_mel_louder_than_any_wave_is_refused_not_silently_nan(tmp_path: Path) -> None:
    model = VQVAEVC.from_pretrained(untrained(VOCODER, tmp_path / "vocoder"))
    with pytest.raises(ValueError, match="so loud that nothing can be predicted"):
        model.synthesize(torch.full((80, 4), 60.0), seed=0)
