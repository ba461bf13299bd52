"""Readers of public speech corpora in the shape in which their archives unpack. Each `is_X(root)` knows the shape.

    LJSpeech-1.1/   metadata.csv (id|text|normalised text)          wavs/LJ001-0001.wav
    VCTK 0.80       txt/p225/p225_001.txt                           wav48/p225/p225_001.wav
    VCTK 0.92       txt/p225/p225_001.txt                           wav48_silence_trimmed/p225/p225_001_mic1.flac
    CMU ARCTIC      cmu_us_slt_arctic/etc/txt.done.data             cmu_us_slt_arctic/wav/arctic_a0001.wav
    LibriTTS        dev-clean/84/121123/84_121123_000007_000001.normalized.txt beside the .wav; LibriSpeech reads, too
    trimmed         vctk/wav16_trimmed/p225/p225_001.wav, cmu_arctic/...: davidalvarezdlt/samplernn-pase on Kaggle
Recordings that an index names but the disk lacks are returned all the same: opening them reports them.
"""

from __future__ import annotations

import re
from pathlib import Path

from .utterance import Utterance, audio_files, folders, read_text, spelled

SUBSET = re.compile("(train|dev|test)-(clean|other)(-[0-9]+)?")
SPLIT_OF_SUBSET = {"train": "train", "dev": "valid", "test": "test"}
TRIMMED = "wav16_trimmed"
PROMPT = re.compile(r'\(\s*(\S+)\s+"(.*)"\s*\)')


def is_ljspeech(root: Path) -> bool:
    """Whether `root` is LJSpeech-1.1 or a corpus made after its shape."""
    return (root / "metadata.csv").is_file() and (root / "wavs").is_dir()


def ljspeech(root: Path) -> list[Utterance]:
    """One speaker, 'lj'; the text is the normalised one (numbers in words)."""
    index = (root / "metadata.csv").read_text(encoding="utf-8-sig", errors="replace").splitlines()
    texts = {fields[0]: fields[-1] for line in index if len(fields := line.split("|")) > 1}
    return _listed(root / "wavs", texts, "lj", "")


def is_vctk(root: Path) -> bool:
    """Whether `root` is VCTK 0.80 or 0.92."""
    return (root / "wav48").is_dir() or (root / "wav48_silence_trimmed").is_dir()


def vctk(root: Path) -> list[Utterance]:
    """Speakers p225 ...; of 0.92 the first microphone (mic1), so that both versions give the same ids: p225_001."""
    newer = root / "wav48_silence_trimmed"
    folder = newer if newer.is_dir() else root / "wav48"
    found = []
    for path in audio_files(folder):
        if len(path.relative_to(folder).parts) != 2 or (folder == newer and not path.stem.endswith("_mic1")):
            continue
        name, speaker = path.stem.removesuffix("_mic1"), path.parent.name
        found.append(Utterance(name, speaker, path, read_text(root / "txt" / speaker / f"{name}.txt")))
    return found


def is_arctic(root: Path) -> bool:
    """Whether `root` is one voice of CMU ARCTIC or a folder of nothing but voices."""
    voices = _voices(root)
    return voices == [root] or (bool(voices) and voices == folders(root))


def arctic(root: Path) -> list[Utterance]:
    """Speaker 'slt' for cmu_us_slt_arctic, else the folder's name; id = speaker/prompt, as prompts are shared."""
    found = []
    for voice in _voices(root):
        named = re.fullmatch("cmu_us_([a-z0-9]+)_arctic.*", voice.resolve().name)
        speaker = spelled(named[1] if named else voice.resolve().name)
        prompts = (voice / "etc" / "txt.done.data").read_text(encoding="utf-8", errors="replace")
        texts = {match[1]: match[2].replace('\\"', '"') for match in PROMPT.finditer(prompts)}
        found += _listed(voice / "wav", texts, speaker, f"{speaker}/")
    return found


def is_libritts(root: Path) -> bool:
    """Whether `root` is LibriTTS, or one subset of it such as train-clean-100."""
    return bool(_subsets(root))


def libritts(root: Path) -> list[Utterance]:
    """Speakers are LibriVox readers ('84'); subsets train-* give the split train, dev-* valid, test-* test."""
    found = []
    for subset in _subsets(root):
        split = SPLIT_OF_SUBSET[subset.resolve().name.partition("-")[0]]
        for path in audio_files(subset):
            speaker = spelled(path.relative_to(subset).parts[0])
            text = read_text(path.with_suffix(".normalized.txt"))
            found.append(Utterance(spelled(path.stem), speaker, path, text, split))
    return found


def is_trimmed(root: Path) -> bool:
    """Whether `root` is VCTK or CMU ARCTIC of that data set, or a folder with such folders."""
    return bool(_trimmed(root))


def trimmed(root: Path) -> list[Utterance]:
    """Speakers are folders; id = speaker/recording, as prompts are shared."""
    found = []
    for corpus in _trimmed(root):
        for path in audio_files(corpus / TRIMMED):
            speaker = spelled(path.relative_to(corpus / TRIMMED).parts[0])
            found.append(Utterance(f"{speaker}/{spelled(path.stem)}", speaker, path))
    return found


def _listed(folder: Path, texts: dict[str, str], speaker: str, prefix: str) -> list[Utterance]:
    """What the index or the disk has: indexed recordings without a file and files without a text included."""
    files = {spelled(path.stem): path for path in audio_files(folder)}
    paths = {name: folder / f"{name}.wav" for name in texts} | files
    return [Utterance(prefix + name, speaker, path, texts.get(name)) for name, path in paths.items()]


def _voices(root: Path) -> list[Path]:
    candidates = [root, *folders(root)]
    return [folder for folder in candidates if (folder / "etc/txt.done.data").is_file() and (folder / "wav").is_dir()]


def _trimmed(root: Path) -> list[Path]:
    return [folder for folder in [root, *folders(root)] if (folder / TRIMMED).is_dir()]


def _subsets(root: Path) -> list[Path]:
    return [folder for folder in [root, *folders(root)] if SUBSET.fullmatch(folder.resolve().name)]
