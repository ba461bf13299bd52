"""log_mel is librosa's log-mel, in every dialect, for every length, batched, differentiable and in every precision."""

from __future__ import annotations

from dataclasses import replace
from math import log
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr
import torch

from vocoder_core.mel import MelConfig, filterbank, log_mel, loudest_level, preemphasise, silence_level
from vocoder_core.mel_presets import PRESETS

librosa = pytest.importorskip("librosa")
CLIPS = ("slt/arctic_a0009", "ru_nsh/ru_0027", "carlo/it-demo-thanks", "ivrvoice/ru-demo-thanks")
LIBROSA_NORM = {"slaney": "slaney", "l1": 1, "none": None}


def librosa_mel(wav: np.ndarray, config: MelConfig) -> np.ndarray:
    """The same front end out of librosa's parts, in float64, padded by hand: (M, F or F + 1)."""
    wav = wav.astype(np.float64)
    if config.preemphasis:
        wav = librosa.effects.preemphasis(wav, coef=config.preemphasis)
    pad = config.n_fft // 2 if config.centering == "center" else (config.n_fft - config.hop_length) // 2
    spectrum = librosa.stft(
        np.pad(wav, pad, mode="constant" if config.pad_mode == "constant" else "reflect"),
        n_fft=config.n_fft,
        hop_length=config.hop_length,
        win_length=config.win_length,
        center=False,
    )
    amplitude = np.sqrt(np.abs(spectrum) ** 2 + config.magnitude_eps)
    value = np.maximum(librosa_filters(config) @ amplitude**config.power, config.floor)
    value = {"ln": np.log, "log10": np.log10, "db": lambda x: 20 / config.power * np.log10(x)}[config.log](value)
    value = (value - config.offset) / config.scale
    return value if config.minimum is None else np.maximum(value, config.minimum)


def librosa_filters(config: MelConfig) -> np.ndarray:
    return librosa.filters.mel(
        sr=config.sample_rate, n_fft=config.n_fft, n_mels=config.n_mels, fmin=config.fmin, fmax=config.fmax,
        htk=config.mel_scale == "htk", norm=LIBROSA_NORM[config.mel_norm], dtype=np.float64,
    )  # fmt: skip


def speech(folder: Path, clip: str, rate: int) -> np.ndarray:
    wav, source_rate = soundfile.read(folder / f"{clip}.flac", dtype="float32")
    wav = wav[: 3 * source_rate]
    if rate != source_rate:  # back on the 16-bit grid, as a file of that rate would be
        wav = np.round(soxr.resample(wav, source_rate, rate, "HQ") * 32768) / 32768
    return wav.astype(np.float32)


# ---- librosa is the oracle


