"""Fetch public corpora through torchaudio's dataset classes (extra `[torchaudio]`), which know addresses and checksums.

torchaudio is needed for nothing else: an archive that lies in the folder already is unpacked without the network, and a
corpus that was unpacked by hand needs none of this.
"""

from __future__ import annotations

import os
import shutil
import tarfile
import zipfile
from pathlib import Path
from types import ModuleType

ARCTIC = "http://festvox.org/cmu_arctic/packed/cmu_us_{}_arctic.tar.bz2"  # spelled so, torchaudio knows the checksum
PAGES = {
    "ljspeech": "https://keithito.com/LJ-Speech-Dataset",
    "vctk": "https://datashare.ed.ac.uk/handle/10283/3443",
    "arctic": "http://festvox.org/cmu_arctic",
    "libritts": "https://openslr.org/60",
}
NAMES = tuple(PAGES)
DEFAULT_PARTS = {"arctic": ("bdl", "slt"), "libritts": ("train-clean-100", "dev-clean", "test-clean")}


def download(name: str, folder: str | os.PathLike[str]) -> str:
    """Fetch and unpack a corpus into `folder`, unless it is there; returns its layout.

    name: ljspeech, vctk (0.92), arctic or libritts; voices or subsets can be chosen, as in arctic:slt,clb or
    libritts:train-clean-360,dev-clean. Raises ValueError for an unknown name, when torchaudio cannot be imported, and
    for a damaged archive; OSError when the network or the disk fails.
    """
    corpus, _, chosen = name.partition(":")
    if corpus not in PAGES or (chosen and corpus not in DEFAULT_PARTS):
        raise ValueError(f"--download {name}: unknown, expected {', '.join(NAMES)} or parts of one, as arctic:slt,clb")
    datasets = _datasets(corpus)
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for part in chosen.split(",") if chosen else DEFAULT_PARTS.get(corpus, ("",)):
        try:
            _fetch(datasets, corpus, part, folder)
        except OSError as error:
            raise OSError(f"--download {name}: {error}; see {PAGES[corpus]} to fetch it by hand") from None
        except (RuntimeError, EOFError, tarfile.TarError, zipfile.BadZipFile) as error:
            reason = str(error).partition("\n")[0].rstrip(":")
            raise ValueError(f"--download {name}: {reason}; remove the archive from {folder} and try again") from None
    return corpus


def _fetch(datasets: ModuleType, corpus: str, part: str, folder: Path) -> None:
    """One archive. A marker beside it tells a later run that unpacking began and did not end."""
    unpacked = (
        folder
        / {
            "ljspeech": "LJSpeech-1.1",
            "vctk": "VCTK-Corpus-0.92",
            "arctic": f"ARCTIC/cmu_us_{part}_arctic",
            "libritts": f"LibriTTS/{part}",
        }[corpus]
    )
    marker = folder / f".{corpus}{part}.unpacking"
    if marker.exists():
        shutil.rmtree(unpacked, ignore_errors=True)
    if not unpacked.exists():
        marker.touch()
    if corpus == "ljspeech":
        datasets.LJSPEECH(folder, download=True)
    elif corpus == "vctk":
        datasets.VCTK_092(str(folder), mic_id="mic1", download=True)
    elif corpus == "arctic":
        datasets.CMUARCTIC(folder, url=ARCTIC.format(part), download=True)
    else:
        datasets.LIBRITTS(folder, url=part, download=True)
    marker.unlink(missing_ok=True)


def _datasets(corpus: str) -> ModuleType:
    try:
        from torchaudio import datasets
    except (ImportError, OSError, RuntimeError) as error:  # its native library wants one exact build of torch
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(
            f"--download needs torchaudio, which cannot be imported here ({reason}): install vocoder-core[torchaudio], "
            f"or fetch the corpus from {PAGES[corpus]}, unpack it into IN and leave --download out"
        ) from None
    return datasets
