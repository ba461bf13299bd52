"""The training recurrence is torch.nn.GRU with its input product done beforehand, forwards and backwards."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from vocoder_core.recurrent import recurrence


def case(frames: int, hop: int, batch: int, width: int, dtype: torch.dtype) -> list[Tensor]:
    """Table, codes, conditions, state, W_hh, b_hh, all but the codes to be learned; small enough for no chaos."""
    generator = torch.Generator().manual_seed(0)
    shapes = [(11, 3 * width), (frames, batch, 3 * width), (batch, width), (3 * width, width), (3 * width,)]
    table, *rest = ((0.4 * torch.randn(s, generator=generator)).to(dtype).requires_grad_() for s in shapes)
    return [table, torch.randint(0, 11, (frames * hop, batch), generator=generator), *rest]


def by_nn_gru(table: Tensor, codes: Tensor, conditions: Tensor, state: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """torch.nn.GRU whose input is one-hot code and one-hot frame, and whose input weights are table and conditions."""
    columns = []
    for b in range(codes.shape[1]):
        frame = torch.arange(len(codes)) // (len(codes) // len(conditions))
        inputs = torch.cat([torch.eye(len(table))[codes[:, b]], torch.eye(len(conditions))[frame]], 1).to(table)
        network = torch.nn.GRU(inputs.shape[1], state.shape[1]).to(table)
        values = {
            "weight_ih_l0": torch.cat([table, conditions[:, b]]).t(),
            "weight_hh_l0": weight,
            "bias_ih_l0": torch.zeros_like(bias),
            "bias_hh_l0": bias,
        }
        columns.append(torch.func.functional_call(network, values, (inputs, state[b][None]))[0])
    return torch.stack(columns, 1)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
@pytest.mark.parametrize(
    ("frames", "hop", "batch", "width"), [(1, 1, 1, 1), (3, 3, 3, 7), (2, 40, 2, 33), (5, 13, 17, 16), (1, 64, 1, 4)]
)
def test_states_and_all_gradients_are_those_of_nn_gru(
    dtype: torch.dtype, tolerance: float, frames: int, hop: int, batch: int, width: int
) -> None:
    """float64 takes the torch steps, float32 the compiled ones."""
    tensors = case(frames, hop, batch, width, dtype)
    learned = [tensor for tensor in tensors if tensor.requires_grad]
    found, expected = recurrence.gru_of_codes(*tensors), by_nn_gru(*tensors)
    torch.testing.assert_close(found, expected, atol=tolerance, rtol=tolerance)
    weights = torch.randn(found.shape, generator=torch.Generator().manual_seed(1)).to(dtype)
    mine, theirs = (torch.autograd.grad((values * weights).sum(), learned) for values in (found, expected))
    for one, other in zip(mine, theirs):
        torch.testing.assert_close(one, other, atol=tolerance * float(other.abs().max()), rtol=tolerance)


def test_gradient_is_the_slope_of_the_output() -> None:
    table, codes, *rest = case(2, 3, 2, 3, torch.float64)
    assert torch.autograd.gradcheck(lambda table, *rest: recurrence.gru_of_codes(table, codes, *rest), [table, *rest])


def test_without_numba_the_torch_steps_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    tensors = case(3, 20, 4, 10, torch.float32)
    learned = [tensor for tensor in tensors if tensor.requires_grad]
    compiled = recurrence.gru_of_codes(*tensors)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    plain = recurrence.gru_of_codes(*tensors)
    torch.testing.assert_close(compiled, plain, atol=1e-6, rtol=0)
    monkeypatch.undo()
    mine = torch.autograd.grad(compiled.square().sum(), learned)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    for one, other in zip(mine, torch.autograd.grad(plain.square().sum(), learned)):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-5)


def test_states_without_gradients_are_the_same() -> None:
    tensors = case(3, 5, 2, 6, torch.float32)
    with torch.no_grad():
        assert torch.equal(recurrence.gru_of_codes(*tensors), recurrence.gru_of_codes(*[t.detach() for t in tensors]))
        without = recurrence.gru_of_codes(*tensors)
    assert torch.equal(without, recurrence.gru_of_codes(*tensors).detach())


@pytest.mark.parametrize("wrong", [-1, 11])
def test_codes_beyond_the_table_are_refused(wrong: int) -> None:
    tensors = case(3, 5, 2, 6, torch.float32)
    tensors[1][2, 1] = wrong
    with pytest.raises(ValueError, match=f"codes lie between .*{wrong}.*; expected 0 to 10"):
        recurrence.gru_of_codes(*tensors)


def test_a_state_handed_over_continues_the_sequence() -> None:
    table, codes, conditions, state, weight, bias = case(6, 5, 2, 6, torch.float64)
    first = recurrence.gru_of_codes(table, codes[:10], conditions[:2], state, weight, bias)
    second = recurrence.gru_of_codes(table, codes[10:], conditions[2:], first[-1], weight, bias)
    whole = recurrence.gru_of_codes(table, codes, conditions, state, weight, bias)
    torch.testing.assert_close(torch.cat([first, second]), whole)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
@pytest.mark.parametrize(("steps", "batch", "width"), [(1, 1, 1), (70, 3, 7), (5, 17, 16)])
def test_given_input_gates_states_and_all_gradients_are_those_of_nn_gru(
    dtype: torch.dtype, tolerance: float, steps: int, batch: int, width: int
) -> None:
    """Input gates from a linear layer on any input, which is what torch.nn.GRU does first."""
    torch.manual_seed(0)
    network = torch.nn.GRU(5, width).to(dtype)
    inputs = torch.randn(steps, batch, 5, dtype=dtype, requires_grad=True)
    state = torch.randn(batch, width, dtype=dtype, requires_grad=True)
    entries = torch.nn.functional.linear(inputs, network.weight_ih_l0, network.bias_ih_l0)
    found = recurrence.gru(entries, state, network.weight_hh_l0, network.bias_hh_l0)
    expected = network(inputs, state[None])[0]
    torch.testing.assert_close(found, expected, atol=tolerance, rtol=tolerance)
    learned, weights = [inputs, state, *network.parameters()], torch.randn_like(found)
    mine, theirs = (torch.autograd.grad((values * weights).sum(), learned) for values in (found, expected))
    for one, other in zip(mine, theirs):
        torch.testing.assert_close(one, other, atol=tolerance * float(other.abs().max()), rtol=tolerance)


def test_under_autocast_the_recurrence_stays_in_fp32() -> None:
    """Its input gates come in bf16, its states are those of the same gates in fp32; gradients reach the gates."""
    torch.manual_seed(0)
    network = torch.nn.GRU(5, 8)
    inputs, state = torch.randn(20, 3, 5, requires_grad=True), torch.zeros(3, 8)
    recurrent = network.weight_hh_l0, network.bias_hh_l0
    with torch.autocast("cpu", torch.bfloat16):
        entries = torch.nn.functional.linear(inputs, network.weight_ih_l0, network.bias_ih_l0)
        found = recurrence.gru(entries, state, *recurrent)
    assert entries.dtype == torch.bfloat16
    assert found.dtype == torch.float32
    assert torch.equal(found, recurrence.gru(entries.float(), state, *recurrent))
    found.sum().backward()
    assert inputs.grad is not None and inputs.grad.abs().sum() > 0
