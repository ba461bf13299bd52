"""Gradients do not explode: on real speech, through the real commands, nine ways to see it.

The README of the public code says that they do, "sometimes". What exploded there, and what the norms of the paper's
arrangement are, tools/plot_gradients.py measures and docs/gradients.png shows; the bounds below are set by those.

1 norms    2 hostile data    3 an epoch's end    4 states    5 the quantiser    6 what is said is what was heard
7 resuming 8 learning: test_learning.py          9 each defect, put back, turns one of these red
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from math import isfinite, log
from pathlib import Path
from statistics import mean, median
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from torch import Tensor, nn

from samplernn_pase import SampleRNNPASE, labels, train
from samplernn_pase.cell import Cell
from samplernn_pase.generate import told_of
from samplernn_pase.labels import LabelConfig
from samplernn_pase.sequence import EMPTY, Epochs
from samplernn_pase.tiers import FrameTier, SampleTier
from vocoder_core import audio
from vocoder_core.recurrent import engine
from vocoder_core.recurrent.draws import draw

sys.path.append(str(Path(__file__).parent))
import lost_in_refactor as lost
import speech_world
from speech_world import Run, batches, network, prepare, spoken, table, trained

pytest.importorskip("pyworld")


@pytest.fixture(scope="module")
def data(shared_audio: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return speech_world.prepared(shared_audio, tmp_path_factory.mktemp("speech"))


def bounded(run: Run, typical: float = 2.0, highest: float = 15.0) -> None:
    """Everything a number; norms as they are on clean speech; and no step by more than a norm of 1."""
    assert run.bad_steps == 0
    assert all(isfinite(value) for value in (*run.losses, *run.norms))
    assert median(run.norms) < typical
    assert max(run.norms) < highest
    assert len(run.clipped) == len(run.norms)
    assert max(run.clipped) <= 1 + 1e-4
    assert all(tensor.isfinite().all() for tensor in run.model().parameters())


# ---- 1  norms on real speech

NARROW = ("--set", "model.embedding_size=64")  # of codes: the slow tests have the published 256


def test_norms_are_bounded_and_it_learns(data: Path, tmp_path: Path) -> None:
    run = trained(data, tmp_path / "run", steps=40, options=NARROW)
    bounded(run)
    assert run.losses[0] == pytest.approx(log(256), abs=0.2)
    assert mean(run.losses[-10:]) < 5.2


@pytest.mark.slow
@pytest.mark.parametrize("lr", [1e-4, 1e-3])
def test_norms_are_bounded_for_as_long_as_the_public_code_was_watched(lr: float, data: Path, tmp_path: Path) -> None:
    run = trained(data, tmp_path / "run", steps=300, lr=lr)
    bounded(run)
    if lr == 1e-3:
        assert mean(run.losses[-20:]) < 4.5


@pytest.mark.slow
def test_norms_of_the_published_width_are_bounded(data: Path, tmp_path: Path) -> None:
    """The paper's arrangement reached 39 there: more than at 128, hence the other bound."""
    run = trained(data, tmp_path / "run", steps=60, size=1024, rows=2)
    bounded(run, typical=4.0, highest=60.0)


# ---- 2  hostile data


def hostile(shared_audio: Path, folder: Path) -> Path:
    """A tone, a hiss nobody voiced, speech driven to both ends, a click shorter than a chunk; a speaker each."""
    rate, random = 16_000, np.random.default_rng(0)
    speech, _ = audio.load(shared_audio / "slt/arctic_a0009.flac", rate)
    recordings = {
        "tone": 0.5 * np.sin(2 * np.pi * 200 * np.arange(rate) / rate),
        "hiss": 0.1 * random.standard_normal(rate),
        "loud": np.clip(40 * speech[8000:24000], -1, 1),
        "click": np.r_[np.zeros(300), 0.9, np.zeros(500)],
    }
    for name, wav in recordings.items():
        soundfile.write(folder / f"{name}.wav", wav, rate, subtype="FLOAT")
    return table(folder, [(folder / f"{name}.wav", name, "train") for name in recordings])


FULL_SCALE = ("--set", "model.level_db=0", "--set", "data.level_db=0")


