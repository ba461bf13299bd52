"""waveglow-vq-train as its users run it: prepared speech in, a run folder out, exact resumption, clear refusals."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from vocoder_core.corpus import Corpus
from vocoder_core.corpus.statistics import mel_statistics
from vocoder_core.mel import log_mel
from vocoder_core.vq import QuantizerConfig
from waveglow_vq import WaveGlowVQ, WaveGlowVQConfig
from waveglow_vq.batches import Batch
from waveglow_vq.check import likelihoods
from waveglow_vq.condition import ConditionConfig
from waveglow_vq.flow import FlowConfig
from waveglow_vq.train import Loss, main

FEW = ["--config", "tiny", "--device", "cpu"]


def settings(*pairs: str) -> list[str]:
    return [part for pair in pairs for part in ("--set", pair)]


SMALL = settings("train.batch_size=2", "crop.frames=8", "train.log_every=2", "train.warmup=0")
SHORT = [*SMALL, *settings("train.valid_every=1000", "check.synthesize=0", "check.clips=1", "check.seconds=0.3")]
PLAIN = settings("model.whiten.order=0", "model.periodicity.envelopes=0")  # the flow has to learn all by itself
CODES = settings(
    "model.condition.source=codes", "model.condition.frames_per_code=3", "model.condition.channels=16",
    "model.condition.encoder_layers=1", "model.condition.decoder_layers=1", "model.condition.fine_layers=1",
    "model.quantizer.size=16", "model.quantizer.dim=8", "model.speaker_size=4",
)  # fmt: skip
WAVES = settings(
    "model.condition.source=wav", "model.condition.channels=16", "model.flow.cond=group", "model.flow.prenet=0",
    "model.flow.subframes=1", "model.flow.film=false", "model.quantizer.kind=softem_seed", "model.quantizer.size=16",
    "model.quantizer.dim=8", "model.normalise=false", "model.whiten.order=0", "model.periodicity.envelopes=0",
)  # fmt: skip


def rows(run: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def test_the_likelihood_rises_and_the_run_folder_is_a_checkpoint(data: Path, tmp_path: Path) -> None:
    """40 steps of the tiny flow: held-out speech costs fewer bits a sample than before."""
    run = tmp_path / "run"
    more = settings("train.steps=40", "train.log_every=5", "check.clips=2", "train.ema=0.5")
    assert main([str(data), str(run), *FEW, *PLAIN, *more]) == 0
    made = rows(run)
    assert made[-1]["nll"] < made[0]["nll"] - 1 and {"loss", "bits", "samples_per_second"} <= made[0].keys()
    scores = {"valid_seen_nll", "valid_unseen_bits", "valid_mr_stft", "valid_log_mel_mae"}
    assert scores | ({"valid_pesq"} if importlib.util.find_spec("pesq") else set()) <= made[-1].keys()
    assert list((run / "samples").glob("*/*.wav"))
    model, corpus = WaveGlowVQ.from_pretrained(run), Corpus.open(data)
    wavs = [torch.from_numpy(corpus.wav(entry)[: 256 * 40]) for entry in corpus.split("valid")[:4]]
    torch.manual_seed(1234)
    fresh = WaveGlowVQ(model.config)
    fresh.set_statistics(model.mel_mean, model.mel_std)
    after, before = (sum(row["bits"] for row in likelihoods(one, wavs)) / 4 for one in (model, fresh.eval()))
    assert after < before - 1 and 16 < before < 16.6, "at first 15 + log2(2 pi) / 2 bits: the whole of a loud wave"
    assert likelihoods(model, wavs) == likelihoods(model, wavs), "the same noise each time"


@pytest.mark.slow
def test_speech_is_learnt_from_nothing(data: Path, tmp_path: Path) -> None:
    """A flow of four steps and 32 channels on the wave itself: 200 updates, under a minute on an idle core."""
    more = settings("train.steps=200", "train.valid_every=20", "model.flow.channels=32", "check.synthesize=2")
    assert main([str(data), str(tmp_path), *FEW, *PLAIN, *more]) == 0
    first, *_, last = [row for row in rows(tmp_path) if "valid_seen_nll" in row]
    assert last["valid_seen_nll"] < -2.5 and last["valid_unseen_nll"] < -2.5
    assert last["valid_log_mel_mae"] < first["valid_log_mel_mae"]


def test_a_codec_learns_on_top_of_a_flow(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """--init takes the flow, objective mel leaves it alone to the bit; what was new is said; codes are logged."""
    flow, run = tmp_path / "flow", tmp_path / "run"
    assert main([str(data), str(flow), *FEW, *SHORT, *settings("train.steps=2")]) == 0
    told = settings("model.condition.objective=mel", "train.steps=12", "train.log_every=4", "check.synthesize=1")
    small = [*SMALL, *settings("train.valid_every=1000", "check.clips=1", "check.seconds=0.3", "train.ema=0")]
    assert main([str(data), str(run), *FEW, *small, *CODES, *told, "--init", str(flow)]) == 0
    output = capsys.readouterr().out
    assert "took its flow" in output and "; new: condition, speakers" in output
    assert "convert in.wav out.wav --target NAME" in output
    one, other = (load_file(folder / "model.safetensors") for folder in (flow, run))
    assert one.keys() < other.keys() and all(torch.equal(one[name], other[name]) for name in one)
    made = rows(run)
    assert made[-1]["mel_l1"] < made[0]["mel_l1"]
    logged = {"perplexity", "used_fraction", "duplicates", "bits_per_code", "bits_per_second", "valid_seen_mel_l1"}
    assert logged <= made[-1].keys() and "nll" not in made[-1]
    assert made[-1]["bits_per_second"] == pytest.approx(made[-1]["bits_per_code"] * 16_000 / 768, rel=1e-5)
    assert WaveGlowVQ.from_pretrained(run).config.speakers == ("carlo", "ivrvoice", "ru_nsh")
    assert list((run / "samples").glob("*/*.wav"))


@pytest.mark.parametrize("codes", [CODES, WAVES], ids=["codes", "wav"])
def test_codes_and_flow_learn_together(data: Path, tmp_path: Path, codes: list[str]) -> None:
    """The seed's way, end to end; its conditioner as well as ours."""
    few = settings("train.steps=3", "check.synthesize=1", "check.clips=1", "check.seconds=0.3")
    assert main([str(data), str(tmp_path / "run"), *FEW, *SMALL, *codes, *few]) == 0
    made = rows(tmp_path / "run")[-1]
    assert {"nll", "bits", "perplexity", "bits_per_second", "valid_seen_nll", "valid_mr_stft"} <= made.keys()
    assert len(list((tmp_path / "run" / "samples").glob("*/*.wav"))) == 1


