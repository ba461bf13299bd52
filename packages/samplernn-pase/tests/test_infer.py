"""samplernn-pase-infer as its users run it: any recording or mel in, an aligned wave out, refusals in a sentence."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
import torch
from numpy.typing import NDArray

from samplernn_pase import SampleRNNPASE, SampleRNNPASEConfig, world43
from samplernn_pase.content import ContentConfig
from samplernn_pase.ge2e import GE2E
from samplernn_pase.infer import copy, main
from samplernn_pase.listening import hear, who_speaks
from samplernn_pase.seed_speech import spoken
from samplernn_pase.speaker import SpeakerConfig, fingerprint
from samplernn_pase.speaker_vectors import Vectors
from vocoder_core import audio, mel_file
from vocoder_core.inference import analyse
from vocoder_core.pitch import track

sys.path.append(str(Path(__file__).parent))  # the folder of small_models.py
from small_models import EXCITED, GIVEN, TEXT, VOICES, WAVE, WHO, drawn, untrained

TORCH = ["--backend", "torch"]  # these models are so small that compiling would take longer than running
needs_world = pytest.mark.skipif(not world43.available(), reason="WORLD's features need pyworld")
Clip = NDArray[np.float32]


@pytest.fixture(scope="module")
def wave(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of mels and of the wave itself."""
    return untrained(WAVE, tmp_path_factory.mktemp("wave"))


