#!/usr/bin/env python3
"""Make shared-audio/golden/vqvaevc.npz: what the public VQ-VAE with a WaveRNN computes, for our tests to meet.

    mkdir ORACLES && cd ORACLES
    git clone https://github.com/mkotha/WaveRNN mkotha            # commit a06e6b8
    git clone https://github.com/tarepan/vqvaevc tarepan          # commit dabbb9b: must give the same numbers
    python tools/golden_vqvaevc.py --oracles ORACLES              # plus librosa

Their classes at small sizes and at the published one, with weights that a seed makes: encodings, both outputs of the
sphere, log-probabilities, loss and gradients in float64, samples out of known uniforms, and the three models' front end
on real speech. Nothing of ours is imported here, and none of their code is kept. Same versions, same bytes.
"""

from __future__ import annotations

import argparse
import zlib
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
import torch.nn.functional as F

from make_golden import ROOT, clip
from public_wavernn import Theirs, project

Arrays = dict[str, np.ndarray]
SPEAKERS, CODES, DIM, CONV, RNN, HIDDEN, LINEAR, BANDS = 3, 8, 5, 6, 10, 8, 7, 4
STRIDES = (2, 2, 2, 1, 2, 1, 2, 1, 2, 1)


# ---- small networks of theirs


def drawn(name: str, shape: tuple[int, ...], seed: int) -> torch.Tensor:
    """Weights that anyone can make again, from [seed, CRC-32 of the name]: +-3 / sqrt(inputs), biases +-0.5."""
    draw = 2 * np.random.default_rng([seed, zlib.crc32(name.encode())]).random(shape) - 1
    inputs = int(np.prod(shape[1:])) if len(shape) > 1 else 36
    inputs = shape[0] if "tconv.weight" in name else inputs
    return torch.from_numpy((3 / inputs**0.5 * draw).astype(np.float32))


def fill(model: Any, seed: int) -> Any:
    """Every parameter drawn; the mask stays; and what their training does after each update."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(drawn(name, tuple(parameter.shape), seed))
    model.after_update()
    return model.eval()


def small_overtone(its: Theirs, dim: int, speakers: int) -> Any:
    """Their decoder with narrow layers of theirs: its widths are no arguments."""
    made, layer = its.overtone.Overtone(HIDDEN, LINEAR, dim, speakers), its.overtone
    made.conv0 = layer.Conv4(1, CONV, speakers)
    made.conv1, made.conv2 = layer.Conv4(CONV, CONV, speakers), layer.Conv4(CONV, CONV, speakers)
    made.rnn0 = layer.RNN4(CONV + dim, RNN, made.warmup_steps, speakers)
    made.rnn1, made.rnn2 = (layer.RNN4(CONV + RNN, RNN, made.warmup_steps, speakers) for _ in range(2))
    made.wavernn = its.wavernn.WaveRNN(HIDDEN, LINEAR, RNN + speakers, 0)
    return made


def small_vqvae(its: Theirs) -> Any:
    """Their whole model, narrow."""
    made = its.vqvae.Model(8, 8, SPEAKERS, (4, 4, 4), True, True, True)
    made.encoder = its.encoder.DownsamplingEncoder(DIM, [(stride, 4, 1) for stride in STRIDES])
    made.vq = its.quant.VectorQuant(1, CODES, DIM, normalize=True)
    made.overtone = small_overtone(its, DIM, SPEAKERS)
    return fill(made, 1)


# ---- inputs


def samples(length: int, seed: int = 0, rows: int = 2) -> torch.Tensor:
    """16-bit samples (rows, length) int64 of noise, -2^15 to 2^15 - 1."""
    return torch.from_numpy(np.random.default_rng(seed).integers(-(2**15), 2**15, (rows, length)))


def halves(wave16: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Their input x (B, T - 1, 3) of float64, and the coarse and fine labels (B, T - 1) that it predicts."""
    coarse, fine = (wave16 + 2**15) // 256, (wave16 + 2**15) % 256
    c, f = coarse / 127.5 - 1.0, fine / 127.5 - 1.0
    return torch.stack([c[:, :-1], f[:, :-1], c[:, 1:]], 2).double(), coarse[:, 1:], fine[:, 1:]


