"""vqvaevc-adapt: a new voice by its own numbers; whatever else the model knows stays as it is, bit for bit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from vocoder_core.corpus import Corpus
from vocoder_core.pitch import track, voice
from vqvaevc import VQVAEVC, VQVAEVCConfig
from vqvaevc.adapt import main, numbers, with_speaker
from vqvaevc.check import bits_of
from vqvaevc.condition import EncoderConfig
from vqvaevc.overtone import OvertoneConfig
from vqvaevc.preprocess import main as preprocess
from vqvaevc.train import main as train

SMALL = {
    "train.batch_size": 4, "train.warmup": 0, "train.lr": 1e-2, "train.valid_every": 1000, "train.ema": 0,
    "crop.samples": 64, "check.synthesize": 0, "check.clips": 1, "check.seconds": 0.5, "model.quantizer.size": 16,
    "model.quantizer.dim": 8, "model.encoder.channels": 8,
}  # fmt: skip
WAVE = {
    "model.encoder.source": "wave", "model.quantizer.kind": "sphere", "model.overtone.speaker": "true",
    "model.labels.kind": "dual", "model.labels.order": 0, "model.labels.pitch": "false", "crop.frames": 30,
    "train.steps": 8,
}  # fmt: skip
CODEC = {
    "model.encoder.source": "codec", "model.quantizer.kind": "ema", "model.speaker": "learned", "crop.frames": 60,
    "model.speaker_size": 4, "model.encoder.layers": 1, "model.encoder.fine_layers": 1,
    "model.encoder.encoder_layers": 1, "model.encoder.objective": "mel", "train.steps": 4,
}  # fmt: skip


def trained(data: Path, folder: Path, config: dict[str, object]) -> Path:
    told = [f"--set={name}={value}" for name, value in {**SMALL, **config}.items()]
    assert train([str(data), str(folder), "--config", "tiny", "--device", "cpu", *told]) == 0
    return folder


@pytest.fixture(scope="module")
def of_the_wave(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A few steps of the original's kind of model: three speakers, one-hot."""
    return trained(data, tmp_path_factory.mktemp("wave"), WAVE)


