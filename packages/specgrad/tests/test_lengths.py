"""Any length in, the same length out, at the right rate, nothing early or late: defects 12, 13 and 14."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from specgrad import SpecGrad, SpecGradConfig, infer
from specgrad.shaping import ShapingConfig
from specgrad.stft import StftConfig
from vocoder_core.mel import log_mel
from vocoder_core.mel_presets import PRESETS

MEL = PRESETS["specgrad24"]
CONFIG = SpecGradConfig(mel=MEL, shaping=ShapingConfig(), stft=StftConfig(channels=8, layers=1, encoder_layers=1))


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("checkpoint")
    SpecGrad(CONFIG).save_pretrained(folder)
    return folder


@pytest.mark.parametrize(
    ("samples", "rate"), [(1, 24_000), (299, 24_000), (300, 24_000), (301, 24_000), (36_000, 24_000), (7_001, 16_000)]
)
def test_the_copy_is_as_long_as_the_recording(samples: int, rate: int, checkpoint: Path, tmp_path: Path) -> None:
    """(f): the public code reads the first 36,000 samples of any recording and plays them at 36,000 Hz."""
    source, made = tmp_path / "in.wav", tmp_path / "out.wav"
    soundfile.write(source, np.random.default_rng(0).uniform(-0.5, 0.5, samples), rate)
    assert infer.main([str(source), str(made), "--checkpoint", str(checkpoint), "--steps", "1", "--device", "cpu"]) == 0
    found = soundfile.info(made)
    assert (found.frames, found.samplerate) == (samples, rate)


def test_ten_seconds_and_a_sample(checkpoint: Path) -> None:
    """(f): with a hop of 301 their frames are 797, which the network's upsampling of 800 does not fit."""
    model = SpecGrad.from_pretrained(checkpoint)
    wav = np.random.default_rng(0).uniform(-0.5, 0.5, 240_001).astype(np.float32)
    assert infer.copy(model, wav, 24_000, steps=1, seed=0).shape == (240_001,)
    assert model.sample_rate == 24_000


def test_frames_do_not_drift() -> None:
    """12: the noise of a burst 9 s into a recording is where the burst is; a hop of 301 puts it 30 ms late."""
    wav = torch.zeros(1, 240_000)
    wav[:, 216_000:222_000] = torch.randn(6_000, generator=torch.Generator().manual_seed(0)) / 4
    model = SpecGrad(CONFIG)
    white = torch.randn(wav.shape, generator=torch.Generator().manual_seed(1))
    noise = model.prior(white, model.condition(log_mel(wav, MEL)))[0]
    centre = float((noise.square() * torch.arange(240_000)).sum() / noise.square().sum())
    assert abs(centre - 219_000) < 150