def test_hostile_recordings_have_bounded_gradients(shared_audio: Path, tmp_path: Path) -> None:
    given = hostile(shared_audio, tmp_path)
    split = ("--set", "data.min_seconds=0", "--set", "data.valid_fraction=0", "--set", "data.test_fraction=0")
    data = prepare(given, tmp_path / "data", *speech_world.ACOUSTIC, "--f0", "dio", *FULL_SCALE, *split)
    told = batches(data, hostile_network(data))
    waves = torch.cat([told(step).wav.flatten() for step in range(1, 8)])
    assert (waves.abs() > 0.998).float().mean() > 0.01, "the corpus holds 0.999 at most"
    run = trained(data, tmp_path / "run", steps=12, size=64, options=(*FULL_SCALE, *split, *NARROW))
    bounded(run)


def hostile_network(data: Path) -> SampleRNNPASE:
    made = SampleRNNPASE(replace(network(data).config, speakers=("click", "hiss", "loud", "tone"), level_db=0.0))
    made.content.set_statistics(speech_world.Features.open(data, "world43").statistics)
    return made


@pytest.mark.parametrize("value", [37.0, 1e4, -1e10, 3e38])
def test_a_number_far_off_in_the_content_moves_gradients_within_bounds(value: float, data: Path) -> None:
    """37 deviations: a binary field that is rarely 1; -1e10: a pitch where there is none."""
    made = network(data, 128)
    wav, told = spoken(data, "slt", 40, 14)
    told[:, 3::4, 7], told[:, :, 41] = value, value
    made.loss(made((30 * wav).clamp(-1, 1), told, "slt"))["loss"].backward()  # both ends of the scale, too
    assert float(nn.utils.clip_grad_norm_(made.parameters(), 1.0)) < 15


