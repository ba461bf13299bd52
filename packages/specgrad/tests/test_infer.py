"""specgrad-infer as its users run it: any recording or mel in, an aligned copy out, refusals in a sentence."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from specgrad import SpecGrad, SpecGradConfig
from specgrad.diffwave import DiffWaveConfig
from specgrad.infer import copy, main
from specgrad.shaping import ShapingConfig
from specgrad.stft import StftConfig
from vocoder_core import audio, mel_file
from vocoder_core.inference import analyse

FLOW = SpecGradConfig(stft=StftConfig(channels=16, layers=1, encoder_layers=1, spectrum_layers=1))
DIFFUSION = SpecGradConfig(
    process="diffusion", network="diffwave", shaping=ShapingConfig(),
    diffwave=DiffWaveConfig(channels=8, layers=2, cycle=2, embedding=8),
)  # fmt: skip


def untrained(config: SpecGradConfig, folder: Path) -> Path:
    """What it says does not matter, how long and how loud does."""
    torch.manual_seed(0)
    model = SpecGrad(config)
    model.set_statistics(torch.full((80,), -5.0), torch.full((80,), 2.0))
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def voice(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return untrained(FLOW, tmp_path_factory.mktemp("flow"))


@pytest.fixture(scope="module")
def diffusion(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return untrained(DIFFUSION, tmp_path_factory.mktemp("diffusion"))


@pytest.fixture(scope="module")
def clip(shared_audio: Path) -> np.ndarray:
    return audio.load(shared_audio / "slt" / "arctic_a0009.flac", 16_000)[0][8000:16000]


@pytest.mark.parametrize(
    ("rate", "channels", "samples"),
    [(16_000, 1, 1), (16_000, 1, 255), (16_000, 1, 256), (16_000, 1, 257), (16_000, 2, 40_001), (44_100, 2, 20_000),
     (8000, 1, 4001), (22_050, 6, 10_001)],
)  # fmt: skip
def test_the_copy_has_the_recordings_rate_and_number_of_samples(
    voice: Path, clip: np.ndarray, tmp_path: Path, rate: int, channels: int, samples: int
) -> None:
    wav = np.resize(audio.resample(clip, 16_000, rate), samples)
    soundfile.write(tmp_path / "in put.wav", np.stack([wav] * channels, 1), rate)
    assert main([str(tmp_path / "in put.wav"), str(tmp_path / "out.wav"), "--checkpoint", str(voice)]) == 0
    made, made_rate = soundfile.read(tmp_path / "out.wav")
    assert made_rate == rate and made.shape == (samples,) and np.isfinite(made).all()


@pytest.mark.parametrize("steps", [["--steps", "6"], ["--schedule", "wg3"], ["--schedule", "mine.yaml"], []])
def test_a_diffusion_takes_steps_or_a_schedule(
    diffusion: Path, clip: np.ndarray, tmp_path: Path, steps: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mine.yaml").write_text("betas: [1e-4, 0.1, 0.9]\n", encoding="utf-8")
    soundfile.write("in.wav", clip[:3001], 16_000)
    assert main(["in.wav", "out.flac", "--checkpoint", str(diffusion), *steps]) == 0
    assert soundfile.info("out.flac").frames == 3001


def test_a_seed_names_one_copy_in_every_process(voice: Path, clip: np.ndarray, tmp_path: Path) -> None:
    """The command in a process of its own gives what the function gives here; another seed gives another copy."""
    soundfile.write(tmp_path / "in.wav", clip, 16_000, subtype="FLOAT")
    command = [sys.executable, "-m", "specgrad.infer", "in.wav", "out.wav", "--checkpoint", str(voice), "--steps", "2"]
    run = subprocess.run([*command, "--seed", "5"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert "out.wav: 0.50 s at 16000 Hz" in run.stdout
    model = SpecGrad.from_pretrained(voice)
    five, six = (copy(model, clip, 16_000, steps=2, seed=seed) for seed in (5, 6))
    assert np.allclose(soundfile.read(tmp_path / "out.wav", dtype="float32")[0], five, atol=1e-4)
    assert np.abs(five - six).max() > 1e-2


def test_the_recordings_level_is_taken_off_and_given_back(voice: Path, clip: np.ndarray) -> None:
    model = SpecGrad.from_pretrained(voice)
    loud, quiet = copy(model, clip, 16_000, seed=0), copy(model, clip / 8, 16_000, seed=0)
    assert np.allclose(loud, 8 * quiet, atol=2e-3 * np.abs(loud).max())


@pytest.mark.parametrize("suffix", [".npy", ".npz"])
def test_a_mel_file_gives_what_the_model_gives_for_it(
    voice: Path, clip: np.ndarray, tmp_path: Path, suffix: str
) -> None:
    model, path = SpecGrad.from_pretrained(voice), tmp_path / f"mel{suffix}"
    mel = analyse(torch.from_numpy(clip), model.config.mel)
    np.save(path, mel.numpy()) if suffix == ".npy" else mel_file.write(path, mel, model.config.mel)
    assert main([str(path), str(tmp_path / "out.wav"), "--checkpoint", str(voice), "--seed", "5"]) == 0
    made, _ = soundfile.read(tmp_path / "out.wav", dtype="float32")
    assert np.allclose(made, model.synthesize(mel, seed=5).numpy(), atol=1e-4)


def test_a_mel_of_another_front_end_is_refused_by_the_field_that_differs(
    voice: Path, clip: np.ndarray, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mel = analyse(torch.from_numpy(clip), FLOW.mel)
    mel_file.write(tmp_path / "mel.npz", mel, replace(FLOW.mel, centering="same"))
    command = [str(tmp_path / "mel.npz"), str(tmp_path / "out.wav"), "--checkpoint", str(voice)]
    assert main(command) == 2
    assert "its mel has centering = same, this model reads centering = center" in capsys.readouterr().err
    np.save(tmp_path / "mel.npy", mel.numpy() * 8.686)  # decibels
    assert main([str(tmp_path / "mel.npy"), *command[1:]]) == 2
    assert "Another front end made this one" in capsys.readouterr().err
    assert not (tmp_path / "out.wav").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["missing.wav", "out.wav"], "missing.wav"),
        (["in.wav", "nowhere/out.wav"], "nowhere: no such folder"),
        (["in.wav", "out.wav", "--checkpoint", "nowhere"], "nowhere: no config.yaml there"),
        (["in.wav", "out.wav", "--device", "abacus"], "no such kind of device"),
        (["in.wav", "out.wav", "--steps", "0"], "--steps is 0; expected 1 or more"),
        (["in.wav", "out.wav", "--schedule", "wg6"], "this model is a flow"),
        (["in.wav", "out.xyz"], "out.xyz"),
        (["text.wav", "out.wav"], "text.wav"),
        (["in.wav", "out.wav", "--checkpoint", "DIFFUSION", "--schedule", "wg7"], "schedule is 'wg7'; expected one of"),
        (["in.wav", "out.wav", "--checkpoint", "DIFFUSION", "--schedule", "no.yaml"], "no.yaml"),
    ],
)
def test_what_cannot_be_done_is_refused_in_a_sentence(
    voice: Path, diffusion: Path, clip: np.ndarray, tmp_path: Path, arguments: list[str], said: str,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    soundfile.write("in.wav", clip[:2000], 16_000)
    Path("text.wav").write_text("not audio")
    given = [str(diffusion) if argument == "DIFFUSION" else argument for argument in arguments]
    assert main(given if "--checkpoint" in given else [*given, "--checkpoint", str(voice)]) == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1 and "Traceback" not in error
    assert not list(tmp_path.glob("out*"))
