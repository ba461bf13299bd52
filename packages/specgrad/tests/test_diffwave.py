"""DiffWave: its published sizes, any hop, levels of two kinds, rows that do not touch. Its numbers: test_oracle.py."""

from __future__ import annotations

from dataclasses import replace
from math import prod

import pytest
import torch

from specgrad import SpecGradConfig
from specgrad.diffusion import DiffusionConfig
from specgrad.diffwave import DiffWave, DiffWaveConfig, two_factors
from specgrad.shaping import ShapingConfig
from vocoder_core.mel_presets import PRESETS

TINY = DiffWaveConfig(channels=4, layers=4, cycle=2, embedding=8)


def mel_of(hop: int) -> object:
    return replace(PRESETS["asr16"], n_mels=5, hop_length=hop)


def made(config: DiffWaveConfig, hop: int = 16, speaker_size: int = 0) -> DiffWave:
    torch.manual_seed(0)
    model = DiffWave(config, mel_of(hop), speaker_size)  # type: ignore[arg-type]
    torch.nn.init.normal_(model.output_projection.weight)  # zeros at the start: it says nothing yet
    return model.eval()


@pytest.mark.parametrize(("mel", "strides", "count"), [("hifi22", (), 2_619_971), ("specgrad24", (10, 30), 2_804_339)])
def test_the_published_number_of_parameters(mel: str, strides: tuple[int, ...], count: int) -> None:
    """PriorGrad's and lmnt's at 80 mels, vvvm23's at 128."""
    with torch.device("meta"):
        model = DiffWave(DiffWaveConfig(steps=50, strides=strides), PRESETS[mel])
    assert sum(parameter.numel() for parameter in model.parameters()) == count


def test_a_new_network_says_nothing() -> None:
    model = DiffWave(TINY, mel_of(16))  # type: ignore[arg-type]
    mel = torch.randn(1, 5, 3)
    estimate = model(torch.randn(1, 48), model.condition(mel, mel), torch.tensor([0.5]))
    assert estimate.abs().max() == model.output_projection.bias.abs().max()
    assert estimate.std() < 1e-6


@pytest.mark.parametrize("hop", [256, 200, 300, 240, 7, 12, 2])
def test_any_hop_gives_a_frames_worth_of_samples_to_each_frame(hop: int) -> None:
    assert prod(two_factors(hop)) == hop
    model, mel = made(TINY, hop), torch.randn(2, 5, 3)
    condition = model.condition(mel, mel)
    assert condition.mel.shape == (2, 5, 3 * hop)
    assert model(torch.randn(2, 3 * hop), condition, torch.rand(2)).shape == (2, 3 * hop)


def test_a_frame_is_heard_at_its_own_samples() -> None:
    """An upsampler of any stride centres each frame's samples on it: none comes out a stride early or late."""
    for hop in (16, 15, 7):
        model = made(TINY, hop)
        for parameter in model.spectrogram_upsampler.parameters():
            torch.nn.init.constant_(parameter, 0.1)
        mel = torch.zeros(1, 5, 9)
        mel[:, :, 4] = 1
        heard = model.condition(mel, mel).mel[0].detach() - model.condition(mel * 0, mel * 0).mel[0].detach()
        weight = heard.sum(0)
        centre = float((weight * torch.arange(9 * hop)).sum() / weight.sum())
        assert abs(centre - (4.5 * hop - 0.5)) <= 0.5 * hop / min(two_factors(hop)) + 0.5, hop


def test_two_factors_are_as_alike_as_can_be() -> None:
    assert [two_factors(hop) for hop in (256, 300, 200, 7)] == [(16, 16), (15, 20), (10, 20), (7,)]


@pytest.mark.parametrize("strides", [(8, 30), (1, 300), (300, 1)])
def test_strides_that_do_not_make_the_hop_are_refused(strides: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="diffwave.strides is .* whose product is hop_length 300"):
        made(replace(TINY, strides=strides), 300)


