"""samplernn-pase-train as its users run it: prepared speech in, a run folder out, exact resumption, clear refusals."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from samplernn_pase import SampleRNNPASE, speaker_vectors
from samplernn_pase.batches import Batches, CropConfig
from samplernn_pase.check import bits_of, spoken_by
from samplernn_pase.features import Features
from samplernn_pase.preprocess import main as preprocess
from samplernn_pase.sequence import Epoch
from samplernn_pase.speaker_vectors import Vectors
from samplernn_pase.train import main
from vocoder_core.corpus import Corpus

FEW = ["--config", "tiny", "--device", "cpu"]


def settings(*pairs: str) -> list[str]:
    return [part for pair in pairs for part in ("--set", pair)]


SMALL = settings("train.batch_size=4", "train.log_every=2", "train.warmup=0", "model.hidden_size=16", "crop.frames=3")
SHORT = [*SMALL, *settings("train.valid_every=1000", "check.synthesize=0", "check.clips=1", "check.seconds=0.3")]
WAVE = settings(
    "model.labels.order=0", "model.labels.pitch=false", "model.combine=concat", "model.weight_norm=true",
    "crop.past_noise=0", "train.ema=0.9",
)  # fmt: skip
WORLD = [*WAVE, *settings("model.content.kind=world43", "model.speaker.provider=lookup")]


def rows(run: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def tensors(run: Path) -> dict[str, torch.Tensor]:
    return load_file(run / "model.safetensors")


def same(one: Path, other: Path) -> bool:
    first, second = tensors(one), tensors(other)
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


@pytest.fixture(scope="module")
def world(shared_audio: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two speakers, 32 s, prepared with WORLD's features."""
    pytest.importorskip("pyworld", reason="WORLD's features need pyworld")
    folder = tmp_path_factory.mktemp("world") / "data"
    given = [str(shared_audio / name) for name in ("austen", "slt")]
    more = ["--f0", "dio", "--jobs", "1", "--valid-fraction", "0.3", "--test-fraction", "0"]
    assert preprocess([*given, str(folder), "--content", "world43", *more]) == 0
    return folder


