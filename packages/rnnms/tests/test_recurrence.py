"""The training recurrence is torch.nn.GRU with its input product done beforehand, forwards and backwards."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from rnnms import recurrence
from rnnms.model import Decoder, RNNMSConfig
from vocoder_core.mel import MelConfig


def arguments(steps: int, batch: int, width: int, dtype: torch.dtype) -> tuple[torch.nn.GRU, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    network = torch.nn.GRU(5, width).to(dtype)
    inputs = torch.randn(steps, batch, 5, generator=generator).to(dtype)
    return network, inputs, torch.randn(batch, width, generator=generator).to(dtype)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
@pytest.mark.parametrize(("steps", "batch", "width"), [(1, 1, 1), (9, 3, 7), (40, 2, 33), (13, 65, 16)])
def test_states_and_all_gradients_are_those_of_nn_gru(
    dtype: torch.dtype, tolerance: float, steps: int, batch: int, width: int
) -> None:
    network, inputs, state = arguments(steps, batch, width, dtype)
    inputs.requires_grad_()
    state.requires_grad_()
    learned = [inputs, state, *network.parameters()]
    expected = network(inputs, state[None])[0]
    gates = inputs @ network.weight_ih_l0.t() + network.bias_ih_l0
    found = recurrence.gru(gates, state, network.weight_hh_l0, network.bias_hh_l0)
    torch.testing.assert_close(found, expected, atol=tolerance, rtol=tolerance)
    weights = torch.randn(expected.shape, generator=torch.Generator().manual_seed(1), dtype=dtype)
    for mine, theirs in zip(
        torch.autograd.grad((found * weights).sum(), learned), torch.autograd.grad((expected * weights).sum(), learned)
    ):
        torch.testing.assert_close(mine, theirs, atol=tolerance * batch * steps, rtol=tolerance)


def test_gradient_is_the_slope_of_the_output() -> None:
    generator = torch.Generator().manual_seed(2)
    shapes = (4, 2, 9), (2, 3), (9, 3), (9,)
    tensors = [torch.randn(s, generator=generator, dtype=torch.float64, requires_grad=True) for s in shapes]
    assert torch.autograd.gradcheck(recurrence.gru, tensors)


def test_a_state_handed_over_continues_the_sequence() -> None:
    network, inputs, state = arguments(12, 2, 6, torch.float64)
    gates = (inputs @ network.weight_ih_l0.t() + network.bias_ih_l0).detach()
    weights = network.weight_hh_l0.detach(), network.bias_hh_l0.detach()
    first = recurrence.gru(gates[:5], state, *weights)
    second = recurrence.gru(gates[5:], first[-1], *weights)
    torch.testing.assert_close(torch.cat([first, second]), recurrence.gru(gates, state, *weights))


def test_the_decoder_folds_its_inputs_exactly() -> None:
    """The CPU path (tables, recurrence) and the CUDA path (concatenation, torch.nn.GRU) are one function."""
    torch.manual_seed(0)
    sizes = RNNMSConfig(mel=MelConfig(hop_length=4), bits=6, encoder_size=3, embedding_size=5, hidden_size=8)
    decoder = Decoder(sizes).double()
    latents = torch.randn(2, 3, 6, dtype=torch.float64, requires_grad=True)
    codes, state = torch.randint(0, 64, (2, 12)), torch.randn(2, 8, dtype=torch.float64)
    learned = [latents, decoder.embedding.weight, *decoder.rnn.parameters()]
    one, two = decoder._hidden_folded(latents, codes, state), decoder._hidden_cudnn(latents, codes, state)
    torch.testing.assert_close(one, two, atol=1e-12, rtol=0)
    weights = torch.randn_like(one)
    for mine, theirs in zip(
        torch.autograd.grad((one * weights).sum(), learned), torch.autograd.grad((two * weights).sum(), learned)
    ):
        torch.testing.assert_close(mine, theirs, atol=1e-10, rtol=0)
