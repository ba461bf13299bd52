"""Prosody: learns one sentence, treats a batch as its rows, is trained by a command that goes on where it was."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from samplernn_pase import hts_label, linguistic, prosody_layers, train_prosody
from samplernn_pase.hts_label import FIELDS, Phone
from samplernn_pase.prosody import NUMBERS, Prosody, ProsodyConfig
from samplernn_pase.sentences import Batches, Sentences, prepared
from vocoder_core import audio
from vocoder_core.corpus import Corpus, CorpusConfig, prepare
from vocoder_core.utterance import Utterance

SMALL = ProsodyConfig(phone_width=24, phone_layers=2, pitch_layers=2, mel_width=32, mel_layers=2, voice="slt")
SETS = ["phone_width=24", "phone_layers=2", "pitch_layers=2", "mel_width=32", "mel_layers=2"]


@pytest.fixture(scope="module")
def phones(shared_audio: Path) -> list[Phone]:
    return hts_label.read(shared_audio / "slt" / "arctic_a0009.lab")


@pytest.fixture(scope="module")
def data(shared_audio: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A corpus of one sentence, to train on and held out, and its label."""
    folder = tmp_path_factory.mktemp("prosody")
    clip = shared_audio / "slt" / "arctic_a0009.flac"
    (folder / "labels").mkdir()
    made = []
    for name, split in (("one", "train"), ("two", "train"), ("three", "valid")):
        wav, rate = audio.load(clip)
        audio.save(folder / f"{name}.wav", wav[: 615 * 80], rate)
        made.append(Utterance(name, "slt", folder / f"{name}.wav", "He turned sharply.", split))
        label = (shared_audio / "slt" / "arctic_a0009.lab").read_text()
        (folder / "labels" / f"{name}.lab").write_text(label)
    config = CorpusConfig(16_000, 80, SMALL.level, SMALL.level_db)
    prepare(made, folder / "data", config, features=SMALL.mel, progress=False, jobs=1)
    return folder


@pytest.fixture(scope="module")
def sentences(data: Path) -> Sentences:
    return prepared(Corpus.open(data / "data"), SMALL, data / "labels", progress=False)[0]


def network(**more: object) -> Prosody:
    torch.manual_seed(0)
    return Prosody(replace(SMALL, **more)).eval()  # type: ignore[arg-type]


# ---- what it reads


def test_what_is_learnt_from_is_what_lies_in_the_label_and_the_recording(sentences: Sentences, data: Path) -> None:
    sentence = sentences.sentences[0]
    assert len(sentences) == 2
    assert int(sentence.counts.sum()) == len(sentence.mel) == len(sentence.pitch) == 615
    assert sentence.counts[:3].tolist() == [26, 15, 13], "0.13, 0.075 and 0.065 s"
    assert sentence.raw[:2, 4].tolist() == [linguistic.PHONEMES.index(name) for name in ("pau", "hh")]
    voiced = sentence.pitch[:, 1] > 0
    hertz = 16_000 / sentence.pitch[voiced, 0]
    assert 150 < hertz.median() < 220, "a woman's"
    assert not voiced[:20].any(), "the pause before she speaks"


def test_accents_are_not_heard_for_no_dictionary_knows_them(phones: list[Phone]) -> None:
    names = {FIELDS[i - 2] for i in NUMBERS}
    assert not names & {"a2", "b2", "c2", "b10", "b11", "b14", "b15"}
    assert len(names) == 53 - 10 - 7
    changed = []
    for phone in phones:
        context = list(phone.context)
        for name in ("a2", "b2", "c2", "b10", "b11", "b14", "b15"):
            context[FIELDS.index(name)] = "x"
        changed.append(replace(phone, context=tuple(context)))
    torch.testing.assert_close(network().speak(changed).mel, network().speak(phones).mel, rtol=0, atol=0)


def test_all_kinds_of_silence_are_alike(phones: list[Phone]) -> None:
    renamed = [replace(p, context=(*p.context[:2], "pau", *p.context[3:])) if p.name == "sil" else p for p in phones]
    assert [p.name for p in renamed] != [p.name for p in phones]
    torch.testing.assert_close(network().speak(renamed).mel, network().speak(phones).mel, rtol=0, atol=0)


# ---- what it says