def test_codes_on_a_sphere_stay_there(data: Path, tmp_path: Path) -> None:
    """After each step they are put back: radius * sqrt(D) from the middle."""
    few = settings("train.steps=3", "model.quantizer.kind=sphere", "model.quantizer.radius=0.5", "train.ema=0")
    assert main([str(data), str(tmp_path), *FEW, *SHORT, *CODES, *few]) == 0
    norms = load_file(tmp_path / "model.safetensors")["condition.quantizer.codebook"].norm(dim=1)
    assert torch.allclose(norms, torch.full((16,), 0.5 * 8**0.5), rtol=1e-6)


def test_training_hears_a_stretched_voice_and_validation_the_voice_itself() -> None:
    """The step's seed reaches the encoder: another one, another loss; without one, always the same."""
    torch.manual_seed(0)
    condition = ConditionConfig("codes", channels=8, encoder_layers=1, decoder_layers=1, fine_layers=1, stretch=0.5)
    flow = FlowConfig(flows=2, layers=1, channels=8, early_every=1, prenet=8)
    model = WaveGlowVQ(WaveGlowVQConfig(flow=flow, condition=condition, quantizer=QuantizerConfig(size=8, dim=4)))
    model.eval()  # codes stay as they are
    wav = 0.1 * torch.randn(2, 256 * 12)
    mel, noise = log_mel(wav, model.config.mel), torch.zeros_like(wav)
    one, same, other = (float(Loss()(model, Batch(wav, mel, noise, seed))["mel_l1"]) for seed in (1, 1, 2))
    plain = float(model.loss(model(wav, mel, noise))["mel_l1"])
    assert one == same and len({one, other, plain}) == 3


