"""davidalvarezdlt/samplernn_pase as it is, on today's torch and numpy, for tools and tests that meet it.

    with project(folder) as its:
        model = lightning(its, "acoustic", Sizes())

folder holds two checkouts: `lightning` (the published commit b6c3b3f) and, where it is wanted, `paper` (commit 7f311d0
of the author's earlier repository, the code of the paper). None of their code is kept. What they lack is lent while the
context lasts: Lightning's base classes, a progress bar, numpy.float, and the closed vocoder's reader of files.
"""

from __future__ import annotations

import importlib
import sys
import types
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple
from unittest import mock

import numpy as np
import torch
from torch import Tensor, nn

Mode = Literal["acoustic", "linguistic", "linguistic_lf0"]
MODES: tuple[Mode, ...] = ("acoustic", "linguistic", "linguistic_lf0")
WIDTHS = {"acoustic": 43, "linguistic": 55, "linguistic_lf0": 57}


@dataclass(frozen=True)
class Sizes:
    """Of one of their networks; hop is 80 samples, speakers' vectors are of 15."""

    speakers: int = 126
    vocabularies: tuple[int, int, int, int] = (42, 21, 10, 8)  # phonemes, vowels, parts of speech, ToBI
    embedding: int = 15
    conds: int = 50
    hidden: int = 1024
    sequence: int = 13  # frames of a chunk


class Theirs(NamedTuple):
    """Modules of the two checkouts; `paper` is None where it is not there."""

    model: Any
    loader: Any
    dataset: Any
    data: Any
    paper: Any


@contextmanager
def project(folder: Path) -> Iterator[Theirs]:
    """The modules of folder/lightning and folder/paper, under names of their own, warnings of old layers off."""
    lent = {
        "pytorch_lightning": _module("pytorch_lightning", LightningModule=_Lightning, LightningDataModule=object),
        "progressbar": _module("progressbar", ProgressBar=mock.Mock),
        "ahoproc_tools": _module("ahoproc_tools"),
        "ahoproc_tools.io": _module("ahoproc_tools.io"),
        "ahoproc_tools.interpolate": _module("ahoproc_tools.interpolate"),
    }
    lent["ahoproc_tools"].io, lent["ahoproc_tools"].interpolate = list(lent.values())[-2:]  # type: ignore[attr-defined]
    lent |= {f"public_{name}": _module(f"public_{name}", __path__=[str(folder / at)]) for name, at in FOLDERS.items()}
    with warnings.catch_warnings(), _lent(lent), mock.patch.object(np, "float", float, create=True):
        warnings.simplefilter("ignore")
        names = ("model", "loader", "dataset", "data")
        found = [importlib.import_module(f"public_lightning.{name}") for name in names]
        paper = importlib.import_module("public_paper.model") if (folder / "paper").is_dir() else None
        yield Theirs(found[0], found[1], found[2], found[3], paper)


FOLDERS = {"lightning": "lightning/samplernn_pase", "paper": "paper/samplernn"}


@contextmanager
def _lent(modules: dict[str, types.ModuleType]) -> Iterator[None]:
    """While entered, these modules are imported; whatever else is imported meanwhile stays."""
    before = {name: sys.modules.get(name) for name in modules}
    sys.modules.update(modules)
    try:
        yield
    finally:
        for name in [name for name in sys.modules if name.split(".")[0] in modules]:
            del sys.modules[name]
        sys.modules.update({name: module for name, module in before.items() if module is not None})


class _Lightning(nn.Module):
    """What a LightningModule is to their network."""

    def log(self, *_: Any) -> None:
        pass


def _module(name: str, **attributes: Any) -> types.ModuleType:
    made = types.ModuleType(name)
    vars(made).update(attributes)
    return made


# ---- the published network


def lightning(its: Theirs, mode: Mode, sizes: Sizes) -> Any:
    """Their SampleRNNModel, with its own first weights."""
    return its.model.SampleRNNModel(
        sizes.speakers, list(sizes.vocabularies), q_levels=256, sequence_length=sizes.sequence, ratios=[20, 4],
        conds_speaker_type="embedding", conds_utterance_type=mode, conds_speaker_size=15,
        conds_utterance_linguistic_emb_size=sizes.embedding, conds_size=sizes.conds, rnn_layers=[1, 1],
        rnn_hidden_size=[sizes.hidden, sizes.hidden], lr=1e-4, lr_scheduler_patience=3, lr_scheduler_factor=0.5,
    )  # fmt: skip