@pytest.fixture(scope="module")
def excited(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of mels, excitation and pitch."""
    return untrained(EXCITED, tmp_path_factory.mktemp("excited"))


@pytest.fixture(scope="module")
def voices(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of WORLD's features and learned voices."""
    return untrained(VOICES, tmp_path_factory.mktemp("voices"))


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of an encoder that hears speakers, as good as its dice."""
    torch.manual_seed(3)
    path = tmp_path_factory.mktemp("encoder") / "encoder.pt"
    torch.save({"model_state": GE2E().state_dict()}, path)
    return path


@pytest.fixture(scope="module")
def computed(weights: Path, shared_audio: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model whose voices are vectors which that encoder computed."""
    torch.manual_seed(3)
    folder, made = tmp_path_factory.mktemp("computed"), GE2E()
    config = replace(VOICES, speaker=SpeakerConfig(provider="ge2e", fingerprint=fingerprint(made)), speakers=WHO)
    model = drawn(config)
    encoder = GE2E.load(weights)
    clips = ("slt/arctic_a0007", "austen/austen_64kb-0880", "ivrvoice/ru-demo-thanks")
    heard = [encoder.embed(*audio.load(shared_audio / f"{clip}.flac")) for clip in clips]
    model.voices.fill(Vectors(WHO, np.stack(heard), "ge2e", encoder.fingerprint, 60.0))  # type: ignore[operator, union-attr]
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def clip(shared_audio: Path) -> Clip:
    return audio.load(shared_audio / "slt" / "arctic_a0009.flac", 16_000)[0][8800:9200]


def run(checkpoint: Path, folder: Path, *more: object, source: str = "in.wav") -> Clip:
    """What the command makes of folder/in.wav."""
    told = [str(folder / source), str(folder / "out.wav"), "--checkpoint", str(checkpoint), *TORCH]
    assert main([*told, *(str(argument) for argument in more)]) == 0
    return soundfile.read(folder / "out.wav", dtype="float32")[0]


@pytest.mark.parametrize(
    ("rate", "channels", "samples"),
    [(16_000, 1, 1), (16_000, 1, 79), (16_000, 1, 161), (44_100, 2, 601), (8000, 6, 201), (22_050, 1, 64)],
)
def test_the_copy_has_the_recordings_rate_and_number_of_samples(
    excited: Path, clip: Clip, tmp_path: Path, rate: int, channels: int, samples: int
) -> None:
    wav = np.resize(audio.resample(clip, 16_000, rate), samples)
    soundfile.write(tmp_path / "in put.wav", np.stack([wav] * channels, 1), rate)
    made = run(excited, tmp_path, source="in put.wav")
    assert soundfile.info(tmp_path / "out.wav").samplerate == rate
    assert made.shape == (samples,) and np.isfinite(made).all()


@needs_world
@pytest.mark.parametrize("samples", [1, 79, 330])
def test_so_has_what_is_said_by_worlds_features(voices: Path, clip: Clip, tmp_path: Path, samples: int) -> None:
    soundfile.write(tmp_path / "in.wav", clip[:samples], 16_000)
    assert run(voices, tmp_path, "--speaker", "anna").shape == (samples,)


@pytest.mark.parametrize("kind", ["excited", "voices"])
def test_silence_is_said_as_well(kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """Nothing is voiced, nothing moves, no peak can be brought anywhere."""
    if kind == "voices":
        pytest.importorskip("pyworld", reason="WORLD's features need pyworld")
    soundfile.write(tmp_path / "in.wav", np.zeros(330), 16_000)
    made = run(request.getfixturevalue(kind), tmp_path, *(["--speaker", "anna"] if kind == "voices" else []))
    assert made.shape == (330,) and np.isfinite(made).all()


def test_a_seed_names_one_copy_in_every_process(excited: Path, clip: Clip, tmp_path: Path) -> None:
    """The command in a process of its own gives what the function gives here; another seed gives another copy."""
    soundfile.write(tmp_path / "in.wav", clip, 16_000, subtype="FLOAT")
    command = [sys.executable, "-m", "samplernn_pase.infer", "in.wav", "out.wav", "--checkpoint", str(excited), *TORCH]
    done = subprocess.run([*command, "--seed", "5"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "out.wav: 0.03 s at 16000 Hz" in done.stdout
    model = SampleRNNPASE.from_pretrained(excited)
    five, six = (copy(model, clip, 16_000, seed=seed, backend="torch") for seed in (5, 6))
    assert np.allclose(soundfile.read(tmp_path / "out.wav", dtype="float32")[0], five, atol=1e-4)
    assert np.abs(five - six).max() > 1e-2
    calm = copy(model, clip, 16_000, seed=5, temperature=0.3, backend="torch")
    assert np.abs(five - calm).max() > 1e-2


def test_the_recordings_level_is_taken_off_and_given_back(excited: Path, clip: Clip) -> None:
    model = SampleRNNPASE.from_pretrained(excited)
    loud, quiet = (copy(model, wav, 16_000, seed=0, backend="torch") for wav in (clip, clip / 8))
    assert np.allclose(loud, 8 * quiet, atol=2e-3 * np.abs(loud).max())


def test_a_recording_is_heard_with_its_own_pitch(excited: Path, shared_audio: Path) -> None:
    """Tracked on the recording, as training did, and not on what Griffin-Lim makes of its mel."""
    model = SampleRNNPASE.from_pretrained(excited)
    wav = torch.from_numpy(audio.load(shared_audio / "slt" / "arctic_a0007.flac", 16_000)[0][:16_000])
    heard = hear(model, wav)
    lag, voicing = track(wav[None], 16_000, 80)
    assert heard.pitch is not None and torch.equal(heard.pitch, torch.stack([lag, voicing], dim=2))
    assert torch.equal(heard.content[0], analyse(wav, model.config.mel)) and heard.normal is None
    said = copy(model, wav.numpy()[:400], 16_000, seed=1, backend="torch")
    own, gain = audio.set_peak(wav.numpy()[:400], model.config.level_db)
    mel, pitch = analyse(torch.from_numpy(own), model.config.mel), track(torch.from_numpy(own)[None], 16_000, 80)
    again = model.synthesize(mel[None], pitch=torch.stack(pitch, dim=2), seed=1, backend="torch")[0].numpy() / gain
    assert np.allclose(said, again, atol=1e-5)


def test_settling_brings_the_copy_to_its_mel(excited: Path, clip: Clip, tmp_path: Path) -> None:
    model, wav = SampleRNNPASE.from_pretrained(excited), np.tile(clip, 2)
    soundfile.write(tmp_path / "in.wav", wav, 16_000, subtype="FLOAT")
    near = run(excited, tmp_path, "--settle", "4")
    far = copy(model, wav, 16_000, seed=0, backend="torch")
    asked, settled, said = (analyse(torch.from_numpy(one), model.config.mel) for one in (wav, near, far))
    assert (settled - asked).abs().mean() < 0.8 * (said - asked).abs().mean()


@pytest.mark.parametrize("suffix", [".npy", ".npz"])
def test_a_mel_file_gives_what_the_model_gives_for_it(wave: Path, clip: Clip, tmp_path: Path, suffix: str) -> None:
    model, path = SampleRNNPASE.from_pretrained(wave), tmp_path / f"mel{suffix}"
    mel = analyse(torch.from_numpy(clip), model.config.mel)
    np.save(path, mel.numpy()) if suffix == ".npy" else mel_file.write(path, mel, model.config.mel)
    made = run(wave, tmp_path, "--seed", "5", source=path.name)
    assert np.allclose(made, model.synthesize(mel, seed=5, backend="torch").numpy(), atol=1e-4)


# ---- voices


@needs_world
def test_what_is_said_is_heard_in_deviations_of_the_recordings_own_means(voices: Path, shared_audio: Path) -> None:
    """Which say who speaks, less than the numbers themselves do; and voicing as it is."""
    model = SampleRNNPASE.from_pretrained(voices)
    wav = audio.load(shared_audio / "slt" / "arctic_a0007.flac", 16_000)[0][:16_000]
    heard, content = hear(model, torch.from_numpy(wav)), world43.analyse(wav)
    assert heard.normal is not None and np.array_equal(heard.content[0], content)
    told = model.content(heard.content, heard.normal)[0].detach().numpy()
    expected = (content[:, :42] - content[:, :42].mean(0)) / content[:, :42].std(0)
    assert np.allclose(told[:, :42], expected.clip(-8, 8), atol=1e-3) and np.array_equal(told[:, 42], content[:, 42])


@needs_world
def test_each_voice_says_it_otherwise(voices: Path, clip: Clip, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "in.wav", clip, 16_000, subtype="FLOAT")
    anna, bruno = (run(voices, tmp_path, "--speaker", name) for name in ("anna", "bruno"))
    model = SampleRNNPASE.from_pretrained(voices)
    assert np.allclose(anna, copy(model, clip, 16_000, speaker="anna", seed=0, backend="torch"), atol=1e-4)
    assert np.abs(anna - bruno).max() > 1e-2
    assert model.voices is not None
    by_vector = copy(model, clip, 16_000, speaker=model.voices.table(torch.tensor([1])), seed=0, backend="torch")
    assert np.allclose(bruno, by_vector, atol=1e-4)


@needs_world
def test_a_recording_names_a_voice(
    computed: Path, weights: Path, shared_audio: Path, clip: Clip, tmp_path: Path
) -> None:
    """--speaker-ref: whoever is heard there, by the model's own encoder; without it, in the recording itself."""
    soundfile.write(tmp_path / "in.wav", clip, 16_000, subtype="FLOAT")
    reference = shared_audio / "carlo" / "it-demo-thanks.flac"
    model = SampleRNNPASE.from_pretrained(computed)
    encoder = GE2E.load(weights)
    own = ["--speaker-weights", weights]
    for more, source in (([*own, "--speaker-ref", reference], reference), (own, tmp_path / "in.wav")):
        made = run(computed, tmp_path, *more)
        wav, rate = audio.load(source)
        vector = torch.from_numpy(encoder.embed(spoken(wav, rate)[: 60 * rate], rate))[None]
        assert np.allclose(made, copy(model, clip, 16_000, speaker=vector, seed=0, backend="torch"), atol=1e-4)
    alone = copy(model, clip, 16_000, encoder=encoder, seed=0, backend="torch")
    assert np.allclose(made, alone, atol=1e-4)
    named = run(computed, tmp_path, "--speaker", "bruno")
    assert np.abs(named - made).max() > 1e-3
    assert torch.equal(who_speaks(model, reference, weights), who_speaks(model, reference, weights))


@needs_world
def test_a_long_reference_is_heard_for_as_long_as_the_training_speakers_were(
    computed: Path, weights: Path, shared_audio: Path, tmp_path: Path
) -> None:
    model = SampleRNNPASE.from_pretrained(computed)
    wav, rate = audio.load(shared_audio / "austen" / "austen_64kb-0870.flac")
    soundfile.write(tmp_path / "short.wav", spoken(wav, rate)[: 2 * rate], rate, subtype="FLOAT")
    model.config = replace(model.config, speaker=replace(model.config.speaker, seconds=2.0))
    soundfile.write(tmp_path / "long.wav", wav, rate, subtype="FLOAT")
    first, second = (who_speaks(model, tmp_path / f"{name}.wav", weights) for name in ("short", "long"))
    assert torch.allclose(first, second, atol=1e-3)
    heard: list[int] = []
    encoder = SimpleNamespace(embed=lambda wav, rate: heard.append(len(wav)) or np.zeros(256, np.float32))
    model.config = replace(model.config, speaker=replace(model.config.speaker, seconds=0.01))
    copy(model, spoken(wav, rate)[:400], rate, encoder=encoder, seed=0, backend="torch")  # type: ignore[arg-type]
    assert heard == [160]


# ---- refusals


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["missing.wav", "out.wav"], "missing.wav"),
        (["in.wav", "nowhere/out.wav"], "nowhere: no such folder"),
        (["in.wav", "out.wav", "--checkpoint", "nowhere"], "nowhere: no config.yaml there"),
        (["in.wav", "out.wav", "--device", "abacus"], "no such kind of device"),
        (["in.wav", "out.wav", "--temperature", "-1"], "temperature"),
        (["in.wav", "out.wav", "--settle", "-1"], "settle is -1"),
        (["in.wav", "out.xyz"], "out.xyz"),
        (["text.wav", "out.wav"], "text.wav"),
        (["other.npz", "out.wav"], "its mel has centering = same, this model reads centering = center"),
        (["in.wav", "out.wav", "--speaker", "anna"], "--speaker anna: this model has no voices"),
        (["mel.npz", "out.wav", "--speaker", "anna"], "--speaker anna: this model has no voices"),
        (["in.wav", "out.wav", "--speaker-ref", "in.wav"], "--speaker-ref in.wav: this model has no voices"),
        (["in.wav", "out.wav", "--checkpoint", "VOICES"], "name one by --speaker: anna, bruno, carlo"),
        (["in.wav", "out.wav", "--checkpoint", "VOICES", "--speaker-ref", "in.wav"], "voices are lookup's"),
        (["mel.npz", "out.wav", "--checkpoint", "VOICES", "--speaker", "anna"], "hears world43, not mels"),
        (["in.wav", "out.wav", "--checkpoint", "GIVEN"], "name one by --speaker: anna, bruno, carlo"),
        (["in.wav", "out.wav", "--checkpoint", "TEXT", "--speaker", "anna"], "say a text by samplernn-pase-tts"),
        (["in.wav", "out.wav", "--checkpoint", "COMPUTED", "--speaker-weights", "text.wav"], "text.wav"),
        (["in.wav", "out.wav", "--checkpoint", "COMPUTED", "--speaker-weights", "other.pt"], "the encoder is ge2e's"),
        (["in.wav", "out.wav", "--checkpoint", "COMPUTED", "--speaker-ref", "no.wav", "--speaker-weights", "WEIGHTS"],
         "no.wav"),
        (["quiet.wav", "out.wav", "--checkpoint", "COMPUTED", "--speaker-weights", "WEIGHTS"], "quiet.wav: the 0.03 s"),
    ],
)  # fmt: skip
def test_what_cannot_be_done_is_refused_in_a_sentence(
    excited: Path, clip: Clip, tmp_path: Path, arguments: Sequence[str], said: str, request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    soundfile.write("in.wav", clip, 16_000), soundfile.write("quiet.wav", 0 * clip, 16_000)
    Path("text.wav").write_text("not audio")
    torch.save({"model_state": GE2E().state_dict()}, "other.pt")
    mel = analyse(torch.from_numpy(clip), EXCITED.mel)
    mel_file.write("mel.npz", mel, EXCITED.mel)
    mel_file.write("other.npz", mel, replace(EXCITED.mel, centering="same"))

    def place(argument: str) -> str:
        if argument in ("GIVEN", "TEXT"):
            return str(untrained({"GIVEN": GIVEN, "TEXT": TEXT}[argument], tmp_path / argument))
        return str(request.getfixturevalue(argument.lower())) if argument.isupper() else argument

    given = [place(argument) for argument in arguments] + TORCH
    assert main(given if "--checkpoint" in given else [*given, "--checkpoint", str(excited)]) == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1 and "Traceback" not in error, error
    assert not list(tmp_path.glob("out*"))


@needs_world
def test_a_stranger_is_refused_with_the_nearest_name(
    voices: Path, clip: Clip, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    soundfile.write(tmp_path / "in.wav", clip, 16_000)
    told = [str(tmp_path / "in.wav"), str(tmp_path / "out.wav"), "--checkpoint", str(voices), *TORCH]
    assert main([*told, "--speaker", "ana"]) == 2
    assert "did you mean anna?" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main([*told, "--speaker", "anna", "--speaker-ref", "in.wav"])


def test_a_model_of_ahocoders_numbers_is_not_fed_worlds() -> None:
    content = ContentConfig(kind="world43", acoustic="ahocoder")
    none = SpeakerConfig(provider="none")
    model = SampleRNNPASE(SampleRNNPASEConfig(content=content, speaker=none, hidden_size=8, embedding_size=4))
    with pytest.raises(ValueError, match="Ahocoder"):
        hear(model, torch.zeros(800))
