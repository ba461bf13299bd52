"""The network: sizes, gradients, learning, checkpoints, alignment of its labels."""

from __future__ import annotations

import dataclasses

import pytest
import torch
import torch.nn.functional as F

from rnnms import RNNMS, RNNMSConfig
from rnnms.model import deemphasise, emphasise
from vocoder_core.mel import MelConfig

TINY = RNNMSConfig(
    mel=MelConfig(n_fft=64, win_length=32, hop_length=8, n_mels=8, fmin=0.0),
    bits=6,
    encoder_size=6,
    embedding_size=5,
    hidden_size=24,
    linear_size=20,
)


@pytest.fixture
def model() -> RNNMS:
    torch.manual_seed(0)
    return RNNMS(TINY)


def test_default_network_has_the_published_number_of_parameters() -> None:
    parts = RNNMS(RNNMSConfig())
    assert sum(p.numel() for p in parts.parameters()) == 6_478_080
    assert sum(p.numel() for p in parts.encoder.parameters()) == 457_728


def test_folded_training_path_equals_torch_gru_on_the_concatenated_inputs(model: RNNMS) -> None:
    mel, codes, state = torch.randn(3, 8, 9), torch.randint(0, 64, (3, 40)), torch.randn(3, 24)
    latents = model.encode(mel)[:, 2:7]
    folded = model.decoder._hidden_folded(latents, codes, state)
    straight = model.decoder._hidden_cudnn(latents, codes, state)
    assert torch.allclose(folded, straight, atol=1e-6)


def test_context_frames_reach_the_encoder_only(model: RNNMS) -> None:
    mel, codes = torch.randn(1, 8, 9), torch.randint(0, 64, (1, 5 * 8))
    with_context, _ = model(mel, codes)
    cropped, _ = model(mel[..., 2:7], codes)
    assert with_context.shape == cropped.shape == (1, 40, 64)
    assert not torch.allclose(with_context, cropped)
    by_hand, _ = model.decoder(model.encode(mel)[:, 2:7], codes)
    assert torch.equal(with_context, by_hand)


def test_carrying_the_state_equals_one_long_pass(model: RNNMS) -> None:
    latents, codes = model.encode(torch.randn(2, 8, 6)), torch.randint(0, 64, (2, 48))
    whole, end = model.decoder(latents, codes)
    first, state = model.decoder(latents[:, :2], codes[:, :16])
    second, last = model.decoder(latents[:, 2:], codes[:, 16:], state)
    assert torch.allclose(whole, torch.cat([first, second], 1), atol=1e-6)
    assert torch.allclose(end, last, atol=1e-6)


def test_rows_of_a_batch_do_not_see_each_other(model: RNNMS) -> None:
    mel, codes = torch.randn(2, 8, 4), torch.randint(0, 64, (2, 32))
    both, _ = model(mel, codes)
    one, _ = model(mel[1:], codes[1:])
    assert torch.allclose(both[1:], one, atol=1e-6)


def test_every_parameter_gets_a_gradient(model: RNNMS) -> None:
    logits, _ = model(torch.randn(2, 8, 6), torch.randint(0, 64, (2, 32)))
    logits.square().mean().backward()
    for name, parameter in model.named_parameters():
        # rows of the embedding that the crop does not hold stay zero; every tensor as a whole must not
        assert parameter.grad is not None and parameter.grad.abs().max() > 0, name


def test_one_batch_is_learnt_by_heart(model: RNNMS) -> None:
    torch.manual_seed(1)
    mel, codes = torch.randn(2, 8, 4), torch.randint(0, 64, (2, 33))
    adam = torch.optim.Adam(model.parameters(), 2e-2)
    losses = []
    for _ in range(100):
        logits, _ = model(mel, codes[:, :-1])
        loss = F.cross_entropy(logits.flatten(0, 1), codes[:, 1:].flatten())
        adam.zero_grad()
        loss.backward()
        adam.step()
        losses.append(loss.item())
    assert losses[0] > 4 and losses[-1] < 0.4


@pytest.mark.parametrize("codes", [31, 0 + 7, 8 * 7])
def test_codes_that_do_not_fill_frames_are_refused(model: RNNMS, codes: int) -> None:
    with pytest.raises(ValueError, match="frames"):
        model(torch.randn(1, 8, 6), torch.zeros(1, codes, dtype=torch.long))


def test_save_then_load_gives_the_same_network_and_samples(model: RNNMS, tmp_path) -> None:
    model.save_pretrained(tmp_path)
    again = RNNMS.from_pretrained(tmp_path)
    assert again.config == TINY
    mel = torch.randn(1, 8, 3)
    assert torch.equal(model.synthesize(mel, seed=3, backend="torch"), again.synthesize(mel, seed=3, backend="torch"))


def test_labels_lag_the_wave_by_the_delay_and_synthesis_takes_it_back() -> None:
    config = dataclasses.replace(TINY, delay=16, codec="round")
    model = RNNMS(config)
    wav = torch.zeros(1, 64)
    wav[0, 10] = 1.0
    assert model.labels(wav)[0].argmax() == 26
    mel = torch.randn(1, 8, 4)
    assert model.synthesize(mel, seed=0, backend="torch").shape == (1, 32)


@pytest.mark.parametrize("coefficient", [0.0, 0.5, 0.85, 0.97])
def test_deemphasis_undoes_emphasis(coefficient: float) -> None:
    wav = torch.rand(2, 3000) * 2 - 1
    assert torch.allclose(deemphasise(emphasise(wav, coefficient), coefficient), wav, atol=2e-6)


def test_deemphasis_equals_the_recursion() -> None:
    scipy = pytest.importorskip("scipy.signal")
    wav = torch.randn(1, 2000)
    expected = scipy.lfilter([1], [1, -0.85], wav[0].double().numpy())
    assert torch.allclose(deemphasise(wav, 0.85)[0].double(), torch.from_numpy(expected), atol=1e-6)


@pytest.mark.parametrize(
    ("mel", "reason"),
    [
        (torch.zeros(1, 9, 4), "expected a float mel"),
        (torch.zeros(8), "expected a float mel"),
        (torch.zeros(1, 8, 4, dtype=torch.long), "expected a float mel"),
        (torch.full((1, 8, 4), torch.nan), "NaN"),
    ],
)
def test_a_mel_that_cannot_be_one_is_refused_in_a_sentence(model: RNNMS, mel: torch.Tensor, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        model.synthesize(mel)


@pytest.mark.parametrize(
    "wrong", [{"bits": 4}, {"hidden_size": 0}, {"delay": 3}, {"emphasis": 1.0}, {"encoder_size": -1}]
)
def test_sizes_that_cannot_be_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        dataclasses.replace(TINY, **wrong)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
def test_cuda_logits_equal_the_cpus(model: RNNMS) -> None:
    mel, codes = torch.randn(2, 8, 5), torch.randint(0, 64, (2, 40))
    cpu, _ = model(mel, codes)
    cuda, _ = model.cuda()(mel.cuda(), codes.cuda())
    assert torch.allclose(cpu, cuda.cpu(), atol=1e-5)
