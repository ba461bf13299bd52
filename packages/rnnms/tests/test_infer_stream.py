"""rnnms-infer piece by piece, as real processes: through a pipe, in bounded memory, interrupted."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from rnnms import RNNMS, RNNMSConfig
from rnnms.infer import main
from vocoder_core.audio import to_int16
from vocoder_core.streaming.frames import mel_frames

PROGRAM = """
import signal, sys
from rnnms.infer import main
signal.signal(signal.SIGINT, signal.default_int_handler)  # a test that runs in the background ignores Ctrl-C
status = main(sys.argv[1:])
with open("/proc/self/status") as file:
    (peak,) = [line.split()[1] for line in file if line.startswith("VmHWM")]
print("PEAK", peak, file=sys.stderr)
sys.exit(status)
"""
COMMAND = [sys.executable, "-c", PROGRAM]
RATE = 16_000
MEGABYTES = 6.0  # that memory may differ by, whatever the length


@pytest.fixture(scope="module")
def voice(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("voice")
    RNNMS(RNNMSConfig(bits=8, hidden_size=16, linear_size=16, encoder_size=8, embedding_size=8)).save_pretrained(folder)
    return folder


def pcm(seconds: float) -> np.ndarray:
    """Something to say (T,) int16."""
    return np.random.default_rng(0).normal(0, 3000, round(seconds * RATE)).astype("<i2")


def peak(messages: bytes) -> float:
    """The most memory that the process had, in megabytes."""
    return int(messages.rsplit(b"PEAK", 1)[1]) / 1024


def test_what_goes_through_a_pipe_is_what_files_hold(voice: Path, tmp_path: Path) -> None:
    said, options = pcm(1.53), ["--checkpoint", str(voice), "--seed", "4"]
    made = subprocess.run([*COMMAND, "--stream", *options], input=said.tobytes(), capture_output=True, check=True)
    soundfile.write(tmp_path / "in.wav", said, RATE)
    files = [str(tmp_path / "in.wav"), str(tmp_path / "out.wav")]
    assert main([*files, *options, "--gain", "0", "--look-ahead", "16"]) == 0
    wanted, _ = soundfile.read(tmp_path / "out.wav", dtype="int16")
    assert np.array_equal(np.frombuffer(made.stdout, "<i2"), wanted)
    model = RNNMS.from_pretrained(voice)
    wav = torch.nn.functional.pad(torch.from_numpy(said.astype(np.float32) / 32768), (0, -len(said) % 200))
    frames = list(model.synthesize_stream(mel_frames([wav], model.config.mel), seed=4))
    assert np.array_equal(to_int16(torch.cat(frames).numpy())[: len(said)], wanted)


@pytest.mark.parametrize(
    ("rate", "more", "samples", "wanted"),
    [(44_100, ["--gain", "6"], 30_001, 30_001), (8000, [], 7999, 7999), (48_000, ["--rate", "model"], 24_000, 8000),
     (16_000, [], 1, 1), (16_000, [], 0, 0)],
)  # fmt: skip
def test_as_many_samples_come_out_as_went_in(
    voice: Path, rate: int, more: list[str], samples: int, wanted: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pcm(2)[:samples].tofile(tmp_path / "in")
    with open(tmp_path / "in") as said, open(tmp_path / "out", "w") as made:
        monkeypatch.setattr(sys, "stdin", said)
        monkeypatch.setattr(sys, "stdout", made)
        assert main(["--stream", "--checkpoint", str(voice), "--input-rate", str(rate), *more]) == 0
    assert (tmp_path / "out").stat().st_size == 2 * wanted


def test_the_first_samples_come_while_the_last_are_still_to_be_heard(voice: Path) -> None:
    command = [*COMMAND, "--stream", "--checkpoint", str(voice)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdin and process.stdout and process.stderr
        process.stdin.write(pcm(0.5).tobytes())
        process.stdin.flush()
        first = process.stdout.read(2 * 200 * 10)  # what 0.5 s allow is 19 frames
        assert len(first) == 4000 and process.poll() is None
        process.stdin.write(pcm(0.1).tobytes())
        process.stdin.close()
        assert len(first) + len(process.stdout.read()) == 2 * round(0.6 * RATE)
        assert process.wait() == 0


def grows(command: list[str], short: dict[str, bytes], long: dict[str, bytes], more: list[list[str]]) -> float:
    """By how many megabytes the peak of a long run is above that of a short one; a run before them compiles."""
    peaks = []
    for given, arguments in zip((short, short, long), (more[0], *more)):
        run = subprocess.run([*command, *arguments], **given, capture_output=True, check=True)  # type: ignore[call-overload]
        if b"compiling" in run.stderr:  # which takes memory of its own
            run = subprocess.run([*command, *arguments], **given, capture_output=True, check=True)  # type: ignore[call-overload]
        peaks.append(peak(run.stderr))
    return peaks[2] - peaks[1]


def streamed(voice: Path, seconds: tuple[float, float]) -> float:
    command = [*COMMAND, "--stream", "--checkpoint", str(voice)]
    short, long = ({"input": pcm(each).tobytes()} for each in seconds)
    return grows(command, short, long, [[], []])


def from_files(voice: Path, folder: Path, seconds: tuple[float, float]) -> float:
    """Of mels heard to their end."""
    files = []
    for each in seconds:
        frames = round(each * RATE / 200)
        mel = np.lib.format.open_memmap(folder / f"{each}.npy", "w+", np.float32, (80, frames))
        mel[:] = -0.5
        files.append([str(folder / f"{each}.npy"), str(folder / "out.wav")])
        del mel
    return grows([*COMMAND, "--checkpoint", str(voice)], {}, {}, files)


def test_memory_does_not_grow_with_what_is_streamed(voice: Path) -> None:
    assert abs(streamed(voice, (5, 30))) < MEGABYTES


@pytest.mark.slow
def test_memory_does_not_grow_with_a_mel_in_a_file(voice: Path, tmp_path: Path) -> None:
    assert abs(from_files(voice, tmp_path, (60, 180))) < MEGABYTES


@pytest.mark.slow
def test_ten_minutes_take_the_memory_of_one(voice: Path, tmp_path: Path) -> None:
    assert abs(streamed(voice, (60, 600))) < MEGABYTES
    assert abs(from_files(voice, tmp_path, (60, 600))) < MEGABYTES


def test_interrupted_it_keeps_what_it_made(voice: Path, tmp_path: Path) -> None:
    mel = -np.random.default_rng(0).random((80, 24_000), np.float32)  # five minutes
    np.save(tmp_path / "mel.npy", mel)
    command = [
        *COMMAND,
        str(tmp_path / "mel.npy"),
        str(tmp_path / "out.wav"),
        "--checkpoint",
        str(voice),
        "--seed",
        "1",
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        while not any(part.stat().st_size > 40_000 for part in tmp_path.glob(".out*")):
            assert process.poll() is None
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        said = process.communicate()[1].decode()
    assert process.returncode == 130 and not list(tmp_path.glob(".out*"))
    made, rate = soundfile.read(tmp_path / "out.wav", dtype="int16")
    assert rate == RATE and 0 < len(made) < 24_000 * 200
    assert f"interrupted: {tmp_path / 'out.wav'} holds the first {len(made) / RATE:.2f} s of 300.00 s" in said
    model = RNNMS.from_pretrained(voice)
    stream = model.synthesize_stream(torch.from_numpy(mel), seed=1, look_ahead=None)
    wanted = torch.cat([wav for wav, _ in zip(stream, range(min(200, len(made) // 200)))])
    assert np.array_equal(made[: len(wanted)], to_int16(wanted.numpy()))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--stream", "in.wav"], "--stream reads from stdin"),
        (["--stream", "-", "out.wav"], "--stream writes to stdout"),
        (["in.wav"], "expected an input and an output, or --stream"),
        ([], "no file given"),
        (["in.wav", "out.wav", "--input-rate", "8000"], "without --stream"),
        (["--stream", "--input-rate", "12"], "expected 4000 to 384000 Hz"),
        (["--stream", "--folds", "2"], "needs the whole utterance"),
        (["in.wav", "out.wav", "--gain", "nan"], "expected -120 to 120 dB"),
        (["--stream", "--look-ahead", "-3"], "expected 0 or more frames"),
        (["mel.npy", "out.wav", "--gain", "3"], "a mel, which has its level"),
    ],
)
def test_what_does_not_go_together_is_refused(
    voice: Path, tmp_path: Path, arguments: list[str], said: str, capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.stdin", open("/dev/null"))
    np.save("mel.npy", np.full((80, 3), -0.5, np.float32))
    assert main([*arguments, "--checkpoint", str(voice)]) == 2
    heard = capfd.readouterr()
    assert said in heard.err and heard.err.count("\n") == 1 and not heard.out
