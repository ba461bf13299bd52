"""Vocoders that tools/bench_cuda.py measures, at full size, on a device; and the originals' own loops on it.

Originals are run as their authors wrote them, where they are checked out: what they lack on today's PyTorch is lent by
public_wavernn.py and samplernn_code.py.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any
from unittest import mock

import torch

import bench_samplernn_pase
import peers
import rnnms.cell
import samplernn_pase.cell
import samplernn_pase.tellers
import vqvaevc.bench
import vqvaevc.cell
from bench_rnnms import univoc
from public_wavernn import project as wavernn_project
from rnnms import RNNMS, RNNMSConfig
from samplernn_code import Sizes, info, lightning
from samplernn_code import project as samplernn_project
from samplernn_pase import SampleRNNPASE
from vocoder_core.recurrent.engine import Cell
from vqvaevc import VQVAEVCConfig
from vqvaevc.condition import Conditioned
from vqvaevc.generate import of_units
from vqvaevc.warmup import Past, warmed

Step = Callable[[int], float]  # so many blocks, or frames; returns the samples that were made


@dataclass(frozen=True)
class Voice:
    """A vocoder at full size."""

    name: str
    rate: int  # samples of a second
    cell: Callable[[int], Cell]  # of so many rows
    told: Any  # of one block of one row
    theirs: str  # the original's loop
    original: Callable[[], Step]  # raises where it is not there


def of_rnnms(device: torch.device, folder: Path) -> Voice:
    """RNN_MS; univoc's generate()."""
    model = RNNMS(RNNMSConfig()).eval()

    def original() -> Step:
        network = univoc(model)
        if network is None:
            raise ValueError("univoc cannot be installed")
        network.to(device)

        def step(frames: int) -> float:
            import numpy as np

            np.__dict__["int"] = int  # gone since NumPy 1.24
            with quiet():
                return len(network.generate(-torch.rand(1, frames, 80, device=device))[0])

        return step

    decoder = RNNMS(model.config).eval().to(device).decoder
    told = rnnms.cell.Frames(torch.randn(1, 1, 2 * model.config.encoder_size, device=device))
    cell = lambda rows: rnnms.cell.Cell(decoder, rows)  # noqa: E731
    return Voice("rnnms", model.sample_rate, cell, told, "univoc 0.2.1, generate()", original)


def of_vqvaevc(device: torch.device, folder: Path) -> Voice:
    """The VQ-VAE's decoder; mkotha's generate()."""
    model = vqvaevc.bench.of_config(VQVAEVCConfig()).eval().to(device)
    units = torch.randn(1, model.condition.channels, model.timing.units_before + 1, device=device)
    who = torch.eye(len(model.config.speakers), device=device)[:1]
    state = warmed(model, Past.silence(model, 1), units[..., :-1], who)

    def cell(rows: int) -> Cell:
        def tiled(value: Any) -> Any:
            return [tiled(x) for x in value] if isinstance(value, list) else value.repeat_interleave(rows, 0)

        own = replace(state, **{field.name: tiled(getattr(state, field.name)) for field in fields(state)})
        return vqvaevc.cell.Cell(model, own, who.repeat(rows, 1))

    def original() -> Step:
        with wavernn_project(folder / peers.OVERTONE.folder) as its:
            network = its.vqvae.Model(896, 896, 109, (4, 4, 4), True, True, True)
            network.after_update()
        network.to(device)

        def step(frames: int) -> float:
            with quiet(), whole_copies():
                heard = torch.randn(1, 85 + frames, 128, device=device)
                return network.overtone.generate(heard, torch.eye(109, device=device)[:1]).numel()

        return step

    told = of_units(model, units[..., -1:], Conditioned(), 1, 1, skip=0)
    return Voice("vqvaevc", model.sample_rate, cell, told, "mkotha/WaveRNN, generate()", original)


def of_samplernn_pase(device: torch.device, folder: Path) -> Voice:
    """SampleRNN at H = 1024; the public code's infer()."""
    model = SampleRNNPASE(bench_samplernn_pase.PAPER).eval().to(device)

    def original() -> Step:
        with samplernn_project(folder) as its:
            network = lightning(its, "acoustic", Sizes()).eval().to(device)

        def step(frames: int) -> float:
            return network.infer(torch.zeros(1, frames, 43, device=device), info(0)[0]).shape[1] - 80

        return step

    one = torch.ones(1, 1, device=device)
    conds = torch.randn(1, 1, model.config.conds_size, device=device)
    told = samplernn_pase.tellers.Frames(conds, one[..., None], one, one, one)
    cell = lambda rows: samplernn_pase.cell.FoldedCell(model, rows)  # noqa: E731
    return Voice("samplernn-pase", model.sample_rate, cell, told, "samplernn_pase (public), infer()", original)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """While entered, progress is not printed."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        yield


@contextlib.contextmanager
def whole_copies() -> Iterator[None]:
    """While entered, copies between overlapping memory, which today's torch refuses, are made whole."""
    copy = torch.Tensor.copy_
    with mock.patch("torch.Tensor.copy_", lambda self, source, *rest: copy(self, source.clone(), *rest)):
        yield
