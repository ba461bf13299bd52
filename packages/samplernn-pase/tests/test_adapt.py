"""samplernn-pase-adapt: a new voice by its own numbers; whatever else the model knows stays as it is, bit for bit."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from samplernn_pase import SampleRNNPASE, SampleRNNPASEConfig, speaker_vectors
from samplernn_pase.adapt import main, of_speaker, with_speaker
from samplernn_pase.check import bits_of
from samplernn_pase.content import ContentConfig
from samplernn_pase.features import Features
from samplernn_pase.pase import PASE
from samplernn_pase.preprocess import main as preprocess
from samplernn_pase.seed_speech import seed
from samplernn_pase.speaker import SpeakerConfig
from samplernn_pase.speaker_vectors import Vectors
from samplernn_pase.train import main as train
from vocoder_core.corpus import Corpus

sys.path.append(str(Path(__file__).parent))  # the folder of small_models.py
from small_models import VOICES, WHO, drawn, untrained

SMALL = {
    "model.content.kind": "world43", "model.labels.order": 0, "model.labels.pitch": "false", "crop.past_noise": 0,
    "train.batch_size": 8, "train.warmup": 0, "train.lr": 1e-2, "train.valid_every": 1000, "train.ema": 0,
    "check.synthesize": 0, "check.clips": 1, "check.seconds": 0.5, "model.hidden_size": 24,
}  # fmt: skip
TABLE, GIVEN = "voices.table.weight", "voices.vectors"
FEW = ["--steps", "40", "--batch-size", "4", "--lr", "0.1"]


def world(shared_audio: Path, folder: Path, *speakers: str, valid: float = 0.0) -> Path:
    pytest.importorskip("pyworld", reason="WORLD's features need pyworld")
    given = [str(shared_audio / name) for name in speakers]
    more = ["--f0", "dio", "--jobs", "1", "--valid-fraction", str(valid), "--test-fraction", "0"]
    assert preprocess([*given, str(folder), "--content", "world43", *more]) == 0
    return folder


@pytest.fixture(scope="module")
def austen(shared_audio: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Recordings of one whom no model has heard, some of them held out."""
    return world(shared_audio, tmp_path_factory.mktemp("austen") / "data", "austen", valid=0.3)