@pytest.mark.parametrize("name", ["channels", "layers", "cycle", "embedding", "steps"])
def test_sizes_that_cannot_be_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"diffwave.{name} is -1; expected"):
        replace(TINY, **{name: -1})  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="channels is 48; expected a power of two"):
        DiffWaveConfig(channels=48)


@pytest.mark.parametrize(("steps", "levels"), [(0, [0.1, 0.5, 0.999]), (50, [0.0, 10.5, 49.0])])
def test_a_batch_is_its_rows(steps: int, levels: list[float]) -> None:
    """Whatever the other rows' levels: fractions of a step, too, where the public code takes one row at a time."""
    model, level = made(replace(TINY, steps=steps)), torch.tensor(levels)
    wave, mel = torch.randn(3, 64), torch.randn(3, 5, 4)
    together = model(wave, model.condition(mel, mel), level)
    for row in range(3):
        one = slice(row, row + 1)
        alone = model(wave[one], model.condition(mel[one], mel[one]), level[one])
        torch.testing.assert_close(together[one], alone, rtol=1e-5, atol=1e-6)
    assert (together[0] - together[1]).abs().max() > 1e-3


def test_a_fraction_of_a_step_lies_between_its_neighbours() -> None:
    embedding = made(replace(TINY, steps=50)).diffusion_embedding
    rows = embedding.table
    embedding.projection1 = embedding.projection2 = torch.nn.Identity()  # type: ignore[assignment]
    embedding.projection1.weight = rows[:0]  # type: ignore[assignment]
    silu = torch.nn.functional.silu
    told = embedding(torch.tensor([10.25, 49.0]))
    torch.testing.assert_close(told[0], silu(silu(0.75 * rows[10] + 0.25 * rows[11])))
    torch.testing.assert_close(told[1], silu(silu(rows[49])))


def test_a_speaker_is_heard() -> None:
    model, mel, wave = made(TINY, speaker_size=3), torch.randn(1, 5, 2), torch.randn(1, 32)
    said = [model(wave, model.condition(mel, mel, torch.randn(1, 3)), torch.tensor([0.3])) for _ in range(2)]
    assert (said[0] - said[1]).abs().max() > 1e-3


def test_an_estimate_depends_on_no_frame_beyond_its_context() -> None:
    model = made(TINY)
    far = model.context
    mel, wave = (
        torch.randn(1, 5, 2 * far + 3, requires_grad=True),
        torch.randn(1, 16 * (2 * far + 3), requires_grad=True),
    )
    middle = slice(16 * (far + 1), 16 * (far + 2))
    model(wave, model.condition(mel, mel), torch.tensor([0.4]))[:, middle].square().sum().backward()
    assert mel.grad is not None
    assert wave.grad is not None
    assert mel.grad[:, :, [0, -1]].abs().max() == 0
    assert wave.grad[:, [*range(16), *range(-16, 0)]].abs().max() == 0
    assert mel.grad[:, :, far + 1].abs().max() > 0


@pytest.mark.parametrize(
    "wrong",
    [
        {"process": "diffusion", "diffusion": DiffusionConfig("discrete", 1e-4, 0.05, 50)},  # the net has no table
        {"process": "diffusion", "diffwave": replace(TINY, steps=50)},  # continuous levels read as steps 0 to 1
        {"process": "flow", "diffwave": replace(TINY, steps=50)},
        {"process": "diffusion", "network": "wavegrad", "diffusion": DiffusionConfig("discrete", 1e-4, 0.05, 50)},
    ],
)
def test_a_network_that_would_be_told_what_it_does_not_know_is_refused(wrong: dict[str, object]) -> None:
    """Steps for levels, or levels for steps, sound like a network that learned nothing."""
    settings = {"network": "diffwave", "shaping": ShapingConfig(), **wrong}
    with pytest.raises(ValueError, match="expected diffusion.levels discrete with diffwave.steps = diffusion.steps"):
        SpecGradConfig(**settings)  # type: ignore[arg-type]
