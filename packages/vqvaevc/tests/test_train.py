"""vqvaevc-train as its users run it: prepared speech in, a run folder out, exact resumption, clear refusals."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from vocoder_core.corpus import Corpus
from vocoder_core.corpus.statistics import mel_statistics
from vocoder_core.mel_presets import PRESETS
from vqvaevc import VQVAEVC, VQVAEVCConfig
from vqvaevc.check import Check, CheckConfig, bits_of, usage
from vqvaevc.condition import EncoderConfig
from vqvaevc.overtone import OvertoneConfig
from vqvaevc.train import main

TINY = OvertoneConfig(conv=4, rnn=8, hidden=16, linear=8, speaker=False)
FEW = ["--config", "tiny", "--device", "cpu"]


def settings(*pairs: str) -> list[str]:
    return [part for pair in pairs for part in ("--set", pair)]


SMALL = settings("train.batch_size=2", "crop.samples=64", "train.log_every=2", "train.warmup=0")
SHORT = [*SMALL, *settings("train.valid_every=1000", "check.synthesize=0", "check.clips=1", "check.seconds=0.5")]
CODES = settings("model.quantizer.size=16", "model.quantizer.dim=8", "model.encoder.channels=8")
WAVE = [*CODES, *settings(
    "model.encoder.source=wave", "model.quantizer.kind=sphere", "model.overtone.speaker=true", "crop.frames=30",
    "model.labels.kind=dual", "model.labels.order=0", "model.labels.pitch=false",
)]  # fmt: skip
CODEC = [*CODES, *settings(
    "model.encoder.source=codec", "model.quantizer.kind=ema", "model.speaker=learned", "model.speaker_size=4",
    "model.encoder.layers=1", "model.encoder.fine_layers=1", "model.encoder.encoder_layers=1",
)]  # fmt: skip
UPGRADES = settings(
    "model.quantizer.kmeans=true", "model.quantizer.restart=0.2", "model.encoder.jitter=0.2", "model.speaker=learned",
    "model.speaker_size=4", "crop.past_noise=0.5", "train.clip_grad=0.1", "train.ema=0.5",
)  # fmt: skip


def rows(run: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def tensors(run: Path) -> dict[str, torch.Tensor]:
    return load_file(run / "model.safetensors")


def test_held_out_speech_costs_fewer_bits_and_the_run_folder_is_a_checkpoint(data: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    more = settings("train.steps=30", "train.warmup=4", "check.clips=2", "train.ema=0.5", "train.log_every=5")
    assert main([str(data), str(run), *FEW, *more, *settings("check.seconds=0.6", "train.valid_every=1000")]) == 0
    made = rows(run)
    assert 7.9 < made[0]["bits"] < 8.2, "8 bits at first: nothing is known"
    assert made[-1]["bits"] < made[0]["bits"] - 0.5 and made[-1]["valid_unseen_bits"] < made[0]["bits"] - 0.5
    assert {"valid_seen_bits", "valid_mr_stft", "valid_log_mel_mae", "samples_per_second"} <= made[-1].keys()
    assert len(list((run / "samples").glob("*/*.wav"))) == 1
    model = VQVAEVC.from_pretrained(run)
    mean, std = mel_statistics(Corpus.open(data), model.config.mel)
    assert torch.equal(model.condition.mel_mean, mean) and torch.equal(model.condition.mel_std, std)


def test_the_originals_recipe_logs_what_its_codes_are_worth(data: Path, tmp_path: Path) -> None:
    """Bits of either byte, use of codes, codes and bits a second, whom they betray; codes are back on the sphere."""
    few = settings("train.steps=4", "train.log_every=4", "train.ema=0", "check.seconds=0.6", "check.synthesize=1")
    more = ["--set", "check.clips=4", "--set", "check.probe=2", "--set", "train.valid_every=1000"]
    assert main([str(data), str(tmp_path), *FEW, *SMALL, *WAVE, *few, *more]) == 0
    last = rows(tmp_path)[-1]
    assert last["bits"] == pytest.approx(last["bits_coarse"] + last["bits_fine"]) and 15.5 < last["bits"] < 16.3
    assert last["codes_per_second"] == 250 == last["valid_codes_per_second"]
    assert last["bits_per_second"] == pytest.approx(250 * last["bits_per_code"], rel=1e-5)
    assert 1 <= last["active_codes"] <= 16 and 1 <= last["valid_perplexity"] <= last["valid_active_codes"] <= 16
    assert {"perplexity", "valid_seen_bits_coarse", "valid_unseen_bits_fine", "valid_mr_stft"} <= last.keys()
    assert 0 <= last["valid_probe_accuracy"] <= 1 and 0 < last["valid_probe_chance"] < 1
    norms = tensors(tmp_path)["condition.quantizer.codebook"].norm(dim=1)
    assert torch.allclose(norms, torch.full((16,), 0.06 * 8**0.5), rtol=1e-6)


def test_further_strides_halve_the_rate_of_the_codes(data: Path, tmp_path: Path) -> None:
    strides = settings("model.encoder.strides=[2,2,2,1,2,1,2,1,2,1,2,1]", "crop.frames=31", "train.steps=2")
    assert main([str(data), str(tmp_path), *FEW, *SHORT, *WAVE, *strides]) == 0
    last = rows(tmp_path)[-1]
    assert last["codes_per_second"] == 125 and last["bits_per_second"] <= 4 * 125


@pytest.mark.parametrize(
    "model", [[], [*WAVE, *UPGRADES], [*CODEC, "--set", "model.quantizer.restart=0.2"]], ids=["mel", "wave", "codec"]
)
def test_a_resumed_run_ends_with_the_same_bits(data: Path, tmp_path: Path, model: list[str]) -> None:
    """With all that is random about codes; the original forgot Adam's moments and where it stood in the ramp."""
    same = [*FEW, *SHORT, *model, *settings("train.schedule=constant")]
    assert main([str(data), str(tmp_path / "whole"), *same, *settings("train.steps=4")]) == 0
    assert main([str(data), str(tmp_path / "parts"), *same, *settings("train.steps=2")]) == 0
    assert main([str(data), str(tmp_path / "parts"), *same, *settings("train.steps=4")]) == 0
    one, other = tensors(tmp_path / "whole"), tensors(tmp_path / "parts")
    assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.slow
