"""Vectors of all speakers of a prepared corpus, DATA/features/speakers-PROVIDER.npz, and the speech they are of.

    DATA -> each speaker's seed: the first seconds of what he says in training (seed_speech.py) -> encoder -> vector

Made once: where the file holds the vectors that are asked for, it is read.
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

logger = logging.getLogger(__name__)


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
    made = encoder(config.source, weights)
    speech = seed_speech.recordings(corpus)
    if path.is_file():
        there = speaker_vectors.read(path)
        same = (there.provider, there.fingerprint, there.seconds) == (config.source, made.fingerprint, config.seconds)
        if same and there.names == tuple(speech):
            return there
        logger.info("%s: made anew: it held vectors of other speakers, weights or seconds", path)
    rows, heard = list[np.ndarray](), list[float]()
    for name in tqdm(list(speech), unit="speaker", disable=None if progress else True):
        wav, _ = seed_speech.seed(corpus, speech[name], config.seconds)
        rows.append(made.embed(wav, corpus.config.sample_rate))
        heard.append(len(wav) / corpus.config.sample_rate)
    vectors = Vectors(
        tuple(speech), np.stack(rows), config.source, made.fingerprint, config.seconds, tuple(heard)
    )  # fmt: skip
    speaker_vectors.write(path, vectors)
    return vectors


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