def voices(rows: int = 2) -> torch.Tensor:
    """One-hot speakers (rows, S), the last first."""
    return torch.eye(SPEAKERS).flip(0)[:rows]


# ---- what they make of it


def training(model: Any) -> Arrays:
    """A pass as their loop does it, 64 targets a row, of noise: everything in float64 but the penalties."""
    model.double()
    wave16, left = samples(model.pad_left() + 64 + model.pad_right()), model.pad_left()
    right, before = model.pad_right(), model.pad_left() - model.pad_left_encoder()
    x, coarse, fine = halves(wave16[:, : len(wave16[0]) - right + 1])
    heard = (wave16.double() + 0.5) / 32767.5
    model.encoder.zero_grad()
    (p_c, p_f), vq_pen, encoder_pen, entropy = model(voices().double(), x, heard[:, before:])
    y_c, y_f = coarse[:, left:], fine[:, left:]
    nll = [F.nll_loss(p.transpose(1, 2), y) for p, y in ((p_c, y_c), (p_f, y_f))]
    loss = nll[0] + nll[1] + vq_pen + 0.01 * encoder_pen
    loss.backward()
    gradients = {f"gradient.{name}": p.grad.float().numpy() for name, p in model.named_parameters()}
    scalars = torch.stack([*nll, vq_pen, encoder_pen, loss]).detach().numpy()
    part = (slice(None), slice(None, None, 5), slice(None, None, 17))
    return gradients | {
        "pass_coarse": p_c[part].detach().numpy(), "pass_fine": p_f[part].detach().numpy(),
        "pass_losses": np.array([*scalars, entropy]),
    }  # fmt: skip


@torch.no_grad()
def encoding(model: Any) -> Arrays:
    """Encodings of noise, and all that the sphere makes of them, in float64."""
    heard = (samples(486 + 64 * 9 + 13, seed=1).double() + 0.5) / 32767.5
    found = model.double().encoder(heard)
    placed, vq_pen, encoder_pen, entropy = model.vq(found.unsqueeze(2))
    return {
        "encoded": found.numpy(), "placed": placed.squeeze(2).numpy(), "table": model.vq.embedding0[0].numpy(),
        "penalties": torch.stack([vq_pen, encoder_pen]).squeeze(-1).numpy(), "entropy": np.array(entropy),
    }  # fmt: skip


def uniforms(rows: int, length: int, seed: int) -> np.ndarray:
    """(rows, length, 2) strictly within 0 and 1, exact in float32 too."""
    return (2 * np.random.default_rng(seed).integers(2**23, size=(rows, length, 2)) + 1) / 2**24


class InverseCDF:
    """Stands in for their sampling: the first class whose cumulative exceeds the next uniform, coarse before fine."""

    def __init__(self, draws: np.ndarray) -> None:
        self.draws, self.labels = iter(draws.transpose(1, 2, 0).reshape(-1, len(draws))), list[torch.Tensor]()

    def __call__(self, score: torch.Tensor) -> torch.Tensor:
        """One class of each row of scores (B, Q)."""
        below = score.double().softmax(1).cumsum(1) <= torch.from_numpy(next(self.draws))[:, None]
        self.labels.append(below.sum(1).clamp(max=score.shape[1] - 1))
        return self.labels[-1]

    def found(self) -> np.ndarray:
        """(B, T, 2) uint8."""
        return torch.stack(self.labels, 1).unflatten(1, (-1, 2)).numpy().astype(np.uint8)


def generation(its: Theirs, model: Any) -> Arrays:
    """Three codes' worth of samples, warmed up by 85 codes of real encodings and their own zeros; and without codes."""
    heard = (samples(486 + 64 * 88, seed=2).float() + 0.5) / 32767.5
    out: Arrays = {}
    for name, seed in ("generated", 3), ("nocond", 4):
        draw = InverseCDF(uniforms(2, 192, seed))
        with mock.patch.object(its.nn, "sample_softmax", draw):
            if name == "generated":
                wave = model.float().forward_generate(voices(), heard)
            else:
                free = its.nocond.Model(8, 8)
                free.overtone = small_overtone(its, 0, 0)
                wave = fill(free, 2).generate(2, 192)
        out |= {f"{name}_labels": draw.found(), f"{name}_wave": wave.numpy().astype(np.float32)}
    return out


