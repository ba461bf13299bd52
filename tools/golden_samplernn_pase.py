#!/usr/bin/env python3
"""Make shared-audio/golden/samplernn_pase.npz: what the public SampleRNN with PASE computes, for our tests to meet.

    mkdir ORACLES && cd ORACLES
    git clone https://github.com/davidalvarezdlt/samplernn_pase lightning     # commit b6c3b3f, MIT
    git clone https://github.com/AlomdaElmasry/samplernn_pase paper           # git checkout 7f311d0: the paper's code
    python tools/golden_samplernn_pase.py --oracles ORACLES

Their classes at a small size, in the three modes of conditioning, and at the published one, with weights that a seed
makes: log-probabilities of three chunks whose states are carried, losses, gradients, states, and samples out of known
uniforms. Three of their defects are repaired from outside, by tools/samplernn_code.py: states are carried (D2), a
decoded sample keeps its sign (D1), and waves are chosen whose raw samples are those that their codes decode to (D3).
The paper's code has to give the same numbers. Nothing of ours is imported here, and none of their code is kept.
"""

from __future__ import annotations

import argparse
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from make_golden import ROOT, clip
from samplernn_code import (
    MODES,
    WIDTHS,
    Mode,
    Sizes,
    Theirs,
    as_in_the_paper,
    carrying,
    drawing,
    info,
    lightning,
    paper,
    project,
    signed,
)

Arrays = dict[str, np.ndarray]
SMALL = Sizes(speakers=3, vocabularies=(7, 5, 4, 3), embedding=4, conds=6, hidden=8, sequence=3)
RESETS = ((1, 1, 2), (0, 1, 1), (0, 0, 0))  # three slots in three chunks: 0 goes on, 1 begins, 2 is empty
VOICES = (2, 0, 1)
CHUNK = 3 * 80
CATEGORIES = {0: (2, 3, 4, 5, 6), 1: (27,), 2: (31, 33, 41), 3: (49,)}


# ---- weights and inputs


def drawn(name: str, shape: tuple[int, ...], seed: int) -> Tensor:
    """Weights that anyone can make again, from [seed, CRC-32 of the name]: see tests/public_samplernn_weights.py."""
    draw = 2 * np.random.default_rng([seed, zlib.crc32(name.encode())]).random(shape) - 1
    if name.endswith("weight_g"):
        return torch.from_numpy((1.5 + draw / 2).astype(np.float32))
    inputs = int(np.prod(shape[1:])) if len(shape) > 1 else 36
    return torch.from_numpy((2.5 / inputs**0.5 * draw).astype(np.float32))


