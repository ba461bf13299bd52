"""vqvaevc-encode, -decode and -convert as their users run them, on real speech and with models that say nothing."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from vocoder_core import audio, codes_file
from vocoder_core.codes_file import Coded
from vqvaevc import VQVAEVC, bitstream, conversion, convert, decode, encode

sys.path.append(str(Path(__file__).parent))  # the folder of drawn_models.py
from drawn_models import CODEC, VOCODER, WAVE, untrained

TORCH = ["--backend", "torch"]  # these models are so small that compiling would take longer than running


@pytest.fixture(scope="module")
def codec(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return untrained(CODEC, tmp_path_factory.mktemp("codec"))


@pytest.fixture(scope="module")
def wave(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return untrained(WAVE, tmp_path_factory.mktemp("wave"))


@pytest.fixture
def here(shared_audio: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with in.wav: 2,001 samples at 44.1 kHz, quiet, of a voiced stretch."""
    monkeypatch.chdir(tmp_path)
    wav = audio.load(shared_audio / "slt" / "arctic_a0009.flac", 44_100)[0][24_000:26_001]
    soundfile.write("in.wav", 0.3 * wav, 44_100)
    return tmp_path


def read(name: str) -> np.ndarray:
    return soundfile.read(name, dtype="float32")[0]


def coded(name: str, model: VQVAEVC) -> Coded:
    return codes_file.read(name, bitstream.book(model), "vqvaevc-encode")


