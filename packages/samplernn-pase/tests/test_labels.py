"""Labels: the quantisers against their formulas, and what is told of a sample before it is made."""

from __future__ import annotations

from math import log

import numpy as np
import pytest
import torch

from samplernn_pase import labels
from samplernn_pase.labels import LabelConfig

ROUND, SEED = LabelConfig(), LabelConfig(codec="seed")


def companded(x: np.ndarray, law: float = 255) -> np.ndarray:
    return np.sign(x) * np.log(1 + law * np.abs(x)) / np.log(1 + law)


@pytest.fixture(scope="module")
def every() -> torch.Tensor:
    """Every 16-bit sample, and the ends in full."""
    return torch.cat([torch.arange(-32768, 32768) / 32768, torch.tensor([1.0])])


@pytest.mark.parametrize("bits", [8, 9, 10])
def test_codes_are_the_nearest_of_the_cells_between_the_ends(every: torch.Tensor, bits: int) -> None:
    config, half = LabelConfig(bits=bits), 2 ** (bits - 1)
    codes = labels.encode(every, config).numpy()
    expected = companded(every.double().numpy(), 2 * half - 1) * (half - 1) + half
    assert np.abs(codes - expected).max() <= 0.5 + 1e-9
    assert codes.min() == 1 and codes.max() == 2 * half - 1 and codes[32768] == half


@pytest.mark.parametrize("bits", [8, 10])
def test_decoding_is_odd_symmetric_and_half_a_cell_off_at_most(every: torch.Tensor, bits: int) -> None:
    config, half = LabelConfig(bits=bits), 2 ** (bits - 1)
    said = labels.decode(labels.encode(every, config), config)
    assert torch.equal(said, -labels.decode(labels.encode(-every, config), config))
    off = np.abs(companded(said.double().numpy(), 2 * half - 1) - companded(every.double().numpy(), 2 * half - 1))
    assert off.max() <= 0.5 / (half - 1) + 1e-6


def test_the_public_quantiser_is_its_formula(every: torch.Tensor) -> None:
    """floor(256 (F(x) + 1) / 2), F with mu = 255, in the double precision that makes it what it says."""
    codes = labels.encode(every, SEED).numpy()
    law = np.floor(256 * (companded(every.double().numpy()) + 1) / 2)
    assert (codes == np.minimum(law, 255)).mean() > 0.9999 and np.abs(codes - np.minimum(law, 255)).max() <= 1
    assert codes[32768] == 128


def test_a_sample_at_full_scale_is_a_class_that_exists() -> None:
    """In all public versions it was class 256 of 0 ... 255: an IndexError, on a GPU a device assertion."""
    loud = torch.tensor([1.0, -1.0, 3.0, -3.0])
    for config in (ROUND, SEED):
        codes = labels.encode(loud, config)
        assert codes.min() >= 0 and codes.max() == 255 and codes.dtype == torch.int64


def test_the_public_decoder_gives_the_lower_edges_of_its_cells() -> None:
    """v = 2 code / 256 - 1, then the inverse law, with the sign that the refactor lost (D1): half are negative."""
    codes = torch.arange(256)
    v = 2 * np.arange(256) / 256 - 1
    expected = np.sign(v) * ((1 + 255.0) ** np.abs(v) - 1) / 255
    said = labels.decode(codes, SEED)
    assert said.dtype == torch.float32 and np.allclose(said, expected, atol=1e-7)
    assert (said < 0).sum() == 128 and said[128] == 0 and said[0] == -1
    inside = torch.cat([said[1:] - 1e-6, said[1:] + 1e-6])
    assert labels.encode(inside, SEED).tolist() == [*range(255), *range(1, 256)]


@pytest.mark.parametrize("config", [ROUND, SEED], ids=["round", "seed"])
def test_what_is_told_of_the_past_is_what_generation_will_know_of_it(config: LabelConfig) -> None:
    """The sample before, decoded: not the recording itself, which the refactor trained the frame tiers on (D3)."""
    wav = torch.rand(2, 50, generator=torch.Generator().manual_seed(0)) * 1.8 - 0.9
    told = labels.of_wave(wav, config)
    codes = labels.encode(wav, config)
    assert torch.equal(told.targets, codes)
    assert torch.equal(told.codes[:, 1:, 0], codes[:, :-1]) and (told.codes[:, 0, 0] == 128).all()
    assert torch.equal(told.past[:, 0, 1:], labels.decode(codes[:, :-1], config)) and not told.past[:, 0, 0].any()
    assert told.values.shape == (2, 50, 0) and told.past.shape == (2, 1, 50)


def test_the_recording_itself_is_told_where_it_is_asked_for() -> None:
    wav = torch.rand(2, 50) * 1.8 - 0.9
    told = labels.of_wave(wav, LabelConfig(codec="seed", raw=True))
    assert torch.equal(told.past[:, 0, 1:], wav[:, :-1])


def test_noise_disturbs_what_is_told_and_not_what_has_to_be_said() -> None:
    wav = torch.rand(2, 50, generator=torch.Generator().manual_seed(0)) - 0.5
    noise = torch.randn(2, 50, generator=torch.Generator().manual_seed(1))
    clean, told = labels.of_wave(wav, ROUND), labels.of_wave(wav, ROUND, noise)
    assert torch.equal(clean.targets, told.targets) and not torch.equal(clean.codes, told.codes)
    assert torch.equal(told.codes[:, 1:, 0], labels.encode(wav + noise / 128, ROUND)[:, :-1])
    assert torch.equal(told.past[:, 0], labels.decode(told.codes[..., 0], ROUND))


def test_how_much_is_told() -> None:
    assert (ROUND.classes, ROUND.channels, ROUND.told, ROUND.values) == (256, 1, 0, 0)
    plain, voiced = LabelConfig(order=16), LabelConfig(order=24, pitch=True)
    assert (plain.channels, plain.told, plain.values) == (2, 2, 0)
    assert (voiced.channels, voiced.told, voiced.values) == (2, 3, 7)
    assert log(ROUND.classes, 2) == 8


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"bits": 5}, "labels.bits is 5"),
        ({"order": -1}, "labels.order is -1"),
        ({"order": 81}, "labels.order is 81"),
        ({"pitch": True}, "labels.pitch is true, labels.order is 0"),
        ({"order": 16, "codec": "seed"}, "expected labels.order 0"),
        ({"order": 16, "raw": True}, "expected labels.order 0"),
        ({"order": 16, "span": 0.0}, "labels.span is 0.0"),
        ({"loudest": -1.0}, "labels.loudest is -1.0"),
    ],
)
def test_labels_that_cannot_be_are_refused(wrong: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        LabelConfig(**wrong)