def fill(model: Any, seed: int) -> Any:
    """Every parameter drawn; D1 and D2 repaired."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(drawn(name, tuple(parameter.shape), seed))
    signed(model)
    return model


def stable(model: Any) -> Tensor:
    """The codes whose decoded sample has that code again: waves of them hide no D3.

    By their quantiser in float32 and in float64 (where the logarithm of 256 is still of single precision), and exactly.
    """
    codes = torch.arange(256)
    samples = model._dequantize(codes)
    precise = samples.double().numpy()
    exact = 256 * (np.sign(precise) * np.log1p(255 * np.abs(precise)) / np.log(256) + 1) / 2
    found = (model._quantize(samples), model._quantize(samples.double()), torch.from_numpy(np.floor(exact)))
    return codes[torch.stack([one == codes for one in found]).all(0)]


def wave(model: Any, rows: int, length: int) -> Tensor:
    """(rows, length) float32 of such samples, drawn."""
    codes = stable(model)
    picked = np.random.default_rng(0).integers(len(codes), size=(rows, length))
    return model._dequantize(codes[torch.from_numpy(picked)])


def content(mode: Mode, sizes: Sizes, rows: int, frames: int) -> Tensor:
    """(rows, frames, C) float32, as their network reads it: numbers in -2 .. 2, and indices of categories."""
    random = np.random.default_rng([1, WIDTHS[mode]])
    made = 4 * random.random((rows, frames, WIDTHS[mode])) - 2
    if mode != "acoustic":
        for vocabulary, fields in CATEGORIES.items():
            for field in fields:
                made[..., field] = random.integers(sizes.vocabularies[vocabulary], size=(rows, frames))
    return torch.from_numpy(made.astype(np.float32))


# ---- what they make of it


def training(model: Any, samples: Tensor, told: Tensor) -> Arrays:
    """Three chunks one after the other, in float64: log-probabilities, losses, states; gradients of the summed loss."""
    model.double()
    carrying(model, 3)
    speakers = info(*VOICES)
    said, losses, states = [], [], []
    for chunk, reset in enumerate(RESETS):
        own = samples[:, CHUNK * chunk : CHUNK * (chunk + 1) + 80].double()
        who = [speaker if at < 2 else None for speaker, at in zip(speakers, reset)]
        found = model(own[:, :-1], told[:, 3 * chunk : 3 * chunk + 3].double(), who, torch.tensor(reset))
        heard = torch.tensor(reset) < 2
        losses.append(F.nll_loss(found[heard].flatten(0, 1), model._quantize(own[:, 80:])[heard].flatten()))
        said.append(found)
        empty = torch.zeros(1, model.frames_layers[0].rnn_hidden_size)
        states.append(torch.stack([torch.cat([empty if one is None else one for one in model.rnn_states[layer]])
                                   for layer in model.frames_layers]))  # fmt: skip
    torch.stack(losses).sum().backward()
    gradients = {n: p.grad for n, p in model.named_parameters() if p.grad is not None}
    parts = {f"gradient.{n}": part(g).float().numpy() for n, g in gradients.items()}
    return parts | {
        "logits": torch.stack(said)[..., ::11, ::17].detach().numpy().astype(np.float32),
        "losses": torch.stack(losses).detach().numpy(), "states": torch.stack(states).numpy(),
    }  # fmt: skip


def part(tensor: Tensor) -> Tensor:
    """A small tensor whole, of a large one each 31st number."""
    return tensor if tensor.numel() < 1000 else tensor.flatten()[::31]


@torch.no_grad()
def whole(model: Any, samples: Tensor, told: Tensor) -> Tensor:
    """The first slot's three chunks as one: log-probabilities (1, 720, 256)."""
    carrying(model, 1)
    found: Tensor = model(samples[:1, :-1].double(), told[:1].double(), info(VOICES[0]), torch.tensor([1]))
    return found


@torch.no_grad()
def generation(model: Any, told: Tensor) -> np.ndarray:
    """Codes (480,) that known uniforms draw, six frames of the second voice."""
    with drawing(uniforms(480, 3)):
        made: Tensor = model.float().infer(told[1:2, :6], info(VOICES[1])[0])
    return made[0, 80:].numpy().astype(np.uint8)


def uniforms(length: int, seed: int) -> np.ndarray:
    """(length,) strictly within 0 and 1, exact in float32 too."""
    return (2 * np.random.default_rng(seed).integers(2**23, size=length) + 1) / 2**24


@torch.no_grad()
def of_the_paper(its: Theirs, mode: Mode, state: dict[str, Tensor], samples: Tensor, told: Tensor) -> Arrays:
    """The paper's code with the same weights: log-probabilities of the chunks, and codes from the same uniforms."""
    made, table = as_in_the_paper({name: tensor.float() for name, tensor in state.items()})
    model, codec = paper(its, mode, SMALL)
    model.load_state_dict(made)
    voices = table["weight"][list(VOICES)]
    found, reset = [], [torch.tensor(row) for row in RESETS]
    for chunk in range(3):
        own = codec.quantize(samples[:, CHUNK * chunk : CHUNK * (chunk + 1) + 79])
        found.append(model.train()(own, voices, told[:, 3 * chunk : 3 * chunk + 3], reset[chunk]))
    model.frame_level_hidden_states = None
    with drawing(uniforms(480, 3)):
        codes = model.eval()(None, voices[1:2], told[1:2, :6], torch.tensor([1]))
    return {"logits": torch.stack(found)[..., ::11, ::17].numpy(), "codes": codes[0, 80:].numpy().astype(np.uint8)}


