"""Real speech in the shapes in which corpora unpack, a second of each recording, with labels and features beside it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile

from samplernn_pase import ahocoder, hts_label
from vocoder_core import audio

RATE = 16_000
PLAIN = [
    "--config",
    "tiny",
    "--set",
    "model.labels.order=0",
    "--set",
    "model.labels.pitch=false",
    "--jobs",
    "1",
]  # any content


def put(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def everything(folder: Path) -> dict[str, tuple[bytes, int]]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): (path.read_bytes(), path.stat().st_mtime_ns) for path in files}


class Speech:
    """Puts the first seconds of real recordings where a test wants them."""

    def __init__(self, folder: Path) -> None:
        self.clips = {name: sorted((folder / name).glob("*.flac")) for name in ("carlo", "ru_nsh", "ivrvoice", "slt")}

    def put(self, path: Path, who: str = "carlo", number: int = 0, seconds: float = 1.0, rate: int = RATE) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        wav, _ = audio.load(self.clips[who][number % len(self.clips[who])], rate)
        soundfile.write(path, wav[: int(seconds * rate)], rate)


def put_labels(path: Path, seconds: float) -> list[hts_label.Phone]:
    """Two phones that last as long as the recording, everything but their names undefined."""
    half = round(seconds * 100) * hts_label.TICKS_PER_SECOND // 200
    unknown = ["x"] * 50
    phones = [
        hts_label.Phone(("x", "x", "hh", "iy", "x", *unknown[2:]), 0, half),
        hts_label.Phone(("x", "hh", "iy", "x", "x", *unknown[2:]), half, 2 * half),
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    hts_label.write(path, phones)
    return phones


def vctk(root: Path, speech: Speech, newer: bool) -> Path:
    folder = root / "VCTK"
    for place, (speaker, who) in enumerate({"p225": "carlo", "p300": "ru_nsh", "p26": "ivrvoice"}.items()):
        for number in range(3):
            name, seen = (
                f"{speaker}_{number + 1:03d}",
                folder / ("wav48_silence_trimmed" if newer else "wav48") / speaker,
            )
            for stem in (f"{name}_mic1", f"{name}_mic2") if newer else (name,):
                speech.put(seen / f"{stem}.{'flac' if newer else 'wav'}", who, number, rate=48_000)
            put(folder / "txt" / speaker / f"{name}.txt", f"Words {place} {number}.\n")
    return folder


def arctic(root: Path, speech: Speech) -> Path:
    for voice, who in (("slt", "ivrvoice"), ("bdl", "carlo")):
        for number in range(3):
            speech.put(root / f"cmu_us_{voice}_arctic" / "wav" / f"arctic_a{number:04d}.wav", who, number)
        prompts = "".join(f'( arctic_a{number:04d} "Prompt {number}." )\n' for number in range(3))
        put(root / f"cmu_us_{voice}_arctic" / "etc" / "txt.done.data", prompts)
    return root


def libritts(root: Path, speech: Speech) -> Path:
    for number, (subset, reader) in enumerate((("train-clean-100", 103), ("train-clean-100", 84), ("dev-clean", 7))):
        path = root / subset / str(reader) / "1" / f"{reader}_1_000000_00000{number}.wav"
        speech.put(path, "carlo", number, rate=24_000)
        put(path.with_suffix(".normalized.txt"), f"words {number}\n")
    return root


def tree(root: Path, speech: Speech) -> Path:
    for who in ("carlo", "ru_nsh"):
        for number in range(3):
            speech.put(root / who / f"{number}.wav", who, number)
    return root


def trimmed(root: Path, speech: Speech) -> Path:
    """The original's data set, with conditionings of the right length."""
    for corpus, speaker, who in (
        ("vctk", "p225", "carlo"),
        ("vctk", "p300", "ru_nsh"),
        ("cmu_arctic", "slt", "ivrvoice"),
    ):
        for number in range(3):
            name, folder = f"{speaker}/{speaker}_{number:03d}", root / corpus
            speech.put(folder / "wav16_trimmed" / f"{name}.wav", who, number)
            put_labels(folder / "wav16_trimmed_conds_linguistic" / f"{name}.lab", 1.0)
            stem = folder / "wav16_trimmed_conds_acoustic" / name
            stem.parent.mkdir(parents=True, exist_ok=True)
            frames = np.random.default_rng(number).normal(size=(199, 43)).astype(np.float32)  # Ahocoder's last is short
            frames[:, 40:] = [8.3, 5.0, 1.0]
            frames[:, 41] += 0.1 * np.sin(np.arange(199) / 9)
            ahocoder.write(stem, frames)
    put(
        root / "vctk" / "speaker-info.txt",
        "ID  AGE  GENDER  ACCENTS  REGION\n225  23  F    English    Southern  England\n",
    )
    put(root / "cmu_arctic" / "speaker-info.txt", "name,gender\nslt,f\n")
    return root
