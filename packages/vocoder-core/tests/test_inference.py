"""A recording's way through a vocoder and back: rate, length and level of what came are those of what goes."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
import torch

from vocoder_core import audio, cli, inference
from vocoder_core.griffinlim import griffin_lim
from vocoder_core.mel import log_mel
from vocoder_core.mel_presets import PRESETS

CONFIG = PRESETS["asr16"]


def level(wav: np.ndarray, sample_rate: int) -> tuple[np.ndarray, float]:
    return audio.set_peak(wav, -0.4455)


def vocode(mel: torch.Tensor) -> torch.Tensor:
    """A vocoder without weights."""
    return torch.as_tensor(griffin_lim(mel, CONFIG, iterations=2))


@pytest.fixture(scope="module")
def speech(shared_audio: Path) -> np.ndarray:
    return audio.load(shared_audio / "slt" / "arctic_a0009.flac", 16_000)[0][8000:16_000]


@pytest.mark.parametrize("samples", [1, 255, 256, 257, 5000])
@pytest.mark.parametrize("rate", [16_000, 22_050])
def test_the_copy_is_as_long_as_the_recording(speech: np.ndarray, samples: int, rate: int) -> None:
    made = inference.copy(np.resize(speech, samples), rate, CONFIG, level, vocode)
    assert made.shape == (samples,) and made.dtype == np.float32 and np.isfinite(made).all()


def test_the_level_is_taken_off_and_given_back(speech: np.ndarray) -> None:
    """What the vocoder hears has the level it asked for, whatever the recording's; the copy has the recording's."""
    heard = []

    def listen(mel: torch.Tensor) -> torch.Tensor:
        heard.append(mel)
        return vocode(mel)

    loud, quiet = (inference.copy(speech * gain, 16_000, CONFIG, level, listen) for gain in (1.0, 1 / 64))
    assert torch.allclose(*heard, atol=1e-4)
    own = log_mel(torch.from_numpy(speech * 0.95 / np.abs(speech).max())[: 31 * 256], CONFIG)
    assert torch.allclose(heard[0][:, 3:28], own[:, 3:28], atol=1e-4)
    assert np.allclose(loud, 64 * quiet, atol=2e-3 * np.abs(loud).max())


def test_analyse_fills_the_last_frame_with_silence(speech: np.ndarray) -> None:
    wav = torch.from_numpy(speech)
    assert torch.equal(inference.analyse(wav[:700], CONFIG), log_mel(torch.cat([wav[:700], torch.zeros(68)]), CONFIG))
    assert inference.analyse(wav[:0], CONFIG).shape == (80, 1)


def test_an_empty_recording_is_refused() -> None:
    with pytest.raises(ValueError, match="empty"):
        inference.copy(np.zeros(0, np.float32), 16_000, CONFIG, level, vocode)


@pytest.mark.parametrize(("suffix", "rate"), [(".wav", "input"), (".flac", "model")])
def test_the_command_copies_files(speech: np.ndarray, tmp_path: Path, suffix: str, rate: str) -> None:
    soundfile.write(tmp_path / "in.wav", np.resize(speech, 4410), 44_100)
    command = [str(tmp_path / "in.wav"), str(tmp_path / f"out{suffix}"), "--rate", rate]
    parser = inference.parser("tiny-infer", "A test.")
    assert cli.run(parser, lambda arguments: inference.infer(arguments, CONFIG, level, vocode), command) == 0
    made = soundfile.info(tmp_path / f"out{suffix}")
    assert (made.frames, made.samplerate) == ((4410, 44_100) if rate == "input" else (1600, 16_000))


def test_full_scale_is_a_peak_of_zero_decibels(speech: np.ndarray) -> None:
    for decibels in (-12.0, -0.4455, 0.0):
        wav, gain = audio.set_peak(speech, decibels)
        assert 20 * np.log10(np.abs(wav).max()) == pytest.approx(decibels, abs=1e-4)
        assert np.allclose(wav, speech * gain)
    silence, gain = audio.set_peak(np.zeros(5, np.float32), 0.0)
    assert not silence.any() and np.isfinite(gain)


def test_a_mel_goes_in_as_it_is(tmp_path: Path, speech: np.ndarray) -> None:
    mel = inference.analyse(torch.from_numpy(speech), CONFIG)
    np.save(tmp_path / "mel.npy", mel.numpy())
    arguments = inference.parser("tiny-infer", "").parse_args([str(tmp_path / "mel.npy"), str(tmp_path / "out.wav")])
    heard: list[torch.Tensor] = []
    inference.infer(arguments, CONFIG, level, lambda mel: heard.append(mel) or vocode(mel))
    assert torch.equal(heard[0], mel) and soundfile.info(tmp_path / "out.wav").frames == mel.shape[1] * 256


@pytest.mark.parametrize("rate", [8000, 16_000, 22_050, 48_000])
def test_a_recording_reworked_by_nothing_comes_back(speech: np.ndarray, rate: int) -> None:
    """Work that gives back what it got: rate, level, padding and alignment are undone; what is left is resampling."""
    wav = audio.resample(speech, 16_000, rate)[:3001] * 0.2
    made = inference.rework(wav, rate, CONFIG, level, lambda own: own)
    assert made.shape == wav.shape
    if rate == 16_000:
        assert np.allclose(made, wav, atol=1e-6)
    else:
        assert np.square(made - wav).sum() < 2e-3 * np.square(wav).sum()


def test_the_halves_know_how_long_the_recording_was(speech: np.ndarray) -> None:
    """prepare pads to whole frames, restore cuts by the number of samples alone."""
    own, gain = inference.prepare(speech[:1001] / 4, 44_100, CONFIG, level)
    assert own.shape == (512,) and own.abs().max() == pytest.approx(0.95, abs=1e-4)
    assert not own[364:].any(), "1001 samples at 44.1 kHz are 363.2 at 16"
    assert inference.restore(own, gain, 16_000, 44_100, 1001).shape == (1001,)
    short, _ = inference.prepare(speech[:1], 16_000, CONFIG, level)
    assert short.shape == (256,)


@pytest.mark.parametrize(("kind", "target"), [("peak", -6.0), ("loudness", -30.0)])
def test_a_models_level_is_a_peak_or_a_loudness(speech: np.ndarray, kind: str, target: float) -> None:
    """In dB of full scale, or in LUFS; the gain that took the recording there comes with it."""
    wav, gain = inference.level_of(SimpleNamespace(level=kind, level_db=target))(np.tile(speech, 3), 16_000)
    reached = 20 * np.log10(np.abs(wav).max()) if kind == "peak" else audio.loudness(wav, 16_000)
    assert reached == pytest.approx(target, abs=0.1)
    assert np.allclose(wav, gain * np.tile(speech, 3), atol=1e-5)


def test_what_draws_samples_is_told_by_these_options() -> None:
    parser = inference.parser("tool-infer", "")
    inference.add_sampling_arguments(parser)
    plain = inference.sampling(parser.parse_args(["in.wav", "out.wav"]))
    assert plain == {"seed": 0, "backend": "auto", "progress": True}, "the rest is the model's own"
    more = ["--seed", "3", "--temperature", "0.5", "--settle", "8", "--backend", "torch"]
    told = inference.sampling(parser.parse_args(["in.wav", "out.wav", *more]))
    assert told == {"seed": 3, "temperature": 0.5, "settle": 8, "backend": "torch", "progress": True}
