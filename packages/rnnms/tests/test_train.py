"""rnnms-train as its users run it: prepared real speech in, a run folder out, exact resumption, clear refusals."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from rnnms import RNNMS
from rnnms.check import bits_per_sample
from rnnms.train import main

FEW = ["--config", "tiny", "--device", "cpu"]


@pytest.fixture(scope="module")
def data(shared_audio: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from rnnms.preprocess import main as preprocess

    folder = tmp_path_factory.mktemp("prepared") / "data"
    assert preprocess([str(shared_audio), str(folder), "--jobs", "1", "--config", "tiny"]) == 0
    return folder


def settings(*pairs: str) -> list[str]:
    return [part for pair in pairs for part in ("--set", pair)]


SHORT = settings("train.valid_every=1000", "check.synthesize=0", "check.seconds=0.2", "train.log_every=5")


def test_loss_falls_and_the_run_folder_is_a_checkpoint(data: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert main([str(data), str(run), *FEW, *SHORT, *settings("train.steps=40", "check.synthesize=1")]) == 0
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    bits = [row["bits"] for row in rows if "bits" in row]
    assert bits[0] > 5.5 and bits[-1] < bits[0] - 0.5
    checked = [row for row in rows if "valid_seen_bits" in row]
    assert checked and {"valid_unseen_bits", "valid_mr_stft"} <= checked[-1].keys()
    assert list((run / "samples").glob("*/*.wav"))
    assert RNNMS.from_pretrained(run).config.hidden_size == 48


@pytest.mark.parametrize("stateful", ["true", "false"])
def test_a_resumed_run_ends_with_the_same_bits(data: Path, tmp_path: Path, stateful: str) -> None:
    crop = settings(f"crop.stateful={stateful}", "crop.label_noise=2", "train.save_every=3")
    same = [*FEW, *SHORT, *crop, *settings("train.schedule=constant")]  # another schedule stretches with `steps`
    assert main([str(data), str(tmp_path / "whole"), *same, *settings("train.steps=8")]) == 0
    assert main([str(data), str(tmp_path / "parts"), *same, *settings("train.steps=5")]) == 0
    assert main([str(data), str(tmp_path / "parts"), *same, *settings("train.steps=8")]) == 0
    one, other = (load_file(tmp_path / name / "model.safetensors") for name in ("whole", "parts"))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_init_starts_from_a_checkpoint(data: Path, tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    assert main([str(data), str(first), *FEW, *SHORT, *settings("train.steps=20")]) == 0
    tiny_rate = settings("train.steps=1", "train.lr=1e-9", "train.warmup=0")
    assert main([str(data), str(second), *FEW, *SHORT, *tiny_rate, "--init", str(first)]) == 0
    one, other = (load_file(folder / "model.safetensors") for folder in (first, second))
    assert all(torch.allclose(one[name], other[name], atol=1e-6) for name in one)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--set", "train.lrr=1"], "unknown key train.lrr (did you mean train.lr?)"),
        (["--set", "model.mel.fmin=80"], "prepared with features.fmin = 50.0"),
        (["--config", "tinny"], "neither a file nor a built-in config"),
        (["--set", "train.batch_size=100000"], "lanes"),
        (["--init", "nowhere"], "nowhere"),
    ],
)
def test_what_cannot_be_trained_is_refused_in_a_sentence(
    data: Path, tmp_path: Path, arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(data), str(tmp_path / "run"), *FEW, *arguments]) == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") <= 2 and "Traceback" not in error


def test_a_folder_that_is_no_corpus_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path), str(tmp_path / "run"), *FEW]) == 2
    assert "not a prepared corpus" in capsys.readouterr().err


def test_bits_per_sample_do_not_depend_on_the_batch_and_equal_a_plain_pass(data: Path) -> None:
    import torch.nn.functional as F

    from rnnms import RNNMSConfig
    from vocoder_core.corpus import Corpus
    from vocoder_core.mel import log_mel

    torch.manual_seed(0)
    model = RNNMS(RNNMSConfig(bits=8, hidden_size=16, linear_size=16, encoder_size=8, embedding_size=8, emphasis=0.85))
    corpus = Corpus.open(data)
    wavs = [torch.from_numpy(corpus.wav(entry)[: 200 * n]) for entry, n in zip(corpus.split("test"), (11, 4, 7))]
    together = bits_per_sample(model, wavs)
    for wav, bits in zip(wavs, together, strict=True):
        codes = model.labels(wav[None])
        logits, _ = model(log_mel(wav, model.config.mel)[None], F.pad(codes, (1, 0), value=128)[:, :-1])
        by_hand = -logits[0].log_softmax(-1).gather(1, codes[0][:, None]).mean().item() / torch.tensor(2.0).log().item()
        assert bits == pytest.approx(by_hand, abs=1e-5) == pytest.approx(bits_per_sample(model, [wav])[0], abs=1e-5)


def test_a_run_keeps_its_settings_and_refuses_other_crops(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    assert main([str(data), str(run), *FEW, *SHORT, *settings("train.steps=2", "crop.label_noise=0.25")]) == 0
    assert main([str(data), str(run), *FEW, *SHORT, *settings("train.steps=3")]) == 2
    assert "its crop.label_noise is 0.25, now it is 0.0" in capsys.readouterr().err
    kept = ["--config", str(run / "settings.yaml"), "--device", "cpu"]
    assert main([str(data), str(run), *kept, *settings("train.steps=3")]) == 0
    assert "trained to step 3" in capsys.readouterr().out


@pytest.mark.slow
def test_two_processes_train_under_torchrun(data: Path, tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node",
        "2",
        "-m",
        "rnnms.train",
    ]
    arguments = [str(data), str(tmp_path / "run"), *FEW, *SHORT, *settings("train.steps=6", "train.batch_size=4")]
    done = subprocess.run([*command, *arguments], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    RNNMS.from_pretrained(tmp_path / "run")
