"""Weights in 8 bits: what is stored comes back to the bit, within the closed form of the bound, and exact in fp16."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from vocoder_core.mel import MelConfig
from vocoder_core.recurrent.streams import pack
from vocoder_core.stored_weights import in_steps, packed, values
from vocoder_core.vocoder import Vocoder


@dataclass(frozen=True)
class WideConfig:
    mel: MelConfig = field(default_factory=MelConfig)


class Wide(Vocoder):
    """A large matrix and a large convolution, a small matrix, and a vector and a statistic as large as the large."""

    config_class = WideConfig

    def __init__(self, config: WideConfig) -> None:
        super().__init__(config)
        self.large = nn.Linear(128, 128)
        self.convolution = nn.Conv1d(64, 64, 4)
        self.small = nn.Linear(127, 128)
        self.long = nn.Parameter(torch.randn(128 * 128))
        self.register_buffer("seen", torch.randn(128, 128))


def drawn(seed: int = 0) -> torch.Tensor:
    """Rows of all sizes, from 2^-30 to 2^14."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(45, 400, generator=generator) * 2.0 ** torch.arange(-30, 15)[:, None] / 8


def by_hand(row: np.ndarray) -> tuple[np.ndarray, int]:
    """The definition, tried from below: the first exponent that spans the row, and the nearest steps."""
    for exponent in range(-24, 9):
        if max(abs(float(x)) for x in row) <= 127 * 2.0**exponent:
            return np.array([np.rint(float(x) / 2.0**exponent) for x in row]), exponent
    raise AssertionError("beyond the format")


def test_each_row_has_the_smallest_exponent_that_spans_it() -> None:
    matrix = drawn()
    matrix[3], matrix[40, 0] = 0, 0
    matrix[41, 0], matrix[41, 1:] = 127 * 2.0**3, 0.1  # just spanned
    matrix[42, 0], matrix[42, 1:] = -127.0001 * 2.0**3, 0.1  # just not
    steps, exponents = in_steps(matrix)
    for row, own, exponent in zip(matrix, steps, exponents, strict=True):
        expected, at = by_hand(row.numpy())
        assert int(exponent) == at and np.array_equal(own.numpy(), expected)
    assert exponents[[41, 42]].tolist() == [3, 4] and steps.abs().max() == 127


def test_no_value_moves_by_more_than_half_a_step() -> None:
    matrix = drawn(1)
    steps, exponents = in_steps(matrix)
    half = 2.0 ** (exponents.double() - 1)
    moved = (values(steps, exponents).double() - matrix.double()).abs().amax(1)
    assert (moved <= half).all()
    ample = exponents > -24  # there a step is at most the largest value over 63.5, by the choice of the exponent
    assert (half[ample] <= matrix[ample].abs().amax(1) / 127).all() and (moved[ample] > 0.9 * half[ample]).all()


def test_every_value_there_is_goes_through_fp16_and_kernels_unchanged() -> None:
    steps = torch.arange(-127, 128, dtype=torch.int8).repeat(33, 1)
    exponents = torch.arange(-24, 9, dtype=torch.int8)
    expected = np.array([[s * 2.0**e for s in range(-127, 128)] for e in range(-24, 9)])
    floats = values(steps, exponents)
    assert floats.dtype == torch.float32 and np.array_equal(floats.double().numpy(), expected)
    assert torch.equal(floats.half().float(), floats)
    (packed_halves,) = pack(floats, halves=True)
    assert packed_halves.dtype == np.int16 and np.array_equal(packed_halves.view(np.float16), expected)


