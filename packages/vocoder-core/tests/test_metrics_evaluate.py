"""vocoder-eval: folders matched by name, tables written, every misuse answered with one sentence."""

from __future__ import annotations

import csv
import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from vocoder_core.audio import load, resample, save
from vocoder_core.metrics import evaluate, score

RATE = 16_000


@pytest.fixture
def folders(shared_audio: Path, tmp_path: Path) -> tuple[Path, Path]:
    """Two sentences as 16 kHz FLAC, and noisy copies as WAV: one at 16, one at 22.05 kHz."""
    rng = np.random.default_rng(0)
    for folder in ("ref/austen", "gen/austen"):
        (tmp_path / folder).mkdir(parents=True)
    for name, rate in (("austen_64kb-0880", RATE), ("austen_64kb-0930", 22_050)):
        wav, _ = load(shared_audio / "austen" / f"{name}.flac", RATE)
        save(tmp_path / "ref/austen" / f"{name}.flac", wav, RATE)
        copy = wav + 0.005 * rng.normal(size=len(wav)).astype(np.float32)
        save(tmp_path / "gen/austen" / f"{name}.wav", resample(copy, RATE, rate), rate)
    return tmp_path / "ref", tmp_path / "gen"


def test_two_folders_give_table_csv_and_json(folders: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    ref, gen = folders
    out = ref.parent
    code = evaluate.main(
        [str(ref), str(gen), "--metrics", "lsd,mcd", "--csv", f"{out}/c.csv", "--json", f"{out}/s.json"]
    )
    assert code == 0
    assert "| MCD (dB) ↓ | 2 |" in capsys.readouterr().out
    content = json.loads((out / "s.json").read_text())
    rows = list(csv.DictReader((out / "c.csv").open(encoding="utf-8")))
    assert [row["clip"] for row in rows] == ["austen/austen_64kb-0880", "austen/austen_64kb-0930"]
    wav, copy = (
        load(folder / f"austen/austen_64kb-0880{suffix}")[0] for folder, suffix in ((ref, ".flac"), (gen, ".wav"))
    )
    assert float(rows[0]["mcd"]) == score(wav, copy, RATE, ["mcd"])["mcd"] == content["clips"][0]["scores"]["mcd"]
    assert content["summary"]["mcd"]["mean"] == pytest.approx(np.mean([float(row["mcd"]) for row in rows]))
    assert "smoothed by 200 Hz" in content["definitions"]["mcd"]


def test_rates_that_differ_meet_at_the_lower(folders: tuple[Path, Path]) -> None:
    """The copy at 22.05 kHz is brought back to the 16 kHz of its reference: the scores of both copies are alike."""
    pairs, _ = evaluate.match(*folders)
    rows = evaluate.score_files(pairs, ["mr_stft"])
    assert [row["sample_rate"] for row in rows] == [RATE, RATE]
    assert rows[0]["scores"]["mr_stft"] == pytest.approx(rows[1]["scores"]["mr_stft"], rel=0.35)


def test_processes_give_the_same_rows(folders: tuple[Path, Path]) -> None:
    pairs, _ = evaluate.match(*folders)
    assert evaluate.score_files(pairs, ["lsd"], jobs=2) == evaluate.score_files(pairs, ["lsd"], jobs=1)


def test_a_bad_clip_is_named_and_the_rest_is_scored(
    folders: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    ref, gen = folders
    (gen / "austen" / "austen_64kb-0930.wav").write_bytes(b"RIFF nothing")
    assert evaluate.main([str(ref), str(gen), "--metrics", "lsd"]) == 1
    out, err = capsys.readouterr()
    assert "| LSD (dB) ↓ | 1 |" in out
    assert "not scored: austen/austen_64kb-0930" in err


def test_misuse_ends_in_one_sentence(folders: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    ref, gen = folders
    file = gen / "austen" / "austen_64kb-0880.wav"
    empty = ref.parent / "empty"
    empty.mkdir()
    cases = [
        ([ref, "nowhere"], "nowhere: no such file or folder"),
        ([ref, file], "expected two files or two folders"),
        ([ref, empty], "holds no audio files"),
        ([ref, gen, "--metrics", "pesk"], "did you mean pesq"),
        ([ref, gen, "--csv", ref / "no" / "x.csv"], "its folder does not exist"),
    ]
    for arguments, expected in cases:
        assert evaluate.main([str(argument) for argument in arguments]) == 2
        err = capsys.readouterr().err
        assert expected in err
        assert err.count("\n") == 1, err


def test_names_that_do_not_match_up_are_refused(folders: tuple[Path, Path]) -> None:
    ref, gen = folders
    stray = gen / "stray.wav"
    stray.write_bytes((gen / "austen" / "austen_64kb-0880.wav").read_bytes())
    with pytest.raises(ValueError, match=r"1 of 3 files .* no reference .* first is stray\.wav"):
        evaluate.match(ref, gen)
    stray.unlink()
    (gen / "austen" / "austen_64kb-0880.ogg").write_bytes(b"x")
    with pytest.raises(ValueError, match="same name up to the suffix"):
        evaluate.match(ref, gen)


def test_references_left_over_are_counted(folders: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    ref, gen = folders
    (gen / "austen" / "austen_64kb-0880.wav").unlink()
    assert evaluate.main([str(ref), str(gen), "--metrics", "lsd"]) == 0
    assert "1 references have no generated counterpart" in capsys.readouterr().err


def test_scores_whose_packages_are_missing_are_named_once_and_left_out(
    folders: tuple[Path, Path], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = importlib.util.find_spec
    absent = {"speechmos", "distillmos"}
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *a: None if name in absent else real(name, *a))
    asked = "lsd,dnsmos,dnsmos_drop"
    assert evaluate.main([str(folder) for folder in folders] + ["--metrics", asked]) == 0
    out, err = capsys.readouterr()
    assert "LSD" in out
    assert err.count("skipped: dnsmos, dnsmos_drop: needs the package speechmos, which is not installed: pip") == 1
    assert evaluate.main([str(folder) for folder in folders] + ["--metrics", "distill_mos"]) == 2
    assert "none of the scores asked for can be computed here" in capsys.readouterr().err


def test_help_imports_neither_torch_nor_librosa() -> None:
    code = (
        "import sys; from vocoder_core.metrics.evaluate import main\ntry: main(['--help'])\nexcept SystemExit: pass\n"
    )
    code += "print('LOADED', sorted({'torch', 'librosa', 'numba', 'scipy'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "MCD (WORLD) (dB) ↓" in done.stdout
    assert "LOADED []" in done.stdout
