"""pase-finetune: the encoder learns with the vocoder, and a checkpoint needs no speech."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from samplernn_pase import SampleRNNPASE, preprocess, train
from samplernn_pase.pase import PASE
from samplernn_pase.references import References
from samplernn_pase.speaker import hearing
from samplernn_pase.speaker_vectors import Vectors
from vocoder_core.speakers import vectors

NAMES = ("anna", "bob", "carl")


def voices(seconds: float = 0.5) -> torch.Tensor:
    """Three noises of different colours (3, R)."""
    noise = torch.randn(3, round(seconds * 16_000), generator=torch.Generator().manual_seed(0))
    coloured = torch.stack([noise[0], noise[1].cumsum(0) / 10, noise[2].diff(prepend=noise[2, :1])])
    return 0.05 * coloured / coloured.std(1, keepdim=True)


@pytest.fixture
def references() -> References:
    torch.manual_seed(0)
    made = References(NAMES, 100)
    made.hear(voices())
    values = made.vectors.numpy().copy()
    made.fill(Vectors(NAMES, values, "pase-finetune", "", 60.0))
    return made


def test_the_gradient_of_a_loss_reaches_every_weight_of_the_encoder(references: References) -> None:
    mixer = nn.Linear(100, 4)
    who = vectors(["bob", "anna", "bob"], 100, references.train(), torch.zeros(3, 1))
    assert who is not None
    mixer(references(who)).square().sum().backward()
    for name, parameter in references.encoder.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name


def test_a_step_down_the_gradient_moves_vectors_and_loss(references: References) -> None:
    weight = torch.randn(100, generator=torch.Generator().manual_seed(1))

    def loss() -> torch.Tensor:
        return (references(references.table(torch.tensor([0, 1, 2]))) * weight).sum()

    references.train()
    before = loss()
    before.backward()
    optimizer = torch.optim.SGD(references.parameters(), lr=1e-4)
    optimizer.step()
    assert loss() < before
    told = references.vectors.clone()
    references.eval()
    assert not torch.equal(references.vectors, told)  # settled by the weights that have learned


def test_norms_keep_their_statistics_and_rows_do_not_know_each_other(references: References) -> None:
    references.train()
    before = {name: buffer.clone() for name, buffer in references.encoder.named_buffers()}
    both, alone = references.table(torch.tensor([2, 0])), references.table(torch.tensor([0]))
    torch.testing.assert_close(both[1:], alone, rtol=1e-4, atol=1e-5)
    assert all(torch.equal(buffer, before[name]) for name, buffer in references.encoder.named_buffers())


def test_outside_training_vectors_are_those_of_all_the_speech(references: References) -> None:
    references.eval()
    with torch.no_grad():
        whole = references.encoder(voices())
    torch.testing.assert_close(references.table(torch.arange(3)), whole, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(references.vector("bob"), whole[1], rtol=1e-4, atol=1e-5)


def test_training_hears_another_second_each_step_the_same_for_a_seed() -> None:
    made = References(NAMES, 100)
    made.hear(voices(1.5))
    made.train()
    found = []
    for seed in (0, 1, 0):
        torch.manual_seed(seed)
        found.append(made.table(torch.tensor([0])))
    assert torch.equal(found[0], found[2]) and not torch.equal(found[0], found[1])


def test_a_checkpoint_needs_no_speech(references: References) -> None:
    references.eval()
    state = references.state_dict()
    assert "waves" not in state and state["vectors"].shape == (3, 100)
    other = References(NAMES, 100)
    assert other.vectors.isnan().all()
    other.load_state_dict(state)
    other.eval()
    assert torch.equal(other.table(torch.arange(3)), references.table(torch.arange(3)))
    wav = voices()[1].numpy()
    np.testing.assert_array_equal(other.encoder.embed(wav, 16_000), references.encoder.embed(wav, 16_000))
    assert isinstance(other.encoder, PASE)


def test_speech_that_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match=r"speech of speakers is \(2, 16000\); expected \(3, 1600 or more\)"):
        References(NAMES, 100).hear(torch.zeros(2, 16_000))


@pytest.mark.slow
def test_a_run_trains_the_encoder_and_its_folder_is_enough(shared_audio: Path, tmp_path: Path) -> None:
    """From a checkpoint of PASE over a prepared corpus to a model whose encoder has learned, and hears strangers."""
    torch.manual_seed(0)
    begun = PASE()
    torch.save(begun.state_dict(), tmp_path / "PASE.ckpt")
    data, run = str(tmp_path / "data"), str(tmp_path / "run")
    asked = ["--config", "tiny", "--jobs", "1", "--speaker-vectors", f"pase-finetune={tmp_path / 'PASE.ckpt'}"]
    assert preprocess.main([str(shared_audio), data, *asked]) == 0
    told = ["model.speaker.provider=pase-finetune", "model.speaker.seconds=2", "train.steps=2", "train.warmup=0",
            "train.ema=0", "train.batch_size=2", "check.clips=1"]  # fmt: skip
    assert train.main([data, run, "--config", "tiny", *(word for one in told for word in ("--set", one))]) == 0
    model = SampleRNNPASE.from_pretrained(run)
    assert isinstance(model.voices, References) and model.voices.names == ("carlo", "ivrvoice", "ru_nsh")
    moved = [
        name for name, parameter in begun.named_parameters()
        if not torch.equal(parameter, model.voices.encoder.get_parameter(name))
    ]  # fmt: skip
    assert moved == [name for name, _ in begun.named_parameters()]
    assert model.voices.vectors.isfinite().all()
    encoder = hearing(model.config.speaker, model.voices)
    assert encoder is model.voices.encoder and encoder.embed(voices()[0].numpy(), 16_000).shape == (100,)
