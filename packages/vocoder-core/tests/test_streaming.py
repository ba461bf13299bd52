"""What comes in pieces: windows of a grid, the log-mel, other rates; each against the whole, cut in many ways."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import Tensor

from vocoder_core import audio
from vocoder_core.mel import MelConfig, log_mel
from vocoder_core.mel_presets import PRESETS
from vocoder_core.streaming.frames import MelOfWave, MelStream, mel_frames, whole_frames
from vocoder_core.streaming.pieces import Grid, InMemory, Window, portions, windows
from vocoder_core.streaming.rates import resampled

SPLITS = ((1,), (7, 0, 13), (200,), (333, 1, 4096), (10**9,))  # sizes of portions, again and again
DIALECTS = {
    "rnnms": MelConfig(),
    "long windows": MelConfig(n_fft=1024, win_length=1024, hop_length=80, preemphasis=0, log="ln", minimum=None),
    "same": MelConfig(n_fft=1024, win_length=1000, hop_length=256, centering="same", preemphasis=0.5),
    "constant": MelConfig(pad_mode="constant"),
    "odd": MelConfig(n_fft=601, win_length=400, hop_length=150, power=2.0),
    **{name: PRESETS[name] for name in ("waveglow22",)},
}


def cut(whole: Tensor, sizes: tuple[int, ...]) -> Iterator[Tensor]:
    """The last axis in portions of such sizes."""
    at, turn = 0, 0
    while at < whole.shape[-1]:
        size = sizes[turn % len(sizes)]
        yield whole[..., at : at + size]
        at, turn = at + size, turn + 1


@pytest.mark.parametrize("sizes", [(1,), (3, 0, 2), (5,), (100,)])
@pytest.mark.parametrize(
    ("count", "grid"), [(23, Grid(4, 3, 6)), (8, Grid(4)), (3, Grid(8, 2, 2)), (12, Grid(1, 0, 5))]
)
def test_windows_are_those_of_the_grid_however_frames_come(count: int, grid: Grid, sizes: tuple[int, ...]) -> None:
    whole = torch.arange(2 * count).view(2, count)
    seen = list(windows(cut(whole, sizes), grid))
    starts = range(0, count, grid.piece)
    assert len(seen) == len(starts)
    for start, window in zip(starts, seen):
        low, high = max(0, start - grid.before), min(count, start + grid.piece + grid.after)
        assert torch.equal(window.frames, whole[:, low:high])
        assert torch.equal(window.own(window.frames), whole[:, start : start + grid.piece])


def test_a_window_comes_as_soon_as_its_latency_says() -> None:
    grid, asked = Grid(4, 2, 3), []

    def frames() -> Iterator[Tensor]:
        for i in range(20):
            asked.append(i)
            yield torch.full((1, 1), i)

    for k, window in zip(range(3), windows(frames(), grid)):
        assert asked[-1] == window.own(window.frames)[0, 0] + grid.latency == 4 * k + 6


def test_windows_of_nothing_are_none_and_what_is_made_of_them_is_cut_in_samples() -> None:
    assert not list(windows([], Grid(3))) and not list(windows([torch.zeros(2, 0)], Grid(3)))
    assert Window(torch.zeros(1, 7), 2, 3).own(torch.arange(70), each=10).tolist() == [*range(20, 50)]
    with pytest.raises(ValueError, match="expected a piece of 1 or more"):
        Grid(0)


@pytest.mark.parametrize("samples", [0, 1, 2, 150, 399, 401, 1025, 2049, 6001])
@pytest.mark.parametrize("dialect", DIALECTS)
def test_the_mel_of_a_stream_is_that_of_the_whole_wave_bit_by_bit(dialect: str, samples: int) -> None:
    config = DIALECTS[dialect]
    wav = 0.2 * torch.randn(samples, generator=torch.Generator().manual_seed(samples))
    wanted = log_mel(wav, config)
    for sizes in SPLITS if samples < 3000 else SPLITS[1:]:
        assert torch.equal(torch.cat(list(mel_frames(cut(wav, sizes), config)), dim=1), wanted), sizes
    source = MelOfWave(wav, config)
    assert source.frames == wanted.shape[1]
    for first, last in ((0, source.frames), (1, 2), (source.frames - 1, source.frames)):
        if 0 <= first <= last <= source.frames:
            assert torch.equal(source.cut(first, last), wanted[:, first:last])


@pytest.mark.parametrize(("dialect", "latency"), [("rnnms", 400), ("long windows", 512), ("same", 628)])
def test_a_frame_is_known_half_a_window_behind_its_middle(dialect: str, latency: int) -> None:
    config = DIALECTS[dialect]
    stream, heard, made = MelStream(config), 0, 0
    wav = torch.randn(12 * config.hop_length + 2048, generator=torch.Generator().manual_seed(0))
    while made < 12:
        made += stream(wav[heard : heard + 1]).shape[1]
        heard += 1
        if heard > config.n_fft:  # the first frames wait for what is reflected before them
            assert made == (heard - latency) // config.hop_length + 1
    assert len(stream.held) < config.hop_length + config.win_length + 4, "it keeps no more than it needs"


def test_a_wave_is_filled_up_to_whole_frames() -> None:
    for samples, wanted in ((0, 200), (1, 200), (200, 200), (201, 400)):
        made = torch.cat(list(whole_frames(cut(torch.ones(samples), (77,)), 200)))
        assert len(made) == wanted and made.sum() == samples


@pytest.mark.parametrize(("source", "target"), [(44_100, 16_000), (16_000, 44_100), (22_050, 16_000), (16_000, 16_000)])
def test_another_rate_piece_by_piece_is_that_of_the_whole(source: int, target: int) -> None:
    wav = np.random.default_rng(0).standard_normal(source // 2 + 3).astype(np.float32) / 8
    wanted = audio.resample(wav, source, target)
    for size in (1000, 317, len(wav)):
        pieces = [wav[i : i + size] for i in range(0, len(wav), size)]
        assert np.array_equal(np.concatenate(list(resampled(pieces, source, target))), wanted)


def test_a_source_in_memory_is_read_in_portions() -> None:
    mel = torch.randn(3, 10)
    assert torch.equal(torch.cat(list(portions(InMemory(mel), 4)), dim=1), mel)
    assert [part.shape[1] for part in portions(InMemory(mel), 4)] == [4, 4, 2]
