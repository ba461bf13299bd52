"""Mels in files: what one front end wrote it reads back, what another wrote is refused by the field that differs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from vocoder_core import audio, mel_file
from vocoder_core.mel import MelConfig, log_mel, loudest_level, silence_level
from vocoder_core.mel_presets import PRESETS

CONFIG = PRESETS["asr16"]


@pytest.fixture(scope="module")
def mel(shared_audio: Path) -> torch.Tensor:
    wav, _ = audio.load(shared_audio / "slt" / "arctic_a0009.flac", 16_000)
    return log_mel(torch.from_numpy(wav[:16_000]), CONFIG)


@pytest.mark.parametrize("config", PRESETS.values(), ids=list(PRESETS))
def test_what_is_written_is_read(tmp_path: Path, config: MelConfig) -> None:
    mel = log_mel(0.5 * torch.randn(config.sample_rate // 2, generator=torch.Generator().manual_seed(0)), config)
    mel_file.write(tmp_path / "mel.npz", mel, config)
    assert torch.equal(mel_file.read(tmp_path / "mel.npz", config), mel)
    np.save(tmp_path / "mel.npy", mel.double().numpy()[None])
    assert torch.equal(mel_file.read(tmp_path / "mel.npy", config), mel)


@pytest.mark.parametrize(
    ("name", "value"),
    [("sample_rate", 22_050), ("hop_length", 200), ("fmax", None), ("mel_norm", "l1"), ("centering", "same"),
     ("log", "log10"), ("floor", 1e-10), ("minimum", -12.0)],
)  # fmt: skip
def test_the_field_that_differs_is_named(tmp_path: Path, mel: torch.Tensor, name: str, value: object) -> None:
    """Also where the values themselves could be of either front end."""
    mel_file.write(tmp_path / "mel.npz", mel, replace(CONFIG, **{name: value}))
    said = f"its mel has {name} = {'null' if value is None else value}, this model reads {name} = "
    with pytest.raises(ValueError, match=said):
        mel_file.read(tmp_path / "mel.npz", CONFIG)


@pytest.mark.parametrize("name", [name for name in PRESETS if name not in ("asr16", "waveglow22")])
def test_alone_a_mel_of_another_preset_is_refused_by_shape_or_range(
    tmp_path: Path, shared_audio: Path, name: str
) -> None:
    other = PRESETS[name]
    wav, _ = audio.load(shared_audio / "slt" / "arctic_a0009.flac", other.sample_rate)
    values = log_mel(torch.from_numpy(wav), other).numpy()
    np.save(tmp_path / "mel.npy", values)
    if name == "rnnms16":  # [-1, 0] lies within the range of a natural logarithm: the other way round it is seen
        np.save(tmp_path / "mel.npy", log_mel(torch.from_numpy(wav), CONFIG).numpy())
        with pytest.raises(ValueError, match="Another front end made this one"):
            mel_file.read(tmp_path / "mel.npy", other)
    elif name == "hifi22":  # no difference that numbers could show: only .npz tells
        assert len(mel_file.read(tmp_path / "mel.npy", CONFIG)) == 80
    else:
        with pytest.raises(ValueError, match=r"expected float \(80, frames\)"):
            mel_file.read(tmp_path / "mel.npy", CONFIG)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"mel": np.zeros((80, 3), np.float32), "hop": 256}, "holds hop, which is no field of a front end"),
        ({"spectrogram": np.zeros((80, 3), np.float32)}, "expected `mel`"),
        ({"mel": np.zeros((3, 80), np.float32)}, "transpose it"),
        ({"mel": np.zeros((80, 0), np.float32)}, "no frames"),
        ({"mel": np.full((80, 3), -np.inf, np.float32)}, "Another front end"),
        ({"mel": np.array([{"a": 1}], dtype=object)}, "not a readable .npz"),
    ],
)
def test_what_is_no_mel_is_refused(tmp_path: Path, fields: dict[str, np.ndarray], said: str) -> None:
    np.savez(tmp_path / "mel.npz", **fields)
    with pytest.raises(ValueError, match=said):
        mel_file.read(tmp_path / "mel.npz", CONFIG)


@pytest.mark.parametrize("config", PRESETS.values(), ids=list(PRESETS))
def test_nothing_within_full_scale_is_louder_than_the_loudest_level(config: MelConfig) -> None:
    """Sines in the middle of bands, clicks and square waves at full scale: below, and not by far."""
    time = torch.arange(config.sample_rate // 4, dtype=torch.float64) / config.sample_rate
    sines = torch.stack([torch.sin(2 * torch.pi * f * time) for f in torch.linspace(config.fmin + 20, config.top, 60)])
    clicks = torch.nn.functional.one_hot(torch.arange(3) * 777, len(time)).double()
    highest = log_mel(torch.cat([sines, sines.sign(), clicks, -(sines[:3].sign())]), config).max()
    assert silence_level(config) < highest < loudest_level(config)
    unit = {"ln": 1.0, "log10": 0.4343, "db": 8.686}[config.log] / config.scale
    assert loudest_level(config) - highest < 1.6 * unit, "a bound 14 dB too high would let too much through"


@pytest.mark.parametrize("by", ["npy", "npz", "columns", "compressed", "float64"])
def test_any_part_is_read_as_it_lies_in_the_file(tmp_path: Path, mel: torch.Tensor, by: str) -> None:
    path, values = tmp_path / ("mel.npz" if by in ("npz", "compressed") else "mel.npy"), mel.numpy()
    if by == "npz":
        mel_file.write(path, mel, CONFIG)
    elif by == "compressed":
        np.savez_compressed(path, mel=values)
    else:
        np.save(path, {"npy": values, "columns": np.asfortranarray(values), "float64": values.astype(float)[None]}[by])
    source = mel_file.MelFile(path, CONFIG)
    assert source.frames == mel.shape[1]
    for first, last in ((0, source.frames), (3, 7), (source.frames - 1, source.frames), (5, 5)):
        assert torch.equal(source.cut(first, last), mel[:, first:last])
