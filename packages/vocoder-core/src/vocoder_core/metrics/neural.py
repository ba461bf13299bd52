"""Scores by trained networks, each an adapter to a package with weights inside: nothing is downloaded at run time.

Distill-MOS and DNSMOS judge one wave without its reference, so each is given with its drop, reference minus generated:
judge a copy by the drop. WORLD resynthesis is scored above the recording by DNSMOS: trust no single one.
How to install the packages without letting pip replace torch: README of vocoder-core, "Neural scores".
"""

from __future__ import annotations

import sys
from functools import lru_cache
from types import ModuleType
from typing import Any

import numpy as np

RATE = 16_000  # Hz, of all four models


def distill_mos(reference: np.ndarray, generated: np.ndarray, sample_rate: int) -> dict[str, float]:
    """Distill-MOS v7 (Stahl & Gamper 2025), predicted MOS 1 to 5 of the generated wave, and its drop."""
    ref, gen = (_distill_mos_of(wav.tobytes()) for wav in _at_16k(reference, generated, sample_rate))
    return {"distill_mos": gen, "distill_mos_drop": ref - gen}


def dnsmos(reference: np.ndarray, generated: np.ndarray, sample_rate: int) -> dict[str, float]:
    """DNSMOS (Reddy et al. 2021, 2022): P.835 overall and P.808 MOS of the generated wave, and their drops."""
    ref, gen = (_dnsmos_of(wav.tobytes()) for wav in _at_16k(reference, generated, sample_rate))
    drops = {f"{name}_drop": ref[name] - gen[name] for name in gen}
    return {**gen, **drops}


def speaker_cosine(reference: np.ndarray, generated: np.ndarray, sample_rate: int) -> float:
    """Cosine between Resemblyzer (GE2E, Wan et al. 2018) speaker embeddings; 1 is the same voice.

    Two recordings of one speaker give about 0.85 to 0.96, different speakers at most about 0.6. NaN without speech.
    """
    encoder, preprocess = _speaker_encoder()
    speech = [preprocess(wav, RATE) for wav in _at_16k(reference, generated, sample_rate)]  # pauses cut out
    if min(len(wav) for wav in speech) == 0:
        return float("nan")
    ref, gen = (encoder.embed_utterance(wav) for wav in speech)
    return float(ref @ gen / (np.linalg.norm(ref) * np.linalg.norm(gen)))


def phone_error_rate(reference: np.ndarray, generated: np.ndarray, sample_rate: int) -> float:
    """Phone errors of pocketsphinx's English phone loop on the generated wave against its decode of the reference.

    A difference between two decodes, never an absolute error rate: 0 says that the recogniser hears the same phones.
    NaN where it hears none in the reference.
    """
    ref, gen = (_phones(wav) for wav in _at_16k(reference, generated, sample_rate))
    return edit_distance(ref, gen) / len(ref) if ref else float("nan")


def edit_distance(reference: list[str], other: list[str]) -> int:
    """Fewest insertions, deletions and substitutions that turn one sequence into the other (Levenshtein)."""
    row = list(range(len(other) + 1))
    for i, wanted in enumerate(reference, start=1):
        diagonal, row[0] = row[0], i
        for j, heard in enumerate(other, start=1):
            diagonal, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, diagonal + (wanted != heard))
    return row[-1]


def _phones(wav: np.ndarray) -> list[str]:
    import pocketsphinx

    decoder = pocketsphinx.Decoder(  # a fresh one: it adapts its cepstral mean from utterance to utterance
        hmm=pocketsphinx.get_model_path("en-us/en-us"),
        allphone=pocketsphinx.get_model_path("en-us/en-us-phone.lm.bin"),
        lw=2.0,
        beam=1e-20,
        pbeam=1e-20,
        loglevel="FATAL",
    )
    decoder.start_utt()
    decoder.process_raw((wav * 32767).astype("<i2").tobytes(), full_utt=True)
    decoder.end_utt()
    return [segment.word for segment in decoder.seg() if segment.word not in {"SIL", "+SPN+", "+NSN+"}]


@lru_cache(maxsize=2)  # one recording is compared with several copies of it
def _distill_mos_of(samples: bytes) -> float:
    import torch

    with torch.no_grad():
        return float(_distill_mos_model()(torch.from_numpy(np.frombuffer(samples, dtype=np.float32).copy())[None]))


@lru_cache(maxsize=2)
def _dnsmos_of(samples: bytes) -> dict[str, float]:
    from speechmos import dnsmos as package

    scores = package.run(np.frombuffer(samples, dtype=np.float32), sr=RATE)
    return {"dnsmos": float(scores["ovrl_mos"]), "dnsmos_p808": float(scores["p808_mos"])}


@lru_cache(maxsize=1)
def _distill_mos_model() -> Any:
    import contextlib
    import io

    with _torchaudio_or_stub(), contextlib.redirect_stdout(io.StringIO()):  # it prints where its weights lie
        from distillmos import ConvTransformerSQAModel

        return ConvTransformerSQAModel().eval()


@lru_cache(maxsize=1)
def _speaker_encoder() -> Any:
    from resemblyzer import VoiceEncoder, preprocess_wav

    return VoiceEncoder("cpu", verbose=False), preprocess_wav


class _torchaudio_or_stub:
    """While entered, `import torchaudio` works: distillmos needs it for its command only, and it is often broken."""

    def __enter__(self) -> None:
        self.stubbed = "torchaudio" not in sys.modules
        if self.stubbed:
            sys.modules["torchaudio"] = ModuleType("torchaudio")

    def __exit__(self, *error: object) -> None:
        if self.stubbed:
            del sys.modules["torchaudio"]


def _at_16k(reference: np.ndarray, generated: np.ndarray, sample_rate: int) -> tuple[np.ndarray, np.ndarray]:
    from vocoder_core.audio import resample

    pair = (resample(wav, sample_rate, RATE) for wav in (reference, generated))
    ref, gen = (np.clip(wav, -1, 1).astype(np.float32) for wav in pair)
    return ref, gen
