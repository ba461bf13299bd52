"""specgrad-train as its users run it: prepared real speech in, a run folder out, exact resumption, clear refusals."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from specgrad import SpecGrad
from specgrad.check import losses
from specgrad.train import main
from vocoder_core.corpus import Corpus
from vocoder_core.corpus.statistics import mel_statistics
from vocoder_core.mel import log_mel

FEW = ["--config", "tiny", "--device", "cpu"]
DIFFUSION = ["model.process=diffusion", "model.network=diffwave", "model.shaping.smoothing=cepstrum",
             "model.shaping.iterations=0",
             "model.diffwave.channels=8", "model.diffwave.layers=2", "model.diffwave.embedding=16"]  # fmt: skip


def settings(*pairs: str) -> list[str]:
    return [part for pair in pairs for part in ("--set", pair)]


SMALL = settings("train.batch_size=2", "crop.frames=8", "train.log_every=2", "train.warmup=0")
SHORT = [*SMALL, *settings("train.valid_every=1000", "check.synthesize=0", "check.clips=1", "check.seconds=0.3")]


def test_loss_falls_and_the_run_folder_is_a_checkpoint(data: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    more = settings("train.steps=30", "train.batch_size=8", "train.log_every=5", "check.clips=2", "train.ema=0.5")
    assert main([str(data), str(run), *FEW, *more]) == 0
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert rows[-1]["spectrum"] < rows[0]["spectrum"] and {"loss", "flow", "samples_per_second"} <= rows[0].keys()
    scores = {"valid_seen_loss", "valid_unseen_loss", "valid_mr_stft", "valid_log_mel_mae"}
    assert scores | ({"valid_pesq"} if importlib.util.find_spec("pesq") else set()) <= rows[-1].keys()
    assert list((run / "samples").glob("*/*.wav"))
    model, corpus = SpecGrad.from_pretrained(run), Corpus.open(data)
    wavs = [torch.from_numpy(corpus.wav(entry)[: 256 * 40]) for entry in corpus.split("valid")[:4]]
    torch.manual_seed(1234)
    fresh = SpecGrad(model.config)
    fresh.set_statistics(model.mel_mean, model.mel_std)
    assert sum(off(model, wav) for wav in wavs) < sum(off(fresh.eval(), wav) for wav in wavs)
    assert losses(model, wavs) == losses(model, wavs), "the same noise each time"


def off(model: SpecGrad, wav: torch.Tensor) -> float:
    """How far the learned spectrum of held-out speech is: what 30 steps of so small a network can improve."""
    spectrum = model.net.spectrum
    with torch.no_grad():
        made = model.condition(log_mel(wav, model.config.mel)[None]).network.spectrum
        return float(spectrum.loss(made, wav[None]))


@pytest.mark.parametrize("process", [[], DIFFUSION], ids=["flow", "diffusion"])
def test_a_resumed_run_ends_with_the_same_bits(data: Path, tmp_path: Path, process: list[str]) -> None:
    same = [*FEW, *SHORT, *settings("train.schedule=constant", *process)]  # another schedule stretches with `steps`
    assert main([str(data), str(tmp_path / "whole"), *same, *settings("train.steps=5")]) == 0
    assert main([str(data), str(tmp_path / "parts"), *same, *settings("train.steps=3")]) == 0
    assert main([str(data), str(tmp_path / "parts"), *same, *settings("train.steps=5")]) == 0
    one, other = (load_file(tmp_path / name / "model.safetensors") for name in ("whole", "parts"))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_the_mels_statistics_travel_with_the_weights(data: Path, tmp_path: Path) -> None:
    """Those of the corpus it began with, to a run that starts from it too: its weights know no others."""
    first, second = tmp_path / "first", tmp_path / "second"
    assert main([str(data), str(first), *FEW, *SHORT, *settings("train.steps=1")]) == 0
    model, corpus = SpecGrad.from_pretrained(first), Corpus.open(data)
    mean, std = mel_statistics(corpus, model.config.mel)
    assert torch.equal(model.mel_mean, mean) and torch.equal(model.mel_std, std) and std.min() > 0.5
    model.set_statistics(mean + 1, std * 2)
    model.save_pretrained(first)
    tiny_rate = settings("train.steps=1", "train.lr=1e-9", "train.weight_decay=0")
    assert main([str(data), str(second), *FEW, *SHORT, *tiny_rate, "--init", str(first)]) == 0
    one, other = (load_file(folder / "model.safetensors") for folder in (first, second))
    assert all(torch.allclose(one[name], other[name], atol=1e-6) for name in one)
    assert torch.equal(other["mel_mean"], mean + 1)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--set", "train.lrr=1"], "unknown key train.lrr (did you mean train.lr?)"),
        (["--set", "model.mel.fmin=80"], "prepared with features.fmin = 0.0, now 80.0 is asked"),
        (["--config", "paper24"], "prepared with features.sample_rate = 16000, now 24000 is asked"),
        (["--set", "model.level_db=-3", "--set", "data.level_db=-3"], "prepared with level_db = -0.4455"),
        (["--set", "model.network=diffwave"], "shaping.smoothing is learned, network is diffwave"),
        (["--config", "tinny"], "neither a file nor a built-in config"),
        (["--init", "nowhere"], "nowhere"),
    ],
)
def test_what_cannot_be_trained_is_refused_in_a_sentence(
    data: Path, tmp_path: Path, arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(data), str(tmp_path / "run"), *FEW, *arguments]) == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1 and "Traceback" not in error
    assert not (tmp_path / "run").exists()


def test_a_run_keeps_its_settings_and_refuses_other_crops(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    assert main([str(data), str(run), *FEW, *SHORT, *settings("train.steps=1", "crop.gain_db=6")]) == 0
    assert main([str(data), str(run), *FEW, *SHORT, *settings("train.steps=2")]) == 2
    assert "its crop.gain_db is 6.0, now it is 12.0" in capsys.readouterr().err
    kept = ["--config", str(run / "settings.yaml"), "--device", "cpu"]
    assert main([str(data), str(run), *kept, *settings("train.steps=2")]) == 0
    assert "trained to step 2" in capsys.readouterr().out


@pytest.mark.slow
def test_two_processes_train_under_torchrun(data: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    arguments = ["-m", "specgrad.train", str(data), str(tmp_path / "run"), *FEW, *SHORT, *settings("train.steps=3")]
    done = subprocess.run([*command, *arguments], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    SpecGrad.from_pretrained(tmp_path / "run")
