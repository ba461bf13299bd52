"""--download through torchaudio's own dataset classes, offline: archives in the folder are unpacked.

torchaudio's native library seldom fits the torch beside it; a stub of that library, which no dataset class uses,
lets them be imported (`pip install --no-deps torchaudio` is enough). Each case runs in a process of its own for that.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import zipfile
from importlib.util import find_spec
from pathlib import Path

import pytest

from vocoder_core import audio
from vocoder_core.layouts import find

needs_torchaudio = pytest.mark.skipif(find_spec("torchaudio") is None, reason="torchaudio is not installed")
STUB = """
import sys, types
stub = types.ModuleType("torchaudio._extension")
stub._IS_TORCHAUDIO_EXT_AVAILABLE = stub._IS_ALIGN_AVAILABLE = False
stub.fail_if_no_align, stub._check_cuda_version, stub.__path__ = lambda f: f, lambda: None, []
sys.modules["torchaudio._extension"] = stub
"""
DOWNLOAD = """
from vocoder_core.download import download
for name in sys.argv[2:]:
    try:
        print(download(name, sys.argv[1]))
    except (ValueError, OSError) as error:
        print("ERROR", error)
"""


def run(program: str, *arguments: str, path: str = "") -> str:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, (path, os.environ.get("PYTHONPATH"))))}
    result = subprocess.run(
        [sys.executable, "-c", program, *arguments], env=environment, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


@pytest.fixture
def archives(tmp_path: Path, shared_audio: Path) -> Path:
    """A folder with the archive of every corpus, in miniature but in the true shape and under the true name."""
    wav, rate = audio.load(shared_audio / "slt" / "arctic_a0009.flac")

    def tree(base: Path, sounds: list[str], texts: dict[str, str]) -> None:
        for name in sounds:
            (base / name).parent.mkdir(parents=True, exist_ok=True)
            audio.save(base / name, wav[8000:16000], rate)
        for name, text in texts.items():
            (base / name).parent.mkdir(parents=True, exist_ok=True)
            (base / name).write_text(text)

    made, folder = tmp_path / "made", tmp_path / "corpora"
    folder.mkdir()
    tree(made / "lj", ["LJSpeech-1.1/wavs/LJ001-0001.wav"], {"LJSpeech-1.1/metadata.csv": "LJ001-0001|a|a\n"})
    vctk = "wav48_silence_trimmed/p225/p225_001_mic"
    tree(made / "vctk", [f"{vctk}1.flac", f"{vctk}2.flac"], {"txt/p225/p225_001.txt": "a"})
    slt = "cmu_us_slt_arctic"
    tree(made / "slt", [f"{slt}/wav/arctic_a0001.wav"], {f"{slt}/etc/txt.done.data": '( arctic_a0001 "a" )\n'})
    clean = "LibriTTS/dev-clean/84/121123/84_121123_000007_000001"
    tree(made / "libritts", [f"{clean}.wav"], {f"{clean}.normalized.txt": "a", f"{clean}.original.txt": "a"})
    (folder / "ARCTIC").mkdir()
    for source, name in (
        ("lj", "LJSpeech-1.1.tar.bz2"),
        ("slt", f"ARCTIC/{slt}.tar.bz2"),
        ("libritts", "dev-clean.tar.gz"),
    ):
        with tarfile.open(folder / name, f"w:{name.rpartition('.')[2]}") as tar:
            for child in (made / source).iterdir():
                tar.add(child, child.name)
    with zipfile.ZipFile(folder / "VCTK-Corpus-0.92.zip", "w") as archive:
        for path in (made / "vctk").rglob("*"):
            archive.write(path, path.relative_to(made / "vctk"))
    return folder


@needs_torchaudio
def test_every_corpus_is_unpacked_where_its_layout_finds_it(archives: Path):
    """download() returns the layout with which find() reads the same folder, even with all four corpora in it."""
    names = ("ljspeech", "vctk", "arctic:slt", "libritts:dev-clean")
    layouts = run(STUB + DOWNLOAD, str(archives), *names).split()
    assert layouts == ["ljspeech", "vctk", "arctic", "libritts"]
    ids = ["LJ001-0001", "p225_001", "slt/arctic_a0001", "84_121123_000007_000001"]
    for layout, name in zip(layouts, ids):
        (found,) = find(archives, layout)
        assert (found.id, found.text) == (name, "a")
        assert audio.load(found.path)[0].size == 8000
    assert not list(archives.glob(".*"))


@needs_torchaudio
def test_unpacking_that_was_interrupted_starts_again(archives: Path):
    """torchaudio takes any folder for a whole corpus; the marker of an unfinished run says otherwise."""
    (archives / "LJSpeech-1.1" / "wavs").mkdir(parents=True)
    (archives / ".ljspeech.unpacking").touch()
    assert run(STUB + DOWNLOAD, str(archives), "ljspeech") == "ljspeech"
    assert [utterance.id for utterance in find(archives, "ljspeech")] == ["LJ001-0001"]
    (archives / "LJSpeech-1.1" / "metadata.csv").unlink()  # without a marker a folder is the user's: left as it is
    run(STUB + DOWNLOAD, str(archives), "ljspeech")
    assert not (archives / "LJSpeech-1.1" / "metadata.csv").exists()


@needs_torchaudio
def test_damaged_archives_and_dead_networks_are_named(archives: Path, monkeypatch: pytest.MonkeyPatch):
    """One sentence each, with what to do; the network is a proxy that nobody answers."""
    for name in ("LJSpeech-1.1.tar.bz2", "VCTK-Corpus-0.92.zip"):
        (archives / name).write_bytes((archives / name).read_bytes()[:500])
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    tar, archive, network = run(STUB + DOWNLOAD, str(archives), "ljspeech", "vctk", "arctic:clb").splitlines()
    for corpus, message in (("ljspeech", tar), ("vctk", archive)):
        assert message.startswith(f"ERROR --download {corpus}: ")
        assert message.endswith(f"remove the archive from {archives} and try again")
    assert network.startswith("ERROR --download arctic:clb: <urlopen error")
    assert network.endswith("see http://festvox.org/cmu_arctic to fetch it by hand")


@needs_torchaudio
def test_our_addresses_have_checksums_in_torchaudio():
    """Spelled otherwise than torchaudio's table of checksums spells it, an address would be fetched unchecked."""
    program = STUB + (
        "from torchaudio.datasets import cmuarctic, libritts\n"
        "from vocoder_core.download import ARCTIC, DEFAULT_PARTS\n"
        "print(all(ARCTIC.format(voice) in cmuarctic._CHECKSUMS for voice in DEFAULT_PARTS['arctic']),\n"
        "      all(any(part in url for url in libritts._CHECKSUMS) for part in DEFAULT_PARTS['libritts']))"
    )
    assert run(program) == "True True"


