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

from vocoder_core.mel import log_mel
from vocoder_core.streaming.frames import heard_frames
from vocoder_core.streaming.pieces import Grid
from vqvaevc import VQVAEVC, infer, streaming
from vqvaevc.condition import Frames, WaveCodes
from vqvaevc.generate import of_units
from vqvaevc.infer import main

sys.path.append(str(Path(__file__).parent))  # the folder of drawn_models.py
from drawn_models import CODEC, VOCODER, WAVE, untrained

SPLITS = ((1,), (9, 0, 4), (10**6,))
AHEAD = 5


def cut(whole: Tensor, sizes: tuple[int, ...]) -> Iterator[Tensor]:
    at, turn = 0, 0
    while at < whole.shape[-1]:
        size = sizes[turn % len(sizes)]
        yield whole[..., at : at + size]
        at, turn = at + size, turn + 1


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    kinds = {"vocoder": VOCODER, "codec": CODEC, "wave": WAVE}
    return {name: untrained(config, tmp_path_factory.mktemp(name)) for name, config in kinds.items()}


@pytest.fixture(scope="module")
def models(folders: dict[str, Path]) -> dict[str, VQVAEVC]:
    return {name: VQVAEVC.from_pretrained(folder) for name, folder in folders.items()}


@pytest.fixture(scope="module")
def wav() -> Tensor:
    """0.5 s of a voice that rises, and noise: 30 frames."""
    t = torch.arange(30 * 256) / 16_000
    phase = torch.cumsum(110 + 90 * t, 0) * 2 * torch.pi / 16_000
    noise = torch.randn(len(t), generator=torch.Generator().manual_seed(0))
    return 0.1 * sum(torch.sin(k * phase) / k for k in range(1, 12)) * (t % 0.3 < 0.2) + 0.002 * noise


@pytest.mark.parametrize("kind", ["vocoder", "codec"])
def test_what_is_streamed_is_what_is_synthesised(models: dict[str, VQVAEVC], kind: str, wav: Tensor) -> None:
    model = models[kind]
    mel = log_mel(wav, model.config.mel)
    wanted = model.synthesize(mel, seed=3, settle=2, look_ahead=AHEAD)
    assert wanted.shape == wav.shape and not torch.equal(wanted, model.synthesize(mel, seed=3, settle=2))
    for sizes in SPLITS:
        frames = model.synthesize_stream(cut(mel, sizes), seed=3, settle=2, look_ahead=AHEAD)
        assert torch.equal(torch.cat(list(frames)), wanted)
    both = model.synthesize(torch.stack([mel, mel.flip(1)]), seed=[1, 3], settle=2, look_ahead=AHEAD)
    assert torch.equal(model.synthesize(mel.flip(1), seed=3, settle=2, look_ahead=AHEAD), both[1])


@pytest.mark.parametrize(("kind", "speaker"), [("vocoder", None), ("codec", None), ("wave", "anna")])
def test_a_recording_in_portions_is_copied_as_it_is_whole(
    models: dict[str, VQVAEVC], kind: str, speaker: str | None, wav: Tensor
) -> None:
    model = models[kind]
    for ahead in (AHEAD, None):
        wanted = model.infer(wav, speaker, seed=3, look_ahead=ahead)
        how = model.how(seed=3, look_ahead=ahead)
        for portions in (cut(wav, (256,)), cut(wav, (1000, 1, 333)), wav):
            assert torch.equal(torch.cat(list(streaming.copied(model, portions, speaker, how)), dim=1)[0], wanted)
    assert wanted.abs().max() > 0