def test_held_out_speech_costs_fewer_bits_and_the_run_folder_is_a_checkpoint(data: Path, tmp_path: Path) -> None:
    """The command in a process of its own, on real speech."""
    run = tmp_path / "run"
    more = settings("train.steps=40", "train.warmup=4", "check.clips=2", "train.ema=0.9", "train.log_every=5")
    command = [sys.executable, "-m", "samplernn_pase.train", str(data), str(run), *FEW, *more]
    few = settings("check.seconds=0.5", "train.valid_every=20")
    done = subprocess.run([*command, *few], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "trained to step 40; try: samplernn-pase-infer in.wav out.wav --checkpoint" in done.stdout
    made = rows(run)
    validated = [row for row in made if "valid_seen_bits" in row]
    assert [row["step"] for row in validated] == [20, 40]
    assert 7 < made[0]["bits"] < 11 and made[-1]["bits"] < made[0]["bits"] - 0.4
    for name in ("valid_seen_bits", "valid_unseen_bits"):
        assert validated[1][name] < validated[0][name] < made[0]["bits"]
    assert {"valid_mr_stft", "valid_log_mel_mae", "samples_per_second", "grad_norm"} <= made[-1].keys()
    assert made[-1]["loss"] == pytest.approx(made[-1]["bits"] * np.log(2), rel=1e-4)
    assert len(list((run / "samples").glob("*/*.wav"))) == 2
    model, features = SampleRNNPASE.from_pretrained(run), Features.open(data, "mel80")
    assert np.allclose(model.content.mean[0], features.statistics.everybody.mean, atol=1e-5)
    assert np.allclose(model.content.std[0], features.statistics.everybody.std, rtol=1e-5)


@pytest.mark.parametrize("model", [[], WAVE], ids=["excited", "wave"])
def test_a_resumed_run_ends_with_the_same_bits(data: Path, tmp_path: Path, model: list[str]) -> None:
    """Stopped in the middle of an epoch: the states of all slots go on, too."""
    corpus = Corpus.open(data)
    frames = [entry.frames for entry in corpus.split("train")]
    assert len(Epoch(frames, 4, 3, 1234, 0)) > 100, "no step of these is an epoch's first but the first"
    same_run = [*FEW, *SHORT, *model, *settings("train.schedule=constant", "train.save_every=3")]
    assert main([str(data), str(tmp_path / "whole"), *same_run, *settings("train.steps=6")]) == 0
    assert main([str(data), str(tmp_path / "parts"), *same_run, *settings("train.steps=3")]) == 0
    kept = torch.load(tmp_path / "parts" / "resume.pt", weights_only=True)["loss_states"][0]["state"]
    assert [tuple(state.shape) for state in kept] == [(1, 4, 16)] * 2 and all(state.abs().min() > 0 for state in kept)
    assert main([str(data), str(tmp_path / "parts"), *same_run, *settings("train.steps=6")]) == 0
    assert same(tmp_path / "whole", tmp_path / "parts")


def test_what_is_carried_is_what_a_resumed_run_needs(data: Path, tmp_path: Path) -> None:
    """With other states in its file, it ends elsewhere."""
    same_run = [*FEW, *SHORT, *settings("train.schedule=constant")]
    for name in ("one", "other"):
        assert main([str(data), str(tmp_path / name), *same_run, *settings("train.steps=2")]) == 0
    path = tmp_path / "other" / "resume.pt"
    saved = torch.load(path, weights_only=True)
    saved["loss_states"][0]["state"] = [0 * state for state in saved["loss_states"][0]["state"]]
    torch.save(saved, path)
    for name in ("one", "other"):
        assert main([str(data), str(tmp_path / name), *same_run, *settings("train.steps=4")]) == 0
    assert not same(tmp_path / "one", tmp_path / "other")


@pytest.mark.slow
def test_a_run_that_was_killed_ends_with_the_same_bits(data: Path, tmp_path: Path) -> None:
    """SIGKILL once its sixth step is saved; the same command then goes on, Adam's moments and all."""
    same_run = [*FEW, *SHORT, *settings("train.steps=40", "train.save_every=3", "train.schedule=constant")]
    assert main([str(data), str(tmp_path / "whole"), *same_run]) == 0
    command = [sys.executable, "-m", "samplernn_pase.train", str(data), str(tmp_path / "killed"), *same_run]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        while process.poll() is None and not _saved(tmp_path / "killed") >= 6:
            pass
        process.kill()
    assert 6 <= _saved(tmp_path / "killed") < 40, "it was killed on its way"
    assert main([str(data), str(tmp_path / "killed"), *same_run]) == 0
    assert same(tmp_path / "whole", tmp_path / "killed")


def _saved(run: Path) -> int:
    """The step of the state on disk."""
    path = run / "resume.pt"
    return int(torch.load(path, weights_only=True)["step"]) if path.exists() else 0


def test_the_seed_of_hashes_changes_nothing(shared_audio: Path, tmp_path: Path) -> None:
    """D7: the public vocabulary was in a set's order, another one in each process. Here half a run is another's."""
    speech = tmp_path / "slt"
    speech.mkdir()
    for suffix in (".flac", ".lab"):
        shutil.copy(shared_audio / "slt" / f"arctic_a0009{suffix}", speech)
    data, told = tmp_path / "data", ["--valid-fraction", "0", "--test-fraction", "0", "--jobs", "1"]
    assert preprocess([str(speech), str(data), "--content", "linguistic", *told]) == 0
    text = [
        *WAVE,
        *settings("model.content.kind=linguistic", "model.speaker.provider=lookup", "train.schedule=constant"),
    ]
    for name, steps in (("whole", 4), ("parts", 2)):
        assert main([str(data), str(tmp_path / name), *FEW, *SHORT, *text, "--set", f"train.steps={steps}"]) == 0
    command = [sys.executable, "-m", "samplernn_pase.train", str(data), str(tmp_path / "parts"), *FEW, *SHORT, *text]
    environment = os.environ | {"PYTHONHASHSEED": "22"}
    subprocess.run([*command, "--set", "train.steps=4"], env=environment, check=True, capture_output=True)
    assert same(tmp_path / "whole", tmp_path / "parts")
    assert rows(tmp_path / "whole")[-1]["loss"] == rows(tmp_path / "parts")[-1]["loss"]


def test_speakers_of_a_lookup_are_those_of_the_training_split(world: Path, tmp_path: Path) -> None:
    """By name, in an order that no file system decides, each with the statistics of his own content."""
    assert main([str(world), str(tmp_path), *FEW, *SHORT, *WORLD, *settings("train.steps=2")]) == 0
    model, features = SampleRNNPASE.from_pretrained(tmp_path), Features.open(world, "world43")
    assert model.config.speakers == ("austen", "slt") and model.config.speaker.size == 15
    for place, name in enumerate(model.config.speakers):
        assert np.allclose(model.content.mean[place], features.statistics.of(name).mean, atol=1e-4)
    assert np.allclose(model.content.mean[2], features.statistics.everybody.mean, atol=1e-4)
    assert not torch.equal(model.content.mean[0], model.content.mean[1])
    assert spoken_by(model, ["nobody"]) is not None
    assert torch.allclose(spoken_by(model, ["nobody"])[0], model.voices.table.weight.mean(0))


@pytest.mark.parametrize("init", [False, True], ids=["given", "lookup-init"])
def test_vectors_that_were_given_are_told_and_written_down(world: Path, tmp_path: Path, init: bool) -> None:
    """As they are, not learned, with whose they are; or a lookup begins at them, standardised, and learns on."""
    values = np.random.default_rng(0).normal(3, 0.1, (2, 6)).astype(np.float32)
    path = world / "features" / "speakers-file.npz"
    speaker_vectors.write(path, Vectors(("slt", "austen"), values, "file", "f" * 64, 60.0))
    how = ["model.speaker.init=file"] if init else ["model.speaker.provider=file"]
    more = settings(*how, "train.steps=2", "train.lr=1e-6")
    assert main([str(world), str(tmp_path), *FEW, *SHORT, *WORLD, *more]) == 0
    model = SampleRNNPASE.from_pretrained(tmp_path)
    assert (model.config.speaker.fingerprint, model.config.speaker.size) == ("f" * 64, 6)
    assert model.voices is not None
    told = model.voices.table(torch.tensor([0, 1])).detach().numpy()
    if not init:
        assert np.array_equal(told, values[::-1])
        return
    standard = (values - values.mean(0))[::-1]
    assert np.allclose(told, standard / np.sqrt((standard**2).mean()), atol=1e-4)


def test_bits_are_those_of_training_chunk_by_chunk(data: Path, tmp_path: Path) -> None:
    """A whole wave in one piece costs what its chunks do, states carried: the mean over all of its samples."""
    few = settings("train.steps=2", "crop.past_noise=0")
    assert main([str(data), str(tmp_path), *FEW, *SHORT, *few]) == 0
    model, corpus = SampleRNNPASE.from_pretrained(tmp_path), Corpus.open(data)
    features = Features.open(corpus, "mel80", pitch=True)
    made = Batches(corpus, features, model, CropConfig(frames=50), 1, 0, "cpu")
    entry = made.audio.entries[made.row(1).utterance[0]]
    state, nats, samples = None, 0.0, 0
    for step in range(1, 1 - (-entry.frames // 50)):
        batch = made(step)
        with torch.inference_mode():
            told = model(batch.wav, batch.content, state=state, reset=batch.reset, pitch=batch.pitch)
        state, count = told.state, int(batch.active.sum())
        nats, samples = nats + count * float(model.loss(told, batch.active)["loss"]), samples + count
    assert samples == entry.samples
    content = torch.from_numpy(features.of(entry).astype(np.float32))[None]
    first = entry.offset // 80
    pitch = torch.from_numpy(np.array(features.pitch[first : first + entry.frames]))[None]
    whole = bits_of(model, torch.from_numpy(corpus.wav(entry))[None], content, pitch, [entry.speaker])
    assert whole == pytest.approx(nats / samples / np.log(2), rel=1e-5)


def test_a_checkpoint_can_be_gone_on_from(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """--init takes the weights and what belongs to them; another network's are refused."""
    first, second = tmp_path / "first", tmp_path / "second"
    assert main([str(data), str(first), *FEW, *SHORT, *settings("train.steps=2")]) == 0
    more = settings("train.steps=1", "train.lr=1e-9", "train.ema=0")
    assert main([str(data), str(second), *FEW, *SHORT, *more, "--init", str(first)]) == 0
    one, other = tensors(first), tensors(second)
    assert all(torch.allclose(one[name], other[name], atol=1e-6) for name in one)
    capsys.readouterr()
    wrong = settings("model.hidden_size=20")
    assert main([str(data), str(tmp_path / "third"), *FEW, *SHORT, *wrong, "--init", str(first)]) == 2
    assert "its hidden_size is 16, the settings say 20; set model.hidden_size" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--set", "train.lrr=1"], "unknown key train.lrr (did you mean train.lr?)"),
        (["--set", "model.mel.fmin=80"], "prepared with features.fmin = 0.0, now 80.0 is asked"),
        (["--set", "model.level_db=-3", "--set", "data.level_db=-3"], "prepared with level_db = -0.4455"),
        (["--set", "crop.frames=0"], "crop.frames is 0"),
        ([*WORLD], "content-world43.npy: not there: run samplernn-pase-preprocess IN DATA"),
        (["--set", "model.speaker.provider=file"], "speakers-file.npz: there is no such file of speaker vectors"),
        (["--config", "tinny"], "neither a file nor a built-in config"),
        (["--init", "nowhere"], "nowhere"),
    ],
)
def test_what_cannot_be_trained_is_refused_in_a_sentence(
    data: Path, tmp_path: Path, arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(data), str(tmp_path / "run"), *FEW, *arguments]) == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1 and "Traceback" not in error, error
    assert not (tmp_path / "run").exists()


def test_a_run_keeps_its_settings_and_refuses_other_chunks(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    assert main([str(data), str(run), *FEW, *SHORT, *settings("train.steps=1", "crop.frames=4")]) == 0
    assert main([str(data), str(run), *FEW, *SHORT, *settings("train.steps=2")]) == 2
    assert "its crop.frames is 4, now it is 3" in capsys.readouterr().err
    kept = ["--config", str(run / "settings.yaml"), "--device", "cpu"]
    assert main([str(data), str(run), *kept, *settings("train.steps=2")]) == 0
    assert "trained to step 2" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize("model", [[], WAVE], ids=["excited", "wave"])
def test_two_processes_train_under_torchrun(data: Path, tmp_path: Path, model: list[str]) -> None:
    """Each keeps the states of its own slots, and goes on with them."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    for name, parts in (("whole", (4,)), ("parts", (2, 4))):
        for steps in parts:
            arguments = ["-m", "samplernn_pase.train", str(data), str(tmp_path / name), *FEW, *SHORT, *model]
            more = settings(f"train.steps={steps}", "train.schedule=constant")
            done = subprocess.run(
                [*command, *arguments, *more], capture_output=True, text=True, timeout=300, check=False
            )
            assert done.returncode == 0, done.stderr[-2000:]
    assert same(tmp_path / "whole", tmp_path / "parts")
    kept = torch.load(tmp_path / "parts" / "resume.pt", weights_only=True)["loss_states"]
    assert len(kept) == 2 and not torch.equal(kept[0]["state"][0], kept[1]["state"][0])
    SampleRNNPASE.from_pretrained(tmp_path / "parts")
