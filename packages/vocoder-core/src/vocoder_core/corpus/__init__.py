"""Prepared corpora: what `X-preprocess` writes once and training reads with nothing but numpy.

    manifest.jsonl   one Entry a line: id speaker split text offset samples frames length gain source_sha256
    audio.npy        all recordings end to end, flat int16; utterance = audio[offset : offset + samples]
    features.yaml    the settings it was made with: corpus (CorpusConfig), features (a mel config, say), source
    speakers.json    {"speaker": index}        rejected.tsv   id, path and reason of every recording left out

Each utterance is padded with zeros to whole frames, so samples = frames * hop_length: T = F * hop holds from here on.
"""

from .config import CorpusConfig
from .crops import crops
from .prepare import prepare
from .prepared import Corpus, Entry
from .summary import Rejection, Summary

__all__ = ["Corpus", "CorpusConfig", "Entry", "Rejection", "Summary", "crops", "prepare"]