@pytest.mark.parametrize("bad", [torch.nan, torch.inf, 32_600.0])
def test_what_does_not_go_in_is_refused(bad: float) -> None:
    with pytest.raises(ValueError, match="do not go into 8 bits; expected finite ones below"):
        in_steps(torch.tensor([[1.0, bad]]))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A checkpoint in 8 bits."""
    torch.manual_seed(0)
    model = Wide(WideConfig())
    model.save_pretrained(tmp_path)
    save_file(packed(model, model.state_dict()), tmp_path / "model.safetensors")
    return tmp_path


def test_large_learned_matrices_are_stored_in_8_bits_and_the_rest_as_it_was(folder: Path) -> None:
    stored = load_file(folder / "model.safetensors")
    small = {name for name, tensor in stored.items() if tensor.dtype == torch.int8}
    assert small == {f"{name}.weight{part}" for name in ("large", "convolution") for part in ("", ".exponent")}
    assert stored["convolution.weight"].shape == (64, 64, 4) and stored["convolution.weight.exponent"].shape == (64,)
    torch.manual_seed(0)
    assert all(
        torch.equal(tensor, stored[name]) for name, tensor in Wide(WideConfig()).state_dict().items()
        if name not in small
    )  # fmt: skip


def test_matrices_that_are_to_be_kept_stay_floats() -> None:
    model = Wide(WideConfig())
    stored = packed(model, model.state_dict(), keep=["small", "conv"])
    assert torch.equal(stored["convolution.weight"], model.convolution.weight)
    assert stored["large.weight"].dtype == torch.int8 and "convolution.weight.exponent" not in stored


def test_values_beyond_the_format_stay_floats() -> None:
    model = Wide(WideConfig())
    with torch.no_grad():
        model.large.weight[0, 0] = 40_000.0
    stored = packed(model, model.state_dict())
    assert stored["large.weight"].dtype == torch.float32 and stored["convolution.weight"].dtype == torch.int8


def test_what_is_stored_comes_back_and_again(folder: Path) -> None:
    stored, model = load_file(folder / "model.safetensors"), Wide.from_pretrained(folder)
    for name in ("large.weight", "convolution.weight"):
        steps, exponents = stored[name].double().numpy(), stored[name + ".exponent"].double().numpy()
        expected = steps * np.exp2(exponents).reshape(-1, *[1] * (steps.ndim - 1))
        assert np.array_equal(model.state_dict()[name].double().numpy(), expected)
    assert all(p.dtype == torch.float32 for p in model.parameters())
    model.save_pretrained(folder / "floats")
    floats = load_file(folder / "floats/model.safetensors")
    assert {tensor.dtype for tensor in floats.values()} == {torch.float32}
    again = packed(model, floats)  # rounding what is rounded changes nothing
    assert all(torch.equal(stored[name], again[name]) for name in stored) and again.keys() == stored.keys()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"large.weight.exponent": None}, r"large\.weight is int8 without large\.weight\.exponent; expected both"),
        ({"large.weight.exponent": torch.zeros(127, dtype=torch.int8)}, r"of shape \(127,\); expected torch\.int8 of"),
        ({"large.weight.exponent": torch.zeros(128, 1, dtype=torch.int8)}, r"of shape \(128, 1\); expected"),
        (
            {"large.weight.exponent": torch.zeros(128)},
            r"exponent is torch\.float32 of shape \(128,\); expected",
        ),
        ({"large.weight.exponent": torch.full((128,), 9, dtype=torch.int8)}, "exponents beyond -24 to 8"),
        ({"large.weight.exponent": torch.full((128,), -25, dtype=torch.int8)}, "exponents beyond -24 to 8"),
        ({"large.weight": torch.full((128, 128), -128, dtype=torch.int8)}, "holds steps of -128"),
        ({"large.weight": torch.zeros((128, 127), dtype=torch.int8)}, r"has shape \(128, 127\); its config gives"),
        ({"large.weight": torch.zeros((), dtype=torch.int8)}, r"of shape \(128,\); expected torch\.int8 of shape \(\)"),
        ({"large.weight": torch.zeros((128, 128))}, r"holds large\.weight\.exponent, which the model does not have"),
        ({"small.bias.exponent": torch.zeros(128, dtype=torch.int8)}, r"holds small\.bias\.exponent, which"),
        ({"large.weight": None}, r"lacks large\.weight"),
    ],
)
def test_damaged_steps_are_refused(folder: Path, change: dict, message: str) -> None:
    tensors = {**load_file(folder / "model.safetensors"), **change}
    save_file({name: tensor for name, tensor in tensors.items() if tensor is not None}, folder / "model.safetensors")
    with pytest.raises(ValueError, match=message) as refusal:
        Wide.from_pretrained(folder)
    assert "\n" not in str(refusal.value) and "model.safetensors" in str(refusal.value)


@pytest.mark.parametrize("kind", [torch.float32, torch.float16])
def test_floats_are_read_as_ever(folder: Path, kind: torch.dtype) -> None:
    model = Wide.from_pretrained(folder)
    save_file({name: tensor.to(kind) for name, tensor in model.state_dict().items()}, folder / "model.safetensors")
    again = Wide.from_pretrained(folder)
    assert torch.equal(again.large.weight, model.large.weight)
    assert torch.equal(again.small.weight, model.small.weight.to(kind).float())
