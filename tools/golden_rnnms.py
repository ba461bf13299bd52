"""What the two public RNN_MS implementations compute, univoc 0.2.1 and tarepan/UniversalVocoding: for make_golden.py.

Their code is imported from where the caller has it, helped past what today's torch, NumPy and librosa lack; none of it
is kept.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
import types
import zlib
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from unittest import mock

import librosa
import numpy as np
import torch

Arrays = dict[str, np.ndarray]


def fill(state: dict[str, torch.Tensor], seed: int) -> dict[str, torch.Tensor]:
    """Weights that anyone can make again: uniform in +-2 / sqrt(columns), drawn from [seed, CRC-32 of the name]."""
    filled = {}
    for name, tensor in state.items():
        draw = np.random.default_rng([seed, zlib.crc32(name.encode())]).random(tuple(tensor.shape))
        filled[name] = torch.from_numpy(((2 * draw - 1) * 2 / tensor.shape[-1] ** 0.5).astype(np.float32))
    return filled


def univoc_keys(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """tarepan's tensor names turned into univoc's."""
    names = {"encoder.": "rnn1.", "decoder.embedding.": "embedding.", "decoder.rnn.": "rnn2.", "decoder.fc": "fc"}
    return {new + k.removeprefix(old): v for k, v in state.items() for old, new in names.items() if k.startswith(old)}


def import_networks(checkout: Path) -> tuple[Any, Any]:
    """univoc.Vocoder and tarepan's RNN_MS_Vocoder, past what their imports lack today."""
    from univoc import Vocoder

    shim = types.ModuleType("torch.tensor")
    shim.Tensor = torch.Tensor  # type: ignore[attr-defined]
    sys.modules["torch.tensor"] = shim
    for name in ("rnnms_seed", "rnnms_seed.networks"):  # without its __init__, which wants Lightning
        package = types.ModuleType(name)
        package.__path__ = [str(checkout / "rnnms" / name.removeprefix("rnnms_seed").strip("."))]
        sys.modules[name] = package
    network = importlib.import_module("rnnms_seed.networks.vocoder")
    return Vocoder, network.RNN_MS_Vocoder


def twin_networks(checkout: Path, seed: int, sizes: tuple[int, ...]) -> tuple[Any, Any, dict[str, torch.Tensor]]:
    """univoc and tarepan of sizes (mels, latent, embedding, rnn, fc, bits, hop); and the weights both have."""
    univoc_class, tarepan_class = import_networks(checkout)
    tarepan, univoc = tarepan_class(*sizes).eval(), univoc_class(*sizes, sr=16000).eval()
    state = fill(tarepan.state_dict(), seed)
    tarepan.load_state_dict(state)
    univoc.load_state_dict(univoc_keys(state))
    return univoc, tarepan, state


@torch.no_grad()
def networks(checkout: Path, wav: np.ndarray) -> Arrays:
    """Logits of both networks for a small size (batch 2, weights kept) and the published one (seed kept, a part).

    checkout: of tarepan/UniversalVocoding; univoc must be importable. wav: (T,) int16 at 16 kHz, at least 0.6 s.
    """
    out: Arrays = {}
    univoc, tarepan, state = twin_networks(checkout, 1, (8, 6, 5, 7, 9, 6, 4))
    rng = np.random.default_rng(0)
    mel, codes = rng.standard_normal((2, 5, 8)).astype(np.float32), rng.integers(0, 64, (2, 20))
    out |= {f"small.{name}": tensor.numpy() for name, tensor in state.items()}
    inputs = torch.from_numpy(codes), torch.from_numpy(mel)
    out |= {"small_mel": mel, "small_codes": codes}
    out |= {"small_univoc_logits": univoc(*inputs).numpy(), "small_tarepan_logits": tarepan(*inputs).numpy()}

    univoc, tarepan, state = twin_networks(checkout, 2, (80, 128, 256, 896, 1024, 10, 200))
    front = front_end(checkout, wav)
    mel, codes = front["front_mel"][None, :, 20:26], front["front_labels"][None, 20 * 200 - 1 : 26 * 200 - 1]
    inputs = torch.from_numpy(codes.astype(np.int64)), torch.from_numpy(mel).transpose(1, 2)
    part = slice(None, None, 37)
    out |= {"full_seed": np.array(2), "full_mel": mel, "full_codes": codes.astype(np.uint16)}
    out |= {"full_univoc_logits": univoc(*inputs)[0, part, part].numpy()}
    out |= {"full_tarepan_logits": tarepan(*inputs)[0, part, part].numpy()}
    return out | front | generation(univoc, inputs[1][:, :3])


def generation(univoc: Any, mel: torch.Tensor) -> Arrays:
    """Labels and wave that univoc draws with given uniforms, at two temperatures. mel: (1, F, M)."""
    draws = np.random.default_rng(3).integers(2**23, size=mel.shape[1] * univoc.hop_length)
    out: Arrays = {"uniforms": (2 * draws + 1) / 2**24}  # exact in float32 too
    whole = univoc.fc2.weight.clone(), univoc.fc2.bias.clone()
    for temperature in (1.0, 0.1):
        univoc.fc2.weight.data, univoc.fc2.bias.data = (tensor / temperature for tensor in whole)
        categorical = InverseCDF(out["uniforms"])
        # univoc wants np.int, gone since NumPy 1.24
        with ExitStack() as patches:
            patches.enter_context(mock.patch("torch.distributions.Categorical", categorical))
            patches.enter_context(mock.patch.object(np, "int", int, create=True))
            patches.enter_context(mock.patch("univoc.model.tqdm", lambda frames, leave: frames))
            wav, _ = univoc.generate(mel)
        out[f"labels_{temperature}"] = np.array(categorical.labels, np.uint16)
        out[f"wav_{temperature}"] = wav.astype(np.float32)
    return out


class InverseCDF:
    """Stands in for torch.distributions.Categorical: draw t is the first class whose cumulative exceeds uniform t."""

    def __init__(self, uniforms: np.ndarray) -> None:
        self.uniforms, self.labels = uniforms, list[int]()

    def __call__(self, posterior: torch.Tensor) -> InverseCDF:
        """Draw from probabilities (1, Q)."""
        below = posterior[0].double().cumsum(0) <= self.uniforms[len(self.labels)]
        self.labels.append(min(int(below.sum()), posterior.shape[1] - 1))
        return self

    def sample(self) -> torch.Tensor:
        """The label just drawn, (1,) int64."""
        return torch.tensor(self.labels[-1:])


def front_end(checkout: Path, wav: np.ndarray) -> Arrays:
    """tarepan's preprocessing of a clip, from its loudness on: normalised log-mel and 10-bit labels."""
    spec = importlib.util.spec_from_file_location("tarepan_preprocess", checkout / "rnnms" / "data" / "preprocess.py")
    module = importlib.util.module_from_spec(spec)  # type: ignore[arg-type]
    spec.loader.exec_module(module)  # type: ignore[union-attr]
    whole = librosa.feature.melspectrogram
    reflected = lambda y, **settings: whole(y=y, pad_mode="reflect", **settings)  # noqa: E731  its librosa's call, default
    with mock.patch("librosa.feature.melspectrogram", reflected):
        mel = module.melspectrogram(wav / 32768, 16000, 200, 800)
    labels = module.mu_compress(wav / 32768, 10, 200, 800)
    return {"front_wav": wav, "front_mel": mel.astype(np.float32), "front_labels": labels.astype(np.uint16)}
