"""Streaming: a mel or a recording that comes in portions is said as if it were whole, no later than stated."""

from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from torch import Tensor

from samplernn_pase import SampleRNNPASE, SampleRNNPASEConfig, infer, streaming
from samplernn_pase.content import ContentConfig
from samplernn_pase.generate import told_of
from samplernn_pase.infer import main
from samplernn_pase.labels import LabelConfig
from samplernn_pase.listening import say, say_pieces
from samplernn_pase.speaker import SpeakerConfig
from vocoder_core.mel import log_mel
from vocoder_core.pitch import track
from vocoder_core.streaming.frames import heard_frames
from vocoder_core.streaming.pieces import Grid

SPLITS = ((1,), (50, 0, 7), (10**6,))


def cut(whole: Tensor, sizes: tuple[int, ...]) -> Iterator[Tensor]:
    at, turn = 0, 0
    while at < whole.shape[-1]:
        size = sizes[turn % len(sizes)]
        yield whole[..., at : at + size]
        at, turn = at + size, turn + 1


@pytest.fixture(scope="module")
def model() -> SampleRNNPASE:
    """As the shipped one in all that is heard, but small: prediction and pitch, two steps of settling."""
    torch.manual_seed(0)
    config = SampleRNNPASEConfig(
        labels=LabelConfig(bits=8, order=24, pitch=True), speaker=SpeakerConfig(provider="none"), hidden_size=16,
        embedding_size=8, conds_size=16, combine="add", weight_norm=False, settle=2,
    )  # fmt: skip
    return SampleRNNPASE(config).eval()


@pytest.fixture(scope="module")
def wav() -> Tensor:
    """1.2 s of a voice that rises, and noise."""
    t = torch.arange(240 * 80) / 16_000
    phase = torch.cumsum(110 + 60 * t, 0) * 2 * torch.pi / 16_000
    noise = torch.randn(len(t), generator=torch.Generator().manual_seed(0))
    return 0.1 * sum(torch.sin(k * phase) / k for k in range(1, 12)) * (t % 0.4 < 0.3) + 0.002 * noise


def test_what_is_streamed_is_what_is_synthesised(model: SampleRNNPASE, wav: Tensor) -> None:
    mel = log_mel(wav, model.config.mel)
    wanted = model.synthesize(mel, seed=3, look_ahead=20)
    assert wanted.shape == wav.shape and not torch.equal(wanted, model.synthesize(mel, seed=3))
    for sizes in SPLITS:
        frames = list(model.synthesize_stream(cut(mel, sizes), seed=3, look_ahead=20))
        assert torch.equal(torch.cat(frames), wanted)
    both = model.synthesize(torch.stack([mel, mel.flip(1)]), seed=[1, 3], look_ahead=20)
    assert torch.equal(model.synthesize(mel.flip(1), seed=3, look_ahead=20), both[1])


def test_a_recording_is_heard_with_its_own_pitch(model: SampleRNNPASE, wav: Tensor) -> None:
    wanted = say(model, wav, None, seed=3, look_ahead=20)
    for sizes in ((80,), (1000, 1, 333)):
        assert torch.equal(torch.cat(list(say_pieces(model, cut(wav, sizes), seed=3, look_ahead=20))), wanted)
    mel = log_mel(wav, model.config.mel)
    assert not torch.equal(wanted, model.synthesize(mel, seed=3, look_ahead=20)), "whose pitch is not that of its mel"
    assert torch.equal(torch.cat(list(say_pieces(model, wav, seed=3, look_ahead=None))), say(model, wav, None, seed=3))


