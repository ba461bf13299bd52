"""What tarepan/UniversalVocoding does wrong, a test or more for each defect, numbered 9 to 15 (1 to 8 are univoc's).

Cloud account numbers in the repository (13) and a demo page that never came (15) have no counterpart here.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from rnnms import RNNMS, RNNMSConfig
from rnnms.check import Check, bits_per_sample
from vocoder_core import mulaw
from vocoder_core.corpus import Corpus
from vocoder_core.validation import CheckConfig

TINY = RNNMSConfig(bits=8, encoder_size=4, embedding_size=4, hidden_size=8, linear_size=8)
GONE = ("torchaudio", "pytorch_lightning", "lightning", "corpuspy", "hydra", "omegaconf", "univoc", "apex")


@pytest.fixture
def model() -> RNNMS:
    torch.manual_seed(0)
    return RNNMS(TINY).eval()


def test_9_and_10_nothing_needs_torchaudio_lightning_or_corpuspy(
    train_steps: Callable[..., int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """9, 10: not importable beside today's torch, torchaudio and Lightning, and installable from git alone."""
    for name in GONE:
        monkeypatch.setitem(sys.modules, name, None)
    assert train_steps(tmp_path, 1) == 0
    assert RNNMS.from_pretrained(tmp_path).synthesize(torch.zeros(80, 1), seed=0).shape == (200,)


def test_11_validation_speech_is_held_out_and_whole(data: Path) -> None:
    """11: validation audio is a random 0.3 s crop of the training set, and the test set is the training set."""
    corpus = Corpus.open(data)
    check = Check(corpus, CheckConfig(clips=100, seconds=1000.0))
    held = [entry for group in check.held_out.groups.values() for entry in group]
    assert {entry.split for entry in held} <= {"valid", "test"}
    assert check.held_out.groups["seen"]
    assert {entry.speaker for entry in check.held_out.groups["unseen"]} == {"austen", "slt"}
    assert not {entry.id for entry in held} & {entry.id for entry in corpus.split("train")}
    assert all(len(check.held_out.clip(entry, torch.device("cpu"))) == entry.samples for entry in held)


def test_11_ragged_utterances_are_measured_together(data: Path, model: RNNMS) -> None:
    """11: batches of unequal lengths cannot be put together."""
    corpus = Corpus.open(data)
    wavs = [torch.from_numpy(corpus.wav(entry)[: 200 * n]) for entry, n in zip(corpus.split("test"), (9, 4, 13))]
    together = bits_per_sample(model, wavs)
    alone = [bits_per_sample(model, [wav])[0] for wav in wavs]
    np.testing.assert_allclose(together, alone, rtol=0, atol=1e-5)


def test_12_the_validation_figure_tells_models_apart(data: Path) -> None:
    """12: val_loss is the constant 0, and the best checkpoint is chosen by it."""
    corpus = Corpus.open(data)
    wav = torch.from_numpy(corpus.wav(corpus.split("valid")[0])[:4000])
    figures = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        figures.append(bits_per_sample(RNNMS(TINY), [wav])[0])
    assert figures[0] != figures[1]
    uniform = RNNMS(TINY)
    for parameter in uniform.decoder.fc2.parameters():
        parameter.data.zero_()
    assert bits_per_sample(uniform, [wav])[0] == pytest.approx(8, abs=1e-5), "no knowledge: all the bits there are"


def test_13_a_first_run_needs_no_checkpoint(train_steps: Callable[..., int], tmp_path: Path) -> None:
    """13: always resumes from last.ckpt, also where there is none."""
    assert train_steps(tmp_path, 1) == 0
    assert train_steps(tmp_path, 2) == 0
    assert json.loads((tmp_path / "metrics.jsonl").read_text().splitlines()[-1])["step"] == 2


@pytest.mark.parametrize("codec", ["round", "librosa", "midpoint"])
def test_14_labels_and_their_decoder_belong_together(codec: Any) -> None:
    """14: encoded by librosa, decoded by torchaudio: +0.7 % on one side of zero, -0.7 % on the other, an offset."""
    model = RNNMS(replace(TINY, bits=10, codec=codec))
    wave = 0.5 * torch.sin(torch.arange(40000) * 0.0973)[None]
    back = mulaw.decode(model.labels(wave), 10, codec)
    assert abs(float(back.mean() - wave.mean())) < 1e-4
    halves = [float((back * side).abs().sum() / (wave * side).abs().sum()) for side in (wave > 0, wave < 0)]
    assert halves[0] == pytest.approx(halves[1], abs=5e-4)


@pytest.mark.parametrize("change", ["model.mel.hop_length=160", "model.mel.fmin=0", "model.loudness=-20"])
def test_14_stale_data_is_refused_by_name(
    train_steps: Callable[..., int], tmp_path: Path, change: str, capsys: Any
) -> None:
    """14: prepared data are found again by corpus and rate alone: another mel, hop or depth reuses the old ones."""
    assert train_steps(tmp_path / "run", 2, f"--set={change}") == 2
    assert change.split("=")[0].rsplit(".", 1)[1].replace("loudness", "level_db") in capsys.readouterr().err


def test_15_conditioning_is_repetition_and_said_to_be(model: RNNMS) -> None:
    """15: the README says interpolation where the network repeats a frame's latents hop_length times."""
    latents, codes = model.encode(torch.rand(1, 80, 2)), torch.zeros(1, 400, dtype=torch.long)
    repeated = latents.repeat_interleave(200, dim=1)
    assert torch.equal(repeated[0, 0], repeated[0, 199])
    assert not torch.equal(repeated[0, 199], repeated[0, 200])
    by_hand = model.decoder.rnn(torch.cat([model.decoder.embedding(codes), repeated], dim=2))[0]
    ours = model.decoder._hidden_folded(latents, codes, torch.zeros(1, 8))
    torch.testing.assert_close(ours, by_hand, rtol=0, atol=1e-6)
