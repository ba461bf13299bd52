"""WaveGrad: its published size, any hop, rows that do not touch, a level it can hear. Its numbers: test_oracle.py."""

from __future__ import annotations

from dataclasses import replace
from math import prod

import pytest
import torch

from specgrad.wavegrad import WaveGrad, WaveGradConfig, five_factors, sinusoids
from vocoder_core.mel_presets import PRESETS

TINY = WaveGradConfig(widths=(4, 6, 6, 8, 8), widest=8)


def made(config: WaveGradConfig = TINY, hop: int = 32, speaker_size: int = 0) -> WaveGrad:
    torch.manual_seed(0)
    return WaveGrad(config, replace(PRESETS["asr16"], n_mels=5, hop_length=hop), speaker_size).eval()


def test_the_published_number_of_parameters() -> None:
    """lmnt's and Teysir-B's; ours has less by the width of one layer."""
    with torch.device("meta"):
        sizes = [
            sum(
                parameter.numel()
                for parameter in WaveGrad(WaveGradConfig(widest=widest), PRESETS["specgrad24"]).parameters()
            )
            for widest in (768, 512)
        ]
    assert sizes[0] == 15_920_993
    assert sizes[1] < sizes[0]


@pytest.mark.parametrize("hop", [300, 256, 200, 240, 320, 7, 12])
def test_any_hop_gives_a_frames_worth_of_samples_to_each_frame(hop: int) -> None:
    assert prod(five_factors(hop)) == hop
    model, mel = made(hop=hop), torch.randn(2, 5, 3)
    assert model(torch.randn(2, 3 * hop), model.condition(mel, mel), torch.rand(2)).shape == (2, 3 * hop)


def test_five_factors_are_the_papers_at_its_hop() -> None:
    assert [five_factors(hop) for hop in (300, 256, 240)] == [(5, 5, 3, 2, 2), (4, 4, 4, 2, 2), (5, 4, 3, 2, 2)]
    assert five_factors(7) == (7, 1, 1, 1, 1)


def test_a_chosen_order_of_strides_is_taken() -> None:
    model = made(replace(TINY, strides=(2, 2, 2, 2, 2)))
    assert [layer.factor for layer in model.upsample] == [2, 2, 2, 2, 2]
    backwards = made(replace(TINY, strides=(1, 2, 2, 2, 4)))
    mel = torch.randn(1, 5, 2)
    assert backwards(torch.randn(1, 64), backwards.condition(mel, mel), torch.rand(1)).shape == (1, 64)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"strides": (5, 5, 3, 2, 2)}, "strides is .* whose product is hop_length 32"),
        ({"strides": (8, 4)}, "strides is .* five factors"),
        ({"widths": (4, 8, 8)}, "widths is .*; expected five even numbers"),
        ({"widths": (4, 8, 7, 8, 8)}, "widths is .*; expected five even numbers"),
        ({"widest": 0}, "widest"),
        ({"embedding_scale": 0.0}, "embedding_scale"),
    ],
)
def test_sizes_that_cannot_be_are_refused(wrong: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        made(replace(TINY, **wrong))  # type: ignore[arg-type]


def test_a_batch_is_its_rows() -> None:
    model, level = made(), torch.tensor([0.1, 0.5, 0.999])
    wave, mel = torch.randn(3, 128), torch.randn(3, 5, 4)
    together = model(wave, model.condition(mel, mel), level)
    for row in range(3):
        one = slice(row, row + 1)
        alone = model(wave[one], model.condition(mel[one], mel[one]), level[one])
        torch.testing.assert_close(together[one], alone, rtol=1e-5, atol=1e-5)


def test_levels_a_step_apart_sound_apart_at_our_scale_and_not_at_lmnts() -> None:
    """Between the last two levels of WG-6's training grid lies 0.0004: five thousand times that turns a sine."""
    near = torch.tensor([0.0810, 0.0814])
    ours, theirs = (sinusoids(scale * near, 32) for scale in (5000.0, 1.0))
    assert (ours[0] - ours[1]).abs().max() > 0.5
    assert (theirs[0] - theirs[1]).abs().max() < 1e-3


def test_a_speaker_is_heard() -> None:
    model, mel, wave = made(speaker_size=3), torch.randn(1, 5, 2), torch.randn(1, 64)
    said = [model(wave, model.condition(mel, mel, torch.randn(1, 3)), torch.tensor([0.3])) for _ in range(2)]
    assert (said[0] - said[1]).abs().max() > 1e-3


@pytest.mark.parametrize("hop", [32, 300, 256, 7])
def test_an_estimate_depends_on_no_frame_beyond_its_context(hop: int) -> None:
    model = made(hop=hop)
    far, count = model.context, 2 * model.context + 3
    mel, wave = torch.randn(1, 5, count, requires_grad=True), torch.randn(1, hop * count, requires_grad=True)
    middle = slice(hop * (far + 1), hop * (far + 2))
    model(wave, model.condition(mel, mel), torch.tensor([0.4]))[:, middle].square().sum().backward()
    assert mel.grad is not None
    assert wave.grad is not None
    assert mel.grad[:, :, [0, -1]].abs().max() == 0
    assert wave.grad[:, [*range(hop), *range(-hop, 0)]].abs().max() == 0
    assert mel.grad[:, :, far + 1].abs().max() > 0