def test_what_is_missing_is_named(shared_audio: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good = shared_audio / "slt/arctic_a0009.flac"
    given = table(tmp_path, [(good, "slt", "train"), (tmp_path / "gone.wav", "slt", "train")])
    prepare(given, tmp_path / "data", "--config", "tiny")
    assert "gone" in capsys.readouterr().out
    (tmp_path / "data/features/content-mel80.npy").unlink()
    assert train.main([str(tmp_path / "data"), str(tmp_path / "run"), "--config", "tiny"]) == 2
    assert "content-mel80.npy: not there: run samplernn-pase-preprocess" in capsys.readouterr().err


# ---- 3  an epoch's end


def an_epoch_ends(data: Path) -> None:
    """After as many batches as it says; every sample was heard once; and then comes the next one."""
    made = network(data, 8)
    told = batches(data, made)
    told.row(1)
    steps, samples = len(told.epochs[1].epoch), 0
    for step in range(1, steps + 2):
        batch = told(step)
        samples += int(batch.active.sum()) if step <= steps else 0
        assert (batch.reset != EMPTY).any()
        if step > steps - 6:
            made.zero_grad()
            found = made.loss(made(batch.wav, batch.content, batch.speaker, reset=batch.reset), batch.active)["loss"]
            found.backward()
            assert 4 < float(found.detach()) < 7
            assert all(p.grad is None or p.grad.isfinite().all() for p in made.parameters())
    assert samples == 80 * int(told.audio.frames.sum())
    assert (told(steps + 1).reset == 1).all()


def test_an_epoch_ends_when_every_sample_was_heard(data: Path) -> None:
    an_epoch_ends(data)


@pytest.mark.parametrize("empty", [1, 2, 3])
def test_slots_that_are_empty_leave_the_loss_of_the_others(empty: int, data: Path) -> None:
    made = network(data)
    batch = batches(data, made)(1)
    found = made(batch.wav, batch.content, batch.speaker)
    active = (torch.arange(4) >= empty)[:, None] & batch.active
    some = made(batch.wav[empty:], batch.content[empty:], batch.speaker[empty:])
    torch.testing.assert_close(made.loss(found, active)["loss"], made.loss(some)["loss"])


# ---- 4  states


def chunks_are_one_utterance(data: Path) -> None:
    made, (wav, told) = network(data), spoken(data, "ru_nsh", 100, 53)
    with torch.no_grad():
        whole, state, parts = made(wav, told, "ru_nsh"), None, []
        for first in range(0, 52, 13):
            part = made(wav[:, first * 80 : (first + 14) * 80], told[:, first : first + 14], "ru_nsh", state=state)
            parts.append(part.logits)
            state = part.state
    torch.testing.assert_close(torch.cat(parts, dim=1), whole.logits, rtol=0, atol=1e-5)


def test_chunks_one_after_the_other_are_the_utterance(data: Path) -> None:
    chunks_are_one_utterance(data)


def test_an_utterance_that_begins_forgets_and_one_that_goes_on_does_not(data: Path) -> None:
    made, (wav, told) = network(data), spoken(data, "carlo", 100, 27)
    with torch.no_grad():
        before = made(wav[:, : 14 * 80], told[:, :14], "carlo").state
        ways = [made(wav[:, 13 * 80 :], told[:, 13:], "carlo", state=s, reset=torch.tensor([r])).logits
                for s, r in ((before, 0), (before, 1), (None, 0))]  # fmt: skip
    assert torch.equal(ways[1], ways[2])
    assert float((ways[0] - ways[1]).abs().max()) > 1e-3


def test_slots_do_not_know_each_other(data: Path) -> None:
    made = network(data)
    batch, order = batches(data, made)(2), torch.tensor([2, 0, 3, 1])
    state, reset = tuple(torch.randn(1, 4, 24) for _ in range(2)), torch.tensor([0, 1, 0, 2])
    turned = tuple(tier[:, order] for tier in state)
    assert batch.speaker is not None
    with torch.no_grad():
        one = made(batch.wav, batch.content, batch.speaker, state=state, reset=reset)
        other = made(batch.wav[order], batch.content[order], batch.speaker[order], state=turned, reset=reset[order])
    torch.testing.assert_close(one.logits[order], other.logits, rtol=0, atol=1e-5)


def test_no_gradient_reaches_the_chunk_before(data: Path) -> None:
    made, (wav, told) = network(data), spoken(data, "carlo", 100, 27)
    heard = wav[:, : 14 * 80].clone().requires_grad_()
    state = SampleRNNPASE(replace(made.config, labels=LabelConfig(raw=True)))(heard, told[:, :14], "carlo").state
    assert all(one.grad_fn is None and not one.requires_grad for one in state)
    made.loss(made(wav[:, 13 * 80 :], told[:, 13:], "carlo", state=state))["loss"].backward()
    assert heard.grad is None


# ---- 5  the quantiser


def test_codes_of_real_speech_are_codes_and_half_a_cell_off_at_most(data: Path) -> None:
    wav, _ = spoken(data, "ivrvoice", 0, 1000)
    config = LabelConfig()
    for scale in (0.5, 1.0, 30.0):
        codes = labels.encode(scale * wav, config)
        assert 0 <= int(codes.min()) and int(codes.max()) <= 255
        said = labels.decode(codes, config)
        assert torch.equal(said, -labels.decode(labels.encode(-scale * wav, config), config))
        off = (companded(said) - companded((scale * wav).clamp(-1, 1))).abs().max()
        assert float(off) <= 0.5 / 127 + 1e-6


def companded(x: Tensor) -> Tensor:
    """By mu-law, in -1 ... 1."""
    return x.sign() * (1 + 255 * x.double().abs()).log() / log(256)


# ---- 6  what is said is what was heard


def generation_is_what_training_would_hear(data: Path) -> None:
    """The generator's own output, fed back: the same distribution of every sample, to the last digits."""
    _, told = spoken(data, "slt", 60, 9)
    for codec in ("round", "seed"):
        made, config = network(data, labels=LabelConfig(codec=codec)), LabelConfig(codec=codec)  # type: ignore[arg-type]
        made.sample.logits.bias.data[0] = -30  # a class that no wave has, where cells have centres
        seen: list[Tensor] = []
        with pytest.MonkeyPatch.context() as patch, torch.inference_mode():
            patch.setattr(engine, "draw", lambda logits, *rest, seen=seen: seen.append(logits) or draw(logits, *rest))
            uniforms = np.random.default_rng(0).random((1, 8 * 80, 1))
            wav = engine.TorchLoop(Cell(made, 1), 1.0)(told_of(made, told[:, 1:], "slt"), uniforms)
        codes = (wav[:, :, None] - labels.decode(torch.arange(256), config)).abs().argmin(2)
        edges = labels.decode((codes + 1).clamp(max=255), config)
        inside = wav if codec == "round" else wav + (edges - wav) / 4
        with torch.no_grad():
            heard = made(nn.functional.pad(inside, (80, 0)), told, "slt").logits
        found = torch.stack(seen, dim=1).log_softmax(2)
        torch.testing.assert_close(found, heard.log_softmax(2), rtol=0, atol=2e-5)


def test_what_is_said_is_heard_as_it_was_said(data: Path) -> None:
    generation_is_what_training_would_hear(data)


# ---- 7  resuming

LINE = (
    "{begin} {end} x^{a}-{b}+{a}=x@1_2/A:0_0_2/B:1-1-2@1-2&1-7#1-4$1-3!0-1;0-2|{b}/C:0+0+1/D:content_2/E:det+2@1+5"
    "&1+2#0+1/F:in_1/G:0_0/H:7=5@1=2|L-L%/I:8=5/J:13+9-2\n"
)


def test_another_process_goes_on_with_the_same_words_and_the_same_loss(shared_audio: Path, tmp_path: Path) -> None:
    """Whatever PYTHONHASHSEED it has: in linguistic mode, in the middle of an epoch, states and all."""
    for name, phones in ("a0007", 40), ("a0009", 31):  # of 0.1 s each
        lines = [LINE.format(begin=i * 10**6, end=(i + 1) * 10**6, a=("pau", "ih")[i % 2], b=("ae", "ow")[i % 2])
                 for i in range(phones)]  # fmt: skip
        (tmp_path / f"arctic_{name}.lab").write_text("".join(lines))
    given = table(tmp_path, [(shared_audio / f"slt/arctic_{n}.flac", "slt", "train") for n in ("a0007", "a0009")])
    how = ["--config", "linguistic"]
    split = ("--set", "data.valid_fraction=0", "--set", "data.test_fraction=0")
    data = prepare(given, tmp_path / "data", *how, "--labels", str(tmp_path), *split)
    whole = trained(data, tmp_path / "whole", steps=6, size=16, rows=1, how=how, options=(*split, *NARROW))
    trained(data, tmp_path / "parts", steps=3, size=16, rows=1, how=how, options=(*split, *NARROW))
    told = (tmp_path / "whole/train.yaml").read_text()
    assert "steps: 6" in told
    command = [sys.executable, "-c", RESUMED, str(data), str(tmp_path / "parts"), *how, *split, *NARROW]
    subprocess.run(command, env={**os.environ, "PYTHONHASHSEED": "7"}, check=True, cwd=Path(__file__).parent)
    parts = (tmp_path / "parts/metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["loss"] for line in parts] == whole.losses
    for name in ("config.yaml", "model.safetensors"):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "parts" / name).read_bytes()


RESUMED = (
    "import sys, pathlib, speech_world as w; data, run, *how = sys.argv[1:];"
    "w.trained(pathlib.Path(data), pathlib.Path(run), steps=6, size=16, rows=1, how=how)"
)


# ---- 9  defects, put back one at a time


MUTATIONS: dict[str, tuple[Any, list[Any]]] = {
    "D1": (generation_is_what_training_would_hear, [(labels, "of_wave", lost.rectified)]),
    "D2": (chunks_are_one_utterance, [(FrameTier, "begin", lost.always_anew)]),
    "D4": (an_epoch_ends, [(Epochs, "row", lambda self, step: self._plan(0).row(step - 1))]),
    "D6": (lost.every_layer_begins_as_the_papers, [(SampleTier, "__init__", lost.other_init)]),
    "D7": (lost.words_have_their_places_in_every_process, [(lost, "BEFORE", lost.SETS)]),
}


@pytest.mark.parametrize("name", MUTATIONS)
def test_each_defect_turns_a_test_red(name: str, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check, patches = MUTATIONS[name]
    check(data)
    for owner, what, instead in patches:
        monkeypatch.setattr(owner, what, instead)
    with pytest.raises(AssertionError):
        check(data)
