"""What univoc 0.2.1 (bshall/UniversalVocoding) does wrong, a test or more for each defect, numbered 1 to 8.

0 is univoc 0.1. A quoting error in a link to a notebook (8) has no counterpart here.
9 to 15: test_original_defects_tarepan.py.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
import yaml

from rnnms import RNNMS, RNNMSConfig, generate, infer, preprocess
from rnnms.batches import Batches, CropConfig
from vocoder_core import audio, foreign_checkpoint, mel_file, mulaw
from vocoder_core.corpus import Corpus
from vocoder_core.mel import MelConfig, log_mel

TINY = RNNMSConfig(bits=8, encoder_size=4, embedding_size=4, hidden_size=8, linear_size=8)


@pytest.fixture
def model() -> RNNMS:
    torch.manual_seed(0)
    return RNNMS(TINY).eval()


def perfect(monkeypatch: pytest.MonkeyPatch, model: RNNMS, wav: np.ndarray) -> None:
    """Let the network draw exactly the labels it would be trained to draw for this wave."""

    def codes(decoder: Any, latents: torch.Tensor, *_: Any) -> torch.Tensor:
        samples = latents.shape[1] * model.config.mel.hop_length
        whole = torch.nn.functional.pad(torch.from_numpy(wav), (0, samples - len(wav)))
        return model.labels(whole[None])

    monkeypatch.setattr(generate, "generate_codes", codes)


# ---- univoc 0.2.1


@pytest.mark.parametrize("backend", ["torch", "numba"])
def test_1_generation_ends_with_a_wave_on_numpy_2(model: RNNMS, backend: str) -> None:
    """1: np.int, gone since NumPy 1.24, is reached after the whole generation: all is computed, then lost."""
    assert not hasattr(np, "int")
    wav = model.synthesize(torch.zeros(1, 80, 2), seed=0, backend=backend)  # type: ignore[arg-type]
    assert wav.shape == (1, 400)
    assert wav.dtype == torch.float32


def test_2_training_needs_no_librosa(data: Path, model: RNNMS, monkeypatch: pytest.MonkeyPatch) -> None:
    """2: preprocessing calls librosa by position, which librosa 0.10 forbids; the requirement has no upper bound."""
    monkeypatch.setitem(sys.modules, "librosa", None)
    batch = Batches(Corpus.open(data), model, CropConfig(frames=4), 2, 0)(1)
    assert batch.mel.shape == (2, 80, 4)


def test_3_there_is_a_command_that_copies_a_recording(run: Path, shared_audio: Path, tmp_path: Path) -> None:
    """3: generate.py cannot run: undefined names, a missing argument, hard-wired paths, .cuda() unasked."""
    source, made = shared_audio / "slt" / "arctic_a0009.flac", tmp_path / "copy.wav"
    wav, rate = soundfile.read(source)
    short = tmp_path / "in.flac"
    soundfile.write(short, wav[8000:12000], rate)
    assert infer.main([str(short), str(made), "--checkpoint", str(run), "--device", "cpu"]) == 0
    assert soundfile.info(made).frames == 4000


def test_4_a_checkpoint_saved_on_a_gpu_is_read_without_one(
    tmp_path: Path, model: RNNMS, monkeypatch: pytest.MonkeyPatch
) -> None:
    """4: torch.load without map_location fails for a GPU's checkpoint on a machine that has none."""
    monkeypatch.setattr(torch.serialization, "location_tag", lambda _: "cuda:0")
    torch.save(model.state_dict(), tmp_path / "gpu.pt")
    monkeypatch.undo()
    if not torch.cuda.is_available():
        with pytest.raises(RuntimeError, match="CUDA"):
            torch.load(tmp_path / "gpu.pt", weights_only=True)
    assert all(
        tensor.device.type == "cpu" for tensor in foreign_checkpoint.read(tmp_path / "gpu.pt", "weights").values()
    )


def test_4_the_front_end_travels_with_the_weights(model: RNNMS, tmp_path: Path) -> None:
    """4: the config lies in the package, not in the checkpoint: weights and front end part silently."""
    other = RNNMS(replace(TINY, mel=MelConfig(hop_length=100, win_length=400, fmin=90.0), delay=200))
    other.save_pretrained(tmp_path)
    assert RNNMS.from_pretrained(tmp_path).config == other.config != model.config