def test_long_ones_are_cut_for_files_as_for_synthesize(
    model: SampleRNNPASE, wav: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    mel = log_mel(wav, model.config.mel)
    whole = model.synthesize(mel, seed=1)
    assert torch.equal(torch.cat(list(model.synthesize_stream(cut(mel, (7,)), seed=1, look_ahead=None))), whole)
    for place in ("samplernn_pase.streaming", "samplernn_pase.listening"):
        monkeypatch.setattr(f"{place}.LONG", 100)
    made = model.synthesize(mel, seed=1)
    assert torch.equal(torch.cat(list(model.synthesize_stream(cut(mel, (7,)), seed=1, look_ahead=None))), made)
    assert torch.equal(torch.cat(list(say_pieces(model, wav, seed=1, look_ahead=None))), say(model, wav, None, seed=1))


@pytest.mark.parametrize("grid", [Grid(32, 96, 64), Grid(7, 96, 64), Grid(1, 96, 64)])
def test_frames_are_told_what_the_whole_tells_them(model: SampleRNNPASE, wav: Tensor, grid: Grid) -> None:
    """Against the whole at once, in which no window has an edge."""
    config, mel = model.config.mel, log_mel(wav, model.config.mel)
    with torch.inference_mode():
        normal = model.normal(None, mel[None])
        pieces = list(streaming._told(model, heard_frames(iter([wav]), config), None, normal, grid))
        pitch = torch.stack(track(wav[None], config.sample_rate, config.hop_length), dim=2)
        wanted = told_of(model, mel.t()[None], None, pitch, normal)
    assert torch.equal(torch.cat([own for _, own in pieces], dim=2)[0], mel)
    for name in ("conds", "filters", "gain", "lag", "voicing"):
        made = torch.cat([getattr(told, name) for told, _ in pieces], dim=1)
        assert torch.allclose(made, getattr(wanted, name), rtol=1e-4, atol=1e-4), name


@pytest.mark.parametrize("settle", [0, 2])
def test_a_frame_comes_as_soon_as_its_latency_says(model: SampleRNNPASE, wav: Tensor, settle: int) -> None:
    mel, asked, ahead, piece = log_mel(wav, model.config.mel), [], 20, streaming.PIECE

    def frames() -> Iterator[Tensor]:
        for j in range(mel.shape[1]):
            asked.append(j)
            yield mel[:, j : j + 1]

    said = 0
    for made in model.synthesize_stream(frames(), settle=settle, look_ahead=ahead):
        last = said + (piece if settle else 1) - 1
        told = last + ahead if settle else last  # the last frame that had to be said for this
        assert asked[-1] == min(mel.shape[1] - 1, told // piece * piece + piece - 1 + ahead)
        said += made.shape[0] // 80
        if said > 5 * piece:
            break


def test_what_cannot_be_streamed_is_refused(model: SampleRNNPASE, wav: Tensor) -> None:
    with pytest.raises(ValueError, match="expected 1 or more frames"):
        next(model.synthesize_stream(iter([]), look_ahead=0))
    config = SampleRNNPASEConfig(content=ContentConfig(kind="world43"), hidden_size=8, conds_size=8, embedding_size=4)
    with pytest.raises(ValueError, match="a stream of content world43; expected mel80"):
        next(SampleRNNPASE(config).synthesize_stream(iter([])))


def test_the_command_says_through_a_pipe_what_it_says_of_files(
    model: SampleRNNPASE, wav: Tensor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model.save_pretrained(tmp_path / "voice")
    said = (wav[:9001] * 32768).short().numpy()
    said.tofile(tmp_path / "in")
    soundfile.write(tmp_path / "in.wav", said, 16_000)
    options = ["--checkpoint", str(tmp_path / "voice"), "--seed", "4"]
    files = [str(tmp_path / "in.wav"), str(tmp_path / "out.wav")]
    assert main([*files, *options, "--gain", "0", "--look-ahead", "64"]) == 0
    with open(tmp_path / "in") as heard, io.TextIOWrapper(open(tmp_path / "out", "wb")) as made:
        monkeypatch.setattr(sys, "stdin", heard)
        monkeypatch.setattr(sys, "stdout", made)
        assert main(["--stream", *options]) == 0
    wanted, _ = soundfile.read(tmp_path / "out.wav", dtype="int16")
    assert np.array_equal(np.fromfile(tmp_path / "out", "<i2"), wanted) and len(wanted) == 9001


def test_the_command_hears_as_far_ahead_as_the_network() -> None:
    assert infer.LOOK_AHEAD == streaming.LOOK_AHEAD


PROGRAM = """
import sys
from samplernn_pase.infer import main
status = main(sys.argv[1:])
with open("/proc/self/status") as file:
    (peak,) = [line.split()[1] for line in file if line.startswith("VmHWM")]
print("PEAK", peak, file=sys.stderr)
sys.exit(status)
"""


@pytest.mark.slow
def test_memory_does_not_grow_with_a_long_mel(model: SampleRNNPASE, tmp_path: Path) -> None:
    """Three pieces of a minute and seven; the first run compiles. What is freed lies about, so the peak varies."""
    model.save_pretrained(tmp_path / "voice")
    peaks = []
    for seconds in (200, 200, 400):
        mel = np.full((80, seconds * 16_000 // 80), -6.0, np.float32)
        np.save(tmp_path / "mel.npy", mel + np.random.default_rng(0).random(mel.shape, np.float32))
        files = [str(tmp_path / "mel.npy"), str(tmp_path / "out.wav")]
        command = [sys.executable, "-c", PROGRAM, *files, "--checkpoint", str(tmp_path / "voice"), "--settle", "2"]
        run = subprocess.run(command, capture_output=True, check=True)
        peaks.append(int(run.stderr.rsplit(b"PEAK", 1)[1]) / 1024)
    assert peaks[2] < 1.3 * peaks[1]
