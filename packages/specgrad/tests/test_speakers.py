"""Speakers: off by default; name, number and vector mean one voice; training fills the table, commands read it."""

from __future__ import annotations

from pathlib import Path

import pytest
import soundfile
import torch

from specgrad import SpecGrad, SpecGradConfig, distill, infer, train
from specgrad.batches import Batch, Batches, CropConfig
from specgrad.check import Check
from specgrad.diffwave import DiffWaveConfig
from specgrad.shaping import ShapingConfig
from specgrad.stft import StftConfig
from specgrad.wavegrad import WaveGradConfig
from vocoder_core.corpus import Corpus
from vocoder_core.mel import log_mel
from vocoder_core.validation import CheckConfig

NAMES = ("anna", "boris", "clara")
SMALL = StftConfig(channels=16, layers=2, encoder_layers=1, spectrum_layers=1)
FLOW = SpecGradConfig(stft=SMALL, speaker_size=4, speakers=NAMES)
NETWORKS = {
    "stft": FLOW,
    "diffwave": SpecGradConfig(
        process="diffusion", network="diffwave", shaping=ShapingConfig(), speaker_size=4, speakers=NAMES,
        diffwave=DiffWaveConfig(channels=8, layers=2, cycle=2, embedding=8),
    ),
    "wavegrad": SpecGradConfig(
        process="diffusion", network="wavegrad", shaping=ShapingConfig(), speaker_size=4, speakers=NAMES,
        wavegrad=WaveGradConfig(widths=(4, 4, 4, 4, 4), widest=4),
    ),
}  # fmt: skip
SETTINGS = ["--config", "tiny", "--device", "cpu", "--set", "train.batch_size=2", "--set", "crop.frames=8",
            "--set", "check.synthesize=1", "--set", "check.clips=1", "--set", "check.seconds=0.3",
            "--set", "train.log_every=1", "--set", "train.warmup=0", "--set", "train.lr=1e-2"]  # fmt: skip
WITH = ["--set", "model.speaker_size=4"]


def vocoder(config: SpecGradConfig = FLOW) -> SpecGrad:
    """Its last layers start from zero, which would hide who hears whom."""
    torch.manual_seed(0)
    model = SpecGrad(config).eval()
    for parameter in model.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.02)
    if config.network == "wavegrad":  # orthogonal weights make an untrained network loud, and a diffusion overflow
        torch.nn.init.normal_(model.net.last_conv.weight, std=1e-3)
    return model


def mels(rows: int = 2, frames: int = 6) -> torch.Tensor:
    return torch.randn(rows, 80, frames, generator=torch.Generator().manual_seed(1)) - 5


def test_a_model_without_speakers_has_no_tensor_for_them() -> None:
    model = vocoder(SpecGradConfig(stft=SMALL))
    assert not [name for name in model.state_dict() if "speaker" in name] and model.config.speakers == ()


@pytest.mark.parametrize("network", NETWORKS)
def test_speakers_give_different_waves_by_name_number_or_vector(network: str) -> None:
    model, mel = vocoder(NETWORKS[network]), mels()
    assert model.speakers is not None
    anna, mixed = (model.synthesize(mel, seed=0, steps=3, speaker=who) for who in ("anna", ["anna", "clara"]))
    assert torch.allclose(anna[0], mixed[0], atol=1e-5) and (anna[1] - mixed[1]).abs().max() > 1e-4
    assert torch.equal(mixed, model.synthesize(mel, seed=0, steps=3, speaker=torch.tensor([0, 2])))
    own = model.speakers.table.weight.detach()[[0, 2]]
    assert torch.equal(mixed, model.synthesize(mel, seed=0, steps=3, speaker=own))
    for one in ("clara", torch.tensor(2), own[1]):
        assert torch.allclose(mixed[1], model.synthesize(mel[1], seed=0, steps=3, speaker=one), atol=1e-5)


def test_vectors_from_outside_need_no_names() -> None:
    model = vocoder(SpecGradConfig(stft=SMALL, speaker_size=4))
    one, other = (model.synthesize(mels(), seed=0, speaker=torch.full((2, 4), value)) for value in (0.0, 1.0))
    assert not torch.allclose(one, other) and not [name for name in model.state_dict() if "table" in name]


@pytest.mark.parametrize("network", NETWORKS)
def test_the_gradient_reaches_the_rows_of_those_who_speak(network: str) -> None:
    model, wav = vocoder(NETWORKS[network]), 0.1 * torch.randn(2, 6 * 256)
    model.loss(model(mels(), wav, torch.randn_like(wav), torch.tensor([0.3, 0.6]), torch.tensor([0, 2])))[
        "loss"
    ].backward()
    assert model.speakers is not None and model.speakers.table.weight.grad is not None
    assert (model.speakers.table.weight.grad.abs().sum(1) > 0).tolist() == [True, False, True]


def test_every_block_is_scaled_and_shifted_by_who_speaks() -> None:
    """Blocks that do not hear the encoder hear the speaker all the same."""
    model = vocoder()
    said = []
    for block in model.net.blocks:
        block.level.register_forward_hook(lambda layer, given, result: said.append(result))
    model.synthesize(mels(), seed=0, steps=1, speaker=["anna", "clara"])
    assert len(said) == 2 and all((row[0] - row[1]).abs().min() > 0 for row in said)