def test_4_a_mel_of_another_front_end_is_refused(model: RNNMS, tmp_path: Path) -> None:
    """4: a mismatched mel gives noise, and nothing says why."""
    np.save(tmp_path / "ln.npy", np.random.default_rng(0).uniform(-11.5, 2, (80, 30)).astype(np.float32))
    with pytest.raises(ValueError, match="Another front end made this one"):
        mel_file.read(tmp_path / "ln.npy", model.config.mel)
    np.save(tmp_path / "40.npy", np.zeros((40, 30), np.float32))
    with pytest.raises(ValueError, match=r"expected float \(80, frames\)"):
        mel_file.read(tmp_path / "40.npy", model.config.mel)


@pytest.mark.parametrize("backend", ["torch", "numba"])
def test_5_a_batch_gives_each_row_what_it_gets_alone(model: RNNMS, backend: Any) -> None:
    """5: generation fails for more than one row; a forgotten CPU cell and a synchronisation per sample slow it down."""
    mel = torch.rand(3, 80, 3) - 1
    together = model.synthesize(mel, seed=[5, 6, 7], backend=backend)
    for row, seed in enumerate((5, 6, 7)):
        assert torch.equal(together[row], model.synthesize(mel[row], seed=seed, backend=backend))


def test_6_a_loud_wave_comes_back_at_its_own_level() -> None:
    """6: univoc decodes labels half a cell too low at full scale: gain 0.994."""
    wave = 0.9 * torch.sin(torch.arange(20000, dtype=torch.float64) * 0.0971)
    default = RNNMSConfig()
    back = mulaw.decode(mulaw.encode(wave, default.bits, default.codec), default.bits, default.codec).double()
    gain = float((wave * back).sum() / wave.square().sum())
    assert gain == pytest.approx(1, abs=2e-4)
    theirs = mulaw.decode(mulaw.encode(wave, 10, "librosa"), 10, "librosa").double()
    assert float((wave * theirs).sum() / wave.square().sum()) == pytest.approx(0.994, abs=1e-3)


