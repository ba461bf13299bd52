"""PASE and PASE+: the public encoders' features with the same weights; their files; speakers; fine-tuning."""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from samplernn_pase import pase, pase_plus
from samplernn_pase.pase import HOP, PASE, SHORTEST
from samplernn_pase.pase_plus import QRNN, PASEPlus
from samplernn_pase.speaker import encoder, fingerprint

KINDS = {"PASE": PASE, "PASE+": PASEPlus}


def drawn(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """As tools/golden_pase.py draws weights."""
    draw = 2 * np.random.default_rng(zlib.crc32(name.encode())).random(shape) - 1
    if name.endswith("running_var"):
        return (1 + 0.5 * draw).astype(np.float32)
    if name.endswith("norm.weight"):
        return (1 + 0.2 * draw).astype(np.float32)
    if name.endswith(("bias", "running_mean", "act.weight")):
        return (0.3 * draw).astype(np.float32)
    return (draw * (3 / int(np.prod(shape[1:]))) ** 0.5).astype(np.float32)


@torch.no_grad()
def filled(model: nn.Module) -> nn.Module:
    """With the weights of tools/golden_pase.py."""
    for name, tensor in model.state_dict().items():
        if name.endswith("_hz_"):
            tensor.mul_(1 + 0.1 * torch.from_numpy(drawn(name, tuple(tensor.shape)).clip(-1, 1)))
        elif tensor.is_floating_point():
            tensor.copy_(torch.from_numpy(drawn(name, tuple(tensor.shape))))
    return model.eval()


@pytest.fixture(scope="module")
def theirs(golden: Path) -> dict[str, np.ndarray]:
    """What the public code computed: see tools/golden_pase.py."""
    with np.load(golden / "pase.npz") as arrays:
        return dict(arrays)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A checkpoint of each kind, in the container of their time, before torch 1.6."""
    folder = tmp_path_factory.mktemp("ckpt")
    for name, kind in KINDS.items():
        torch.save(filled(kind()).state_dict(), folder / name, _use_new_zipfile_serialization=False)
    return {name: folder / name for name in KINDS}


@pytest.mark.parametrize("name", KINDS)
def test_the_tensors_have_the_public_names_and_shapes(name: str, theirs: dict[str, np.ndarray]) -> None:
    ours = {f"{key} {tuple(tensor.shape)}" for key, tensor in KINDS[name]().state_dict().items()}
    assert ours == set(theirs[f"{name}_tensors"].tolist())


def test_the_counts_of_parameters_are_the_published_networks() -> None:
    assert sum(p.numel() for p in PASE().parameters()) == 5_818_020
    assert sum(p.numel() for p in PASEPlus().parameters()) == 6_258_496 + 1_574_400


@pytest.mark.parametrize("name", KINDS)
def test_features_are_the_public_encoders(name: str, theirs: dict[str, np.ndarray]) -> None:
    wav = torch.from_numpy(theirs["wav"] / 32768)[None]
    model = filled(KINDS[name]())
    with torch.no_grad():
        exact, usual = model.double().features(wav)[0].T.numpy(), model.float().features(wav.float())[0].T.numpy()
    expected = theirs[f"{name}_features"]
    assert exact.shape == expected.shape == (30, model.dim)
    assert np.abs(exact - expected).max() < 5e-6 < 1e-4 * expected.std()  # theirs keeps its times in float32
    assert np.abs(usual - expected).max() < 2e-5


def test_the_recurrent_layer_and_its_gradients_are_the_public_ones(theirs: dict[str, np.ndarray]) -> None:
    layer = filled(QRNN(5, 4)).double()
    heard = torch.from_numpy(theirs["qrnn_heard"]).requires_grad_()
    said = layer(heard)
    (said * torch.from_numpy(theirs["qrnn_weight"])).sum().backward()
    weight = layer.layers[0].linear.weight
    np.testing.assert_allclose(said.detach().numpy(), theirs["qrnn_said"], atol=1e-12)
    np.testing.assert_allclose(heard.grad.numpy(), theirs["qrnn_gradient"], atol=1e-12)
    np.testing.assert_allclose(weight.grad.numpy(), theirs["qrnn_linear_gradient"], atol=1e-12)


@pytest.mark.parametrize("length", [1, 2, 3, 64, 65, 1000])
def test_decaying_is_the_loop_over_time(length: int) -> None:
    rng = torch.Generator().manual_seed(length)
    kept = torch.sigmoid(8 * torch.randn(length, 2, 3, generator=rng, dtype=torch.float64))  # 1e-9 to 1 - 1e-9, too
    added = torch.randn(length, 2, 3, generator=rng, dtype=torch.float64)
    state, slow = torch.zeros(2, 3, dtype=torch.float64), []
    for k, a in zip(kept, added):
        state = k * state + a
        slow.append(state)
    torch.testing.assert_close(pase_plus.decaying(kept, added), torch.stack(slow), rtol=0, atol=1e-12)


def test_a_filter_passes_its_band_and_nothing_else() -> None:
    """By its response: in the middle of a band as loud as in no other, and 30 dB less an octave away."""
    sinc = PASE().blocks[0].conv
    response = torch.fft.rfft(sinc.filters()[:, 0].detach().double(), 16_000).abs()  # bins of 1 Hz
    low = 50 + sinc.low_hz_[:, 0].detach().abs()
    centre = (low + (50 + sinc.band_hz_[:, 0].detach()) / 2).round().long()
    for band in range(20, 60):
        peak = response[band, centre[band]]
        assert peak > 0.9 * response[band].max()
        assert response[band, centre[band] // 2] < 0.03 * peak


@pytest.mark.parametrize("name", KINDS)
def test_a_checkpoint_is_read_back(name: str, files: dict[str, Path], tmp_path: Path) -> None:
    made, provider = filled(KINDS[name]()), name.lower()
    loaded = encoder(provider, files[name])
    assert (loaded.name, loaded.dim) == (provider, made.dim)
    assert loaded.fingerprint == fingerprint(made) and len(loaded.fingerprint) == 64
    wrapped = {"state_dict": {f"frontend.{key}": value for key, value in made.state_dict().items()}, "epoch": 3}
    torch.save(wrapped, tmp_path / "trained.ckpt")
    assert encoder(provider, tmp_path / "trained.ckpt").fingerprint == loaded.fingerprint
    with torch.no_grad():
        made.W.weight[0, 0] += 1e-3
    assert fingerprint(made) != loaded.fingerprint


def test_weights_that_are_not_there_or_another_models_are_named(files: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"PASE.ckpt .*--speaker-weights"):
        encoder("pase")
    with pytest.raises(FileNotFoundError, match=r"FE_e199.ckpt .*--speaker-weights"):
        encoder("pase+")
    with pytest.raises(FileNotFoundError, match=r"none.ckpt: no such file.*PASE.ckpt"):
        encoder("pase", tmp_path / "none.ckpt")
    with pytest.raises(ValueError, match=r"denseskips.0.weight, .*weights of pase\+"):
        encoder("pase", files["PASE+"])
    with pytest.raises(ValueError, match=r"W.weight is \(100, 512, 1\) instead of \(256, 512, 1\)"):
        encoder("pase+", files["PASE"])
    state = PASE().state_dict()
    del state["blocks.3.norm.running_var"]
    torch.save(state, tmp_path / "cut.ckpt")
    with pytest.raises(ValueError, match=r"blocks.3.norm.running_var is none instead of \(128,\)"):
        encoder("pase", tmp_path / "cut.ckpt")


@pytest.mark.parametrize("name", KINDS)
def test_a_vector_is_the_mean_of_what_is_said(name: str, files: dict[str, Path]) -> None:
    """By hand on the frames that are no pause; silence before it changes nothing but its edge, loudness nothing."""
    made = encoder(name.lower(), files[name])
    rng = np.random.default_rng(0)
    voice = (0.1 * rng.normal(size=16_000)).astype(np.float32)
    vector = made.embed(voice, 16_000)
    by_hand = made.features(torch.from_numpy(voice)[None] * (10 ** (-24 / 20) / np.sqrt(np.mean(voice**2))))
    np.testing.assert_allclose(vector, by_hand[0].mean(1), atol=1e-4)
    with_pause = made.embed(np.concatenate([voice, np.zeros(48_000, np.float32)]), 16_000)
    assert np.abs(with_pause - vector).max() < 0.25 * np.abs(vector).max()  # 0.1 s of it counts as speech
    np.testing.assert_allclose(made.embed(0.01 * voice, 16_000), vector, atol=1e-3)


def test_long_speech_is_heard_in_pieces(files: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pase, "PIECE", 16_000)
    made = encoder("pase", files["PASE"])
    rng = np.random.default_rng(0)
    for samples in (2 * 16_000 + SHORTEST - 1, 2 * 16_000 + 5000):
        voice = (0.1 * rng.normal(size=samples)).astype(np.float32)
        whole = made.features(torch.from_numpy(voice)[None] * (10 ** (-24 / 20) / np.sqrt(np.mean(voice**2))))
        np.testing.assert_allclose(made.embed(voice, 16_000), whole[0].mean(1), atol=0.03)  # edges of the pieces
    assert whole.shape[2] == samples // HOP


def test_speech_too_short_or_silent_is_refused(files: dict[str, Path]) -> None:
    made = encoder("pase", files["PASE"])
    with pytest.raises(ValueError, match=r"0.062 s long; expected 0.1 s or more"):
        made.embed(np.ones(1000, np.float32), 16_000)
    with pytest.raises(ValueError, match="silent"):
        made.embed(np.zeros(16_000, np.float32), 16_000)
