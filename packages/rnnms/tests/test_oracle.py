"""The network is univoc 0.2.1's and tarepan/UniversalVocoding's: same weights, same logits; same uniforms, same labels.

The arrays in shared-audio/golden/rnnms.npz were computed by their code (tools/make_golden.py). Where univoc itself is
importable, `pytest -m oracle` meets it live.
"""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np
import pytest
import torch

from rnnms import RNNMS, RNNMSConfig
from rnnms.cell import Cell, Frames
from rnnms.packed import Packed
from vocoder_core import mulaw
from vocoder_core.mel import MelConfig, log_mel
from vocoder_core.recurrent.engine import CompiledLoop, TorchLoop

UNIVOC = RNNMSConfig(codec="librosa", delay=400)
SMALL = RNNMSConfig(
    mel=MelConfig(n_fft=16, win_length=8, hop_length=4, n_mels=8, fmin=0.0),
    bits=6, encoder_size=6, embedding_size=5, hidden_size=7, linear_size=9,
)  # fmt: skip


@pytest.fixture(scope="module")
def arrays(golden: Path) -> dict[str, np.ndarray]:
    with np.load(golden / "rnnms.npz") as stored:
        return dict(stored)


def fill(model: RNNMS, seed: int) -> RNNMS:
    """The weights of tools/golden_rnnms.py: uniform in +-2 / sqrt(columns), drawn from [seed, CRC-32 of the name]."""
    state = {}
    for name, tensor in model.state_dict().items():
        draw = np.random.default_rng([seed, zlib.crc32(name.encode())]).random(tuple(tensor.shape))
        state[name] = torch.from_numpy(((2 * draw - 1) * 2 / tensor.shape[-1] ** 0.5).astype(np.float32))
    model.load_state_dict(state)
    return model.eval()


@pytest.fixture(scope="module")
def full(arrays: dict[str, np.ndarray]) -> RNNMS:
    return fill(RNNMS(UNIVOC), int(arrays["full_seed"]))


# ---- the network


@pytest.mark.parametrize("original", ["univoc", "tarepan"])
def test_a_small_network_has_the_originals_logits(original: str, arrays: dict[str, np.ndarray]) -> None:
    model = RNNMS(SMALL).eval()
    model.load_state_dict({k[6:]: torch.from_numpy(v) for k, v in arrays.items() if k.startswith("small.")})
    mel, codes = torch.from_numpy(arrays["small_mel"]).transpose(1, 2), torch.from_numpy(arrays["small_codes"])
    with torch.no_grad():
        logits, _ = model(mel, codes)
    np.testing.assert_allclose(logits.numpy(), arrays[f"small_{original}_logits"], rtol=0, atol=1e-5)


@pytest.mark.parametrize("original", ["univoc", "tarepan"])
def test_the_published_size_has_the_originals_logits(original: str, full: RNNMS, arrays: dict[str, np.ndarray]) -> None:
    codes = torch.from_numpy(arrays["full_codes"].astype(np.int64))
    with torch.no_grad():
        logits, _ = full(torch.from_numpy(arrays["full_mel"]), codes)
    wanted = arrays[f"full_{original}_logits"]
    assert wanted.std() > 0.3, "logits that differ from class to class, or the comparison says little"
    np.testing.assert_allclose(logits[0, ::37, ::37].numpy(), wanted, rtol=0, atol=1e-5)


def test_both_training_paths_have_the_originals_logits(full: RNNMS, arrays: dict[str, np.ndarray]) -> None:
    """The concatenated inputs of the original (on GPUs) and the folded ones (on CPUs)."""
    codes = torch.from_numpy(arrays["full_codes"].astype(np.int64))[:, :200]
    with torch.no_grad():
        latents = full.encode(torch.from_numpy(arrays["full_mel"]))[:, :1]
        for path in (full.decoder._hidden_folded, full.decoder._hidden_cudnn):
            hidden = path(latents, codes, torch.zeros(1, 896))
            logits = full.decoder.fc2(full.decoder.fc1(hidden).relu())
            np.testing.assert_allclose(logits[0, ::37, ::37], arrays["full_univoc_logits"][:6], rtol=0, atol=1e-5)


# ---- the front end, with the checkpoint's own settings


def test_the_mel_is_the_originals(arrays: dict[str, np.ndarray]) -> None:
    mel = log_mel(torch.from_numpy(arrays["front_wav"] / np.float32(32768)), UNIVOC.mel)
    np.testing.assert_allclose(mel.numpy(), arrays["front_mel"][:, : mel.shape[1]], rtol=0, atol=1e-5)


def test_the_labels_are_the_originals_delayed_ones(arrays: dict[str, np.ndarray]) -> None:
    """Their labels start with 400 reflected samples and go on with the wave; ours start with 400 of silence."""
    wav = torch.from_numpy(arrays["front_wav"] / 32768)[None]
    ours, theirs = RNNMS(UNIVOC).labels(wav)[0].numpy(), arrays["front_labels"]
    np.testing.assert_array_equal(ours[400:], theirs[400 : len(ours)])
    assert (ours[:400] == 512).all()


# ---- generation


@pytest.mark.parametrize("temperature", [1.0, 0.1])
@pytest.mark.parametrize("compiled", [False, True])
def test_the_same_uniforms_draw_univocs_labels(
    compiled: bool, temperature: float, full: RNNMS, arrays: dict[str, np.ndarray]
) -> None:
    """600 samples of the published size. univoc's own sampler was replaced by inversion of its softmax."""
    if compiled:
        pytest.importorskip("numba")
    with torch.inference_mode():
        latents = full.encode(torch.from_numpy(arrays["full_mel"])[:, :, :3])
        loop = CompiledLoop(Packed(full.decoder, 1), temperature) if compiled else None
        codes = (loop or TorchLoop(Cell(full.decoder, 1), temperature))(
            Frames(latents), arrays["uniforms"][None, :, None]
        )
    wanted = arrays[f"labels_{temperature}"]
    assert len(set(wanted.tolist())) > 50, "a varied sequence, or equality says little"
    np.testing.assert_array_equal(codes[0].numpy(), wanted)
    wav = mulaw.decode(codes[0], 10, "librosa").numpy()
    np.testing.assert_allclose(wav, arrays[f"wav_{temperature}"], rtol=0, atol=1e-6)


@pytest.mark.oracle
def test_univoc_live_has_our_logits() -> None:
    univoc = pytest.importorskip("univoc")
    torch.manual_seed(0)
    theirs = univoc.Vocoder(
        n_mels=80,
        conditioning_size=128,
        embedding_dim=256,
        rnn_size=896,
        fc_size=1024,
        bits=10,
        hop_length=200,
        sr=16000,
    ).eval()
    names = {"rnn1.": "encoder.", "embedding.": "decoder.embedding.", "rnn2.": "decoder.rnn.", "fc": "decoder.fc"}
    state = {
        new + key.removeprefix(old): value
        for key, value in theirs.state_dict().items()
        for old, new in names.items()
        if key.startswith(old)
    }
    ours = RNNMS(UNIVOC).eval()
    ours.load_state_dict(state)
    mel, codes = torch.randn(2, 80, 4), torch.randint(0, 1024, (2, 800))
    with torch.no_grad():
        torch.testing.assert_close(ours(mel, codes)[0], theirs(codes, mel.transpose(1, 2)), rtol=0, atol=1e-5)
