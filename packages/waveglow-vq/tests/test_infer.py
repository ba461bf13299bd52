"""waveglow-vq-infer as its users run it: any recording or mel in, an aligned copy out, refusals in a sentence."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from vocoder_core import audio, mel_file, metrics
from vocoder_core.inference import analyse
from waveglow_vq import WaveGlowVQ
from waveglow_vq.infer import copy, main

sys.path.append(str(Path(__file__).parent))  # the folder of untrained.py
from untrained import CODEC, MEL, WAVE, untrained


@pytest.fixture(scope="module")
def voice(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return untrained(MEL, tmp_path_factory.mktemp("mel"))


@pytest.fixture(scope="module")
def waves(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return untrained(WAVE, tmp_path_factory.mktemp("wav"))


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


def test_a_seed_names_one_copy_in_every_process(voice: Path, clip: np.ndarray, tmp_path: Path) -> None:
    """The command in a process of its own gives what the function gives here; another seed gives another copy."""
    soundfile.write(tmp_path / "in.wav", clip, 16_000, subtype="FLOAT")
    command = [sys.executable, "-m", "waveglow_vq.infer", "in.wav", "out.wav", "--checkpoint", str(voice)]
    run = subprocess.run([*command, "--seed", "5"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert "out.wav: 0.50 s at 16000 Hz" in run.stdout
    model = WaveGlowVQ.from_pretrained(voice)
    five, six = (copy(model, clip, 16_000, seed=seed) for seed in (5, 6))
    assert np.allclose(soundfile.read(tmp_path / "out.wav", dtype="float32")[0], five, atol=1e-4)
    assert np.abs(five - six).max() > 1e-2


def test_sigma_settle_and_denoise_are_those_of_the_model_and_of_its_denoiser(
    voice: Path, clip: np.ndarray, tmp_path: Path
) -> None:
    model = WaveGlowVQ.from_pretrained(voice)
    soundfile.write(tmp_path / "in.wav", clip, 16_000, subtype="FLOAT")
    command = [str(tmp_path / "in.wav"), str(tmp_path / "out.wav"), "--checkpoint", str(voice), "--settle", "0"]
    made = {}
    own = ["--sigma", str(MEL.sigma)]
    for told in ([], own, ["--temperature", "0.2"], ["--sigma", "0.2", "--denoise", "0.5"]):
        assert main([*command, *told]) == 0
        made[" ".join(told)] = soundfile.read(tmp_path / "out.wav", dtype="float32")[0]
    assert np.array_equal(made[""], made[" ".join(own)]), "the config's own"
    soft = copy(model, clip, 16_000, sigma=0.2, settle=0, seed=0)
    assert np.allclose(made["--temperature 0.2"], soft, atol=1e-4)
    assert np.square(soft).sum() < 0.5 * np.square(made[""]).sum()
    assert not np.allclose(made["--sigma 0.2 --denoise 0.5"], soft, atol=1e-3)
    assert main([*command, "--settle", "2"]) == 0
    settled = soundfile.read(tmp_path / "out.wav", dtype="float32")[0]
    assert np.allclose(settled, copy(model, clip, 16_000, settle=2, seed=0), atol=1e-4)
    far, near = (
        metrics.score(clip, one, 16_000, metrics=["log_mel_mae"])["log_mel_mae"] for one in (made[""], settled)
    )
    assert near < 0.8 * far, "it is brought to its mel"


def test_the_recordings_level_is_taken_off_and_given_back(voice: Path, clip: np.ndarray) -> None:
    model = WaveGlowVQ.from_pretrained(voice)
    loud, quiet = copy(model, clip, 16_000, seed=0), copy(model, clip / 8, 16_000, seed=0)
    assert np.allclose(loud, 8 * quiet, atol=2e-3 * np.abs(loud).max())


@pytest.mark.parametrize("suffix", [".npy", ".npz"])
def test_a_mel_file_gives_what_the_model_gives_for_it(
    voice: Path, clip: np.ndarray, tmp_path: Path, suffix: str
) -> None:
    model, path = WaveGlowVQ.from_pretrained(voice), tmp_path / f"mel{suffix}"
    mel = analyse(torch.from_numpy(clip), model.config.mel)
    np.save(path, mel.numpy()) if suffix == ".npy" else mel_file.write(path, mel, model.config.mel)
    assert main([str(path), str(tmp_path / "out.wav"), "--checkpoint", str(voice), "--seed", "5"]) == 0
    made, _ = soundfile.read(tmp_path / "out.wav", dtype="float32")
    assert np.allclose(made, model.synthesize(mel, seed=5).numpy(), atol=1e-4)


def test_a_mel_of_another_front_end_is_refused_by_the_field_that_differs(
    voice: Path, clip: np.ndarray, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mel = analyse(torch.from_numpy(clip), MEL.mel)
    mel_file.write(tmp_path / "mel.npz", mel, replace(MEL.mel, centering="same"))
    command = [str(tmp_path / "mel.npz"), str(tmp_path / "out.wav"), "--checkpoint", str(voice)]
    assert main(command) == 2
    assert "its mel has centering = same, this model reads centering = center" in capsys.readouterr().err
    assert not (tmp_path / "out.wav").exists()


def test_a_model_of_codes_copies_by_the_mel_and_one_of_waves_by_its_codes(
    waves: Path, clip: np.ndarray, tmp_path: Path
) -> None:
    """The first need not know who speaks; the second has to be told, and no mel says what it needs."""
    soundfile.write(tmp_path / "in.wav", clip[:5001], 16_000)
    command = [str(tmp_path / "in.wav"), str(tmp_path / "out.wav"), "--checkpoint"]
    assert main([*command, str(untrained(CODEC, tmp_path / "codes"))]) == 0
    assert main([*command, str(waves), "--speaker", "anna"]) == 0
    assert soundfile.info(tmp_path / "out.wav").frames == 5001
    model = WaveGlowVQ.from_pretrained(waves)
    anna, bruno = (copy(model, clip[:5001], 16_000, seed=0, speaker=who) for who in ("anna", "bruno"))
    assert np.abs(anna - bruno).max() > 1e-3
    assert np.allclose(soundfile.read(tmp_path / "out.wav", dtype="float32")[0], anna, atol=1e-3)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["missing.wav", "out.wav"], "missing.wav"),
        (["in.wav", "nowhere/out.wav"], "nowhere: no such folder"),
        (["in.wav", "out.wav", "--checkpoint", "nowhere"], "nowhere: no config.yaml there"),
        (["in.wav", "out.wav", "--device", "abacus"], "no such kind of device"),
        (["in.wav", "out.wav", "--sigma", "2"], "sigma is 2.0; expected 0 to 1.5"),
        (["in.wav", "out.xyz"], "out.xyz"),
        (["text.wav", "out.wav"], "text.wav"),
        (["in.wav", "out.wav", "--checkpoint", "WAVES"], "the model got no speaker"),
        (["in.wav", "out.wav", "--checkpoint", "WAVES", "--speaker", "ana"], "did you mean anna?"),
        (["mel.npz", "out.wav", "--checkpoint", "WAVES"], "mel.npz"),
    ],
)
def test_what_cannot_be_done_is_refused_in_a_sentence(
    voice: Path, waves: Path, clip: np.ndarray, tmp_path: Path, arguments: list[str], said: str,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    soundfile.write("in.wav", clip[:2000], 16_000)
    Path("text.wav").write_text("not audio")
    mel_file.write("mel.npz", analyse(torch.from_numpy(clip), MEL.mel), MEL.mel)
    given = [str(waves) if argument == "WAVES" else argument for argument in arguments]
    assert main(given if "--checkpoint" in given else [*given, "--checkpoint", str(voice)]) == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1 and "Traceback" not in error
    assert not list(tmp_path.glob("out*"))


@pytest.mark.parametrize("flag", [["--sigma", "-1"], ["--denoise", "much"]])
def test_what_is_no_amount_is_answered_with_usage(flag: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["in.wav", "out.wav", *flag])
    assert end.value.code == 2 and f"argument {flag[0]}" in capsys.readouterr().err