@pytest.mark.parametrize("condition", [[], CODES], ids=["mel", "codes"])
def test_a_resumed_run_ends_with_the_same_bits(data: Path, tmp_path: Path, condition: list[str]) -> None:
    """With codes, their perturbation, jitter and restarts included."""
    more = settings("model.condition.jitter=0.2", "model.quantizer.restart=0.2") if condition else []
    same = [*FEW, *SHORT, *condition, *more, *settings("train.schedule=constant")]
    assert main([str(data), str(tmp_path / "whole"), *same, *settings("train.steps=5")]) == 0
    assert main([str(data), str(tmp_path / "parts"), *same, *settings("train.steps=3")]) == 0
    assert main([str(data), str(tmp_path / "parts"), *same, *settings("train.steps=5")]) == 0
    one, other = (load_file(tmp_path / name / "model.safetensors") for name in ("whole", "parts"))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_the_mels_statistics_travel_with_the_weights(data: Path, tmp_path: Path) -> None:
    """Those of the corpus it began with, to a run that starts from it too: its weights know no others."""
    first, second = tmp_path / "first", tmp_path / "second"
    assert main([str(data), str(first), *FEW, *SHORT, *settings("train.steps=1")]) == 0
    model, corpus = WaveGlowVQ.from_pretrained(first), Corpus.open(data)
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
        (["--config", "nvidia256"], "prepared with features.sample_rate = 16000, now 22050 is asked"),
        (["--set", "model.level_db=-3", "--set", "data.level_db=-3"], "prepared with level_db = -0.4455"),
        (["--set", "model.flow.early_size=16"], "leaves 0 channels"),
        (["--set", "model.condition.source=wav"], "whiten.order needs a mel"),
        (["--config", "tinny"], "neither a file nor a built-in config"),
        (["--init", "nowhere"], "nowhere"),
        (["--init", "{other}"], "other: its flow is FlowConfig(group=16"),
    ],
)
def test_what_cannot_be_trained_is_refused_in_a_sentence(
    data: Path, tmp_path: Path, arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    given = [argument.format(other=tmp_path / "other") for argument in arguments]
    if given != arguments:
        flow = FlowConfig(flows=2, layers=1, channels=8, early_every=1, prenet=8)
        WaveGlowVQ(WaveGlowVQConfig(flow=flow)).save_pretrained(tmp_path / "other")
    assert main([str(data), str(tmp_path / "run"), *FEW, *given]) == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1 and "Traceback" not in error
    assert not (tmp_path / "run").exists()


def test_a_run_keeps_its_settings_and_refuses_other_crops(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    assert main([str(data), str(run), *FEW, *SHORT, *settings("train.steps=1", "crop.gain_db=6")]) == 0
    assert main([str(data), str(run), *FEW, *SHORT, *settings("train.steps=2")]) == 2
    assert "its crop.gain_db is 6.0, now it is 0.0" in capsys.readouterr().err
    kept = ["--config", str(run / "settings.yaml"), "--device", "cpu"]
    assert main([str(data), str(run), *kept, *settings("train.steps=2")]) == 0
    assert "trained to step 2" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize("objective", ["mel", "both"])
def test_two_processes_train_under_torchrun(data: Path, tmp_path: Path, objective: str) -> None:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    told = [*CODES, *settings("train.steps=3", f"model.condition.objective={objective}")]
    arguments = ["-m", "waveglow_vq.train", str(data), str(tmp_path / "run"), *FEW, *SHORT, *told]
    done = subprocess.run([*command, *arguments], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    WaveGlowVQ.from_pretrained(tmp_path / "run")
