"""Generation: what a seed promises, and that torch loop, compiled kernel and network say the same."""

from __future__ import annotations

import dataclasses
import logging
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from rnnms.cell import Cell, Frames
from rnnms.generate import generate_codes, stream
from rnnms.model import RNNMS, RNNMSConfig
from vocoder_core import audio
from vocoder_core.inference import analyse
from vocoder_core.mel import MelConfig
from vocoder_core.recurrent.draws import fold_seeds, stream_keys, uniforms
from vocoder_core.recurrent.folds import plan

HOP = 20


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
def latents(model: RNNMS) -> Tensor:
    return torch.randn(3, 12, 10, generator=torch.Generator().manual_seed(1))


def labels_by_hand(model: RNNMS, latents: Tensor, seed: int) -> list[int]:
    """The decoder as the paper writes it, in float64, a step at a time: no folding, a loop over the classes."""
    w = {name: p.detach().double().numpy() for name, p in model.decoder.named_parameters()}
    hidden, label, labels = np.zeros(37), 2**model.config.bits // 2, []
    draws = uniforms(stream_keys(seed, 1), 0, latents.shape[0] * HOP)[0]
    for t, u in enumerate(draws):
        x = np.concatenate([w["embedding.weight"][label], latents[t // HOP].double().numpy()])
        from_x = np.split(w["rnn.weight_ih_l0"] @ x + w["rnn.bias_ih_l0"], 3)
        from_h = np.split(w["rnn.weight_hh_l0"] @ hidden + w["rnn.bias_hh_l0"], 3)
        reset, update = (1 / (1 + np.exp(-(from_x[i] + from_h[i]))) for i in (0, 1))
        hidden = (1 - update) * np.tanh(from_x[2] + reset * from_h[2]) + update * hidden
        logits = w["fc2.weight"] @ np.maximum(w["fc1.weight"] @ hidden + w["fc1.bias"], 0) + w["fc2.bias"]
        weights = np.exp(logits) / np.exp(logits).sum()
        label = 0
        while weights[: label + 1].sum() <= u:
            label += 1
        labels.append(label)
    return labels


@pytest.mark.parametrize("backend", ["torch", "numba"])
def test_a_seed_gives_the_labels_of_the_slow_loop(model: RNNMS, latents: Tensor, backend: str) -> None:
    codes = generate_codes(model.decoder, latents[:1], 3, backend=backend)
    assert codes.dtype == torch.int64
    assert codes[0].tolist() == labels_by_hand(model, latents[0], 3)
    assert len(codes.unique()) > 20


def test_every_label_is_the_one_the_network_gives_to_its_uniform() -> None:
    """At a size with whole vectors and large pages, over a longer stretch: u lies within the label's step."""
    torch.manual_seed(2)
    network = RNNMS(RNNMSConfig(mel=MelConfig(hop_length=100), hidden_size=256, linear_size=1024)).eval()
    mel = -torch.rand(1, 80, 8)
    with torch.no_grad():
        codes = generate_codes(network.decoder, network.encode(mel), 5, backend="numba")
        before = torch.cat([torch.tensor([[512]]), codes[:, :-1]], dim=1)
        steps = network(mel, before)[0][0].double().softmax(1).cumsum(1)
    u = torch.from_numpy(uniforms(stream_keys(5, 1), 0, 800)[0])
    label = codes[0][:, None]
    below = torch.where(label > 0, steps.gather(1, (label - 1).clamp(min=0)), 0.0)[:, 0]
    assert (u > below - 1e-6).all()
    assert (u < steps.gather(1, label)[:, 0] + 1e-6).all()


def test_the_shipped_voice_says_the_same_by_both_loops(shared_audio: Path) -> None:
    """Real weights on real speech: their distributions are sharp, their states saturate."""
    voice = RNNMS.from_pretrained()
    wav, _ = audio.load(shared_audio / "ru_nsh" / "ru_0022.flac", voice.sample_rate)
    mel = analyse(torch.from_numpy(wav[8000:12000]), voice.config.mel)
    one, two = (voice.synthesize(mel, seed=0, backend=backend) for backend in ("torch", "numba"))
    assert torch.equal(one, two)
    assert len(one.unique()) > 50


def test_step_by_step_logits_are_the_teacher_forced_ones(model: RNNMS, latents: Tensor) -> None:
    codes = torch.randint(0, 128, (3, 12 * HOP), generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        expected, state = model.decoder(latents, codes)
        cell, steps = Cell(model.decoder, 3), []
        for t in range(codes.shape[1]):
            if t % HOP == 0:
                cell.begin(Frames(latents[:, t // HOP : t // HOP + 1]))
            cell.take(codes[:, t])
            steps.append(cell.logits(0))
    torch.testing.assert_close(torch.stack(steps, 1), expected, atol=1e-5, rtol=0)
    torch.testing.assert_close(cell.hidden, state, atol=1e-5, rtol=0)


@pytest.mark.parametrize("backend", ["torch", "numba"])
def test_a_row_does_not_depend_on_its_batch(model: RNNMS, latents: Tensor, backend: str) -> None:
    together = generate_codes(model.decoder, latents, 7, backend=backend)
    again = generate_codes(model.decoder, latents, 7, backend=backend)
    alone = torch.cat([generate_codes(model.decoder, row[None], 7, backend=backend) for row in latents])
    assert torch.equal(together, again)
    assert torch.equal(together, alone)


@pytest.mark.parametrize("backend", ["torch", "numba"])
def test_seeds_name_streams(model: RNNMS, latents: Tensor, backend: str) -> None:
    same = latents[:1].expand(3, -1, -1)
    one, two, one_again = generate_codes(model.decoder, same, [1, 2, 1], backend=backend)
    assert torch.equal(one, one_again)
    assert (one != two).float().mean() > 0.5
    assert torch.equal(one, generate_codes(model.decoder, latents[:1], 1, backend=backend)[0])
    fresh = generate_codes(model.decoder, same, None, backend=backend)
    assert not torch.equal(fresh[0], fresh[1])


def test_the_number_of_threads_changes_no_label(model: RNNMS, latents: Tensor) -> None:
    one = generate_codes(model.decoder, latents, 1, backend="numba")
    torch.set_num_threads(3)
    try:
        assert torch.equal(generate_codes(model.decoder, latents, 1, backend="numba"), one)
    finally:
        torch.set_num_threads(1)


@pytest.mark.parametrize("backend", ["torch", "numba", "int8", "int16"])
def test_any_split_into_calls_gives_the_same_codes(model: RNNMS, latents: Tensor, backend: str) -> None:
    told, whole = Frames(latents), generate_codes(model.decoder, latents, 1, backend=backend)
    speech = stream(model.decoder, 3, 1, 1.0, backend)
    parts = [speech(told.cut(a, b)) for a, b in [(0, 1), (1, 6), (6, 6), (6, 12)]]
    assert torch.equal(torch.cat(parts, 1), whole)


def test_chunks_of_generate_codes_join(model: RNNMS, latents: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = generate_codes(model.decoder, latents, 1)
    monkeypatch.setattr("vocoder_core.recurrent.engine.CHUNK", 5 * HOP)
    assert torch.equal(generate_codes(model.decoder, latents, 1), whole)


@pytest.mark.parametrize("backend", ["torch", "numba"])
@pytest.mark.parametrize(("batch", "frames"), [(2, 0), (0, 3), (1, 1)])
def test_nothing_and_one_frame(model: RNNMS, latents: Tensor, backend: str, batch: int, frames: int) -> None:
    codes = generate_codes(model.decoder, latents[:batch, :frames], 1, backend=backend)
    assert codes.shape == (batch, frames * HOP)
    assert torch.equal(codes, generate_codes(model.decoder, latents[:batch], 1, backend=backend)[:, : frames * HOP])


@pytest.mark.parametrize("backend", ["torch", "numba"])
def test_temperature_0_takes_the_likeliest_class(model: RNNMS, latents: Tensor, backend: str) -> None:
    codes = generate_codes(model.decoder, latents[:1], 1, temperature=0, backend=backend)
    with torch.no_grad():
        logits, _ = model.decoder(latents[:1], torch.cat([torch.tensor([[64]]), codes[:, :-1]], 1))
    assert torch.equal(codes, logits.argmax(2))
    assert torch.equal(codes, generate_codes(model.decoder, latents[:1], 2, temperature=1e-6, backend=backend))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"temperature": -1.0}, "temperature is -1.0; expected 0 or more"),
        ({"temperature": float("nan")}, "temperature is nan"),
        ({"seed": [1, 2]}, "seed has 2 values for 3 rows"),
        ({"backend": "cuda"}, "backend is 'cuda'; expected 'auto', 'torch', 'numba', 'int8' or 'int16'"),
    ],
)
def test_wrong_options_are_named(model: RNNMS, latents: Tensor, options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        generate_codes(model.decoder, latents, **options)


def test_without_numba_torch_steps_in_and_says_so(
    model: RNNMS, latents: Tensor, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    expected = generate_codes(model.decoder, latents[:, :2], 1)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with caplog.at_level(logging.WARNING):
        assert torch.equal(generate_codes(model.decoder, latents[:, :2], 1), expected)
    assert "numba is not installed" in caplog.text
    with pytest.raises(ValueError, match="pip install numba"):
        generate_codes(model.decoder, latents[:, :2], 1, backend="numba")


def test_numba_is_loaded_late_and_needs_no_folder_to_write_to() -> None:
    script = """if True:
        import sys, rnnms.generate
        assert "numba" not in sys.modules, "rnnms.generate loads numba"
        from numba.core import caching
        caching.CompileResultCacheImpl._locator_classes = []  # as in a read-only installation without a home
        from rnnms import kernel
    """
    subprocess.run([sys.executable, "-c", script], check=True)


def test_folds_are_as_long_and_say_what_their_streams_say(model: RNNMS) -> None:
    """With emphasis and a delay; the first fold is a stream of its seed, up to the first cut."""
    network = RNNMS(dataclasses.replace(model.config, emphasis=0.8, delay=HOP)).eval()
    network.load_state_dict(model.state_dict())
    mel = torch.randn(2, 9, 60, generator=torch.Generator().manual_seed(2))
    made = network.synthesize(mel, seed=[3, 4], folds=4)
    assert made.shape == (2, 60 * HOP)
    assert torch.equal(made[1], network.synthesize(mel[1], seed=4, folds=4)), "a row is its own"
    assert torch.equal(made, network.synthesize(mel, seed=[3, 4], folds=4))
    held = torch.nn.functional.pad(mel, (0, 1), mode="replicate")
    with torch.inference_mode():
        first = fold_seeds(3, 4)
        codes = generate_codes(network.decoder, network.encode(held[:1]), first[0] if first else None)
        cut = plan(held[0].mean(0), 4, round(0.15 * 16000 / HOP)).cuts[1] * HOP
        expected = network.waves(codes[:, :cut]).clamp(-1, 1)[0, HOP:]
    torch.testing.assert_close(made[0, : cut - HOP], expected)
    with pytest.raises(ValueError, match="folds is 0"):
        network.synthesize(mel, folds=0)
    with pytest.raises(ValueError, match="3 values for 2 rows"):
        network.synthesize(mel, seed=[1, 2, 3], folds=2)