@torch.no_grad()
def mel_vocoder(its: Theirs) -> Arrays:
    """Log-probabilities of their mel vocoder, narrow, in float64, and samples out of known uniforms in float32."""
    model = fill(its.mel.Model(HIDDEN, LINEAR, 2, (4, 4, 4), BANDS), 3)
    mel = torch.from_numpy(np.random.default_rng(5).random((2, BANDS, 5)))
    p_c, p_f, _ = model.double()(halves(samples(193, seed=6))[0], mel)
    draw = InverseCDF(uniforms(2, 192, 7))
    categorical = lambda posterior: mock.Mock(sample=lambda: draw(posterior.log()))  # noqa: E731
    with mock.patch("torch.distributions.Categorical", categorical):
        wave = model.float().forward_generate(mel.float())
    part = (slice(None), slice(None, None, 13), slice(None, None, 17))
    return {
        "mel_condition": model.upsample(mel.float())[..., ::7].numpy(), "mel_coarse": p_c[part].numpy(),
        "mel_fine": p_f[part].numpy(), "mel_labels": draw.found(), "mel_wave": wave.numpy().astype(np.float32),
    }  # fmt: skip


@torch.no_grad()
def published(its: Theirs) -> Arrays:
    """Some log-probabilities of the published size with two speakers, on speech, 128 targets."""
    model = fill(its.vqvae.Model(896, 896, 2, (4, 4, 4), True, True, True), 4)
    wave16 = torch.from_numpy(clip("slt/arctic_a0007", 22050, 1.0, 0.4)[: 5630 + 128 + 960].astype(np.int64))[None]
    x, _, _ = halves(wave16[:, : 5630 + 128])
    heard = (wave16[:, 663:].float() + 0.5) / 32767.5
    codes = model.vq(model.encoder(heard).unsqueeze(2))[0]
    (p_c, p_f), *_ = model(torch.eye(2)[1:], x.float(), heard)
    index = torch.cdist(codes[0, :, 0], model.vq.embedding0[0]).argmin(1)
    return {
        "full_wave": wave16[0].numpy().astype(np.int16), "full_codes": index.numpy().astype(np.uint16),
        "full_coarse": p_c[0, ::11, ::17].numpy(), "full_fine": p_f[0, ::11, ::17].numpy(),
    }  # fmt: skip


def delays(model: Any) -> Arrays:
    """Every delay and pad that their code reckons, in samples, and one in codes."""
    its = model.overtone
    found = [its.delay_c0, its.delay_c1, its.delay_c2, its.delay_r0, its.delay_r1, its.delay_r2, its.delay_wr]
    return {"delays": np.array([*found, its.cond_pad, model.encoder.pad_left, model.pad_left_encoder(),
                                model.pad_left(), model.pad_right()])}  # fmt: skip


def front_end(its: Theirs) -> Arrays:
    """Their mel of real speech, and the 16 bits that their preprocessing makes of it."""
    wav = clip("slt/arctic_a0007", 22050, 0.5, 0.3)
    mel = its.dsp.melspectrogram(wav / np.float32(32768))
    return {"front_wav": wav, "front_mel": mel.round(5).astype(np.float32)}  # BLAS moves its last digits


def everything(checkout: Path) -> Arrays:
    """All arrays that one checkout makes."""
    with project(checkout) as its:
        model = small_vqvae(its)
        arrays = delays(model) | training(model) | encoding(model) | generation(its, model)
        return arrays | mel_vocoder(its) | published(its) | front_end(its)


def main() -> None:
    """Make the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--oracles", type=Path, required=True, help="folder with the two checkouts")
    parser.add_argument("--out", type=Path, default=ROOT / "shared-audio" / "golden" / "vqvaevc.npz")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    arrays, again = (everything(arguments.oracles.resolve() / name) for name in ("mkotha", "tarepan"))
    parted = [name for name in arrays if not np.array_equal(arrays[name], again[name])]
    if parted:
        raise SystemExit(f"the two projects disagree: {parted}")
    np.savez_compressed(arguments.out, **arrays)  # type: ignore[arg-type]
    print(f"{arguments.out}: {arguments.out.stat().st_size / 1024:.0f} KiB, {len(arrays)} arrays")


if __name__ == "__main__":
    main()