@pytest.mark.parametrize(
    ("config", "speaker", "message"),
    [
        (FLOW, None, "got no speaker; expected a vector of 4 for each row, or one of anna, boris, clara"),
        (FLOW, "claro", r"'claro' is none of the model's 3 speakers \(did you mean clara\?\)"),
        (FLOW, "xyz", r"known: anna, boris, clara"),
        (FLOW, ["anna"], r"of shape \(1,\) for 2 rows"),
        (FLOW, torch.tensor([0, 3]), r"expected a vector of 4"),
        (FLOW, torch.tensor([0, -1]), r"expected a vector of 4"),
        (FLOW, torch.zeros(2, 5), r"of shape \(2, 5\) for 2 rows"),
        (SpecGradConfig(stft=SMALL, speaker_size=4), "anna", "known: none by name"),
        (SpecGradConfig(stft=SMALL, speaker_size=4), None, "got no speaker; expected a vector of 4"),
        (SpecGradConfig(stft=SMALL), "anna", "got a speaker; expected none"),
    ],
)
def test_who_does_not_fit_is_refused_in_a_sentence(config: SpecGradConfig, speaker: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        vocoder(config).synthesize(mels(), speaker=speaker)  # type: ignore[arg-type]


@pytest.mark.parametrize("wrong", [{"speaker_size": 0}, {"speakers": ("anna", "anna")}])
def test_names_need_vectors_and_differ(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="names; expected different ones, and speaker_size > 0"):
        SpecGradConfig(**{"speaker_size": 4, "speakers": NAMES, **wrong})  # type: ignore[arg-type]


def training_speakers(data: Path) -> tuple[Corpus, tuple[str, ...]]:
    corpus = Corpus.open(data)
    return corpus, tuple(sorted({entry.speaker for entry in corpus.split("train")}))


def test_a_batch_says_whose_utterance_each_row_is_from(data: Path) -> None:
    corpus, names = training_speakers(data)
    batches = Batches(corpus, FLOW.mel, CropConfig(8, gain_db=0), 6, 1, "cpu", names)
    for part in (batches(3), batches(3, rank=1, world_size=2)):
        assert part.speaker is not None and part.speaker.dtype == torch.int64
        for row, place in zip(part.wav.numpy(), part.speaker):
            own = [entry for entry in corpus.split("train") if entry.speaker == names[int(place)]]
            hops = [corpus.wav(entry).reshape(-1, 256) for entry in own]
            assert any((wav == row.reshape(-1, 256)[2]).all(1).any() for wav in hops)
    assert len(set(batches(3).speaker.tolist())) > 1, "rows of one speaker alone show nothing"  # type: ignore[union-attr]
    with pytest.raises(ValueError, match=f"'{names[0]}' is none of the model's 3 speakers"):
        Batches(corpus, FLOW.mel, CropConfig(8), 6, 1, "cpu", NAMES)


def test_a_held_out_speaker_gets_the_mean_vector(data: Path, tmp_path: Path) -> None:
    corpus, names = training_speakers(data)
    model = vocoder(SpecGradConfig(stft=SMALL, speaker_size=4, speakers=names))
    assert model.speakers is not None
    table = model.speakers.table.weight
    assert torch.equal(model.speakers.vector(names[1]), table[1])
    assert torch.equal(model.speakers.vector("austen"), table.mean(0)) and "austen" not in names
    figures = Check(corpus, CheckConfig(clips=1, seconds=0.3, synthesize=2))(model, 1, tmp_path)
    assert {"seen_loss", "unseen_loss", "mr_stft"} <= figures.keys()


def test_training_fills_the_table_and_the_commands_read_it(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """specgrad-train names the training speakers and goes on; specgrad-distill and specgrad-infer know them."""
    _, names = training_speakers(data)
    run, steps = tmp_path / "run", ["--set", "train.schedule=constant", "--set", "train.ema=0"]
    assert train.main([str(data), str(run), *SETTINGS, *WITH, *steps, "--set", "train.steps=1"]) == 0
    first = SpecGrad.from_pretrained(run).speakers
    assert train.main([str(data), str(run), *SETTINGS, *WITH, *steps, "--set", "train.steps=4"]) == 0
    model = SpecGrad.from_pretrained(run)
    assert first is not None and model.speakers is not None and model.config.speakers == names
    assert not torch.equal(first.table.weight, model.speakers.table.weight)
    few = ["--device", "cpu", "--set", "train.steps=1", "--set", "train.batch_size=2", "--set", "check.clips=0",
           "--set", "check.synthesize=0", "--set", "crop.frames=8", "--set", "discriminator.images=[256]",
           "--set", "discriminator.frames=[256]"]  # fmt: skip
    assert distill.main([str(data), str(tmp_path / "few"), "--init", str(run), *few]) == 0
    assert SpecGrad.from_pretrained(tmp_path / "few").config.speakers == names
    soundfile.write(tmp_path / "in.wav", torch.randn(3000).numpy() / 9, 16_000)
    command = [str(tmp_path / "in.wav"), str(tmp_path / "out.wav"), "--checkpoint", str(tmp_path / "few")]
    assert infer.main([*command, "--speaker", names[0]]) == 0
    capsys.readouterr()
    for arguments, said in (([], "got no speaker"), (["--speaker", names[0] + "x"], f"did you mean {names[0]}?")):
        assert infer.main([*command, *arguments]) == 2
        error = capsys.readouterr().err
        assert said in error and error.count("\n") == 1


def test_a_batch_without_speakers_is_as_before(data: Path) -> None:
    corpus, names = training_speakers(data)
    one, other = (Batches(corpus, FLOW.mel, CropConfig(8), 2, 1, "cpu", who)(5) for who in ((), names))
    assert one.speaker is None and isinstance(one, Batch)
    assert torch.equal(one.wav, other.wav) and torch.equal(log_mel(one.wav, FLOW.mel), one.mel)
