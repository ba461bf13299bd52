"""waveglow-vq-encode, -decode and -convert as their users run them, on real speech and with models that say nothing."""

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
from waveglow_vq import WaveGlowVQ, convert, decode, encode
from waveglow_vq.conversion import book

sys.path.append(str(Path(__file__).parent))  # the folder of untrained.py
from untrained import CODEC, MEL, WAVE, untrained


@pytest.fixture(scope="module")
def voice(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return untrained(CODEC, tmp_path_factory.mktemp("codec"))


@pytest.fixture
def here(shared_audio: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with in.wav: 20,001 samples at 44.1 kHz, quiet."""
    monkeypatch.chdir(tmp_path)
    wav = audio.load(shared_audio / "slt" / "arctic_a0009.flac", 44_100)[0][22_000:42_001]
    soundfile.write("in.wav", 0.3 * wav, 44_100)
    return tmp_path


def read(name: str) -> np.ndarray:
    return soundfile.read(name, dtype="float32")[0]


def codes_of(name: str, model: WaveGlowVQ) -> Coded:
    return codes_file.read(name, book(model), "waveglow-vq-encode")


def test_speech_goes_through_codes_and_comes_back_as_long_and_as_loud(
    voice: Path, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert encode.main(["in.wav", "codes.npz", "--checkpoint", str(voice)]) == 0
    # 7257 samples at 16 kHz are 29 frames, three to a code; 16 codes are four bits
    assert "codes.npz: 10 codes of 0.45 s, 20.83 a second, 83.33 bit/s" in capsys.readouterr().out
    assert decode.main(["codes.npz", "out.wav", "--checkpoint", str(voice), "--speaker", "anna"]) == 0
    assert "out.wav: 0.45 s at 44100 Hz" in capsys.readouterr().out
    made = soundfile.info("out.wav")
    assert (made.frames, made.samplerate) == (20_001, 44_100)
    assert (
        decode.main(["codes.npz", "own.flac", "--checkpoint", str(voice), "--speaker", "anna", "--rate", "model"]) == 0
    )
    assert (soundfile.info("own.flac").frames, soundfile.info("own.flac").samplerate) == (7257, 16_000)
    model = WaveGlowVQ.from_pretrained(voice)
    coded = codes_of("codes.npz", model)
    assert (coded.sample_rate, coded.samples) == (44_100, 20_001)
    assert coded.gain == pytest.approx(0.95 / np.abs(audio.load("in.wav", 16_000)[0]).max(), rel=1e-3)
    assert np.allclose(read("own.flac"), model.decode(coded.codes, "anna", seed=0)[:7257] / coded.gain, atol=1e-4)


def test_the_entropy_is_that_of_the_codes(voice: Path, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    encode.main(["in.wav", "codes.npz", "--checkpoint", str(voice)])
    codes = codes_of("codes.npz", WaveGlowVQ.from_pretrained(voice)).codes.tolist()
    shares = [codes.count(code) / len(codes) for code in set(codes)]
    bits = -sum(share * np.log2(share) for share in shares) * 16_000 / 256 / 3
    assert f"(entropy {bits:.4g})" in capsys.readouterr().out


@pytest.mark.parametrize("mode", [[], ["--mode", "invert"], ["--mode", "invert", "--mix", "0.5"]])
def test_conversion_keeps_length_and_rate_and_hears_its_target(voice: Path, here: Path, mode: list[str]) -> None:
    command = ["in.wav", "out.wav", "--checkpoint", str(voice), *mode]
    made = {}
    for target in ("anna", "bruno"):
        assert convert.main([*command, "--target", target]) == 0
        made[target] = read("out.wav")
        assert made[target].shape == (20_001,) and np.isfinite(made[target]).all()
    assert np.abs(made["anna"] - made["bruno"]).max() > 1e-3
    model, wav = WaveGlowVQ.from_pretrained(voice), read("in.wav")
    told = {"mode": "invert"} if mode else {}
    more = {"mix": 0.5} if "--mix" in mode else {}
    assert np.allclose(convert.convert(model, wav, 44_100, "bruno", seed=0, **told, **more), made["bruno"], atol=1e-3)


def test_invert_keeps_what_the_targets_condition_does_not_ask_for(voice: Path, here: Path) -> None:
    """Without fresh noise nothing is drawn; with nothing else both modes are one."""
    command = ["in.wav", "out.wav", "--checkpoint", str(voice), "--target", "anna", "--mode", "invert"]
    made = {}
    for told in ("--seed 1", "--seed 2", "--seed 1 --mix 1", "--seed 2 --mix 1"):
        assert convert.main([*command, *told.split()]) == 0
        made[told] = read("out.wav")
    assert np.array_equal(made["--seed 1"], made["--seed 2"])
    assert np.abs(made["--seed 1 --mix 1"] - made["--seed 2 --mix 1"]).max() > 1e-3
    assert convert.main([*command[:-1], "resynth", "--seed", "1"]) == 0
    start = slice(0, 10_000)  # beyond it codes that stand for some frames more than there are begin to be heard
    assert np.allclose(read("out.wav")[start], made["--seed 1 --mix 1"][start], atol=1e-3)


def test_the_seeds_model_encodes_decodes_and_converts_too(here: Path) -> None:
    model = str(untrained(WAVE, here / "model"))
    assert encode.main(["in.wav", "codes.npz", "--checkpoint", model]) == 0
    assert len(np.load("codes.npz")["codes"]) == 29 * 4 / 2, "64 samples a code, of whole frames, two in a byte"
    assert decode.main(["codes.npz", "out.wav", "--checkpoint", model, "--speaker", "anna"]) == 0
    made = {}
    for told in ("resynth --source anna", "invert --source anna", "invert --source carlo", "invert"):
        line = ["in.wav", "out.wav", "--checkpoint", model, "--target", "bruno", "--mode", *told.split()]
        assert convert.main(line) == 0
        made[told] = read("out.wav")
        assert len(made[told]) == 20_001
    assert np.abs(made["invert --source anna"] - made["invert --source carlo"]).max() > 1e-3, (
        "this flow hears who speaks"
    )


def test_codes_survive_half_precision_and_nothing_else(voice: Path, here: Path) -> None:
    """A shipped voice is rounded to fp16 and reads the codes of the run it came from; another model does not."""
    model = WaveGlowVQ.from_pretrained(voice)
    coded = Coded(torch.arange(16), 16_000, 4000, 1.0)
    codes_file.write("codes.npz", coded, book(model))
    rounded = WaveGlowVQ.from_pretrained(voice)
    rounded.load_state_dict({name: tensor.half().float() for name, tensor in model.state_dict().items()})
    assert torch.equal(codes_of("codes.npz", rounded).codes, coded.codes)
    other = WaveGlowVQ.from_pretrained(untrained(CODEC, here / "other", seed=1))
    with pytest.raises(ValueError, match="another codebook"):
        codes_of("codes.npz", other)


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("encode missing.wav codes.npz", "missing.wav"),
        ("encode in.wav nowhere/codes.npz", "nowhere: no such folder"),
        ("encode in.wav codes.bin", "codes.bin: codes are kept as .npz"),
        ("encode in.wav codes.npz --checkpoint MEL", "has no codes"),
        ("decode given.npz out.wav --checkpoint MEL", "has no codes"),
        ("decode given.npz out.wav", "the model got no speaker"),
        ("decode given.npz out.wav --speaker karlo", "did you mean carlo?"),
        ("decode mel.npz out.wav --speaker carlo", "mel.npz: holds no codes"),
        ("decode in.wav out.wav --speaker carlo", "in.wav: not a readable file of codes"),
        ("decode bad.npz out.wav --speaker carlo", "bad.npz: damaged (of 17 codes"),
        ("convert in.wav out.wav --target karlo", "did you mean carlo?"),
        ("convert in.wav out.wav --target carlo --checkpoint MEL", "has no codes"),
        ("convert mel.npz out.wav --target carlo", "mel.npz"),
    ],
)
def test_what_cannot_be_done_is_refused_in_a_sentence(
    voice: Path, here: Path, command: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    model = WaveGlowVQ.from_pretrained(voice)
    codes_file.write("given.npz", Coded(torch.arange(16), 16_000, 4000, 1.0), book(model))
    codes_file.write("bad.npz", Coded(torch.tensor([16]), 16_000, 4000, 1.0), replace(book(model), size=17))
    np.savez("mel.npz", mel=np.zeros((80, 3), np.float32))
    name, *given = command.split()
    given = [str(untrained(MEL, here / "mel")) if part == "MEL" else part for part in given]
    main = {"encode": encode.main, "decode": decode.main, "convert": convert.main}[name]
    assert main(given if "--checkpoint" in given else [*given, "--checkpoint", str(voice)]) == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1 and "Traceback" not in error, error
    assert not list(here.glob("out*")) and not list(here.glob("codes*"))


@pytest.mark.parametrize("told", ["--mix 1.5", "--mix much", "--mode swap", ""])
def test_wrong_words_are_answered_with_usage(told: str, capsys: pytest.CaptureFixture[str]) -> None:
    target = ["--target", "anna"] if told else []
    with pytest.raises(SystemExit) as end:
        convert.main(["in.wav", "out.wav", *target, *told.split()])
    assert end.value.code == 2 and (told.split() or ["--target"])[0] in capsys.readouterr().err


def test_the_installed_commands_do_it_in_processes_of_their_own(voice: Path, here: Path) -> None:
    scripts = Path(sys.executable).parent
    told = ["--checkpoint", str(voice)]
    for line in (
        ["waveglow-vq-encode", "in.wav", "codes.npz"],
        ["waveglow-vq-decode", "codes.npz", "out.wav", "--speaker", "carlo", "--seed", "3"],
        ["waveglow-vq-convert", "in.wav", "converted.wav", "--target", "carlo", "--seed", "3"],
    ):
        if not (scripts / line[0]).exists():
            pytest.skip("the commands are not installed beside this interpreter")
        done = subprocess.run([str(scripts / line[0]), *line[1:], *told], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    assert np.allclose(read("out.wav"), read("converted.wav"), atol=1e-4), "converting is encoding and decoding"