def mode_of(its: Theirs, mode: Mode) -> Arrays:
    """All arrays of one mode; the paper's code has to agree."""
    model = fill(lightning(its, mode, SMALL), 1)
    samples, told = wave(model, 3, 80 + 3 * CHUNK), content(mode, SMALL, 3, 9)
    arrays = training(model, samples, told)
    together = whole(model, samples, told)[:, ::11, ::17].float().numpy()
    apart = arrays["logits"][:, 0].reshape(together.shape[0], -1, together.shape[2])
    agree("chunks and the whole", mode, together[:, :22], apart[:, :22])
    arrays |= {"whole": together[0], "codes": generation(model, told)}
    theirs = of_the_paper(its, mode, model.state_dict(), samples, told)
    heard = np.array(RESETS) < 2
    agree("log-probabilities of the paper's code", mode, arrays["logits"][heard], theirs["logits"][heard])
    if not np.array_equal(arrays["codes"], theirs["codes"]):
        raise SystemExit(f"{mode}: the paper's code draws other samples")
    return {f"{mode}.{name}": array for name, array in arrays.items()} | {"wave": samples.numpy()}


def agree(what: str, mode: str, one: np.ndarray, other: np.ndarray) -> None:
    """Stop where two arrays part by more than rounding."""
    apart = float(np.abs(one - other).max())
    if apart > 2e-5:
        raise SystemExit(f"{mode}: {what} part by {apart:.2g}")


@torch.no_grad()
def heard_as_recorded(its: Theirs) -> Arrays:
    """The published code as it trains, its frame tiers hearing the recording itself: three frames of speech."""
    model = fill(lightning(its, "acoustic", SMALL), 1)  # in float64 its quantiser would take silence for code 127
    heard = clip("slt/arctic_a0007", 16_000, 1.0, 0.5)[: 80 + CHUNK].astype(np.int16)
    samples = torch.from_numpy(heard[None, :-1] / np.float32(32768))
    said = model(samples, content("acoustic", SMALL, 1, 3), info(0), torch.tensor([1]))
    return {"raw.wave": heard, "raw.logits": said[0, ::11, ::17].numpy()}


@torch.no_grad()
def published(its: Theirs) -> Arrays:
    """Some log-probabilities of the published size on speech, by the paper's code, which hears codes; in float32."""
    sizes = Sizes(sequence=6)
    model = fill(lightning(its, "linguistic_lf0", sizes), 2)
    made, table = as_in_the_paper(model.state_dict())
    theirs, codec = paper(its, "linguistic_lf0", sizes)
    theirs.load_state_dict(made)
    heard = clip("slt/arctic_a0007", 16_000, 1.0, 0.5)[: 80 + 480].astype(np.int16)
    told = content("linguistic_lf0", sizes, 1, 6)
    codes = codec.quantize(torch.from_numpy(heard[None, :-1] / np.float32(32768)))
    said = theirs.train()(codes, table["weight"][77:78], told, torch.tensor([1]))
    return {"full.wave": heard, "full.logits": said[0, ::11, ::17].numpy()}


def main() -> None:
    """Make the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--oracles", type=Path, required=True, help="folder with the checkouts `lightning` and `paper`")
    parser.add_argument("--out", type=Path, default=ROOT / "shared-audio" / "golden" / "samplernn_pase.npz")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    arrays: Arrays = {}
    with project(arguments.oracles.resolve()) as its:
        for mode in MODES:
            arrays |= mode_of(its, mode)
        arrays |= heard_as_recorded(its) | published(its)
    np.savez_compressed(arguments.out, **arrays)  # type: ignore[arg-type]
    print(f"{arguments.out}: {arguments.out.stat().st_size / 1024:.0f} KiB, {len(arrays)} arrays")


if __name__ == "__main__":
    main()
