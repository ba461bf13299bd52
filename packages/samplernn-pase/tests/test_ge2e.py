"""GE2E: our network and front end against Resemblyzer's own, where it is installed."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from samplernn_pase import ge2e
from samplernn_pase.ge2e import GE2E, pieces
from samplernn_pase.speaker import encoder
from vocoder_core import audio

needs_weights = pytest.mark.skipif(
    importlib.util.find_spec("resemblyzer") is None, reason="Resemblyzer, which holds the weights, is not installed"
)
CLIPS = ("slt/arctic_a0007", "carlo/it-demo-thanks", "ivrvoice/ru-demo-thanks", "austen/austen_64kb-0880")


@pytest.fixture(scope="module")
def ours() -> GE2E:
    return GE2E.load()


@pytest.fixture(scope="module")
def theirs() -> Any:
    """Resemblyzer as it is. It reads voices by webrtcvad, which has to be there for the import alone."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import resemblyzer
    except ImportError as error:
        pytest.skip(f"Resemblyzer cannot be imported ({error}): make oracles")
    return resemblyzer.VoiceEncoder("cpu", verbose=False)


def wave(shared_audio: Path, clip: str) -> np.ndarray:
    return audio.load(shared_audio / f"{clip}.flac", 16_000)[0]


@needs_weights
@pytest.mark.oracle
@pytest.mark.parametrize("clip", CLIPS)
def test_an_utterance_has_resemblyzers_vector(clip: str, shared_audio: Path, ours: GE2E, theirs: Any) -> None:
    """Whole, and cut where the number of pieces and the padding change."""
    wav = wave(shared_audio, clip)
    for samples in (len(wav), 8000, 25_599, 25_600, 37_920, 40_000):
        found, expected = ours.utterance(wav[:samples]), theirs.embed_utterance(wav[:samples])
        np.testing.assert_allclose(found, expected, atol=1e-6)
        assert found @ expected > 1 - 1e-6


@needs_weights
@pytest.mark.oracle
def test_pieces_begin_where_resemblyzers_do(theirs: Any) -> None:
    for samples in [1, 159, 160, 25_600, *range(30_000, 60_000, 37)]:
        _, slices = theirs.compute_partial_slices(samples, 1.3, 0.75)
        assert pieces(samples) == [part.start for part in slices], samples


@needs_weights
def test_the_network_is_the_published_one(ours: GE2E) -> None:
    assert sum(parameter.numel() for parameter in ours.parameters()) == 1_423_616
    assert (ours.name, ours.dim, len(ours.fingerprint)) == ("ge2e", 256, 64)
    assert not any(parameter.requires_grad for parameter in ours.parameters())


@needs_weights
def test_the_same_voice_is_nearer_than_another_one(shared_audio: Path, ours: GE2E) -> None:
    clips = [f"{who}/{clip}" for who, names in (
        ("carlo", ("it-demo-thanks", "it-vm-review")), ("ivrvoice", ("ru-demo-thanks", "ru-vm-review")),
        ("austen", ("austen_64kb-0870", "austen_64kb-0920")), ("ru_nsh", ("ru_0027", "ru_0087")),
    ) for clip in names]  # fmt: skip
    found = np.stack([ours.embed(wave(shared_audio, clip), 16_000) for clip in clips])
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-6)
    assert found.min() >= 0
    cosine = found @ found.T - 2 * np.eye(len(clips))
    assert [row.argmax() ^ 1 for row in cosine] == list(range(len(clips)))  # the two of a voice stand beside each other


@needs_weights
def test_loudness_pauses_and_rate_do_not_matter(shared_audio: Path, ours: GE2E) -> None:
    wav = wave(shared_audio, "slt/arctic_a0007")
    vector = ours.embed(wav, 16_000)
    assert ours.embed(0.05 * wav, 16_000) @ vector > 0.9999
    pause = np.zeros(32_000, np.float32)
    assert ours.embed(np.concatenate([pause, wav, pause]), 16_000) @ vector > 0.99
    assert ours.embed(audio.resample(wav, 16_000, 44_100), 44_100) @ vector > 0.99
    with pytest.raises(ValueError, match="silent"):
        ours.embed(pause, 16_000)


def test_weights_that_are_missing_or_others_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ge2e.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(FileNotFoundError, match=r"pip install --no-deps Resemblyzer .*--speaker-weights"):
        encoder("ge2e")
    with pytest.raises(FileNotFoundError, match=r"mine.pt: no such file; expected the pretrained.pt of Resemblyzer"):
        encoder("ge2e", tmp_path / "mine.pt")
    torch.save({"model_state": {"linear.weight": torch.zeros(3, 3)}}, tmp_path / "other.pt")
    with pytest.raises(ValueError, match="not the weights of a GE2E"):
        encoder("ge2e", tmp_path / "other.pt")


def test_a_file_with_weights_of_ones_own_is_read_and_named_by_its_digest(tmp_path: Path) -> None:
    torch.manual_seed(0)
    made = GE2E()
    state = made.state_dict() | {"similarity_weight": torch.ones(1)}  # which only training needs
    torch.save({"model_state": state, "step": 3}, tmp_path / "mine.pt", _use_new_zipfile_serialization=False)
    loaded = encoder("ge2e", tmp_path / "mine.pt")
    assert isinstance(loaded, GE2E) and torch.equal(loaded.linear.weight, made.linear.weight)
    with torch.no_grad():
        state["linear.bias"][0] += 1e-4
    torch.save({"model_state": state}, tmp_path / "mine.pt")
    assert encoder("ge2e", tmp_path / "mine.pt").fingerprint != loaded.fingerprint


def test_importing_it_imports_none_of_resemblyzer() -> None:
    code = (
        "import sys, samplernn_pase.ge2e; print([n for n in sys.modules if n in ('resemblyzer', 'librosa', 'scipy')])"
    )
    made = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert made.stdout.strip() == "[]"