def test_a_torchaudio_that_does_not_import_is_explained(tmp_path: Path):
    """Missing or broken: one sentence with the reason, the extra to install, and the way without torchaudio."""
    (tmp_path / "torchaudio").mkdir()
    (tmp_path / "torchaudio" / "__init__.py").write_text(
        "raise OSError('libc10_cuda.so: cannot open shared object file')"
    )
    message = run("import sys" + DOWNLOAD, str(tmp_path / "in"), "ljspeech", path=str(tmp_path))
    assert message.startswith(
        "ERROR --download needs torchaudio, which cannot be imported here (libc10_cuda.so: cannot"
    )
    assert "install vocoder-core[torchaudio]" in message
    assert "https://keithito.com/LJ-Speech-Dataset" in message
    assert not (tmp_path / "in").exists()
    (tmp_path / "torchaudio" / "__init__.py").write_text("raise ModuleNotFoundError(\"No module named 'torchaudio'\")")
    assert "(No module named 'torchaudio')" in run("import sys" + DOWNLOAD, "x", "vctk", path=str(tmp_path))


@pytest.mark.parametrize("name", ["timit", "ljspeech:1", ""])
def test_unknown_corpora_are_refused(tmp_path: Path, name: str):
    from vocoder_core.download import download

    with pytest.raises(ValueError, match="unknown, expected ljspeech, vctk, arctic, libritts or parts of one"):
        download(name, tmp_path)
