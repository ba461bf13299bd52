"""The original's recipe of training, formula by formula: the ramp of the penalty, the sphere, noise for the encoder."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from vocoder_core.vq import QuantizerConfig
from vqvaevc import VQVAEVC, VQVAEVCConfig
from vqvaevc.batches import Batch, CropConfig, heard_elsewhere, past_noise
from vqvaevc.condition import EncoderConfig
from vqvaevc.overtone import OvertoneConfig
from vqvaevc.train import Loss, after_step

WAVE = VQVAEVCConfig(
    encoder=EncoderConfig(channels=8),
    quantizer=QuantizerConfig(kind="sphere", size=16, dim=8),
    overtone=OvertoneConfig(conv=8, rnn=16, hidden=32, linear=16),
    speakers=("anna", "bruno"),
)
AT, SAMPLES = 5632, 64


def batch_of(rows: int = 4, noise: bool = False) -> Batch:
    """A batch of hums with other pitches, no two rows alike; disturbed as the recipe says."""
    draw = torch.Generator().manual_seed(0)
    length = AT + SAMPLES + 960
    time = torch.arange(length + 256) / 22050
    pitch = torch.tensor([110.0, 150.0, 190.0, 240.0])[:rows, None]
    wide = 0.3 * torch.sin(2 * torch.pi * pitch * time) + 0.1 * torch.sin(2 * torch.pi * 3 * pitch * time)
    wav = wide[:, 128:-128].contiguous()
    heard = heard_elsewhere(wide, length, CropConfig(), draw)
    return Batch(wav, heard, AT, SAMPLES, 1, torch.arange(rows) % 2, past_noise(wav, 0.5, draw) if noise else None)


def model_of(config: VQVAEVCConfig = WAVE) -> VQVAEVC:
    torch.manual_seed(0)
    return VQVAEVC(config)


@pytest.mark.parametrize(
    ("step", "weight"),
    [(1, 0.001), (1000, 0.001), (1100, 0.001), (1500, 0.005), (2000, 0.01), (2001, 0.01), (500_000, 0.01)],
)
def test_the_penalty_of_encodings_rises_from_a_thousandth_to_a_hundredth(step: int, weight: float) -> None:
    """w = 0.01 min(1, max(0.1, step / 1000 - 1)); with all of it from the first step everything becomes one code."""
    assert weight == pytest.approx(0.01 * min(1, max(0.1, step / 1000 - 1)))
    model = model_of().train()
    assert model.quantizer is not None
    model.quantizer.steps.fill_(step - 1)
    batch, seen = batch_of(), []
    model.condition.encoder.register_forward_hook(lambda module, given, made: seen.append(made.detach()))
    figures = Loss()(model, batch)
    rows = seen[0].transpose(1, 2).flatten(0, 1)
    norm = 0.06 * 8**0.5
    placed = norm * rows / rows.norm(dim=1, keepdim=True)
    nearest = (placed[:, None] - model.quantizer.codebook).square().sum(2).amin(1)
    pulled = nearest.mean() + (placed - rows).square().sum(1).mean()
    assert float((figures["commitment"] + figures["norm"]).detach()) == pytest.approx(
        weight * float(pulled.detach()), rel=1e-4
    )
    assert float(figures["codebook"]) == pytest.approx(float(nearest.mean().detach()), rel=1e-4)
    nats = (figures["bits"] * torch.tensor(2.0).log()).double()
    parts = sum(figures[name].double() for name in ("commitment", "norm", "codebook"))
    assert float(figures["loss"].detach()) == pytest.approx(float((nats + parts).detach()), rel=1e-5)


def test_after_each_step_codes_are_back_on_the_sphere() -> None:
    model = model_of().train()
    assert model.quantizer is not None
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    Loss()(model, batch_of())["loss"].backward()
    optimizer.step()
    norm, table = 0.06 * 8**0.5, model.quantizer.codebook
    assert (table.norm(dim=1) - norm).abs().max() > 1e-3, "an update leaves it"
    after_step(model, 1)
    assert torch.allclose(table.norm(dim=1), torch.full((16,), norm), rtol=1e-6)


def test_what_is_disturbed_reaches_the_encoder_alone() -> None:
    """With one code for everything, what the encoder hears changes nothing; with codes that differ it does."""
    model, batch = model_of().eval(), batch_of()
    assert model.quantizer is not None and not torch.equal(batch.wav, batch.heard)
    louder = replace(batch, heard=2 * torch.roll(batch.heard, 300, 1) + 0.3 * torch.randn(batch.heard.shape))

    def said(batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        made = model(batch.wav, batch.heard, batch.at, batch.samples, batch.speaker)
        return torch.cat(made.logits, 2), made.targets

    (one, wanted), (other, same) = said(batch), said(louder)
    assert torch.equal(wanted, same) and not torch.equal(one, other)
    with torch.no_grad():
        model.quantizer.codebook.copy_(model.quantizer.codebook[:1].expand(16, -1))
    assert torch.equal(said(batch)[0], said(louder)[0])
    assert torch.equal(Loss()(model, batch)["bits"], Loss()(model, louder)["bits"])


def test_noise_on_the_past_changes_what_is_told_not_what_is_to_be_said() -> None:
    model, batch = model_of().eval(), batch_of(noise=True)
    assert batch.noise is not None
    given = (batch.wav, batch.heard, batch.at, batch.samples, batch.speaker, None)
    one, other = model(*given), model(*given, batch.noise)
    assert torch.equal(one.targets, other.targets)
    assert not torch.equal(one.logits[0], other.logits[0])


def test_jitter_puts_a_neighbours_code_in_place_of_some_and_none_where_nothing_is_drawn() -> None:
    """Chorowski et al. 2019: of training alone; vectors, and not the codes' own losses."""
    config = replace(WAVE, encoder=replace(WAVE.encoder, jitter=0.5))
    condition, wav = model_of(config).eval().condition, 0.3 * torch.randn(1, 64 * 1000, generator=torch.Generator())
    clean, moved = (condition(wav, wav, AT, None, seed) for seed in (None, 7))
    assert torch.equal(clean.units_, model_of().eval().condition(wav, wav, AT, None, 7).units_), "0: nothing moves"
    own, told = (made.units_[0].t() for made in (clean, moved))
    before, after = own.roll(1, 0), own.roll(-1, 0)
    same, from_left, from_right = ((told[1:-1] == x[1:-1]).all(1) for x in (own, before, after))
    assert (same | from_left | from_right).all()
    distinct = (own != before).any(1)[1:-1] & (own != after).any(1)[1:-1]
    assert distinct.sum() > 80 and 0.3 < 1 - same[distinct].float().mean() < 0.7
    assert torch.equal(moved.losses["codebook"], clean.losses["codebook"])


def test_one_batch_is_learned_by_heart() -> None:
    """From 16 bits a sample to below 12 in 50 steps: every part passes gradients on."""
    model, batch = model_of(replace(WAVE, speaker="learned", speaker_size=4)).train(), batch_of()
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    for step in range(50):
        figures = Loss()(model, batch)
        if not step:
            first = float(figures["bits"])
            figures["loss"].backward()
            assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
        else:
            figures["loss"].backward()
        optimizer.step()
        optimizer.zero_grad()
        after_step(model, step)
    assert 15.5 < first < 16.5 and float(figures["bits"]) < 12
