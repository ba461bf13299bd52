"""Discriminators and their losses: closed forms, and that they learn to tell real speech from what is not."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from specgrad.discriminators import (
    DiscriminatorConfig,
    Discriminators,
    Judgement,
    compressed,
    discriminator_loss,
    feature_loss,
    generator_loss,
)
from specgrad.spectral import FLOOR, SpectralLoss, magnitude
from vocoder_core.mel_presets import PRESETS

ALL = DiscriminatorConfig((256, 128), 4, (256,), 16, (2, 3), 2)
Speech = Callable[..., torch.Tensor]


def said(*scores: float) -> list[Judgement]:
    return [Judgement(torch.tensor([score]), []) for score in scores]


@pytest.mark.parametrize("samples", [2048, 2049, 3071])
def test_each_judges_waves_of_any_length_in_regions(samples: int) -> None:
    judgements = Discriminators(ALL)(torch.randn(3, samples))
    assert len(judgements) == 5
    for judgement in judgements:
        assert judgement.score.shape[0] == 3 and judgement.score[0].numel() > 1 and judgement.features


def test_gradient_reaches_every_parameter_and_every_sample() -> None:
    torch.manual_seed(0)
    judges, wav = Discriminators(ALL), (0.1 * torch.randn(2, 2048)).requires_grad_()
    torch.stack([judgement.score.square().mean() for judgement in judges(wav)]).sum().backward()
    for name, parameter in judges.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name
    assert wav.grad is not None and (wav.grad != 0).all()


def test_rows_are_judged_one_by_one() -> None:
    judges, wav = Discriminators(ALL), torch.randn(2, 2048)
    for both, alone in zip(judges(wav), judges(wav[1:]), strict=True):
        assert torch.allclose(both.score[1], alone.score[0], atol=1e-5)


def test_compressed_is_the_stft_with_magnitudes_to_the_power_of_three_tenths() -> None:
    time = torch.arange(4096, dtype=torch.float64)
    wav = 0.5 * torch.cos(2 * np.pi * 16 / 256 * time)[None]  # bin 16 of a window of 256
    size = compressed(wav, 256)[0].double().square().sum(-1).sqrt()
    assert size.shape == (128, 65)
    hann = torch.hann_window(256, dtype=torch.float64)
    assert size[16, 32].item() == pytest.approx((0.25 * hann.sum().item()) ** 0.3, rel=1e-4)
    assert size[60, 32] < 0.1  # the floor, where the tone is not


def test_hinge_is_zero_once_the_margin_is_kept_and_two_when_nothing_is_known() -> None:
    assert discriminator_loss(said(1.0, 3.0), said(-1.0, -2.0), "hinge") == 0
    assert discriminator_loss(said(0.0), said(0.0), "hinge") == 2
    assert discriminator_loss(said(0.5), said(0.25), "hinge") == pytest.approx(0.5 + 1.25)
    assert generator_loss(said(0.5, -1.5), "hinge") == pytest.approx(0.5)


def test_least_squares_want_one_and_nought_and_the_generator_one() -> None:
    assert discriminator_loss(said(1.0, 1.0), said(0.0, 0.0), "squares") == 0
    assert discriminator_loss(said(0.5), said(0.5), "squares") == pytest.approx(0.5)
    assert generator_loss(said(1.0), "squares") == 0
    assert generator_loss(said(0.0, 3.0), "squares") == pytest.approx(2.5)


def test_feature_loss_is_zero_for_equal_waves_and_in_units_of_the_recorded_ones() -> None:
    judges, wav = Discriminators(ALL), torch.randn(2, 2048)
    assert feature_loss(judges(wav), judges(wav)) == 0
    one = [Judgement(torch.zeros(1), [torch.tensor([2.0, -4.0]), torch.tensor([10.0])])]
    other = [Judgement(torch.zeros(1), [torch.tensor([5.0, -4.0]), torch.tensor([5.0])])]
    assert feature_loss(one, other) == pytest.approx((1.5 / 3 + 5 / 10) / 2)


@pytest.mark.parametrize(
    ("kind", "hiss"), [({"images": (256,)}, 0.01), ({"frames": (256,)}, 0.01), ({"periods": (2,)}, 0.1)]
)
def test_each_kind_learns_to_tell_speech_from_its_hissing_copy(
    kind: dict[str, tuple[int, ...]], hiss: float, speech: Speech
) -> None:
    torch.manual_seed(0)
    none: dict[str, tuple[int, ...]] = {"images": (), "frames": (), "periods": ()}
    sizes = {"image_channels": 8, "frame_channels": 32, "period_channels": 4}
    judges = Discriminators(DiscriminatorConfig(**{**none, **kind}, **sizes))
    real = speech(PRESETS["asr16"], frames=96).float().view(8, -1)
    train, held_out = real[:6], real[6:]
    optimizer = torch.optim.AdamW(judges.parameters(), 1e-2, (0.8, 0.99))
    for _ in range(40):
        fake = train + hiss * torch.randn_like(train)
        loss = discriminator_loss(judges(train), judges(fake), "squares")
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        (high,), (low,) = judges(held_out), judges(held_out + hiss * torch.randn_like(held_out))
    assert high.score.mean() > low.score.mean() + 0.1


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"images": (), "frames": ()}, "at least one"),
        ({"images": (1000,)}, "powers of two"),
        ({"frames": (32,)}, "powers of two"),
        ({"image_channels": 1}, "image_channels is 1"),
    ],
)
def test_impossible_settings_are_refused(values: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        DiscriminatorConfig(**values)  # type: ignore[arg-type]


def test_spectral_distances_are_zero_for_equal_waves_and_know_a_gain(speech: Speech) -> None:
    """Twice the amplitude: ln 2 in every bin above the floor, and a spectral convergence of 1."""
    wav = speech(PRESETS["asr16"], frames=64).float()
    wav = wav + 0.01 * torch.randn_like(wav)  # no bin near the floor
    spectral = SpectralLoss(16_000)
    assert [float(value) for value in spectral(wav, wav)] == [0.0, 0.0]
    stft_distance, mel_distance = spectral(wav, 2 * wav)
    assert float(stft_distance) == pytest.approx(1 + np.log(2), rel=1e-3)
    assert float(mel_distance) == pytest.approx(np.log(2), rel=1e-3)


def test_magnitudes_are_those_of_numpy_with_a_floor_and_silence_has_a_gradient() -> None:
    wav = torch.randn(1, 2048, dtype=torch.float32)
    by_hand = np.abs(np.fft.rfft(wav[0, 896:1152].numpy() * np.hanning(257)[:-1]))
    assert np.allclose(magnitude(wav, 256)[0, :, 16].numpy(), np.sqrt(by_hand**2 + FLOOR**2), rtol=1e-4, atol=1e-4)
    silence = torch.zeros(1, 2048, requires_grad=True)
    sum(SpectralLoss(16_000)(wav, silence)).backward()  # type: ignore[union-attr]
    assert silence.grad is not None and silence.grad.isfinite().all()
