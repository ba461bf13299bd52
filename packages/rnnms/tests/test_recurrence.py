"""The decoder's CPU path, through the core's recurrence, is its CUDA path."""

from __future__ import annotations

import torch

from rnnms.model import Decoder, RNNMSConfig
from vocoder_core.mel import MelConfig


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
