"""The network is the public one and the paper's: same weights, same numbers; same uniforms, same samples.

The arrays in shared-audio/golden/samplernn_pase.npz were computed by davidalvarezdlt/samplernn_pase and by the code of
its paper (tools/golden_samplernn_pase.py), which agree. Where SAMPLERNN_ORACLES names a folder with their checkouts,
`pytest -m oracle` meets them live.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from samplernn_pase import SampleRNNPASE, SampleRNNPASEConfig, labels
from samplernn_pase.generate import told_of
from samplernn_pase.import_checkpoint import KINDS, derive_config
from samplernn_pase.labels import LabelConfig
from samplernn_pase.model import State
from samplernn_pase.public_weights import layout, renamed

sys.path.append(str(Path(__file__).parent))
from drawn_networks import LOOPS
from public_samplernn import COUNTS, MODES, PUBLISHED, Mode, Sizes, content, ours, shapes, uniforms, weights, words

Arrays = dict[str, np.ndarray]
SEED = LabelConfig(codec="seed")
RESETS = ((1, 1, 2), (0, 1, 1), (0, 0, 0))  # three slots in three chunks: 0 goes on, 1 begins, 2 is empty
VOICES = torch.tensor([2, 0, 1])
CHUNK = 3 * 80


@pytest.fixture(scope="module")
def arrays(golden: Path) -> Arrays:
    with np.load(golden / "samplernn_pase.npz") as stored:
        return dict(stored)


def close(found: Tensor, theirs: np.ndarray, atol: float = 1e-5) -> None:
    np.testing.assert_allclose(found.detach().numpy(), theirs, rtol=0, atol=atol)


def said(logits: Tensor) -> Tensor:
    """Log-probabilities of logits (..., T, Q), those that the arrays keep."""
    return logits.log_softmax(-1)[..., ::11, ::17]


def led(told: Tensor) -> Tensor:
    """Content (B, F, C) behind a frame that our network is given and does not use."""
    return torch.cat([told[:, :1], told], dim=1)


# ---- sizes


@pytest.mark.parametrize("mode", MODES)
def test_the_published_size_has_as_many_parameters(mode: Mode) -> None:
    """Less the tables of words, which the public network has in every mode, where content has no words."""
    public = {name: torch.empty(shape, device="meta") for name, shape in shapes(mode, PUBLISHED).items()}
    assert sum(tensor.numel() for tensor in public.values()) == COUNTS[mode]
    how = layout(public)
    config = derive_config(renamed(public, how), how, None, words(PUBLISHED))
    with torch.device("meta"):
        model = SampleRNNPASE(config)
    unused = 15 * sum(PUBLISHED.vocabularies) if mode == "acoustic" else 0
    assert sum(p.numel() for p in model.parameters()) == COUNTS[mode] - unused


def test_the_default_network_is_the_published_one_but_for_what_it_hears() -> None:
    public = {name: torch.empty(shape, device="meta") for name, shape in shapes("acoustic", PUBLISHED).items()}
    how = layout(public)
    found, default = derive_config(renamed(public, how), how), SampleRNNPASEConfig()
    told = {name: getattr(default, name) for name in ("content", "labels", "speakers")}
    assert replace(found, **told) == default


# ---- training


@dataclass(frozen=True)
class Trained:
    """Three chunks: log-probabilities, losses and states of each; gradients of the summed loss; how exact they are."""

    mode: Mode
    model: SampleRNNPASE
    said: list[Tensor]
    losses: list[Tensor]
    states: list[State]
    precision: float


@pytest.fixture(scope="module", params=[(m, d) for m in MODES for d in (torch.float64, torch.float32)], ids=str)
def trained(request: pytest.FixtureRequest, arrays: Arrays) -> Trained:
    mode, dtype = request.param
    model = ours(weights(mode)).to(dtype).train()
    wave, told = torch.from_numpy(arrays["wave"]).to(dtype), led(content(mode, 3, 9)).to(dtype)
    state, passes, losses = None, [], []
    for chunk, reset in enumerate(RESETS):
        own, frames = wave[:, CHUNK * chunk : CHUNK * (chunk + 1) + 80], told[:, 3 * chunk : 3 * chunk + 4]
        made = model(own, frames, VOICES, state=state, reset=torch.tensor(reset))
        active = (torch.tensor(reset) < 2)[:, None].expand(-1, CHUNK)
        losses.append(model.loss(replace(made, logits=made.logits), active)["loss"])
        passes.append(made)
        state = made.state
    torch.stack(losses).sum().backward()
    precision = 1e-6 if dtype == torch.float64 else 1e-5
    return Trained(mode, model, [said(p.logits) for p in passes], losses, [p.state for p in passes], precision)


HEARD = [(chunk, slot) for chunk, reset in enumerate(RESETS) for slot, how in enumerate(reset) if how < 2]


def test_every_chunk_has_the_originals_log_probabilities(trained: Trained, arrays: Arrays) -> None:
    theirs = arrays[f"{trained.mode}.logits"]
    assert theirs.std() > 1, "a network that says something"
    for chunk, slot in HEARD:
        close(trained.said[chunk][slot], theirs[chunk, slot], trained.precision)


def test_losses_are_the_originals_mean_over_slots_that_are_not_empty(trained: Trained, arrays: Arrays) -> None:
    close(torch.stack(trained.losses), arrays[f"{trained.mode}.losses"], 1e-6)


def test_states_are_the_originals_in_slots_that_go_on_or_begin(trained: Trained, arrays: Arrays) -> None:
    for chunk, slot in HEARD:
        found = torch.stack([tier[0, slot] for tier in trained.states[chunk]])
        close(found, arrays[f"{trained.mode}.states"][chunk, :, slot], trained.precision)


def test_every_gradient_is_the_originals(trained: Trained, arrays: Arrays) -> None:
    """Of large tensors the arrays keep each 31st number: where those went, tensors of places tell."""
    public = shapes(trained.mode, Sizes())
    places = {name: torch.arange(int(np.prod(shape))).double().reshape(shape) for name, shape in public.items()}
    where, names = renamed(places, layout(weights(trained.mode))), renamed_one_by_one(trained.mode)
    gradients, checked = {name: p.grad for name, p in trained.model.named_parameters()}, set()
    for name, theirs in arrays.items():
        if not name.startswith(f"{trained.mode}.gradient."):
            continue
        mine = names[name.split(".gradient.")[1]]
        gradient, order = gradients[mine], where[mine].flatten().argsort()
        found = gradient.flatten()[order]
        found = found if theirs.size == found.numel() else found[::31]
        scale = float(np.abs(theirs).max())
        assert scale > 1e-4, name
        close(found, theirs.flatten(), trained.precision * max(1.0, scale))
        checked.add(mine)
    assert checked == set(gradients)


def renamed_one_by_one(mode: Mode) -> dict[str, str]:
    """Public name -> ours, of all that our network has."""
    public, found = weights(mode), {}
    how = layout(public)
    for name, tensor in public.items():
        for mine in renamed({name: tensor}, how):
            found[name] = mine
    return found


@pytest.mark.parametrize("mode", MODES)
def test_three_chunks_are_the_original_heard_as_one(mode: Mode, arrays: Arrays) -> None:
    model = ours(weights(mode)).double()
    wave, told = torch.from_numpy(arrays["wave"]).double()[:1], led(content(mode, 3, 9))[:1].double()
    with torch.no_grad():
        made = model(wave, told, VOICES[:1])
    close(said(made.logits)[0], arrays[f"{mode}.whole"], 1e-6)


def test_the_published_code_hears_recordings_as_they_are_and_so_can_ours(arrays: Arrays) -> None:
    model = ours(weights())
    wave, told = torch.from_numpy(arrays["raw.wave"] / np.float32(32768))[None], led(content("acoustic", 1, 3))
    raw = SampleRNNPASE(replace(model.config, labels=replace(model.config.labels, raw=True)))
    raw.load_state_dict(model.state_dict())
    with torch.no_grad():
        found, other = (said(m(wave, told, torch.tensor([0])).logits)[0] for m in (raw, model))
    close(found, arrays["raw.logits"], 1e-5)
    assert float((other - found).abs().max()) > 1e-3, "ours hears what codes say"


def test_the_published_size_says_the_same_of_speech(arrays: Arrays) -> None:
    """In float32, by the paper's code, whose frame tiers hear codes."""
    model = ours(weights("linguistic_lf0", PUBLISHED, seed=2), PUBLISHED)
    wave = torch.from_numpy(arrays["full.wave"] / np.float32(32768))[None]
    with torch.no_grad():
        made = model(wave, led(content("linguistic_lf0", 1, 6, PUBLISHED)), torch.tensor([77]))
    close(said(made.logits)[0], arrays["full.logits"], 1e-5)


