"""Files that grow, levels and rates given back piece by piece, settling, a wave beside its mel: each as the whole."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from vocoder_core import audio, inference
from vocoder_core.griffinlim import PIECE, settled
from vocoder_core.mel import MelConfig, log_mel
from vocoder_core.streaming import pipes
from vocoder_core.streaming.frames import heard_frames, in_portions
from vocoder_core.streaming.pieces import Grid
from vocoder_core.streaming.restore import restored
from vocoder_core.streaming.settling import settled_pieces, whole_grid
from vocoder_core.streaming.writer import Writer, write

CONFIG = MelConfig(n_fft=256, win_length=256, hop_length=64, n_mels=20, preemphasis=0.0, log="ln", minimum=None)


def noise(samples: int, seed: int = 0) -> np.ndarray:
    return (0.2 * np.random.default_rng(seed).standard_normal(samples)).astype(np.float32)


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".ogg"])
def test_piece_by_piece_a_file_is_what_save_writes(tmp_path: Path, suffix: str) -> None:
    wav = noise(5000)
    audio.save(tmp_path / f"whole{suffix}", wav, 16_000)
    assert write(tmp_path / f"pieces{suffix}", np.split(wav, [1, 7, 4000]), 16_000, 5000, progress=False) == 5000
    whole, pieces = (soundfile.read(tmp_path / f"{name}{suffix}")[0] for name in ("whole", "pieces"))
    assert np.array_equal(whole, pieces) and sorted(path.suffix for path in tmp_path.iterdir()) == [suffix] * 2


def test_interrupted_it_is_kept_and_says_how_much(tmp_path: Path) -> None:
    path, wav = tmp_path / "out.wav", noise(3000)

    def made() -> Iterator[np.ndarray]:
        yield wav[:1000]
        yield wav[1000:1600]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt, match=r"out.wav holds the first 0.10 s of 0.19 s at 16000 Hz"):
        write(path, made(), 16_000, 3000, progress=False)
    assert np.array_equal(soundfile.read(path, dtype="int16")[0], audio.to_int16(wav[:1600]))
    assert [path.name for path in tmp_path.iterdir()] == ["out.wav"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_before_the_first_sample_or_after_an_error_there_is_no_file(tmp_path: Path, error: type[BaseException]) -> None:
    (tmp_path / "out.wav").write_text("what was there before")

    def made() -> Iterator[np.ndarray]:
        if error is ValueError:
            yield noise(10)
        raise error("gone")

    with pytest.raises(error, match="was not begun" if error is KeyboardInterrupt else "gone"):
        write(tmp_path / "out.wav", made(), 16_000, 100, progress=False)
    assert (tmp_path / "out.wav").read_text() == "what was there before" and len(list(tmp_path.iterdir())) == 1


def test_what_cannot_be_written_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="cannot write the format '.mp5'"):
        Writer(tmp_path / "out.mp5", 16_000)
    with pytest.raises(ValueError, match="NaN or infinite"), Writer(tmp_path / "out.wav", 16_000) as out:
        out.write(np.array([0.0, np.nan], np.float32))
    with pytest.raises(ValueError, match="cannot be written at 2000000 Hz"), Writer(tmp_path / "out.flac", 2_000_000):
        pass
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("rate", "samples"), [(44_100, 30_001), (8000, 4001), (16_000, 999), (48_000, 1), (16_000, 0)])
def test_a_recording_is_restored_piece_by_piece_as_it_is_whole(rate: int, samples: int) -> None:
    own = -(-samples * 16_000 // rate // 200) * 200 + 200
    made = torch.from_numpy(noise(own))
    wanted = inference.restore(made, 3.0, 16_000, rate, samples)
    pieces = list(restored(made.split(200), 3.0, 16_000, rate, lambda: samples))
    assert np.array_equal(np.concatenate(pieces) if pieces else np.zeros(0, np.float32), wanted)


def test_settled_on_the_grid_of_the_whole_it_is_settled() -> None:
    frames, steps = PIECE + 90, 2
    wav, mel = torch.from_numpy(noise(2 * frames * 64)).view(2, -1), torch.randn(2, 20, frames) - 5
    pieces = [(wav[:, 64 * i : 64 * (i + 7)], mel[..., i : i + 7]) for i in range(0, frames, 7)]
    grid = whole_grid(CONFIG, steps)
    wanted = torch.cat([settled(*row, CONFIG, steps) for row in zip(wav.split(1), mel.split(1))])
    assert torch.equal(torch.cat(list(settled_pieces(pieces, CONFIG, steps, grid)), dim=1), wanted)
    assert torch.equal(torch.cat(list(settled_pieces(pieces, CONFIG, 0, grid)), dim=1), wav)


def test_a_longer_context_settles_nearer_to_the_whole() -> None:
    """A second of a voice: what is cut off behind a quarter of a second is 40 dB below, and less further away."""
    t = torch.arange(256 * 64) / 16_000
    wav = torch.stack([torch.sin(2 * torch.pi * 130 * k * t) / k for k in range(1, 30)]).sum(0) * 0.1
    mel, rough = log_mel(wav, CONFIG)[None], (wav + 0.05 * torch.from_numpy(noise(len(wav))))[None]
    wanted, away = settled(rough, mel, CONFIG, 16), []
    for context in (4, 16, 64):
        made = torch.cat(list(settled_pieces([(rough, mel)], CONFIG, 16, Grid(16, context, context))), dim=1)
        away.append(float((made - wanted).norm() / wanted.norm()))
    assert away[0] > 3 * away[1] > 9 * away[2] and away[2] < 0.01


def test_a_wave_lies_beside_its_mel() -> None:
    wav = torch.from_numpy(noise(64 * 700))
    both = torch.cat(list(heard_frames(in_portions(wav, CONFIG), CONFIG)), dim=1)
    assert torch.equal(both[:64].t().flatten(), wav) and torch.equal(both[64:], log_mel(wav, CONFIG))


def test_half_a_sample_at_the_end_is_no_sample(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "in").write_bytes(b"\x00\x40" * 300 + b"\x01")
    with open(tmp_path / "in") as heard, open(tmp_path / "out", "w") as made:
        monkeypatch.setattr(sys, "stdin", heard)
        monkeypatch.setattr(sys, "stdout", made)
        pipes.through(lambda portions: portions, CONFIG, None, False, 6.0)
    assert "in the middle of a sample" in caplog.text
    assert (tmp_path / "out").read_bytes() == b"\x00\x40" * 300