@pytest.mark.parametrize("clip", CLIPS)
@pytest.mark.parametrize("name", PRESETS)
def test_equals_librosa_on_real_speech(name: str, clip: str, shared_audio: Path) -> None:
    config = PRESETS[name]
    wav = speech(shared_audio, clip, config.sample_rate)
    ours = log_mel(torch.from_numpy(wav), config)
    assert ours.dtype == torch.float32
    assert ours.shape == (config.n_mels, len(wav) // config.hop_length)
    # promised: 1e-4 in log units
    np.testing.assert_allclose(ours.numpy(), librosa_mel(wav, config)[:, : ours.shape[1]], rtol=0, atol=2e-6)


@pytest.mark.parametrize("name", PRESETS)
def test_presets_equal_the_arrays_librosa_left(name: str, golden: Path) -> None:
    with np.load(golden / "mel.npz") as arrays:
        wav, wanted = arrays[f"{name}_wav"] / np.float32(32768), arrays[f"{name}_mel"]
    ours = log_mel(torch.from_numpy(wav), PRESETS[name]).numpy()
    np.testing.assert_allclose(ours, wanted[:, : ours.shape[1]], rtol=0, atol=1e-5)
    assert 0 <= wanted.shape[1] - ours.shape[1] <= 1, "only librosa's one extra frame may be left out"


@pytest.mark.parametrize("scale", ["slaney", "htk"])
def test_equals_the_arrays_torchaudio_left(scale: str, golden: Path) -> None:
    config = replace(
        PRESETS["asr16"], mel_scale=scale, mel_norm="slaney" if scale == "slaney" else "none",
        power=2.0, log="log10", floor=1e-10, fmin=20.0, fmax=7600.0, win_length=800,
    )  # fmt: skip
    with np.load(golden / "mel.npz") as arrays:
        wav, wanted = arrays["torchaudio_wav"] / np.float32(32768), arrays[f"torchaudio_{scale}_mel"]
    ours = log_mel(torch.from_numpy(wav), config).numpy()
    # torchaudio's filters are float32: 1e-4 of a quiet band is theirs
    np.testing.assert_allclose(ours, wanted[:, : ours.shape[1]], rtol=0, atol=2e-4)


@pytest.mark.filterwarnings("ignore:Empty filters")  # the last case has bands narrower than a bin
@pytest.mark.parametrize("norm", ["slaney", "l1", "none"])
@pytest.mark.parametrize("scale", ["slaney", "htk"])
@pytest.mark.parametrize(
    ("rate", "n_fft", "n_mels", "fmin", "fmax"),
    [(16000, 2048, 80, 50.0, None), (22050, 1024, 80, 0.0, 8000.0), (24000, 2048, 128, 20.0, 12000.0),
     (16000, 1024, 40, 300.0, 3400.0), (48000, 4096, 256, 0.0, None), (8000, 256, 200, 0.0, 4000.0)],
)  # fmt: skip
def test_filters_equal_librosas(
    rate: int, n_fft: int, n_mels: int, fmin: float, fmax: float | None, scale: str, norm: str
) -> None:
    config = MelConfig(rate, n_fft, n_fft, n_fft // 4, n_mels, fmin, fmax, scale, norm)
    np.testing.assert_allclose(filterbank(config), librosa_filters(config), rtol=0, atol=1e-12)


@pytest.mark.parametrize("samples", [2, 3, 199, 200, 201, 400, 1023, 2047])
def test_preemphasis_equals_librosas(samples: int) -> None:
    wav = np.random.default_rng(samples).standard_normal(samples)
    wanted = librosa.effects.preemphasis(wav, coef=0.97)
    np.testing.assert_allclose(preemphasise(torch.from_numpy(wav), 0.97).numpy(), wanted, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("log", "power", "db"), [("db", 1.0, "amplitude_to_db"), ("db", 2.0, "power_to_db")])
def test_decibels_are_librosas(log: str, power: float, db: str, shared_audio: Path) -> None:
    wav = speech(shared_audio, CLIPS[0], 16000)[:8000]
    config = MelConfig(preemphasis=0.0, log=log, power=power, floor=1e-5**power, offset=0, scale=1, minimum=None)
    bands = librosa.feature.melspectrogram(
        y=wav.astype(np.float64), sr=16000, n_fft=2048, win_length=800, hop_length=200, n_mels=80, fmin=50, norm=1,
        power=power, pad_mode="reflect",
    )  # fmt: skip
    wanted = getattr(librosa, db)(bands, amin=1e-5**power, top_db=None)
    ours = log_mel(torch.from_numpy(wav), config).numpy()
    # librosa's own filters are float32: 1e-6 of an amplitude is 1e-5 dB
    np.testing.assert_allclose(ours, wanted[:, : ours.shape[1]], rtol=0, atol=5e-5)


# ---- closed forms


def test_a_sine_has_the_amplitude_of_the_window() -> None:
    """|STFT| of A cos(2 pi k t / N) under a Hann window is A sum(w) / 2 = A N / 4 at bin k, half that beside it."""
    n_fft, bin_number, amplitude = 1024, 200, 0.5
    config = MelConfig(
        16000, n_fft, n_fft, 256, 60, 0.0, None, preemphasis=0.0, log="ln", offset=0, scale=1, minimum=None
    )
    wav = amplitude * torch.cos(2 * torch.pi * bin_number / n_fft * torch.arange(8192, dtype=torch.float64))
    spectrum = np.zeros(n_fft // 2 + 1)
    spectrum[bin_number - 1 : bin_number + 2] = amplitude * n_fft / 4 * np.array([0.5, 1, 0.5])
    wanted = np.log(np.maximum(filterbank(config) @ spectrum, config.floor))
    np.testing.assert_allclose(log_mel(wav, config)[:, 10].numpy(), wanted, rtol=0, atol=1e-5)


@pytest.mark.parametrize("frame", [3, 7, 11])
def test_frame_j_is_centred_on_sample_j_times_hop(frame: int) -> None:
    config = replace(PRESETS["rnnms16"], preemphasis=0.0, minimum=None)
    wav = torch.zeros(16 * config.hop_length)
    wav[frame * config.hop_length] = 1.0
    energy = log_mel(wav, config).mean(0)
    assert int(energy.argmax()) == frame
    assert energy[frame - 1] == pytest.approx(float(energy[frame + 1]), abs=1e-5)


def test_same_centering_lays_the_frame_on_the_middle_of_its_hop() -> None:
    config = PRESETS["hifi22"]
    wav = torch.zeros(16 * config.hop_length)
    wav[5 * config.hop_length + config.hop_length // 2] = 1.0
    energy = log_mel(wav, config).mean(0)
    assert int(energy.argmax()) == 5
    assert energy[4] == pytest.approx(float(energy[6]), abs=1e-3)


@pytest.mark.parametrize("name", PRESETS)
def test_silence_has_the_level_it_is_said_to_have(name: str) -> None:
    config = PRESETS[name]
    mel = log_mel(torch.zeros(4 * config.n_fft), config)
    # sqrt(0 + eps) is above the floor where there is an eps: within its square root through the filters
    if not config.magnitude_eps:
        assert mel.min() == mel.max() == pytest.approx(silence_level(config), abs=1e-6)
    assert silence_level(PRESETS["waveglow22"]) == pytest.approx(log(1e-5))
    assert silence_level(PRESETS["rnnms16"]) == -1.0


# ---- lengths


@pytest.mark.parametrize("name", PRESETS)
def test_odd_lengths_equal_librosa(name: str) -> None:
    config = PRESETS[name]
    hop, n_fft = config.hop_length, config.n_fft
    long = np.random.default_rng(0).standard_normal(2 * n_fft + 1).astype(np.float32) * 0.1
    for samples in (hop, hop + 1, 2 * hop - 1, n_fft // 2, n_fft // 2 + 1, n_fft - 1, n_fft, n_fft + 1, 2 * n_fft + 1):
        wav = long[:samples]
        ours = log_mel(torch.from_numpy(wav), config).numpy()
        assert ours.shape == (config.n_mels, samples // hop), samples
        wanted = librosa_mel(wav, config)[:, : ours.shape[1]]
        np.testing.assert_allclose(ours, wanted, rtol=0, atol=1e-5, err_msg=f"{samples} samples")


@pytest.mark.parametrize("samples", [0, 1, "hop-1"])
@pytest.mark.parametrize("name", PRESETS)
def test_less_than_a_hop_has_no_frame(name: str, samples: int | str) -> None:
    config = PRESETS[name]
    count = config.hop_length - 1 if samples == "hop-1" else int(samples)
    assert log_mel(torch.zeros(count), config).shape == (config.n_mels, 0)
    assert log_mel(torch.zeros(3, count), config).shape == (3, config.n_mels, 0)
    assert log_mel(torch.zeros(0, 5000), config).shape[0] == 0


def test_one_sample_a_hop_is_reflected_as_numpy_does() -> None:
    config = MelConfig(8000, 16, 16, 1, 4, 0.0, None, preemphasis=0.0)
    wav = np.array([0.3], dtype=np.float32)
    np.testing.assert_allclose(log_mel(torch.from_numpy(wav), config), librosa_mel(wav, config)[:, :1], atol=1e-6)


@pytest.mark.parametrize("name", PRESETS)
def test_the_edges_are_reflected_whatever_librosas_default(name: str, shared_audio: Path) -> None:
    """librosa 0.10 turned its default from reflect to zeros: 0.2 in RNN_MS's units at the edge frames."""
    config = PRESETS[name]
    assert config.pad_mode == "reflect"
    wav = speech(shared_audio, CLIPS[1], config.sample_rate)[8000:20000]
    ours = log_mel(torch.from_numpy(wav), config)
    zeros = log_mel(torch.from_numpy(wav), replace(config, pad_mode="constant"))
    assert (ours - zeros)[:, 0].abs().max() > 0.02
    assert (ours - zeros)[:, 5:-5].abs().max() == 0
    wanted = librosa_mel(wav, replace(config, pad_mode="constant"))[:, : zeros.shape[1]]
    np.testing.assert_allclose(zeros.numpy(), wanted, rtol=0, atol=1e-5)


def test_levels_are_cut_off_at_both_ends() -> None:
    """lmnt's front end: decibels from -80 to +20 mapped to [0, 1]; loud tones end at 1, silence at 0."""
    config = MelConfig(preemphasis=0.0, offset=-80.0, scale=100.0, minimum=0.0, maximum=1.0)
    open_ended = replace(config, minimum=None, maximum=None)
    wav = torch.cat([torch.zeros(8000), torch.sin(0.1 * torch.arange(8000.0))])
    mel, free = log_mel(wav, config), log_mel(wav, open_ended)
    assert free.min() < 0
    assert free.max() > 1
    assert torch.equal(mel, free.clamp(0, 1))
    assert loudest_level(config) == 1
    with pytest.raises(ValueError, match="mel.maximum is -2.0; expected more than minimum=-1.0"):
        MelConfig(maximum=-2.0)
