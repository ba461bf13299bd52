"""Generation in whole numbers: products are the slow one's, every layout and batch says the same, and what it costs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from rnnms import kernel
from rnnms.cell import Frames
from rnnms.generate import generate_codes
from rnnms.model import RNNMS, RNNMSConfig
from rnnms.packed import Packed
from vocoder_core import audio
from vocoder_core.inference import analyse
from vocoder_core.mel import MelConfig
from vocoder_core.recurrent import integers, vnni
from vocoder_core.recurrent.draws import stream_keys
from vocoder_core.recurrent.engine import CompiledLoop, Stream
from vocoder_core.recurrent.integers import Tier

HOP = 20
TIERS: list[Tier] = ["int8", "int16"]


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def model() -> RNNMS:
    """Sizes that divide by nothing, weights large enough for the state and the labels to matter."""
    torch.manual_seed(0)
    config = RNNMSConfig(
        mel=MelConfig(hop_length=HOP, win_length=80, n_fft=128, n_mels=9), bits=7, encoder_size=5, embedding_size=11,
        hidden_size=37, linear_size=43,
    )  # fmt: skip
    network = RNNMS(config).eval()
    with torch.no_grad():
        for parameter in network.decoder.parameters():
            parameter.mul_(2)
    return network


@pytest.fixture(scope="module")
def latents() -> Tensor:
    return torch.randn(5, 12, 10, generator=torch.Generator().manual_seed(1))


def slow(weight: Tensor, bias: Tensor, vectors: np.ndarray, tier: Tier, largest: int) -> np.ndarray:
    """The product as integers.py defines it, of each vector (B, C): (B, R)."""
    whole, scale = integers.rounded(weight.detach().numpy(), integers.LARGEST[tier])
    biases = bias.detach().numpy()
    return np.stack([integers.product(whole, scale, biases, *integers.levels(x, largest)) for x in vectors])


@pytest.mark.parametrize("tier", TIERS)
def test_each_product_of_a_step_is_the_slow_one(model: RNNMS, latents: Tensor, tier: Tier) -> None:
    """Bit by bit, of what the kernel itself made so far; gates are torch's to rounding."""
    decoder = model.decoder
    rnn, packed = decoder.rnn, Packed(decoder, 5, tier)
    net, work, before = packed.net, packed.work(slice(0, 5)), np.array([64, 3, 90, 100, 17])
    frames, lines = latents.numpy(), (np.stack([before, before + 1, before + 2, before], 1),)
    condition = (latents[:, 0] @ rnn.weight_ih_l0[:, 11:].t()).detach()
    for step in range(3):
        hidden = work.hidden.copy()
        kernel.advance(net, work, frames, lines, step, 0)
        product = slow(rnn.weight_hh_l0, rnn.bias_hh_l0, hidden, tier, net.recurrent.largest)
        np.testing.assert_array_equal(work.product, product)
        entry, p, h = (
            decoder.folded(latents)[0].detach()[before + step] + condition,
            *map(torch.tensor, (product, hidden)),
        )
        r, z = (entry + p)[:, :74].sigmoid().chunk(2, 1)
        after = torch.lerp(torch.tanh(entry[:, 74:] + r * p[:, 74:]), h, z)
        np.testing.assert_allclose(work.hidden, after, atol=1e-6)
        features = slow(decoder.fc1.weight, decoder.fc1.bias, work.hidden, tier, net.first.largest).clip(0)
        np.testing.assert_array_equal(work.features, features)
        logits = slow(decoder.fc2.weight, decoder.fc2.bias, features, tier, net.second.largest)
        np.testing.assert_array_equal(work.logits, logits)
    assert np.abs(hidden).max() > 0.5


def test_every_layout_gives_the_same_codes(model: RNNMS, latents: Tensor) -> None:
    """Of 64 and 32 bytes a register, and without VNNI."""
    made = [
        Stream(CompiledLoop(Packed(model.decoder, 5, "int8", lanes), 1.0), stream_keys(1, 5))(Frames(latents))
        for lanes in (0, 8, 16)
        if lanes <= vnni.lanes()
    ]
    assert all(torch.equal(codes, made[0]) for codes in made)
    assert len(made[0].unique()) > 50


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("threads", [1, 2])
def test_a_row_does_not_depend_on_its_batch_nor_on_threads(
    model: RNNMS, latents: Tensor, tier: Tier, threads: int
) -> None:
    torch.set_num_threads(threads)
    try:
        together = generate_codes(model.decoder, latents, [7, 8, 9, 7, 8], backend=tier)
    finally:
        torch.set_num_threads(1)
    rows = zip(latents, [7, 8, 9, 7, 8])
    alone = torch.cat([generate_codes(model.decoder, row[None], seed, backend=tier) for row, seed in rows])
    assert torch.equal(together, alone)
    assert torch.equal(together, generate_codes(model.decoder, latents, [7, 8, 9, 7, 8], backend=tier))
    same = generate_codes(model.decoder, latents[:1].expand(2, -1, -1), [1, 2], backend=tier)
    assert (same[0] != same[1]).float().mean() > 0.5


@pytest.mark.parametrize("tier", TIERS)
def test_nothing_is_said_of_nothing(model: RNNMS, latents: Tensor, tier: Tier) -> None:
    for rows, frames in ((2, 0), (0, 3)):
        assert generate_codes(model.decoder, latents[:rows, :frames], 1, backend=tier).shape == (rows, frames * HOP)


@pytest.mark.parametrize(("tier", "most"), [("int8", 0.01), ("int16", 1e-5)])
def test_the_shipped_voice_says_nearly_the_same_of_speech(shared_audio: Path, tier: Tier, most: float) -> None:
    """By true samples before each: KL divergence of its distributions from float32's, bits a sample."""
    voice = RNNMS.from_pretrained()
    wav, _ = audio.load(shared_audio / "ru_nsh" / "ru_0022.flac", voice.sample_rate)
    piece = torch.from_numpy(wav[8000:12000])
    with torch.inference_mode():
        codes = voice.labels(piece[None])
        latents = voice.encode(analyse(piece, voice.config.mel)[None])
        before = torch.cat([torch.tensor([[128]]), codes[:, :-1]], 1)
        exact = voice.decoder(latents, before)[0][0].log_softmax(1)
        packed, said = Packed(voice.decoder, 1, tier), np.empty((4000, 256), np.float32)
        work, lines = packed.work(slice(0, 1)), (np.ascontiguousarray(before.numpy()),)
        for t in range(4000):
            kernel.advance(packed.net, work, latents.numpy(), lines, t, 0)
            said[t] = work.logits[0]
    apart = (exact.exp() * (exact - torch.from_numpy(said).log_softmax(1))).sum(1).mean() / np.log(2)
    assert 0 < apart < most, "0 would be float32 itself"