# ---- generation


def centres() -> Tensor:
    """A sample (256,) within the cell of each code: the codec's own values are lower edges, and round either way."""
    edges = labels.decode(torch.arange(256), SEED)
    return (edges + F.pad(edges[1:], (0, 1), value=1)) / 2


@torch.no_grad()
def drawn_by_training_passes(model: SampleRNNPASE, told: Tensor, who: Tensor, draws: np.ndarray) -> np.ndarray:
    """Codes of one utterance, each by a whole training pass over what was drawn so far: slow, and no loop of ours."""
    codes, within = torch.full((1, 80 + len(draws)), 128), centres()
    for t, uniform in enumerate(draws):
        frames = t // 80 + 1
        made = model(within[codes[:, : 80 * (frames + 1)]], led(told)[:, : frames + 1], who)
        codes[0, 80 + t] = (made.logits[0, t].double().softmax(0).cumsum(0) <= uniform).sum().clamp(max=255)
    return codes[0, 80:].numpy()


@pytest.mark.parametrize("mode", MODES)
def test_the_same_uniforms_draw_the_originals_samples(mode: Mode, arrays: Arrays) -> None:
    """Its sampler was replaced by inversion of its distribution, and its decoder given back the sign of the code."""
    theirs = arrays[f"{mode}.codes"][:240]
    assert len(set(theirs.tolist())) > 90, "varied samples, or equality says little"
    found = drawn_by_training_passes(
        ours(weights(mode)), content(mode, 3, 9)[1:2, :6], VOICES[1:2], uniforms(480, 3)[:240]
    )
    np.testing.assert_array_equal(found, theirs)


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("mode", MODES)
def test_every_loop_draws_the_originals_samples(mode: Mode, loop: str, arrays: Arrays) -> None:
    if loop == "numba":
        pytest.importorskip("numba")
    model = ours(weights(mode))
    with torch.inference_mode():
        frames = told_of(model, content(mode, 3, 9)[1:2, :6], VOICES[1:2])
        wav = LOOPS[loop](model, 1, 1.0)(frames, uniforms(480, 3)[None, :, None])
    codes = (wav[0, :, None] - labels.decode(torch.arange(256), SEED)).abs().argmin(1)
    np.testing.assert_array_equal(codes.numpy(), arrays[f"{mode}.codes"])


