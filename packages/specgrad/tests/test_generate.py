"""synthesize: seeds, batches, and long mels in pieces that do not show."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from specgrad import SpecGrad, SpecGradConfig, generate
from specgrad.diffwave import DiffWaveConfig
from specgrad.shaping import ShapingConfig
from specgrad.stft import StftConfig
from specgrad.wavegrad import WaveGradConfig
from vocoder_core.mel_presets import PRESETS

MEL = replace(PRESETS["asr16"], sample_rate=8000, n_fft=128, win_length=128, hop_length=32, n_mels=10, fmax=None)
PAPER = ShapingConfig(lifter=8)
CONFIGS = {
    "stft": SpecGradConfig(mel=MEL, stft=StftConfig(channels=16, layers=3, encoder_layers=2)),
    "coarse stft": SpecGradConfig(mel=MEL, stft=StftConfig(channels=16, layers=3, encoder_layers=2, scale=1)),
    "diffwave": SpecGradConfig(
        mel=MEL, process="diffusion", network="diffwave", shaping=PAPER, diffwave=DiffWaveConfig(channels=8, layers=6)
    ),
    "wavegrad": SpecGradConfig(
        mel=MEL,
        process="diffusion",
        network="wavegrad",
        shaping=PAPER,
        wavegrad=WaveGradConfig(widths=(8, 8, 8, 8, 8), widest=8, strides=(2, 2, 2, 2, 2)),
    ),
}


def vocoder(name: str) -> SpecGrad:
    """A vocoder whose output is neither zero nor clipped: heads that start at zero get small weights."""
    torch.manual_seed(0)
    model = SpecGrad(CONFIGS[name]).eval()
    for parameter in model.parameters():
        if not parameter.abs().sum():
            torch.nn.init.normal_(parameter, std=0.02)
    if name == "wavegrad":  # orthogonal weights make an untrained network loud, and a diffusion of it louder
        torch.nn.init.normal_(model.net.last_conv.weight, std=1e-3)
    model.set_statistics(torch.full((10,), -6.0), torch.full((10,), 2.0))
    return model


def mels(batch: int, frames: int) -> torch.Tensor:
    return torch.randn(batch, 10, frames, generator=torch.Generator().manual_seed(1)) - 7


@pytest.mark.parametrize("name", CONFIGS)
def test_pieces_put_together_are_the_whole(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model, mel = vocoder(name), mels(1, 1100)
    monkeypatch.setattr(generate, "PIECE", 10**6)
    whole = model.synthesize(mel, steps=3, seed=5)
    monkeypatch.setattr(generate, "PIECE", 1)
    pieces = model.synthesize(mel, steps=3, seed=5)
    heard = 1e-3 < whole.std() and (whole.abs() < 1).float().mean() > 0.9
    assert heard, "a test of silence or of clipping shows nothing"
    torch.testing.assert_close(pieces, whole, atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("name", CONFIGS)
def test_a_row_of_a_batch_is_what_it_is_alone(name: str) -> None:
    model, mel = vocoder(name), mels(3, 40)
    together = model.synthesize(mel, steps=2, seed=[4, 5, 6])
    torch.testing.assert_close(together[1:2], model.synthesize(mel[1:2], steps=2, seed=5), atol=2e-5, rtol=1e-4)


def test_a_seed_gives_the_same_wave_and_another_seed_another() -> None:
    model, mel = vocoder("stft"), mels(1, 30)[0]
    assert torch.equal(model.synthesize(mel, seed=1), model.synthesize(mel, seed=1))
    assert not torch.allclose(model.synthesize(mel, seed=1), model.synthesize(mel, seed=2))
    assert not torch.allclose(model.synthesize(mel), model.synthesize(mel))


@pytest.mark.parametrize("frames", [0, 1, 2, 7])
def test_short_mels(frames: int) -> None:
    assert vocoder("stft").synthesize(mels(2, frames), seed=0).shape == (2, frames * 32)


def test_what_does_not_fit_is_refused_in_a_sentence() -> None:
    flowing, diffusing, mel = vocoder("stft"), vocoder("wavegrad"), mels(2, 10)
    for model, options, message in (
        (flowing, {"steps": 0}, "steps is 0"),
        (flowing, {"schedule": "wg6"}, "takes a number of steps"),
        (flowing, {"seed": [1, 2, 3]}, "3 seeds for 2 mels"),
        (flowing, {"speaker": torch.zeros(2, 4)}, "got a speaker"),
        (diffusing, {"schedule": "wg6", "steps": 3}, "6 betas"),
        (diffusing, {"steps": -1}, "steps is -1"),
    ):
        with pytest.raises(ValueError, match=message):
            model.synthesize(mel, **options)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="finite"):
        flowing.synthesize(mel * float("nan"))
    with pytest.raises(ValueError, match=r"expected a float mel \(B, 10, F\)"):
        flowing.synthesize(mel[:, :5])
