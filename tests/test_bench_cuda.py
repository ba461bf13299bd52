"""tools/bench_cuda.py where there is no GPU: that it says so, and its rows by a tape in place of a graph."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from rnnms.cell import Cell, Frames
from rnnms.model import RNNMS, RNNMSConfig
from vocoder_core.mel import MelConfig
from vocoder_core.recurrent.engine import TorchLoop
from vocoder_core.recurrent.tape import Taped

sys.path.append(str(Path(__file__).resolve().parent.parent / "tools"))
bench_cuda = pytest.importorskip("bench_cuda")

HOP = 20


@pytest.fixture
def voice() -> bench_cuda.Voice:
    config = RNNMSConfig(mel=MelConfig(hop_length=HOP), encoder_size=5, embedding_size=4, hidden_size=6, linear_size=7)
    decoder = RNNMS(config).eval().decoder

    def original() -> Callable[[int], float]:
        raise FileNotFoundError("it is not there")

    told = Frames(torch.randn(1, 1, 10))
    return bench_cuda.Voice("small", 16_000, lambda rows: Cell(decoder, rows), told, "theirs", original)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_it_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert bench_cuda.main([]) == 2
    assert "PyTorch sees no CUDA GPU here" in capsys.readouterr().err


@torch.inference_mode()
def test_rows_of_a_vocoder(
    voice: bench_cuda.Voice, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    loops = {"PyTorch, fp32": lambda cell: TorchLoop(cell, 1.0), "graph, fp32": lambda cell: Taped(cell, 1.0)}
    monkeypatch.setattr(bench_cuda, "LOOPS", loops)
    bench_cuda.table(voice, [1, 3], 0.01, 1e12)
    head, _, _, _, *rows = capsys.readouterr().out.strip().splitlines()
    weights = 18 * 6 + 7 * 6 + 1024 * 7 + 18 * 10 / HOP
    assert head.startswith(f"small: {weights:,.0f} weights and ")
    assert head.endswith("kernels a sample; the graph in fp32 says what PyTorch says")
    assert [row.split(" | ")[:2] for row in rows] == [
        ["| 1", "PyTorch, fp32"], ["| 1", "graph, fp32"], ["| 3", "PyTorch, fp32"], ["| 3", "graph, fp32"],
        ["| 1", "theirs"],
    ]  # fmt: skip
    assert rows[-1].endswith("| left out (FileNotFoundError: it is not there) | | |")