def test_a_batch_is_its_rows(sentences: Sentences) -> None:
    model = network()
    whole = sentences.sentences[0]
    first = replace(whole, raw=whole.raw[:20], counts=whole.counts[:20])
    frames = int(first.counts.sum())
    assert frames % 2 == 1, "half a step at the end"
    first = replace(first, mel=whole.mel[:frames], pitch=whole.pitch[:frames])
    both = Sentences([whole, first], SMALL)
    with torch.no_grad():
        batch = both.batch([0, 1], model)
        together = model(batch.raw, batch.counts)
        for row, sentence in enumerate((whole, first)):
            alone = model(sentence.raw[None], sentence.counts[None])
            n, p = len(sentence.mel), len(sentence.counts)
            torch.testing.assert_close(together.mel[row, :, :n], alone.mel[0], rtol=1e-4, atol=1e-4)
            torch.testing.assert_close(together.durations[row, :p], alone.durations[0], rtol=1e-4, atol=1e-4)
            torch.testing.assert_close(together.height[row, :n], alone.height[0], rtol=1e-4, atol=1e-4)


def test_frames_are_those_of_the_phones_in_order() -> None:
    phones = torch.arange(6.0).view(1, 2, 3)
    frames, inside = prosody_layers.expanded(phones, torch.tensor([[2, 0, 3]]))
    assert frames[0, :2].tolist() == [[0, 0, 2, 2, 2], [3, 3, 5, 5, 5]]
    assert frames[0, 2].tolist() == pytest.approx([0, 0.5, 0, 1 / 3, 2 / 3])
    assert inside.all()
    x = torch.randn(2, 3, 5)
    torch.testing.assert_close(prosody_layers.parted(prosody_layers.joined(x, 2), 2, 5), x)


def test_where_harmonics_fall_is_where_they_are(sentences: Sentences) -> None:
    """Of a pulse train of 200 Hz, the bands whose middle is a harmonic's are loud, and the comb says so."""
    from vocoder_core.mel import log_mel

    model = network()
    wav = torch.zeros(16_000)
    wav[::80] = 0.5
    mel = log_mel(wav, SMALL.mel)[:, 100]
    height = (torch.tensor([[np.log(80.0)]]) - 4.7) / 0.5
    comb = model._comb(height.float(), torch.ones(1, 1))[0, :, 0]
    low = (model.centres > 150) & (model.centres < 1200)
    assert torch.corrcoef(torch.stack([comb[low], mel[low]]))[0, 1] > 0.8
    assert not model._comb(height.float(), torch.zeros(1, 1)).any()


def test_times_that_are_known_are_kept_and_others_are_made(phones: list[Phone]) -> None:
    model = network()
    spoken = model.speak(phones)
    assert spoken.phones == phones
    assert spoken.mel.shape == (80, 615)
    assert spoken.pitch.shape == (615, 2)
    untimed = [Phone(phone.context) for phone in phones]
    made = model.speak(untimed)
    assert hts_label.parse([str(phone) for phone in made.phones]) == made.phones
    assert made.mel.shape[1] == made.phones[-1].end // 50_000
    assert model.duration.bias is not None
    model.duration.bias.data += 2  # long enough that rounding does not count
    usual, fast = model.durations(untimed), model.durations(untimed, speed=2)
    assert fast[-1].end == pytest.approx(usual[-1].end / 2, rel=0.05)
    with pytest.raises(ValueError, match="speed is 9; expected"):
        model.durations(untimed, speed=9)


def test_a_given_pitch_is_kept_and_shapes_the_mel(phones: list[Phone]) -> None:
    model = network()
    pitch = torch.stack([torch.full((610,), 80.0), torch.ones(610)], dim=1)  # five frames short
    spoken = model.speak(phones, pitch=pitch)
    assert spoken.pitch.shape == (615, 2)
    assert (spoken.pitch[:, 0] == 80).all()
    other = model.speak(phones, pitch=torch.stack([pitch[:, 0] * 1.5, pitch[:, 1]], dim=1))
    assert (spoken.mel - other.mel).abs().max() > 1e-3


def test_sharpness_scales_the_cosines_along_the_bands() -> None:
    basis = prosody_layers.cosines(80)
    torch.testing.assert_close(basis @ basis.T, torch.eye(80), rtol=0, atol=1e-5)
    from scipy.fft import dct

    x = torch.randn(80)
    expected = dct(x.double().numpy(), type=2, norm="ortho")
    np.testing.assert_allclose((basis @ x).numpy(), expected, atol=1e-5)
    model = network()
    mel = torch.randn(1, 80, 7)
    torch.testing.assert_close(model.sharpened(mel), mel, rtol=1e-4, atol=1e-4)
    model.sharpness[3] = 2
    spread = basis @ model.sharpened(mel)[0], basis @ mel[0]
    torch.testing.assert_close(spread[0][3], 2 * spread[1][3], rtol=1e-3, atol=1e-3)