@pytest.fixture(scope="module")
def codec(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A few steps of a codec: three speakers, a learned vector each."""
    return trained(data, tmp_path_factory.mktemp("codec"), CODEC)


@pytest.fixture(scope="module")
def slt(shared_audio: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Recordings of one whom neither has heard."""
    folder = tmp_path_factory.mktemp("slt") / "data"
    assert preprocess([str(shared_audio / "slt"), str(folder), "--config", "tiny", "--jobs", "1"]) == 0
    return folder


def adapted(checkpoint: Path, data: Path, out: Path, *more: str, speaker: str = "slt") -> int:
    told = ["--checkpoint", str(checkpoint), "--speaker", speaker, "--device", "cpu", *more]
    return main([str(data), str(out), *told])


def same_but_for_the_last(one: torch.Tensor, other: torch.Tensor) -> bool:
    """Whether all that `one` has is in `other`, which may have one more along a dimension."""
    for dim in range(one.dim()):
        if other.shape[dim] == one.shape[dim] + 1:
            return torch.equal(one, other.narrow(dim, 0, one.shape[dim]))
    return torch.equal(one, other)


def check_frozen(before: Path, after: Path) -> list[str]:
    """Everything of the model before is in the one after; the names of what has a speaker more."""
    one, other = (load_file(folder / "model.safetensors") for folder in (before, after))
    assert one.keys() == other.keys() and all(same_but_for_the_last(one[name], other[name]) for name in one)
    return [name for name in one if one[name].shape != other[name].shape]


def test_bits_of_a_new_speaker_fall_by_his_columns_alone(
    of_the_wave: Path, slt: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of real speech that was held out; the mean of all voices is what they fall from."""
    few = ["--steps", "12", "--batch-size", "4", "--lr", "0.03"]
    assert adapted(of_the_wave, slt, tmp_path / "out", *few) == 0
    assert "numbers of slt are learned; held out: seen_bits" in capsys.readouterr().out
    grown = check_frozen(of_the_wave, tmp_path / "out")
    assert len(grown) == 6 + 3 + 1, "convolutions, upper GRUs, the WaveRNN"
    model, known = VQVAEVC.from_pretrained(tmp_path / "out"), VQVAEVC.from_pretrained(of_the_wave)
    assert model.config == replace(known.config, speakers=(*known.config.speakers, "slt"))
    corpus = Corpus.open(slt)
    held_out = [torch.from_numpy(corpus.wav(e)[:16_000]) for e in corpus.entries if e.split != "train"]
    after, before = (bits_of(each, held_out, ["slt"] * len(held_out))["bits"] for each in (model, known))
    assert after < before - 0.05
    wav = held_out[0][None, : 256 * 30]
    told = [each.loss(each(wav, wav, 5632, 64, ["carlo"]))["bits"] for each in (model, known)]
    assert torch.allclose(*told, rtol=1e-5), "whom it knew it still knows"


def test_a_codec_learns_a_new_speakers_vector_and_the_range_of_his_voice(
    codec: Path, slt: Path, tmp_path: Path
) -> None:
    assert adapted(codec, slt, tmp_path, "--steps", "6", "--batch-size", "2", "--lr", "0.03") == 0
    assert set(check_frozen(codec, tmp_path)) == {"speakers.table.weight", "condition.voices"}
    model = VQVAEVC.from_pretrained(tmp_path)
    assert model.config.encoder.objective == "mel" and model.config.speakers[-1] == "slt"
    table = load_file(tmp_path / "model.safetensors")["speakers.table.weight"]
    assert not torch.allclose(table[-1], table[:-1].mean(0), atol=1e-3), "it has learned"
    (entry,) = Corpus.open(slt).split("train")
    heard = voice(*track(torch.from_numpy(Corpus.open(slt).wav(entry))[None], 16_000, 256), 16_000)[0]
    assert torch.equal(model.condition.voices[-1], heard) and heard[0] > 4.6
    assert numbers(with_speaker(model, "another")) == 4


def test_what_is_finished_is_left_as_it_is(of_the_wave: Path, slt: Path, tmp_path: Path) -> None:
    few = ["--batch-size", "2", "--lr", "0.01", "--steps", "2"]
    assert adapted(of_the_wave, slt, tmp_path, *few) == 0
    again = (tmp_path / "model.safetensors").read_bytes()
    assert adapted(of_the_wave, slt, tmp_path, *few) == 0
    assert (tmp_path / "model.safetensors").read_bytes() == again


def test_a_speaker_of_the_originals_network_is_8832_numbers() -> None:
    with torch.device("meta"):
        model = VQVAEVC(VQVAEVCConfig(speakers=("anna", "bruno", "carlo")))
        assert numbers(with_speaker(model, "dora")) == 8832


def test_who_cannot_be_added_is_refused_in_a_sentence(
    of_the_wave: Path, slt: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    nobody = VQVAEVCConfig(encoder=EncoderConfig("none"), overtone=OvertoneConfig(4, 8, 16, 8, speaker=False))
    with pytest.raises(ValueError, match="is told no speaker"):
        with_speaker(VQVAEVC(nobody), "slt")
    for checkpoint, corpus, name, said in (
        (of_the_wave, data, "carlo", "this model knows 'carlo' already"),
        (of_the_wave, data, "slt", "no training speech of 'slt'; it has some of carlo, ivrvoice, ru_nsh"),
        (tmp_path / "nothing", slt, "slt", "no config.yaml there"),
    ):
        assert adapted(checkpoint, corpus, tmp_path / "out", speaker=name) == 2
        error = capsys.readouterr().err
        assert said in error and error.count("\n") == 1
    assert not (tmp_path / "out").exists()
