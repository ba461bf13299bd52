"""One test for each known defect of the two public RNN_MS projects and the README's promises, numbered as in our notes.

    1-8    univoc 0.2.1 (bshall/UniversalVocoding)        9-15   tarepan/UniversalVocoding        16   univoc 0.1

What has no counterpart here has no test: a quoting error in a Colab link (8), cloud account numbers in the repository
(13), a demo page that never came (15).
"""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
import yaml

from rnnms import RNNMS, RNNMSConfig, generate, infer, preprocess, train
from rnnms.batches import Batches, CropConfig
from rnnms.check import Check, bits_per_sample
from rnnms.import_checkpoint import read
from rnnms.settings import CheckConfig
from vocoder_core import audio, mulaw
from vocoder_core.corpus import Corpus
from vocoder_core.mel import MelConfig, log_mel

TINY = RNNMSConfig(bits=8, encoder_size=4, embedding_size=4, hidden_size=8, linear_size=8)
TRAIN = ["--config", "tiny", "--device", "cpu", "--set", "train.valid_every=2", "--set", "train.save_every=2"]
GONE = ("torchaudio", "pytorch_lightning", "lightning", "corpuspy", "hydra", "omegaconf", "univoc", "apex")


@pytest.fixture(scope="module")
def data(shared_audio: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The repository's real speech, prepared: five speakers, two of them in no training split."""
    folder = tmp_path_factory.mktemp("defects") / "data"
    assert preprocess.main([str(shared_audio), str(folder), "--jobs", "1"]) == 0
    return folder


@pytest.fixture(scope="module")
def run(data: Path) -> Path:
    """A run of two steps."""
    folder = data.parent / "run"
    assert train.main([str(data), str(folder), *TRAIN, "--set", "train.steps=2"]) == 0
    return folder


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
    """1: np.int, gone since NumPy 1.24, is reached after the whole generation loop: everything is computed, then lost."""
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
    assert all(tensor.device.type == "cpu" for tensor in read(tmp_path / "gpu.pt").values())


def test_4_the_front_end_travels_with_the_weights(model: RNNMS, tmp_path: Path) -> None:
    """4: the config lies in the package, not in the checkpoint: weights and front end part silently."""
    other = RNNMS(replace(TINY, mel=MelConfig(hop_length=100, win_length=400, fmin=90.0), delay=200))
    other.save_pretrained(tmp_path)
    assert RNNMS.from_pretrained(tmp_path).config == other.config != model.config


def test_4_a_mel_of_another_front_end_is_refused(model: RNNMS, tmp_path: Path) -> None:
    """4: a mismatched mel gives noise, and nothing says why."""
    np.save(tmp_path / "ln.npy", np.random.default_rng(0).uniform(-11.5, 2, (80, 30)).astype(np.float32))
    with pytest.raises(ValueError, match="Another front end made this one"):
        infer.read_mel(tmp_path / "ln.npy", model)
    np.save(tmp_path / "40.npy", np.zeros((40, 30), np.float32))
    with pytest.raises(ValueError, match=r"expected float \(80, frames\)"):
        infer.read_mel(tmp_path / "40.npy", model)


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


def test_6_all_parts_read_one_number_of_mels() -> None:
    """6: 128 mels by default in the function, 80 in the config; a reference level in the config that nothing reads."""
    config = RNNMSConfig(mel=MelConfig(n_mels=40, offset=10.0))
    mel = log_mel(torch.randn(3200), config.mel)
    assert RNNMS(replace(TINY, mel=config.mel)).encode(mel[None]).shape == (1, 16, 8)
    assert not torch.allclose(mel, log_mel(torch.randn(3200), replace(config.mel, offset=20.0)))


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


def test_7_a_seed_gives_the_same_run(data: Path, run: Path, tmp_path: Path) -> None:
    """7: no seed anywhere."""
    assert train.main([str(data), str(tmp_path), *TRAIN, "--set", "train.steps=2"]) == 0
    assert (tmp_path / "model.safetensors").read_bytes() == (run / "model.safetensors").read_bytes()


def test_7_clips_shorter_than_a_crop_are_trained_on(data: Path, model: RNNMS) -> None:
    """7: a clip under 25 frames ends the training: randint(0, -k)."""
    corpus = Corpus.open(data)
    longest = max(entry.frames for entry in corpus.split("train"))
    batch = Batches(corpus, model, CropConfig(frames=longest + 1), 1, 0)(1)
    assert batch.target.shape == (1, (longest + 1) * 200)


def test_7_the_last_frame_is_trained_on(data: Path, model: RNNMS) -> None:
    """7: starts are drawn from [0, T - 25], so a crop of 24 frames never reaches the last one."""
    corpus = Corpus.open(data)
    batches = Batches(corpus, model, CropConfig(frames=24), 64, 0)
    entries = corpus.split("train")
    ends = {model.labels(torch.from_numpy(corpus.wav(e))[None])[0, -200:].numpy().tobytes() for e in entries}
    seen: set[bytes] = set()
    for step in range(1, 200):
        seen |= {target[-200:].numpy().tobytes() for target in batches(step).target}
        if seen & ends:
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


# ---- tarepan/UniversalVocoding


def test_9_and_10_nothing_needs_torchaudio_lightning_or_corpuspy(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """9, 10: not importable beside today's torch, torchaudio and Lightning, and installable from git alone."""
    for name in GONE:
        monkeypatch.setitem(sys.modules, name, None)
    assert train.main([str(data), str(tmp_path), *TRAIN, "--set", "train.steps=1"]) == 0
    assert RNNMS.from_pretrained(tmp_path).synthesize(torch.zeros(80, 1), seed=0).shape == (200,)


def test_11_validation_speech_is_held_out_and_whole(data: Path) -> None:
    """11: validation audio is a random 0.3 s crop of the training set, and the test set is the training set."""
    corpus = Corpus.open(data)
    check = Check(corpus, CheckConfig(clips=100, seconds=1000.0))
    held = [entry for group in check.groups.values() for entry in group]
    assert {entry.split for entry in held} <= {"valid", "test"}
    assert check.groups["seen"]
    assert {entry.speaker for entry in check.groups["unseen"]} == {"austen", "slt"}
    assert not {entry.id for entry in held} & {entry.id for entry in corpus.split("train")}
    model = RNNMS(TINY)
    assert all(len(check._clip(model, entry)) == entry.samples for entry in held)


def test_11_ragged_utterances_are_measured_together(data: Path, model: RNNMS) -> None:
    """11: batches of unequal lengths cannot be put together."""
    corpus = Corpus.open(data)
    wavs = [torch.from_numpy(corpus.wav(entry)[: 200 * n]) for entry, n in zip(corpus.split("test"), (9, 4, 13))]
    together = bits_per_sample(model, wavs)
    alone = [bits_per_sample(model, [wav])[0] for wav in wavs]
    np.testing.assert_allclose(together, alone, rtol=0, atol=1e-5)


def test_12_the_validation_figure_tells_models_apart(data: Path) -> None:
    """12: val_loss is the constant 0, and the best checkpoint is chosen by it."""
    corpus = Corpus.open(data)
    wav = torch.from_numpy(corpus.wav(corpus.split("valid")[0])[:4000])
    figures = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        figures.append(bits_per_sample(RNNMS(TINY), [wav])[0])
    assert figures[0] != figures[1]
    uniform = RNNMS(TINY)
    for parameter in uniform.decoder.fc2.parameters():
        parameter.data.zero_()
    assert bits_per_sample(uniform, [wav])[0] == pytest.approx(8, abs=1e-6), "no knowledge: all the bits there are"


def test_13_a_first_run_needs_no_checkpoint_and_the_next_goes_on(data: Path, run: Path, tmp_path: Path) -> None:
    """13: always resumes from last.ckpt, also where there is none."""
    assert train.main([str(data), str(tmp_path), *TRAIN, "--set", "train.steps=1"]) == 0
    assert train.main([str(data), str(tmp_path), *TRAIN, "--set", "train.steps=2"]) == 0
    assert json.loads((tmp_path / "metrics.jsonl").read_text().splitlines()[-1])["step"] == 2


@pytest.mark.parametrize("codec", ["round", "librosa", "midpoint"])
def test_14_labels_and_their_decoder_belong_together(codec: Any) -> None:
    """14: encoded by librosa, decoded by torchaudio: +0.7 % on one side of zero, -0.7 % on the other, an offset."""
    model = RNNMS(replace(TINY, bits=10, codec=codec))
    wave = 0.5 * torch.sin(torch.arange(40000) * 0.0973)[None]
    back = mulaw.decode(model.labels(wave), 10, codec)
    assert abs(float(back.mean() - wave.mean())) < 1e-4
    halves = [float((back * side).abs().sum() / (wave * side).abs().sum()) for side in (wave > 0, wave < 0)]
    assert halves[0] == pytest.approx(halves[1], abs=5e-4)


@pytest.mark.parametrize("change", ["model.mel.hop_length=160", "model.mel.fmin=0", "model.loudness=-20"])
def test_14_stale_data_is_refused_by_name(data: Path, tmp_path: Path, change: str, capsys: Any) -> None:
    """14: prepared data are found again by corpus and rate alone: another mel, hop or depth reuses the old ones."""
    assert train.main([str(data), str(tmp_path / "run"), *TRAIN, "--set", change]) == 2
    assert change.split("=")[0].rsplit(".", 1)[1].replace("loudness", "level_db") in capsys.readouterr().err


def test_15_conditioning_is_repetition_and_said_to_be(model: RNNMS) -> None:
    """15: the README says interpolation where the network repeats a frame's latents hop_length times."""
    latents, codes = model.encode(torch.rand(1, 80, 2)), torch.zeros(1, 400, dtype=torch.long)
    repeated = latents.repeat_interleave(200, dim=1)
    assert torch.equal(repeated[0, 0], repeated[0, 199])
    assert not torch.equal(repeated[0, 199], repeated[0, 200])
    by_hand = model.decoder.rnn(torch.cat([model.decoder.embedding(codes), repeated], dim=2))[0]
    ours = model.decoder._hidden_folded(latents, codes, torch.zeros(1, 8))
    torch.testing.assert_close(ours, by_hand, rtol=0, atol=1e-6)


# ---- univoc 0.1


def test_16_a_levelled_wave_never_passes_full_scale(data: Path) -> None:
    """16: `wav /= abs(wav).max() * 0.999` divides by less than the peak: 1.001 afterwards."""
    spiky = np.zeros(16000, np.float32)
    spiky[::4000] = 0.5
    levelled, _ = audio.set_loudness(spiky + 1e-3, 16000, target=-3.0)
    assert 0.99 < np.abs(levelled).max() <= 0.999
    assert np.abs(Corpus.open(data).audio.astype(np.int32)).max() <= 32767