@pytest.mark.parametrize("settings", [{}, {"delay": 400, "codec": "librosa", "bits": 10}, {"emphasis": 0.85}])
@pytest.mark.parametrize("samples", [6400, 6401, 6599])
def test_6_the_copy_is_neither_late_nor_longer(
    samples: int, settings: dict[str, Any], shared_audio: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """6: univoc's output lags the input by 25 ms, is 1 to 200 samples longer, and lacks the input's last 25 ms."""
    model = RNNMS(replace(TINY, **settings)).eval()
    wav, rate = audio.load(shared_audio / "ru_nsh" / "ru_0027.flac")
    wav = wav[16000 : 16000 + samples]
    levelled, _ = audio.set_loudness(wav, rate, model.config.loudness)
    perfect(monkeypatch, model, levelled)
    copy = infer.copy(model, wav, rate)
    assert copy.shape == wav.shape
    error = np.sqrt(np.mean((copy - wav) ** 2) / np.mean(wav**2))
    assert error < 0.1, "aligned to the sample: only the labels' own noise is left"
    assert np.sqrt(np.mean((copy[-400:] - wav[-400:]) ** 2)) < 0.2 * np.sqrt(np.mean(wav**2)), "up to the end"


@pytest.mark.parametrize("rate", [8000, 16000, 44100])
@pytest.mark.parametrize("samples", [1, 199, 200, 201, 2047, 3001])
def test_6_every_length_is_restored(model: RNNMS, samples: int, rate: int) -> None:
    """6: no length restore."""
    wav = (0.1 * np.random.default_rng(0).standard_normal(samples)).astype(np.float32)
    assert infer.copy(model, wav, rate, seed=0).shape == (samples,)


def test_6_no_frames_give_no_samples(model: RNNMS) -> None:
    """6: no length restore."""
    assert model.synthesize(torch.zeros(2, 80, 0), seed=0).shape == (2, 0)


def test_6_all_parts_read_one_number_of_mels() -> None:
    """6: 128 mels by default in the function, 80 in the config; a reference level in the config that nothing reads."""
    config = RNNMSConfig(mel=MelConfig(n_mels=40, offset=10.0))
    wav = torch.randn(3200) / 8
    mel = log_mel(wav, config.mel)
    assert RNNMS(replace(TINY, mel=config.mel)).encode(mel[None]).shape == (1, 16, 8)
    torch.testing.assert_close(mel - 10 / 80, log_mel(wav, replace(config.mel, offset=20.0)))


def test_7_training_runs_on_a_cpu_with_validation_clipping_and_averaging(run: Path) -> None:
    """7: CUDA only, no validation, no gradient clipping, no averaged weights."""
    settings = yaml.safe_load((run / "train.yaml").read_text())
    last = json.loads((run / "metrics.jsonl").read_text().splitlines()[-1])
    assert last["step"] == 2
    assert 0 < last["valid_seen_bits"] < 9
    assert 0 < last["valid_unseen_bits"] < 9
    assert "grad_norm" in last
    flat = settings.get("train", settings)
    assert {"clip_grad", "ema", "seed"} <= set(flat)


def test_7_a_seed_gives_the_same_run(train_steps: Callable[..., int], run: Path, tmp_path: Path) -> None:
    """7: no seed anywhere."""
    assert train_steps(tmp_path, 2) == 0
    assert (tmp_path / "model.safetensors").read_bytes() == (run / "model.safetensors").read_bytes()


def test_7_clips_shorter_than_a_crop_are_trained_on(data: Path, model: RNNMS) -> None:
    """7: a clip under 25 frames ends the training: randint(0, -k)."""
    corpus = Corpus.open(data)
    frames = max(entry.frames for entry in corpus.split("train")) + 1
    target = Batches(corpus, model, CropConfig(frames=frames), 1, 0)(1).target[0]
    wholes = [model.labels(torch.from_numpy(corpus.wav(entry))[None])[0] for entry in corpus.split("train")]
    assert len(target) == frames * 200
    assert sum(torch.equal(target[: len(whole)], whole) for whole in wholes) == 1, "from its first sample on"
    assert (target[-200:] == 128).all(), "then silence"


def test_7_the_last_frame_is_trained_on(data: Path, model: RNNMS) -> None:
    """7: starts are drawn from [0, T - 25], so a crop of 24 frames never reaches the last one."""
    corpus = Corpus.open(data)
    batches = Batches(corpus, model, CropConfig(frames=24), 64, 0)
    inner: set[bytes] = set()
    ends: set[bytes] = set()
    for entry in corpus.split("train"):
        frames = model.labels(torch.from_numpy(corpus.wav(entry))[None])[0].view(-1, 200).numpy()
        inner |= {frame.tobytes() for frame in frames[:-1]}
        ends.add(frames[-1].tobytes())
    ends -= inner  # digital silence ends some utterances, and stands within others
    assert len(ends) > 5
    for step in range(1, 200):
        if ends & {target[-200:].numpy().tobytes() for target in batches(step).target}:
            return
    pytest.fail("200 batches without the end of an utterance")


def test_7_speech_is_stored_in_two_bytes_a_sample(data: Path) -> None:
    """7 and 14: labels stored as int64, 8 bytes a sample: 11 GB for LJSpeech."""
    corpus = Corpus.open(data)
    assert corpus.audio.dtype == np.int16
    stored = sum(path.stat().st_size for path in data.iterdir())
    assert stored < 2.1 * sum(entry.samples for entry in corpus.entries)


def test_8_a_plain_folder_gets_its_own_split(shared_audio: Path, tmp_path: Path) -> None:
    """8: the lists of files to train on must be fetched from elsewhere before anything runs."""
    (tmp_path / "in" / "anna").mkdir(parents=True)
    for clip in sorted((shared_audio / "carlo").glob("*.flac")):
        (tmp_path / "in" / "anna" / clip.name).symlink_to(clip)
    options = ["--jobs", "1", "--valid-fraction", "0.3"]
    assert preprocess.main([str(tmp_path / "in"), str(tmp_path / "data"), *options]) == 0
    corpus = Corpus.open(tmp_path / "data")
    assert corpus.split("train")
    assert corpus.split("valid")
    assert len(corpus.entries) == 13


def test_0_a_levelled_wave_never_passes_full_scale(data: Path) -> None:
    """0: `wav /= abs(wav).max() * 0.999` divides by less than the peak: 1.001 afterwards."""
    spiky = np.zeros(16000, np.float32)
    spiky[::4000] = 0.5
    levelled, _ = audio.set_loudness(spiky + 1e-3, 16000, target=-3.0)
    assert 0.99 < np.abs(levelled).max() <= 0.999
    assert np.abs(Corpus.open(data).audio.astype(np.int32)).max() <= 32767