# ---- the quantiser


def test_codes_and_samples_are_the_public_quantisers() -> None:
    """Closed forms: floor(256 (F(x) + 1) / 2), and the lower edge of the cell with the code's sign."""
    x = np.linspace(-1, 1, 4002)[:-1]
    wanted = np.floor(256 * (np.sign(x) * np.log1p(255 * np.abs(x)) / np.log(256) + 1) / 2)
    np.testing.assert_array_equal(labels.encode(torch.from_numpy(x), SEED).numpy(), wanted)
    v = 2 * np.arange(256) / 256 - 1
    close(labels.decode(torch.arange(256), SEED), np.sign(v) * (256 ** np.abs(v) - 1) / 255, 1e-7)


def test_silence_is_the_public_code_of_it_and_full_scale_is_a_code() -> None:
    """128, which decodes to 0; and 255, where the public quantiser has 256, which none of its layers knows."""
    x = torch.tensor([0.0, 1.0, -1.0, 1.5])
    assert labels.encode(x, SEED).tolist() == [128, 255, 0, 255]
    assert labels.decode(torch.tensor([128]), SEED).tolist() == [0]


# ---- live


@contextmanager
def live() -> Iterator[tuple[Any, Any]]:
    """tools/samplernn_code.py, and the modules of the checkouts in the folder that SAMPLERNN_ORACLES names."""
    folder = os.environ.get("SAMPLERNN_ORACLES")
    tool = Path(__file__).resolve().parents[3] / "tools" / "samplernn_code.py"
    if not folder or not tool.is_file():
        pytest.skip("SAMPLERNN_ORACLES names no folder of checkouts: see tools/golden_samplernn_pase.py")
    spec = importlib.util.spec_from_file_location("tools_public_samplernn", tool)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    with module.project(Path(folder)) as its:
        yield module, its


@pytest.mark.oracle
@pytest.mark.parametrize("mode", MODES)
def test_a_fresh_network_of_the_published_size_live(mode: Mode) -> None:
    """With its own first weights: as many parameters, and the log-probabilities of two chunks, states carried."""
    torch.manual_seed(0)
    with live() as (tool, its), torch.no_grad():
        theirs = tool.lightning(its, mode, tool.Sizes())
        assert sum(p.numel() for p in theirs.parameters()) == COUNTS[mode]
        model = ours(theirs.state_dict(), PUBLISHED)
        tool.signed(theirs)
        tool.decoded(theirs)
        tool.carrying(theirs, 2)
        wave, told = torch.rand(2, 80 + 2 * 1040) * 2 - 1, content(mode, 2, 26, PUBLISHED)
        state = None
        for chunk, reset in enumerate(((1, 1), (0, 1))):
            own, frames = wave[:, 1040 * chunk : 1040 * (chunk + 1) + 80], told[:, 13 * chunk : 13 * (chunk + 1)]
            heard = theirs(own[:, :-1], frames, tool.info(5, 125), torch.tensor(reset))
            made = model(own, led(frames), torch.tensor([5, 125]), state=state, reset=torch.tensor(reset))
            close(made.logits.log_softmax(2), heard.numpy(), 1e-5)
            state = made.state
    assert set(KINDS) == set(words())