# ---- training


def test_every_parameter_learns_and_one_sentence_is_learnt(sentences: Sentences) -> None:
    model = network(phone_width=48, mel_width=48, dropout=0.0).train()
    sentences.measure(model)
    optimizer = torch.optim.Adam(model.parameters(), 5e-3)
    batch, first = sentences.batch([0], model), 0.0
    for step in range(200):
        figures = train_prosody.loss(model, batch)
        optimizer.zero_grad()
        figures["loss"].backward()
        if step == 0:
            first = figures["loss"].item()
            assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())
        optimizer.step()
    last = {name: value.item() for name, value in train_prosody.loss(model, batch).items()}
    assert last["loss"] < first / 3
    assert last["mel"] < 0.35
    assert last["duration"] < 0.1
    spoken = model.eval().speak([Phone(phone.context) for phone in sentences.sentences[0].phones])
    assert spoken.mel.shape[1] == pytest.approx(615, rel=0.1), "it lasts as long as the recording"


def test_phones_last_as_long_in_all_as_those_of_the_reader(sentences: Sentences) -> None:
    model = network()
    sentence = sentences.sentences[0]
    spoken = [phone.name not in hts_label.SILENCES for phone in sentence.phones]

    def total() -> int:
        return int(linguistic.frame_counts(model.durations(sentence.phones))[spoken].sum())

    true = int(sentence.counts[torch.tensor(spoken)].sum())
    assert total() < true / 2
    sentences.measure_pace(model)
    assert total() == pytest.approx(true, rel=0.05)


def test_batches_are_a_pure_function_and_hold_every_sentence_once(sentences: Sentences) -> None:
    many = Sentences([replace(sentences.sentences[0], id=str(i)) for i in range(10)], SMALL)
    seen: list[int] = []
    many.batch = lambda which, model=None: seen.extend(which)  # type: ignore
    batches = Batches(many, 3, seed=1)
    for step in range(1, 4):
        batches(step, 0, 1)
    assert len(set(seen)) == 9, "of ten, one sits out"
    first = list(seen)
    seen.clear()
    for step in range(1, 4):
        Batches(many, 3, seed=1)(step, 0, 1)
    assert seen == first
    seen.clear()
    Batches(many, 3, seed=2)(1, 0, 1)
    assert seen != first[:3]


def arguments(data: Path, run: Path, steps: int) -> list[str]:
    settings = [f"model.{name}" for name in SETS] + [f"train.steps={steps}", "train.batch_size=2", "train.amp=off"]
    settings += ["train.warmup=0", "train.schedule=constant", "train.save_every=2", "train.valid_every=2"]
    sets = [flag for setting in settings for flag in ("--set", setting)]
    return [str(data / "data"), str(run), "--labels", str(data / "labels"), "--device", "cpu", *sets]


def test_the_command_trains_and_a_run_that_stopped_ends_alike(data: Path, tmp_path: Path) -> None:
    assert train_prosody.main(arguments(data, tmp_path / "whole", 4)) == 0
    for steps in (2, 4):
        assert train_prosody.main(arguments(data, tmp_path / "parts", steps)) == 0
    whole, parts = (Prosody.from_pretrained(tmp_path / name) for name in ("whole", "parts"))
    assert whole.config.voice == "slt"
    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, parts.state_dict()[name]), name
    assert (whole.sharpness >= 1).all()
    assert (whole.sharpness > 1).any()
    rows = [json.loads(line) for line in (tmp_path / "whole" / "metrics.jsonl").read_text().splitlines()]
    assert {"mel", "duration", "height", "voicing", "valid_mel"} <= rows[-1].keys()


def test_mistakes_are_one_sentence(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = arguments(data, tmp_path / "run", 1)
    for more, told in (
        (["--voice", "bob"], "--voice is bob; expected one of the 1 speakers, such as slt"),
        (["--set", "model.level_db=-3"], "was prepared with level_db = -0.4455, now -3.0 is asked"),
        (["--labels", str(tmp_path)], "has labels in"),
        (["--set", "model.mel.hop_length=160"], "expected 5 ms, 80 samples"),
    ):
        assert train_prosody.main(run + more) == 2
        assert told in capsys.readouterr().err