def info(*speakers: int | None) -> list[Any]:
    """What their loader says of slots: who speaks in each; None of an empty one."""
    return [None if number is None else {"speaker": {"index": number}} for number in speakers]


def carrying(model: Any, rows: int) -> None:
    """Repair D2: their forward asks for an attribute that nobody sets, and begins anew; with it, states are carried."""
    model.rnnstates = True
    model._init_rnn_states(rows)


def signed(model: Any) -> None:
    """Repair D1: decoded samples keep the sign of their code."""
    magnitude = model._dequantize
    model._dequantize = lambda y: torch.where(y < 128, -1.0, 1.0) * magnitude(y)


def decoded(model: Any) -> None:
    """Repair D3: both frame tiers hear in training the samples as decoded from their codes, as in generation."""
    for layer in model.frames_layers:
        layer.register_forward_pre_hook(lambda _, told: (model._dequantize(model._quantize(told[0])), *told[1:]))


@contextmanager
def drawing(uniforms: np.ndarray) -> Iterator[None]:
    """While entered, every multinomial draw is the first class whose cumulative exceeds the next row of uniforms."""
    rows = iter(uniforms)

    def draw(chances: Tensor, _: int) -> Tensor:
        below = chances.double().cumsum(-1) <= torch.from_numpy(np.atleast_1d(next(rows)))[:, None]
        return below.sum(-1, keepdim=True).clamp(max=chances.shape[-1] - 1)

    with mock.patch.object(Tensor, "multinomial", draw):
        yield


# ---- the paper's network

PAPER_NAMES = (
    ("conds_mixer.conds_mix.", "_conds_adaptation_layer."),
    ("conds_mixer.conds_utt_phonemes_emb.", "conds_linguistic_phonemes."),
    ("conds_mixer.conds_utt_vowels_emb.", "conds_linguistic_vowels."),
    ("conds_mixer.conds_utt_gpos_emb.", "conds_linguistic_gpos."),
    ("conds_mixer.conds_utt_tobi_emb.", "conds_linguistic_tobi."),
    ("frames_layers.", "frame_level_layers."),
    ("sample_layer.", "sample_level_layer."),
    (".x_expand.", "._samples_expand_layer."),
    (".conds_expand.", "._conds_expand_layer."),
    (".rnn.", "._rnn_layer."),
    (".rnn_h0", "._rnn_layer_h0"),
    (".upsample.", "._upsampling_layer."),
    (".upsample_bias", "._upsampling_layer_bias"),
    (".emb_layer.", "._embedding_layer."),
    (".emb_layer_expand.", "._embedding_expand_layer."),
    (".comb_layer.", "._inputs_comb_layer."),
    (".comb_layer_expand.", "._global_expand_layer."),
    (".adapt.", "._adaptation_layer."),
)


def as_in_the_paper(state: dict[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """A state dict of the published network as the paper's code has it: (model_state, embedding_state).

    The paper's mixer reads content before speaker, the published one speaker before content.
    """
    model, table = {}, {}
    for name, tensor in state.items():
        if name == "conds_mixer.speaker_embedding.weight":
            table["weight"] = tensor
            continue
        if name == "conds_mixer.conds_mix.weight":
            tensor = tensor.roll(-15, 1)
        for theirs, papers in PAPER_NAMES:
            name = name.replace(theirs, papers)
        model[name] = tensor
    return model, table


def paper(its: Theirs, mode: Mode, sizes: Sizes) -> tuple[Any, Any]:
    """The paper's network and its quantiser."""
    kinds = ("phonemes", "vowels", "gpos", "tobi")
    spread = 0 if mode == "acoustic" else 10 * (sizes.embedding - 1)
    settings = types.SimpleNamespace(
        quantizer={"q_type_ulaw": True, "q_levels": 256},
        conditionants={f"utterance_linguistic_{kind}_embedding_size": sizes.embedding for kind in kinds}
        | {"utterance_type": mode, "utterance_size_expanded": WIDTHS[mode] + spread, "speaker_size": 15}
        | {"global_size": sizes.conds},
        architecture={
            "frame_layers_fs": [20, 80], "frame_layers_ratios": [20, 4], "frame_layers_rnn_layers": [1, 1],
            "frame_layers_rnn_hidden_size": 2 * [sizes.hidden],
            "frame_size": 80, "receptive_field": 80 * sizes.sequence,
        },
    )  # fmt: skip
    codec = its.paper.SampleRNNQuantizer(settings)
    return its.paper.SampleRNNModel(settings, codec, list(sizes.vocabularies)), codec