@pytest.mark.parametrize("suffix", ["npz", "vqc"])
def test_speech_goes_through_codes_and_comes_back_as_long_and_as_loud(
    codec: Path, here: Path, suffix: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """2,001 samples at 44.1 kHz are 726 at 16 kHz, 3 frames, 2 codes of two frames; 16 codes are four bits."""
    name, told = f"codes.{suffix}", ["--checkpoint", str(codec)]
    assert encode.main(["in.wav", name, *told]) == 0
    said = capsys.readouterr().out
    assert f"{name}: 0.05 s in {Path(name).stat().st_size} bytes" in said
    assert "codes: 2, 31.25 a second, 125 bit/s (entropy " in said
    assert "pitch: 3, 62.5 a second, 375 bit/s (entropy " in said
    assert decode.main([name, "out.wav", *told, *TORCH, "--speaker", "anna"]) == 0
    assert "out.wav: 0.05 s at 44100 Hz" in capsys.readouterr().out
    made = soundfile.info("out.wav")
    assert (made.frames, made.samplerate) == (2001, 44_100)
    assert decode.main([name, "own.flac", *told, *TORCH, "--speaker", "anna", "--rate", "model"]) == 0
    assert (soundfile.info("own.flac").frames, soundfile.info("own.flac").samplerate) == (726, 16_000)
    model = VQVAEVC.from_pretrained(codec)
    kept = coded(name, model)
    assert (kept.sample_rate, kept.samples) == (44_100, 2001)
    assert kept.gain == pytest.approx(0.95 / np.abs(audio.load("in.wav", 16_000)[0]).max(), rel=1e-3)
    again = model.decode(bitstream.codes_of(model, kept), "anna", seed=0, backend="torch")[0, :726] / kept.gain
    assert np.allclose(read("own.flac"), again, atol=1e-4)


def test_a_file_is_the_codes_and_48_bytes(wave: Path, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """1,001 samples at 22.05 kHz are 16 frames of 64; 85 codes more are heard before the first sample is said."""
    assert encode.main(["in.wav", "codes.vqc", "--checkpoint", str(wave)]) == 0
    assert Path("codes.vqc").stat().st_size == 48 + -(-(16 + 85) * 4 // 8)
    model = VQVAEVC.from_pretrained(wave)
    codes = coded("codes.vqc", model).codes
    own, _ = audio.set_peak(audio.load("in.wav", 22_050)[0], -0.4455)
    padded = np.pad(own, (0, 1024 - len(own)))
    assert torch.equal(codes, model.encode(torch.from_numpy(padded)[None]).codes[0]) and codes.unique().numel() > 1
    shares = [codes.tolist().count(code) / len(codes) for code in set(codes.tolist())]
    bits = -sum(share * np.log2(share) for share in shares) * 22_050 / 64
    said = capsys.readouterr().out
    assert f"codes: 101, 344.5 a second, 1378 bit/s (entropy {bits:.4g})" in said and "pitch" not in said


@pytest.mark.parametrize("kind", ["codec", "wave"])
def test_converting_is_encoding_and_decoding(kind: str, request: pytest.FixtureRequest, here: Path) -> None:
    told = ["--checkpoint", str(request.getfixturevalue(kind)), *TORCH, "--seed", "3"]
    assert encode.main(["in.wav", "codes.npz", *told[:2]]) == 0
    made = {}
    for name in ("anna", "bruno"):
        assert decode.main(["codes.npz", "out.wav", "--speaker", name, *told]) == 0
        assert convert.main(["in.wav", "converted.wav", "--target", name, *told]) == 0
        made[name] = read("converted.wav")
        assert made[name].shape == (2001,) and np.array_equal(read("out.wav"), made[name])
    assert np.abs(made["anna"] - made["bruno"]).max() > 1e-3, "it hears its target"


def test_several_targets_are_one_batch_and_a_file_each(
    wave: Path, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each voice is the one that it is alone: out.NAME.wav, or out/NAME.wav where out is a folder."""
    told = ["--checkpoint", str(wave), *TORCH]
    assert convert.main(["in.wav", "out.wav", *told, "--target", "carlo", "--target", "anna"]) == 0
    assert {path.name for path in here.glob("out*")} == {"out.carlo.wav", "out.anna.wav"}
    assert capsys.readouterr().out.count("0.05 s at 44100 Hz") == 2
    (here / "voices").mkdir()
    assert convert.main(["in.wav", "voices", *told, "--target", "carlo", "--target", "anna"]) == 0
    assert convert.main(["in.wav", "alone.flac", *told, "--target", "anna"]) == 0
    assert np.array_equal(read("out.anna.wav"), read("voices/anna.wav"))
    assert np.array_equal(read("out.anna.wav"), read("alone.flac")), "a batch changes nobody"
    assert not np.array_equal(read("out.anna.wav"), read("voices/carlo.wav"))


@torch.inference_mode()
def test_a_voice_is_the_same_in_a_batch_and_alone(codec: Path, shared_audio: Path) -> None:
    """The mel of each voice is decoded alone: its last bit would turn a sample, and with it all that follow."""
    model = VQVAEVC.from_pretrained(codec)
    wav = torch.from_numpy(audio.load(shared_audio / "slt" / "arctic_a0009.flac", 16_000)[0][8000:8768])
    together = model.convert(wav, ["bruno", "anna", "bruno"], seed=4, backend="torch")
    alone = model.convert(wav, "anna", seed=4, backend="torch")
    assert together.shape == (3, 768) and alone.shape == (768,)
    assert torch.equal(together[1], alone) and torch.equal(together[0], together[2])
    codes = model.encode(torch.stack([wav, wav.flip(0)]))
    assert torch.equal(codes.codes[0], model.encode(wav[None]).codes[0]) and len(codes.pitch) == 2


def test_names_of_files_are_names_of_speakers(tmp_path: Path) -> None:
    """A speaker whose folder lay in another one has no file in a folder that is not there."""
    out = tmp_path / "out.v1.flac"
    assert [path.name for path in convert.files(out, ["a/b", "c"])] == ["out.v1.a_b.flac", "out.v1.c.flac"]
    assert convert.files(out, ["c"]) == [out]
    assert convert.files(tmp_path, ["c"]) == [tmp_path / "c.wav"]


def test_the_pitch_goes_where_the_targets_voice_is(codec: Path, shared_audio: Path) -> None:
    """By the mean of log F0 that the model keeps of its speakers."""
    model = VQVAEVC.from_pretrained(codec)
    voice = audio.load(shared_audio / "slt" / "arctic_a0009.flac", 16_000)[0][8000:18_240]
    codes = model.encode(torch.from_numpy(voice)[None])
    voiced = (codes.pitch[0] > 0).repeat_interleave(256 // 64)  # a lag for each block of samples
    assert voiced.any() and not voiced.all()
    means = []
    for name in ("anna", "bruno"):
        told = conversion.described(model, codes, model.who(name, codes.codes), conversion.voices(model, name, 1))
        means.append(float((16_000 / told.lag[0, voiced]).log().mean()))
    assert means == pytest.approx([5.3, 4.6], abs=0.1)
    assert conversion.voices(model, torch.zeros(1, 4), 1) is None, "a vector is nobody's in particular: as it was"


def test_codes_survive_half_precision_and_nothing_else(wave: Path, here: Path) -> None:
    """A shipped voice is rounded to fp16 and reads the codes of the run it came from; another model does not."""
    model = VQVAEVC.from_pretrained(wave)
    given = Coded(torch.arange(101) % 16, 44_100, 2001, 1.0)
    codes_file.write("codes.npz", given, bitstream.book(model))
    rounded = VQVAEVC.from_pretrained(wave)
    rounded.load_state_dict({name: tensor.half().float() for name, tensor in model.state_dict().items()})
    assert torch.equal(coded("codes.npz", rounded).codes, given.codes)
    other = VQVAEVC.from_pretrained(untrained(WAVE, here / "other", seed=1))
    with pytest.raises(ValueError, match="another codebook"):
        coded("codes.npz", other)


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("encode missing.wav codes.npz", "missing.wav"),
        ("encode in.wav nowhere/codes.npz", "nowhere: no such folder"),
        ("encode in.wav codes.bin", "codes.bin: codes are kept as .npz or .vqc"),
        ("encode in.wav codes.npz --checkpoint VOCODER", "has no codes"),
        ("decode given.npz out.wav --checkpoint VOCODER", "has no codes"),
        ("decode given.npz out.wav", "the model got no speaker"),
        ("decode given.npz out.wav --speaker karlo", "did you mean carlo?"),
        ("decode short.npz out.wav --speaker carlo", "holds 16 codes of a recording of 4000 samples at 16000 Hz"),
        ("decode mel.npz out.wav --speaker carlo", "mel.npz: holds no codes"),
        ("decode in.wav out.wav --speaker carlo", "in.wav: not a readable file of codes"),
        ("decode bad.npz out.wav --speaker carlo", "bad.npz: damaged (of 17 codes"),
        ("convert in.wav out.wav --target karlo", "did you mean carlo?"),
        ("convert in.wav out.wav --target carlo --target carlo", "expected each of them once"),
        ("convert in.wav out.wav --target carlo --checkpoint VOCODER", "has no codes"),
        ("convert in.wav nowhere/out.wav --target carlo", "nowhere: no such folder"),
        ("convert in.wav out.wav --target carlo --temperature -1", "temperature"),
        ("convert mel.npz out.wav --target carlo", "mel.npz"),
    ],
)
def test_what_cannot_be_done_is_refused_in_a_sentence(
    wave: Path, here: Path, command: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    book = bitstream.book(VQVAEVC.from_pretrained(wave))
    codes_file.write("given.npz", Coded(torch.arange(101) % 16, 44_100, 2001, 1.0), book)
    codes_file.write("short.npz", Coded(torch.arange(16), 16_000, 4000, 1.0), book)
    codes_file.write("bad.npz", Coded(torch.tensor([16]), 16_000, 4000, 1.0), replace(book, size=17))
    np.savez("mel.npz", mel=np.zeros((80, 3), np.float32))
    name, *given = command.split()
    given = [str(untrained(VOCODER, here / "vocoder")) if part == "VOCODER" else part for part in given]
    main = {"encode": encode.main, "decode": decode.main, "convert": convert.main}[name]
    told = given if "--checkpoint" in given else [*given, "--checkpoint", str(wave)]
    assert main(told if name == "encode" else [*told, *TORCH]) == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1 and "Traceback" not in error, error
    assert not list(here.glob("out*")) and not list(here.glob("codes*"))


@pytest.mark.parametrize("told", ["--backend abacus", "--temperature much", ""])
def test_wrong_words_are_answered_with_usage(told: str, capsys: pytest.CaptureFixture[str]) -> None:
    target = ["--target", "anna"] if told else []
    with pytest.raises(SystemExit) as end:
        convert.main(["in.wav", "out.wav", *target, *told.split()])
    assert end.value.code == 2 and (told.split() or ["--target"])[0] in capsys.readouterr().err


def test_the_installed_commands_do_it_in_processes_of_their_own(wave: Path, here: Path) -> None:
    """The compiled loop and the reference make the same of the same seed, in whatever process."""
    scripts = Path(sys.executable).parent
    told = ["--checkpoint", str(wave)]
    for line in (
        ["vqvaevc-encode", "in.wav", "codes.vqc"],
        ["vqvaevc-decode", "codes.vqc", "out.wav", "--speaker", "carlo", "--seed", "3", *TORCH],
        ["vqvaevc-convert", "in.wav", "out.flac", "--target", "carlo", "--target", "anna", "--seed", "3", *TORCH],
    ):
        if not (scripts / line[0]).exists():
            pytest.skip("the commands are not installed beside this interpreter")
        done = subprocess.run([str(scripts / line[0]), *line[1:], *told], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    assert np.array_equal(read("out.wav"), read("out.carlo.flac")), "converting is encoding and decoding"
    assert soundfile.info("out.anna.flac").frames == 2001
