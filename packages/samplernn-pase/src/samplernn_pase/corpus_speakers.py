"""Vectors of all speakers of a prepared corpus, DATA/features/speakers-PROVIDER.npz, and the speech they are of.

    DATA -> each speaker's seed: the first seconds of what he says in training (seed_speech.py) -> encoder -> vector

Made once: where the file holds the vectors that are asked for, it is read. Beside those of pase-finetune lies the
encoder that made them, .safetensors, where training begins.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from . import seed_speech, speaker_vectors
from .speaker import COMPUTED, SpeakerConfig, encoder
from .speaker_vectors import Vectors

if TYPE_CHECKING:
    from vocoder_core.corpus import Corpus

    from .references import References
    from .speaker import SpeakerEncoder

logger = logging.getLogger(__name__)
HEARD = 10.0  # seconds at most of each speaker that an encoder learns from: every validation hears them all


def path_of(folder: str | Path, source: str) -> Path:
    """Where a corpus keeps the vectors of a provider."""
    return Path(folder) / "features" / f"speakers-{source}.npz"


def prepare(
    corpus: Corpus, config: SpeakerConfig, weights: str | Path | None = None, progress: bool = True
) -> Vectors | None:
    """The vectors that these settings need, made and written where they are not there yet; None: they need none.

    weights: the encoder's file, of provider file the vectors'. Raises FileNotFoundError without them, ValueError where
    somebody has no vector.
    """
    from tqdm import tqdm

    if not config.source:
        return None
    path = path_of(corpus.folder, config.source)
    if config.source not in COMPUTED:
        return _copied(corpus, path, weights)
    made, speech = encoder(config.source, weights), seed_speech.recordings(corpus)
    if path.is_file():
        there = speaker_vectors.read(path)
        same = (there.provider, there.fingerprint, there.seconds) == (config.source, made.fingerprint, config.seconds)
        if same and there.names == tuple(speech):
            return there
        logger.info("%s: made anew: it held vectors of other speakers, weights or seconds", path)
    rows, heard, rate = list[np.ndarray](), list[float](), corpus.config.sample_rate
    for name in tqdm(list(speech), unit="speaker", disable=None if progress else True):
        wav, _ = seed_speech.seed(corpus, speech[name], config.seconds)
        rows.append(made.embed(wav, rate))
        heard.append(len(wav) / rate)
    if config.source == "pase-finetune":
        _keep(made, path.with_suffix(".safetensors"))
    vectors = Vectors(tuple(speech), np.stack(rows), config.source, made.fingerprint, config.seconds, tuple(heard))
    speaker_vectors.write(path, vectors)
    return vectors


def teach(voices: References, corpus: Corpus, seconds: float, new: bool) -> None:
    """Give an encoder that is to learn the speech of its speakers, and, where it is new, the weights it begins at.

    Raises FileNotFoundError for a corpus that has no vectors of pase-finetune.
    """
    import torch
    from safetensors.torch import load_file

    if new:
        path = path_of(corpus.folder, "pase-finetune").with_suffix(".safetensors")
        if not path.is_file():
            raise FileNotFoundError(f"{path}: not there; prepare the corpus with --speaker-vectors pase-finetune=FILE")
        voices.encoder.load_state_dict(load_file(path))
    voices.hear(torch.from_numpy(references(corpus, voices.names, min(seconds, HEARD))))


def references(corpus: Corpus, names: tuple[str, ...], seconds: float) -> np.ndarray:
    """What each of these speakers says, (S, R) float32, R = `seconds` long: shorter speech is said again and again."""
    samples = round(seconds * corpus.config.sample_rate)
    speech, rows = seed_speech.recordings(corpus), list[np.ndarray]()
    for name in names:
        if name not in speech:
            raise ValueError(
                f"{corpus.folder}: has no recordings of {name!r}; expected some of each of the model's speakers"
            )
        wav, _ = seed_speech.seed(corpus, speech[name], seconds)
        rows.append(np.resize(seed_speech.levelled(wav, corpus.config.sample_rate), samples))
    return np.stack(rows)


def _copied(corpus: Corpus, path: Path, weights: str | Path | None) -> Vectors:
    """Vectors that somebody brings, kept beside the corpus: those there already when nobody brings any."""
    if weights is None and not path.is_file():
        raise FileNotFoundError(
            "speakers of file need vectors: name an .npz or a folder of NAME.npy by --speaker-weights"
        )
    given = speaker_vectors.read(weights if weights is not None else path)
    given.of(tuple(sorted({entry.speaker for entry in corpus.split("train")})))
    if weights is not None:
        speaker_vectors.write(path, given)
    return given


def _keep(made: SpeakerEncoder, path: Path) -> None:
    from safetensors.torch import save
    from torch import nn

    from vocoder_core.corpus.block import replacing

    assert isinstance(made, nn.Module)
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as file:
        file.write(save(made.state_dict()))