@pytest.mark.parametrize("grid", [Grid(8, 20, 12), Grid(3, 20, 12), Grid(1, 20, 12)])
def test_units_are_told_what_the_whole_tells_them(models: dict[str, VQVAEVC], wav: Tensor, grid: Grid) -> None:
    """Against the whole at once, in which no window has an edge."""
    model = models["codec"]
    config, condition, before = model.config.mel, model.condition, model.timing.units_before
    assert isinstance(condition, Frames)
    mel = log_mel(wav, config)[None]
    with torch.inference_mode():
        pieces = list(streaming._told(model, condition, heard_frames(iter([wav]), config), grid))
        whole = condition.told(mel, condition.pitch(wav[None]))
        vectors = whole.units(model.timing, 0, len(wav))
    assert vectors is not None and torch.allclose(pieces[0][0], vectors[..., :before], atol=1e-4)
    wanted = of_units(model, vectors, whole, 1, len(wav) // 64)
    for name in ("vectors", "filters", "gain", "lag", "voicing"):
        made = torch.cat([getattr(units, name) for _, units, _ in pieces], dim=2 if name == "vectors" else 1)
        assert torch.allclose(made, getattr(wanted, name), rtol=1e-4, atol=1e-4), name
    assert torch.equal(torch.cat([own for *_, own in pieces], dim=2), mel)


@pytest.mark.parametrize("samples", [64, 500, 512, 4000, 7680])
def test_codes_of_portions_are_those_of_the_whole(models: dict[str, VQVAEVC], wav: Tensor, samples: int) -> None:
    model = models["wave"]
    condition, own = model.condition, wav[:samples]
    assert isinstance(condition, WaveCodes)
    before = condition.timing.left - condition.timing.encoder_start
    count = -(-condition.timing.units(-(-samples // 64) * 64) * 64 // condition.timing.hop)
    whole = torch.cat([torch.zeros(before), own, torch.zeros(20_000)])[: (count - 1) * 64 + condition.timing.field]
    wanted = condition.codes.encode(condition.encoder((whole[None] * 32768 + 0.5) / 32767.5))
    for sizes in ((64,), (1, 700), (10**6,)):
        assert torch.equal(torch.cat(list(condition.codes_of(cut(own, sizes))), dim=1), wanted)
    assert wanted.unique().numel() > 1 and torch.equal(condition.encode(own[None]), wanted)


def test_long_ones_are_cut_for_files_as_for_synthesize(
    models: dict[str, VQVAEVC], wav: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = models["codec"]
    mel, how = log_mel(wav, model.config.mel), model.how(seed=1)
    monkeypatch.setattr(streaming, "LONG", 12)
    monkeypatch.setattr(streaming, "AROUND", 4)
    made = model.synthesize(mel, seed=1)
    assert torch.equal(torch.cat(list(model.synthesize_stream(cut(mel, (7,)), seed=1, look_ahead=None))), made)
    assert torch.equal(torch.cat(list(streaming.copied(model, wav, None, how)), dim=1)[0], model.infer(wav, seed=1))


@pytest.mark.parametrize("settle", [0, 2])
def test_a_frame_comes_as_soon_as_its_latency_says(models: dict[str, VQVAEVC], wav: Tensor, settle: int) -> None:
    model, asked, piece = models["vocoder"], [], streaming.PIECE
    mel = log_mel(wav, model.config.mel)

    def frames() -> Iterator[Tensor]:
        for j in range(mel.shape[1]):
            asked.append(j)
            yield mel[:, j : j + 1]

    said = 0
    for made in model.synthesize_stream(frames(), settle=settle, look_ahead=AHEAD):
        last = said + (piece if settle else 1) - 1
        told = last + AHEAD if settle else last  # the last frame that had to be said for this
        assert asked[-1] == min(mel.shape[1] - 1, told // piece * piece + piece - 1 + AHEAD)
        said += len(made) // 256


def test_codes_are_heard_1023_samples_ahead(models: dict[str, VQVAEVC], wav: Tensor) -> None:
    model, asked = models["wave"], 0

    def samples() -> Iterator[Tensor]:
        nonlocal asked
        for part in wav.split(1):
            asked += 1
            yield part

    said = 0
    for made in streaming.copied(model, samples(), "anna", model.how(seed=0)):
        if asked < len(wav):
            assert said + 64 + 960 <= asked <= said + 1023 + 64 * 8 + 1
        said += made.shape[1]
    assert said == len(wav) and model.timing.look_ahead == 1023


def test_what_cannot_be_streamed_is_refused(models: dict[str, VQVAEVC]) -> None:
    with pytest.raises(ValueError, match="expected 4 or more frames"):  # 15 units ahead of frames of 4
        next(models["vocoder"].synthesize_stream(iter([]), look_ahead=1))
    with pytest.raises(ValueError, match="this model hears no mel"):
        next(models["wave"].synthesize_stream(iter([])))
    with pytest.raises(ValueError, match="expected the whole recording, or no speaker"):
        next(streaming.copied(models["codec"], iter([]), "anna", models["codec"].how()))


@pytest.mark.parametrize(("kind", "more"), [("codec", []), ("wave", ["--speaker", "bruno"])])
def test_the_command_says_through_a_pipe_what_it_says_of_files(
    folders: dict[str, Path], kind: str, more: list[str], wav: Tensor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rate, options = 16_000 if kind == "codec" else 22_050, ["--checkpoint", str(folders[kind]), "--seed", "4", *more]
    said = (wav[:5001] * 32768).short().numpy()
    said.tofile(tmp_path / "in")
    soundfile.write(tmp_path / "in.wav", said, rate)
    assert (
        main([str(tmp_path / "in.wav"), str(tmp_path / "out.wav"), *options, "--gain", "0", "--look-ahead", "20"]) == 0
    )
    with open(tmp_path / "in") as heard, io.TextIOWrapper(open(tmp_path / "out", "wb")) as made:
        monkeypatch.setattr(sys, "stdin", heard)
        monkeypatch.setattr(sys, "stdout", made)
        assert main(["--stream", *options]) == 0
    wanted, _ = soundfile.read(tmp_path / "out.wav", dtype="int16")
    assert np.array_equal(np.fromfile(tmp_path / "out", "<i2"), wanted) and len(wanted) == 5001


def test_a_voice_by_codes_of_a_mel_needs_the_whole(
    folders: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--stream", "--checkpoint", str(folders["codec"]), "--speaker", "anna"]) == 2
    assert "needs the whole recording" in capsys.readouterr().err


def test_the_command_hears_as_far_ahead_as_the_network() -> None:
    assert infer.LOOK_AHEAD == streaming.LOOK_AHEAD


PROGRAM = """
import sys
from vqvaevc.infer import main
status = main(sys.argv[1:])
with open("/proc/self/status") as file:
    (peak,) = [line.split()[1] for line in file if line.startswith("VmHWM")]
print("PEAK", peak, file=sys.stderr)
sys.exit(status)
"""


@pytest.mark.slow
def test_memory_does_not_grow_with_a_long_mel(folders: dict[str, Path], tmp_path: Path) -> None:
    """Three pieces of a minute and seven; the first run compiles. What is freed lies about, so the peak varies."""
    peaks = []
    for seconds in (200, 200, 400):
        mel = np.full((80, seconds * 16_000 // 256), -6.0, np.float32)
        np.save(tmp_path / "mel.npy", mel + np.random.default_rng(0).random(mel.shape, np.float32))
        files = [str(tmp_path / "mel.npy"), str(tmp_path / "out.wav")]
        command = [sys.executable, "-c", PROGRAM, *files, "--checkpoint", str(folders["vocoder"]), "--settle", "2"]
        run = subprocess.run(command, capture_output=True, check=True)
        peaks.append(int(run.stderr.rsplit(b"PEAK", 1)[1]) / 1024)
    assert peaks[2] < 1.3 * peaks[1]
