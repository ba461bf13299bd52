"""Griffin-Lim against librosa's, in every mel dialect, on real speech."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from vocoder_core.audio import load
from vocoder_core.griffinlim import griffin_lim, spectrum_of_mel, undo_preemphasis, wave_of_spectrum
from vocoder_core.mel import MelConfig, filterbank, log_mel, preemphasise, silence_level
from vocoder_core.mel_presets import PRESETS

CLIPS = ["austen/austen_64kb-0880.flac", "slt/arctic_a0007.flac"]
DECIBEL = MelConfig(power=2.0)
ODD = MelConfig(n_fft=1000, win_length=900, hop_length=225, power=2.0, log="log10", preemphasis=0.9, mel_scale="htk")


def speech(folder: Path, clip: str, config: MelConfig, seconds: float = 2.0) -> torch.Tensor:
    wav, _ = load(folder / clip, config.sample_rate)
    frames = int(seconds * config.sample_rate) // config.hop_length
    return torch.from_numpy(wav[: frames * config.hop_length])


def test_phases_are_at_least_as_consistent_as_librosas(shared_audio: Path) -> None:
    """Spectral convergence, same magnitudes, iterations, momentum; mean of two voices and two seeds (chance: 10 %)."""
    import librosa

    config, ours, theirs = PRESETS["asr16"], [], []
    for clip in CLIPS:
        magnitude = np.abs(librosa.stft(speech(shared_audio, clip, config).numpy(), n_fft=1024, hop_length=256))[:, :-1]
        for seed in (0, 1):
            own = wave_of_spectrum(torch.from_numpy(magnitude)[None], config, 60, seed)[0].numpy()
            other = librosa.griffinlim(magnitude, n_iter=60, n_fft=1024, hop_length=256, random_state=seed)
            ours.append(convergence(own, magnitude))
            theirs.append(convergence(np.pad(other, (0, 256)), magnitude))
    assert np.mean(ours) <= 1.1 * np.mean(theirs)
    assert max(ours) < 0.15


@pytest.mark.parametrize("config", [PRESETS["asr16"], PRESETS["hifi22"], ODD], ids=["asr16", "hifi22", "odd"])
def test_a_recordings_own_phases_bring_it_back(shared_audio: Path, config: MelConfig) -> None:
    """Started from the recording, what comes out correlates with it, without any iteration; from noise it cannot."""
    wav = speech(shared_audio, CLIPS[0], config)
    mel = log_mel(wav, config)
    near, far = griffin_lim(mel, config, 0, start=wav), griffin_lim(mel, config, 0)
    assert torch.corrcoef(torch.stack([wav, near]))[0, 1] > 0.95
    assert torch.corrcoef(torch.stack([wav, far]))[0, 1].abs() < 0.3
    with pytest.raises(ValueError, match="start of shape"):
        griffin_lim(mel, config, 0, start=wav[:-1])


def convergence(wav: np.ndarray, magnitude: np.ndarray) -> float:
    """|| |STFT(wav)| - magnitude || / || magnitude ||, two frames at either end left out."""
    import librosa

    own = np.abs(librosa.stft(wav, n_fft=1024, hop_length=256))[:, 2 : magnitude.shape[1] - 2]
    return float(np.linalg.norm(own - magnitude[:, 2:-2]) / np.linalg.norm(magnitude[:, 2:-2]))


@pytest.mark.parametrize("config", [*PRESETS.values(), DECIBEL, ODD], ids=[*PRESETS, "decibel", "odd"])
def test_the_spectrum_has_the_mel_it_was_made_from(shared_audio: Path, config: MelConfig) -> None:
    """Every dialect is undone: scale, offset, logarithm, power. Off by less than 0.2 % of the mel's spread."""
    mel = log_mel(speech(shared_audio, CLIPS[0], config).double(), config)
    spectrum = spectrum_of_mel(mel[None], config)[0].numpy()
    bands = filterbank(config) @ spectrum**config.power
    logs = {"ln": np.log, "log10": np.log10, "db": lambda x: 20 / config.power * np.log10(x)}[config.log](bands)
    again = np.maximum((logs - config.offset) / config.scale, silence_level(config))
    assert np.abs(again - mel.numpy()).mean() < 0.002 * mel.numpy().std()


