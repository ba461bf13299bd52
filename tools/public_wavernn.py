"""mkotha/WaveRNN and tarepan/vqvaevc as they are, on a CPU and on today's torch and librosa: for tools that meet them.

    with project(checkout) as its:
        model = its.vqvae.Model(896, 896, 109, (4, 4, 4), normalize_vq=True)

None of their code is kept. What they lack is lent while the context lasts: see `project`.
"""

from __future__ import annotations

import importlib
import sys
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import torch


class Theirs(NamedTuple):
    """Modules of a checkout: its three models, its layers, its audio."""

    vqvae: Any
    nocond: Any
    mel: Any
    overtone: Any
    wavernn: Any
    quant: Any
    encoder: Any
    nn: Any
    dsp: Any


@contextmanager
def project(checkout: Path) -> Iterator[Theirs]:
    """A checkout's modules on the CPU, silent, and with copies between overlapping memory made whole: all changes."""
    names = ("models.vqvae", "models.nocond", "models.wavernn1", "layers.overtone", "layers.wavernn",
             "layers.vector_quant", "layers.downsampling_encoder", "utils.nn", "utils.dsp")  # fmt: skip
    mel = importlib.import_module("librosa").filters.mel
    with (
        packages(checkout, "models", "layers", "utils"),
        mock.patch.object(sys, "path", [str(checkout), *sys.path]),
        on_a_cpu(),
        mock.patch("librosa.filters.mel", lambda sr, n_fft, **more: mel(sr=sr, n_fft=n_fft, **more)),
    ):
        logger = importlib.import_module("utils.logger")
        with mock.patch.object(logger, "log"), mock.patch.object(logger, "status"), mock.patch("builtins.print"):
            yield Theirs(*[importlib.import_module(name) for name in names])


@contextmanager
def packages(checkout: Path, *names: str) -> Iterator[None]:
    """While entered, these are the checkout's folders, whoever else has such names; what else is imported stays."""

    def named() -> dict[str, Any]:
        return {name: module for name, module in sys.modules.items() if name.split(".")[0] in names}

    before = named()
    for name in before:
        del sys.modules[name]
    for name in names:
        package = types.ModuleType(name)
        package.__path__ = [str(checkout / name)]
        sys.modules[name] = package
    try:
        yield
    finally:
        for name in named():
            del sys.modules[name]
        sys.modules.update(before)


@contextmanager
def on_a_cpu() -> Iterator[None]:
    """While entered, what asks for a GPU gets the CPU, and copies between overlapping memory are made whole."""
    stay: Callable[..., Any] = lambda self, *_, **__: self  # noqa: E731
    copy = torch.Tensor.copy_
    with (
        mock.patch("torch.Tensor.cuda", stay),
        mock.patch("torch.nn.Module.cuda", stay),
        mock.patch("torch.Tensor.copy_", lambda self, source, *rest: copy(self, source.clone(), *rest)),
    ):
        yield