@pytest.fixture(scope="module")
def heard(shared_audio: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two other speakers to learn from, and vectors of theirs that somebody computed."""
    folder = world(shared_audio, tmp_path_factory.mktemp("heard") / "data", "slt", "carlo")
    values = np.random.default_rng(0).normal(3, 0.1, (2, 6)).astype(np.float32)
    speaker_vectors.write(folder / "features" / "speakers-file.npz", Vectors(("carlo", "slt"), values, "file", "f", 60))
    return folder


def trained(data: Path, folder: Path, provider: str, steps: int) -> Path:
    more = {**SMALL, "model.speaker.provider": provider, "train.steps": steps}
    told = [f"--set={name}={value}" for name, value in more.items()]
    assert train([str(data), str(folder), "--config", "tiny", "--device", "cpu", *told]) == 0
    return folder


@pytest.fixture(scope="module")
def lookup(heard: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained(heard, tmp_path_factory.mktemp("lookup"), "lookup", 150)


@pytest.fixture(scope="module")
def given(heard: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained(heard, tmp_path_factory.mktemp("given"), "file", 20)


def adapted(checkpoint: Path, data: Path, out: Path, *more: str, speaker: str = "austen") -> int:
    told = ["--checkpoint", str(checkpoint), "--speaker", speaker, "--device", "cpu", *more]
    return main([str(data), str(out), *told])


def check_frozen(before: Path, after: Path, vectors: str) -> dict[str, torch.Tensor]:
    """Everything of the model before is in the one after, which has one vector and two rows of statistics more."""
    one, other = (load_file(folder / "model.safetensors") for folder in (before, after))
    grown = {"content.mean", "content.std", vectors}
    assert one.keys() == other.keys() and {n for n in one if one[n].shape != other[n].shape} == grown
    assert all(torch.equal(one[name], other[name]) for name in one.keys() - grown)
    assert torch.equal(one[vectors], other[vectors][:-1])
    for name in ("content.mean", "content.std"):
        assert torch.equal(one[name], other[name][[0, 1, 3]]), "the last row is everybody's, as it was"
    return other


def held_out_bits(model: SampleRNNPASE, data: Path, speaker: str) -> float:
    corpus = Corpus.open(data)
    features = Features.open(corpus, "world43")
    bits = []
    for entry in corpus.split("valid"):
        content = torch.from_numpy(features.of(entry)[:800].copy())[None]
        bits.append(bits_of(model, torch.from_numpy(corpus.wav(entry)[: 800 * 80])[None], content, None, [speaker]))
    return sum(bits) / len(bits)


def test_bits_of_a_new_speaker_fall_by_his_vector_alone(
    lookup: Path, austen: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of real speech that was held out; the mean of all voices is what they fall from."""
    assert adapted(lookup, austen, tmp_path / "out", *FEW) == 0
    said = capsys.readouterr().out
    assert "15 numbers of austen are learned; held out: seen_bits" in said
    assert "samplernn-pase-infer in.wav out.wav --speaker austen" in said
    after_all = check_frozen(lookup, tmp_path / "out", TABLE)
    model, known = SampleRNNPASE.from_pretrained(tmp_path / "out"), SampleRNNPASE.from_pretrained(lookup)
    assert model.config == replace(known.config, speakers=("carlo", "slt", "austen"))
    assert not torch.allclose(after_all[TABLE][2], after_all[TABLE][:2].mean(0), atol=1e-2), "it has learned"
    begun = with_speaker(known, "austen", *opened(austen)).eval()
    before, after = (held_out_bits(each, austen, "austen") for each in (begun, model))
    told = said.split("seen_bits ")[1].split()
    assert float(told[0]) == pytest.approx(before, abs=0.1) and float(told[2]) == pytest.approx(after, abs=0.1)
    assert after < before - 0.02


def opened(data: Path, name: str = "austen") -> tuple[Corpus, Features]:
    corpus = Corpus.open(data)
    return of_speaker(corpus, name), Features.open(corpus, "world43")


def test_a_new_speaker_begins_as_the_mean_with_statistics_of_his_own(lookup: Path, austen: Path) -> None:
    """Of his training split alone."""
    corpus, features = opened(austen)
    model = with_speaker(SampleRNNPASE.from_pretrained(lookup), "austen", corpus, features)
    table = model.voices.table.weight.detach()  # type: ignore[union-attr, operator]
    assert torch.equal(table[2], table[:2].mean(0))
    content = np.concatenate([features.of(entry) for entry in corpus.split("train")]).astype(np.float64)
    assert np.allclose(model.content.mean[2, :42], content[:, :42].mean(0), atol=1e-4)
    assert np.allclose(model.content.std[2, :42], content[:, :42].std(0), rtol=1e-4)
    learns = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
    assert learns == [TABLE]


@pytest.mark.parametrize("there", [True, False], ids=["computed", "mean"])
def test_among_given_vectors_he_begins_at_his_own(given: Path, austen: Path, tmp_path: Path, there: bool) -> None:
    """Where DATA/features has it; and it becomes one of the model's, learned in units of how vectors differ."""
    path = austen / "features" / "speakers-file.npz"
    own = np.full((1, 6), 3.05, np.float32)
    known = SampleRNNPASE.from_pretrained(given)
    if there:
        speaker_vectors.write(path, Vectors(("austen",), own, "file", "g", 60))
    try:
        model = with_speaker(known, "austen", *opened(austen))
        assert adapted(given, austen, tmp_path / "out", *FEW) == 0
    finally:
        path.unlink(missing_ok=True)
    begun = model.voices.vectors.detach()  # type: ignore[union-attr, operator]
    expected = torch.from_numpy(own[0]) if there else begun[:2].mean(0)
    assert torch.equal(begun[2], expected)
    after = check_frozen(given, tmp_path / "out", GIVEN)[GIVEN]
    step = (after[2] - begun[2]).abs().max() / known.voices.scale  # type: ignore[union-attr, operator]
    assert 0.01 < step < 40 * 0.1
    again = SampleRNNPASE.from_pretrained(tmp_path / "out")
    assert GIVEN not in dict(again.named_parameters()) and again.config.speakers[-1] == "austen"


def test_an_encoder_that_learnt_with_the_model_makes_his_vector(austen: Path) -> None:
    torch.manual_seed(0)
    config = replace(VOICES, speaker=SpeakerConfig(provider="pase-finetune"))
    model = drawn(config)
    model.voices.vectors.copy_(torch.randn(3, 100))  # type: ignore[union-attr, operator]
    corpus, features = opened(austen)
    made = with_speaker(model, "austen", corpus, features)
    encoder = model.voices.encoder  # type: ignore[union-attr]
    assert isinstance(encoder, PASE)
    wav, _ = seed(corpus, corpus.split("train"), 60.0)
    assert np.allclose(made.voices.vectors[3].detach(), encoder.embed(wav, 16_000), atol=1e-5)  # type: ignore[union-attr, index]
    assert [name for name, parameter in made.named_parameters() if parameter.requires_grad] == [GIVEN]


def test_a_vector_of_another_encoder_is_refused(austen: Path) -> None:
    path = austen / "features" / "speakers-ge2e.npz"
    speaker_vectors.write(path, Vectors(("austen",), np.zeros((1, 256), np.float32), "ge2e", "b" * 64, 60))
    model = SampleRNNPASE(replace(VOICES, speaker=SpeakerConfig(provider="ge2e", fingerprint="a" * 64)))
    try:
        with pytest.raises(
            ValueError, match="weights bbbbbbbbbbbb, the model takes ge2e's of 256 numbers, of weights a"
        ):
            with_speaker(model, "austen", *opened(austen))
    finally:
        path.unlink()


def test_what_is_finished_is_left_as_it_is_and_what_was_stopped_goes_on(
    lookup: Path, austen: Path, tmp_path: Path
) -> None:
    few = ["--batch-size", "2", "--lr", "0.01"]
    assert adapted(lookup, austen, tmp_path, *few, "--steps", "2") == 0
    again = (tmp_path / "model.safetensors").read_bytes()
    assert adapted(lookup, austen, tmp_path, *few, "--steps", "2") == 0
    assert (tmp_path / "model.safetensors").read_bytes() == again


def test_who_cannot_be_added_is_refused_in_a_sentence(
    lookup: Path, austen: Path, heard: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mel = untrained(SampleRNNPASEConfig(speaker=SpeakerConfig(provider="none"), hidden_size=8), tmp_path / "mel")
    told = SampleRNNPASEConfig(content=ContentConfig("linguistic"), hidden_size=8, speakers=WHO)
    text = untrained(told, tmp_path / "text")
    for checkpoint, corpus, name, said in (
        (lookup, heard, "carlo", "this model knows 'carlo' already"),
        (lookup, heard, "austen", "no training speech of 'austen'; it has some of carlo, slt"),
        (mel, austen, "austen", "this model is told no speaker"),
        (text, austen, "austen", "content-linguistic.npy: not there"),
        (tmp_path / "nothing", austen, "austen", "no config.yaml there"),
    ):
        assert adapted(checkpoint, corpus, tmp_path / "out", speaker=name) == 2
        error = capsys.readouterr().err
        assert said in error and error.count("\n") == 1, error
    assert adapted(lookup, austen, tmp_path / "out", "--steps", "0") == 2
    assert not (tmp_path / "out").exists()