def test_a_run_that_was_killed_ends_with_the_same_bits(data: Path, tmp_path: Path) -> None:
    """SIGKILL once its sixth step is saved; the same command then goes on, Adam's moments and all."""
    same = [*FEW, *SHORT, *settings("train.steps=40", "train.save_every=3", "train.schedule=constant")]
    assert main([str(data), str(tmp_path / "whole"), *same]) == 0
    command = [sys.executable, "-m", "vqvaevc.train", str(data), str(tmp_path / "killed"), *same]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        while process.poll() is None and not _saved(tmp_path / "killed") >= 6:
            pass
        process.kill()
    assert 6 <= _saved(tmp_path / "killed") < 40, "it was killed on its way"
    assert main([str(data), str(tmp_path / "killed"), *same]) == 0
    one, other = tensors(tmp_path / "whole"), tensors(tmp_path / "killed")
    assert all(torch.equal(one[name], other[name]) for name in one)


def _saved(run: Path) -> int:
    """The step of the state on disk."""
    path = run / "resume.pt"
    return int(torch.load(path, weights_only=True)["step"]) if path.exists() else 0


def test_a_codec_learns_on_top_of_a_decoder_of_mels(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """--init takes the decoder with the statistics it knows; objective mel leaves it alone, speech the codec."""
    first, second, third = (tmp_path / name for name in ("decoder", "codec", "both"))
    assert main([str(data), str(first), *FEW, *SHORT, *settings("train.steps=1")]) == 0
    same = [str(data), *FEW, *SHORT, *CODEC, *settings("train.steps=4", "train.ema=0", "train.lr=1e-2")]
    own = settings("model.encoder.objective=mel", "crop.frames=20", "train.weight_decay=0.01")
    assert main([same[0], str(second), *same[1:], *own, "--init", str(first)]) == 0
    assert "took its overtone, wavernn; new: speakers, condition" in capsys.readouterr().out
    last = rows(second)[-1]
    assert {"mel_l1", "perplexity", "bits_per_second", "valid_seen_mel_l1"} <= last.keys() and "bits" not in last
    one, other = tensors(first), tensors(second)
    kept = [name for name in one if name.startswith(("overtone.", "wavernn.", "condition.mel_"))]
    assert len(kept) > 20 and all(torch.equal(one[name], other[name]) for name in kept)
    voices = other["condition.voices"]
    assert voices.shape == (3, 2) and (voices[:, 0] > np.log(60)).all() and (voices[:, 0] < np.log(400)).all()
    more = settings("model.encoder.objective=speech")
    assert main([same[0], str(third), *same[1:], *more, "--init", str(second)]) == 0
    assert "took its speakers, condition, overtone, wavernn" in capsys.readouterr().out
    last = tensors(third)
    assert all(torch.equal(last[n], other[n]) == n.startswith(("condition.", "speakers.")) for n in _learned(other))


def _learned(values: dict[str, torch.Tensor]) -> list[str]:
    """Names of weights that have something to learn in any case."""
    return [name for name in values if name.endswith(("weight", "weight_hh", "weight_ih"))]


def test_bits_do_not_depend_on_how_clips_are_put_together(data: Path) -> None:
    """Each wave counts by its samples; those too short to be led up to are left out."""
    torch.manual_seed(0)
    model = VQVAEVC(VQVAEVCConfig(PRESETS["asr16"], EncoderConfig(source="mel"), overtone=TINY)).eval()
    wav = torch.from_numpy(Corpus.open(data).wav(Corpus.open(data).entries[0]))
    clips = [wav[: 256 * 32], wav[256 * 10 : 256 * 42], wav[: 256 * 36], wav[: 256 * 8]]
    whole = bits_of(model, clips, [""] * 4)
    alone = [bits_of(model, [clip], [""])["bits"] for clip in clips[:3]]
    left, right = model.reach
    counted = np.array([(len(clip) - 5632 - right) // 64 * 64 for clip in clips[:3]])
    assert left == 5629 and bits_of(model, clips[3:], [""]) == {}
    assert whole["bits"] == pytest.approx(np.average(alone, weights=counted), rel=1e-5)  # by the loss
    assert whole["loss"] == pytest.approx(whole["bits"] * np.log(2), rel=1e-5)


def test_perplexity_and_bits_a_second_of_known_shares() -> None:
    told = usage(np.array([2, 1, 1, 0]), 50.0)
    assert told["perplexity"] == pytest.approx(2**1.5) and told["active_codes"] == 3
    assert told["bits_per_second"] == 75 and told["bits_per_second_at_most"] == 100


def test_the_probe_is_asked_about_held_out_clips_of_speakers_it_was_fitted_on(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    check = Check(Corpus.open(data), CheckConfig(clips=4, seconds=0.5, synthesize=0, probe=2))
    seen = check.held_out.groups["seen"]
    fitted = check._fitted_on(seen)
    assert {entry.speaker for entry in fitted} == {entry.speaker for entry in seen}
    assert all(entry.split == "train" for entry in fitted) and all(entry.split != "train" for entry in seen)
    order = [entry.id for entry in check.held_out.corpus.entries]  # a clip's codes are the number of its recording
    monkeypatch.setattr(Check, "_histogram", lambda _, __, entry: np.eye(len(order))[order.index(entry.id)])
    told: list[np.ndarray] = []
    monkeypatch.setattr("vqvaevc.check.speaker_probe", lambda *given: told.extend(given) or 0.25)
    figures = check.codes(SimpleNamespace(quantizer=True, code_rate=50.0))
    counts, who, asked = told
    about = [check.held_out.corpus.entries[int(row.argmax())] for row in counts]
    assert [entry.id for entry, is_asked in zip(about, asked) if is_asked] == [entry.id for entry in seen]
    assert [entry.id for entry, is_asked in zip(about, asked) if not is_asked] == [entry.id for entry in fitted]
    names = sorted({entry.speaker for entry in seen})
    assert [names[number] for number in who] == [entry.speaker for entry in about]
    assert (figures["probe_accuracy"], figures["probe_chance"]) == (0.25, 1 / len(names))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--set", "train.lrr=1"], "unknown key train.lrr (did you mean train.lr?)"),
        (["--set", "model.mel.fmin=80"], "prepared with features.fmin = 0.0, now 80.0 is asked"),
        (["--set", "model.level_db=-3", "--set", "data.level_db=-3"], "prepared with level_db = -0.4455"),
        (["--set", "crop.frames=20"], "crop.frames is 20; 256 samples need 25 around them"),
        (["--set", "model.encoder.source=wave"], "a prediction needs a mel"),
        (["--config", "tinny"], "neither a file nor a built-in config"),
        (["--init", "nowhere"], "nowhere"),
        (["--init", "{other}"], "other: none of its parts has the sizes"),
    ],
)
def test_what_cannot_be_trained_is_refused_in_a_sentence(
    data: Path, tmp_path: Path, arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    given = [argument.format(other=tmp_path / "other") for argument in arguments]
    if given != arguments:
        VQVAEVC(VQVAEVCConfig(PRESETS["asr16"], overtone=TINY)).save_pretrained(tmp_path / "other")
    assert main([str(data), str(tmp_path / "run"), *FEW, *given]) == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1 and "Traceback" not in error
    assert not (tmp_path / "run").exists()


def test_a_run_keeps_its_settings_and_refuses_other_crops(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    assert main([str(data), str(run), *FEW, *SHORT, *settings("train.steps=1", "crop.gain_db=6")]) == 0
    assert main([str(data), str(run), *FEW, *SHORT, *settings("train.steps=2")]) == 2
    assert "its crop.gain_db is 6.0, now it is 0.0" in capsys.readouterr().err
    kept = ["--config", str(run / "settings.yaml"), "--device", "cpu"]
    assert main([str(data), str(run), *kept, *settings("train.steps=2")]) == 0
    assert "trained to step 2" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize("model", [WAVE, [*CODEC, "--set", "model.encoder.objective=speech"]], ids=["wave", "speech"])
def test_two_processes_train_under_torchrun(data: Path, tmp_path: Path, model: list[str]) -> None:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    arguments = ["-m", "vqvaevc.train", str(data), str(tmp_path / "run"), *FEW, *SHORT, *model]
    done = subprocess.run([*command, *arguments, "--set", "train.steps=3"], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    VQVAEVC.from_pretrained(tmp_path / "run")