@pytest.mark.parametrize("config", [*PRESETS.values(), ODD], ids=[*PRESETS, "odd"])
def test_the_wave_has_the_mel_it_was_made_from(shared_audio: Path, config: MelConfig) -> None:
    """Aligned and complete: the copy's log-mel differs from the original's by under 15 % of its spread."""
    wav = speech(shared_audio, CLIPS[1], config)
    mel = log_mel(wav, config)
    copy = griffin_lim(mel, config, iterations=32)
    assert copy.shape == wav.shape
    assert copy.abs().max() <= 1
    difference = (log_mel(copy, config) - mel)[:, 4:-4].abs().mean()
    assert difference < 0.15 * mel.std()


@pytest.mark.parametrize("centering", ["center", "same"])
def test_sound_stays_where_it_was(centering: str) -> None:
    """A burst of 10 ms in silence comes back at the same time, within half a hop."""
    config = MelConfig(16_000, 1024, 1024, 256, preemphasis=0.0, centering=centering)  # type: ignore[arg-type]
    wav = torch.zeros(40 * 256)
    wav[5000:5160] = 0.5 * torch.randn(160, generator=torch.Generator().manual_seed(0))
    copy = griffin_lim(log_mel(wav, config), config)
    time = torch.arange(len(wav))
    centre = float((copy.square() * time).sum() / copy.square().sum())
    assert centre == pytest.approx(5080, abs=128)


@pytest.mark.parametrize("coefficient", [0.5, 0.97, 0.999])
def test_preemphasis_is_undone(shared_audio: Path, coefficient: float) -> None:
    from scipy.signal import lfilter

    wav = speech(shared_audio, CLIPS[0], PRESETS["asr16"])
    emphasised = preemphasise(torch.stack([wav, -0.5 * wav]), coefficient)
    back = undo_preemphasis(emphasised, coefficient)
    torch.testing.assert_close(back[0], wav, atol=1e-4, rtol=0)
    torch.testing.assert_close(back[1], -0.5 * wav, atol=1e-4, rtol=0)
    ahead = emphasised[0].numpy().astype(np.float64)
    ahead[0] = float(wav[0])
    np.testing.assert_allclose(back[0].numpy(), lfilter([1], [1, -coefficient], ahead), atol=1e-4)
    torch.testing.assert_close(undo_preemphasis(preemphasise(wav[:1], coefficient), coefficient), wav[:1])


def test_batch_is_single_and_the_seed_decides(shared_audio: Path) -> None:
    config = PRESETS["asr16"]
    mels = torch.stack([log_mel(speech(shared_audio, clip, config, 0.5), config) for clip in CLIPS])
    both = griffin_lim(mels, config, iterations=4)
    for mel, wav in zip(mels, both):
        torch.testing.assert_close(griffin_lim(mel, config, iterations=4), wav, atol=2e-5, rtol=0)
    assert torch.equal(griffin_lim(mels, config, iterations=4), both)
    assert not torch.allclose(griffin_lim(mels, config, iterations=4, seed=1), both, atol=1e-3)


@pytest.mark.parametrize("frames", [0, 1, 2])
@pytest.mark.parametrize("name", ["rnnms16", "hifi22"])
def test_short_mels_have_their_length(name: str, frames: int) -> None:
    config = PRESETS[name]
    mel = torch.full((config.n_mels, frames), silence_level(config))
    assert griffin_lim(mel, config, iterations=2).shape == (frames * config.hop_length,)
    assert griffin_lim(mel[None], config, iterations=2).shape == (1, frames * config.hop_length)


def test_another_number_of_bands_is_refused() -> None:
    with pytest.raises(ValueError, match=r"\(40, 9\); expected \(80, F\)"):
        griffin_lim(torch.zeros(40, 9), PRESETS["asr16"])
