"""Corpora in a table: the forms that are read, and the line that is named when one is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from vocoder_core.layouts import find


def test_both_forms_of_table(tmp_path: Path):
    """Tabs and commas, quotes, byte-order mark, relative and absolute paths, every word for a split, other columns."""
    (tmp_path / "manifest.tsv").write_text(
        "\ufeffpath\tutt\tspeaker\tsex\tsplit\ttranscript\n"
        'a/1.wav\tu10\tp1\tf\tdev\t"he said ""no"", then"\n'
        f"{tmp_path}/b/2.wav\tu9\tp2\tm\tTest\tтекст\n"
        "c/3.wav\tu8\tp2\tm\t\t\n",
        encoding="utf-8",
    )
    found = find(tmp_path)
    assert [(u.id, u.speaker, u.split, u.text) for u in found] == [
        ("u8", "p2", None, None),
        ("u9", "p2", "test", "текст"),
        ("u10", "p1", "valid", 'he said "no", then'),
    ]
    assert [u.path for u in found] == [tmp_path / "c/3.wav", tmp_path / "b/2.wav", tmp_path / "a/1.wav"]
    (tmp_path / "mine.csv").write_text('path,speaker,text\n"a, b/x.1.wav",p1,hello\n', encoding="utf-8")
    (mine,) = find(tmp_path / "mine.csv")
    assert (mine.id, mine.path, mine.text) == ("a, b/x.1", tmp_path / "a, b/x.1.wav", "hello")


def test_a_table_without_paths_knows_speaker_and_utterance(tmp_path: Path):
    """Recordings lie beside the table as speaker/utt in any format; one that is missing is there to be reported."""
    (tmp_path / "manifest.tsv").write_text("utt\tspeaker\nx\ta\ny\ta\nz\tb\n", encoding="utf-8")
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x.wav").touch()
    (tmp_path / "a" / "y.flac").touch()
    paths = [u.path for u in find(tmp_path, "table")]
    assert paths == [tmp_path / "a/x.wav", tmp_path / "a/y.flac", tmp_path / "b/z.flac"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file\tname\na\tb\n", "manifest.tsv:1: the columns are file, name; expected path and speaker"),
        ("", "manifest.tsv:1: the columns are ; expected path and speaker"),
        ("path\tspeaker\na.wav\tp\nb.wav\n", "manifest.tsv:3: the line lacks its speaker"),
        ("path\tspeaker\n\tp\n", "manifest.tsv:2: the line lacks its path"),
        ("path\tspeaker\na.wav\tp\tq\n", "manifest.tsv:2: more fields than the 2 columns"),
        ("path\tspeaker\tsplit\na.wav\tp\ttrian\n", "split is 'trian', expected train, valid, test or nothing"),
        ("path\tspeaker\tutt\na.wav\tp\tu\nb.wav\tp\tu\n", r"two recordings have the id 'u': .*a\.wav and .*b\.wav"),
    ],
)
def test_a_wrong_line_is_named(tmp_path: Path, text: str, message: str):
    (tmp_path / "manifest.tsv").write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=message):
        find(tmp_path)


def test_a_table_in_another_encoding_is_refused(tmp_path: Path):
    (tmp_path / "manifest.tsv").write_bytes("path\tspeaker\nпривет.wav\tp\n".encode("cp1251"))
    with pytest.raises(ValueError, match="not a table in UTF-8"):
        find(tmp_path)
