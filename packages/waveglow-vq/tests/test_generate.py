"""synthesize: noise from seeds, batches, long mels in pieces that do not show, and the way back in pieces too."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from vocoder_core import griffinlim
from vocoder_core.audio import save
from vocoder_core.mel_presets import PRESETS
from waveglow_vq import WaveGlowVQ, WaveGlowVQConfig, generate
from waveglow_vq.condition import ConditionConfig
from waveglow_vq.flow import FlowConfig
from waveglow_vq.whiten import WhitenConfig

BANDS, HOP = 10, 64
MEL = replace(PRESETS["asr16"], sample_rate=8000, n_fft=256, win_length=256, hop_length=HOP, n_mels=BANDS, fmax=None)
SMALL = FlowConfig(group=8, flows=4, layers=3, channels=8, early_every=2, early_size=2, prenet=8)
PUBLIC = replace(SMALL, cond="group", prenet=0, subframes=1, film=False, log_scale_bound=0.0)
CONFIGS = {
    "whitened": WaveGlowVQConfig(mel=MEL, flow=SMALL, whiten=WhitenConfig(order=8, block=32)),
    "plain": WaveGlowVQConfig(mel=MEL, flow=replace(SMALL, mixing="lu", swap_odd=True), whiten=WhitenConfig(order=0)),
    "public": WaveGlowVQConfig(
        mel=MEL,
        flow=PUBLIC,
        whiten=WhitenConfig(order=0),
        condition=ConditionConfig(upsampler="nvidia"),
        normalise=False,
    ),
}


def vocoder(name: str) -> WaveGlowVQ:
    """A vocoder whose couplings do something: layers that begin at zero get small weights."""
    torch.manual_seed(0)
    model = WaveGlowVQ(CONFIGS[name]).eval()
    for parameter in model.parameters():
        if not parameter.abs().sum():
            torch.nn.init.normal_(parameter, std=0.2 if name == "public" else 0.05)
    model.set_statistics(torch.full((BANDS,), -4.0), torch.full((BANDS,), 2.0))
    return model


def mels(batch: int, frames: int) -> torch.Tensor:
    return torch.randn(batch, BANDS, frames, generator=torch.Generator().manual_seed(1)) - 4


@pytest.mark.parametrize("name", CONFIGS)
def test_pieces_put_together_are_the_whole(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model, mel, settle = vocoder(name), mels(2, 700), 0 if name == "public" else 3
    for module in (generate, griffinlim):
        monkeypatch.setattr(module, "PIECE", 10**6)
    whole = model.synthesize(mel, sigma=0.1, settle=settle, seed=[5, 6])
    for module in (generate, griffinlim):
        monkeypatch.setattr(module, "PIECE", 1)
    assert len(list(generate._pieces(model, whole.shape[1]))) > 2
    pieces = model.synthesize(mel, sigma=0.1, settle=settle, seed=[5, 6])
    assert whole.std() > 1e-3 and (whole.abs() < 1).float().mean() > 0.9, "silence or clipping would show nothing"
    torch.testing.assert_close(pieces, whole, atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("name", CONFIGS)
def test_a_wave_becomes_its_noise_again_in_pieces_as_whole(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = vocoder(name)
    condition = model.condition.of_mel(mels(1, 700))
    z = generate.white(3, torch.empty(1, 8, 700 * HOP // 8), 0.1)
    with torch.inference_mode():
        wav = model.flow_inverse(z, condition)
        for piece in (10**6, 1):
            monkeypatch.setattr(generate, "PIECE", piece)
            torch.testing.assert_close(generate.latent(model, wav, condition, None), z, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("name", CONFIGS)
def test_a_row_of_a_batch_is_what_it_is_alone(name: str) -> None:
    model, mel = vocoder(name), mels(3, 40)
    together = model.synthesize(mel, sigma=0.1, seed=[4, 5, 6])
    alone = model.synthesize(mel[1], sigma=0.1, seed=5)
    torch.testing.assert_close(together[1], alone, atol=1e-5, rtol=1e-4)


def test_a_seed_gives_the_same_wave_and_another_seed_another() -> None:
    model, mel = vocoder("plain"), mels(1, 30)[0]
    assert torch.equal(model.synthesize(mel, seed=1), model.synthesize(mel, seed=1))
    assert not torch.allclose(model.synthesize(mel, seed=1), model.synthesize(mel, seed=2))
    assert not torch.allclose(model.synthesize(mel), model.synthesize(mel))


def test_noise_is_standard_normal_times_sigma_and_a_longer_one_goes_on() -> None:
    long, short = (generate.white(7, torch.empty(1, 8, columns), 0.5) for columns in (9000, 100))
    assert torch.equal(long[:, :, :100], short)
    assert abs(float(long.std()) - 0.5) < 0.01
    assert abs(float(long.mean())) < 0.01
    assert not generate.white(7, torch.empty(1, 8, 9), 0.0).any()


def test_without_noise_every_seed_gives_the_same() -> None:
    model, mel = vocoder("plain"), mels(1, 12)
    assert torch.equal(model.synthesize(mel, sigma=0, seed=1), model.synthesize(mel, sigma=0, seed=2))


def test_weights_changed_after_a_wave_change_the_next_one() -> None:
    """Public code keeps the inverses it used first: with new weights its waves are wrong."""
    model, mel = vocoder("plain"), mels(1, 12)
    first = model.synthesize(mel, seed=1)
    other = vocoder("plain")
    with torch.no_grad():
        for parameter in other.flow.mixings.parameters():
            parameter.mul_(1.1)
    model.load_state_dict(other.state_dict())
    assert not torch.allclose(model.synthesize(mel, seed=1), first)
    assert torch.equal(model.synthesize(mel, seed=1), other.synthesize(mel, seed=1))


@pytest.mark.parametrize("frames", [0, 1, 2, 7])
@pytest.mark.parametrize("name", CONFIGS)
def test_short_mels(name: str, frames: int) -> None:
    assert vocoder(name).synthesize(mels(2, frames), seed=0).shape == (2, frames * HOP)


def test_a_wave_beyond_full_scale_is_clipped_and_never_wraps_around(tmp_path: Path) -> None:
    """Public code casts wav * 32768 to 16 bits as it is: a sample of 1.001 comes out as -1."""
    model, mel = vocoder("plain"), mels(1, 30)
    with torch.inference_mode():
        z = generate.white(1, torch.empty(1, 8, 30 * HOP // 8), 1.0)
        raw = model.flow_inverse(z, mel)[0]
        wav = model.synthesize(mel, sigma=1.0, settle=0, seed=1)[0]
    beyond = raw.abs() > 1
    assert 0.02 < beyond.float().mean() < 0.9
    torch.testing.assert_close(wav, raw.clamp(-1, 1), atol=1e-5, rtol=1e-5)
    save(tmp_path / "out.wav", wav.numpy(), model.sample_rate)
    written, _ = soundfile.read(tmp_path / "out.wav", dtype="int16")
    assert np.abs(written[beyond.numpy()].astype(int)).min() >= 32767
    assert (np.sign(written[beyond.numpy()]) == np.sign(raw[beyond].numpy())).all()


def test_couplings_in_half_precision_leave_a_finite_wave_near_the_same() -> None:
    model, mel = vocoder("plain"), mels(1, 60)
    exact = model.synthesize(mel, sigma=0.1, settle=0, seed=1)
    with torch.autocast("cpu", torch.bfloat16):
        half = model.synthesize(mel, sigma=0.1, settle=0, seed=1)
    assert half.dtype == torch.float32
    assert 0 < (half - exact).square().mean().sqrt() < 0.05 * exact.square().mean().sqrt()


def test_what_does_not_fit_is_refused_in_a_sentence() -> None:
    model, mel = vocoder("plain"), mels(2, 10)
    for options, message in (
        ({"sigma": -0.1}, "sigma is -0.1"),
        ({"sigma": float("nan")}, "sigma is nan"),
        ({"settle": -1}, "settle is -1"),
        ({"seed": [1, 2, 3]}, "3 seeds for 2 mels"),
    ):
        with pytest.raises(ValueError, match=message):
            model.synthesize(mel, **options)  # type: ignore[arg-type]


def test_a_flow_that_hears_no_mel_has_nothing_to_settle_on() -> None:
    """Its config may say what it likes, it is not settled; who asks for it is told."""
    model, mel = vocoder("public"), mels(1, 10)
    assert model.config.settle > 0
    assert torch.equal(model.synthesize(mel, seed=1), model.synthesize(mel, settle=0, seed=1))
    with pytest.raises(ValueError, match="no mel to settle on"):
        model.synthesize(mel, settle=2)
