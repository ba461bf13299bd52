"""The table of scores, and `score`: all of them for one pair of waves."""

from __future__ import annotations

import difflib
import importlib.util
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from . import cepstral, neural, perceptual, pitch, spectral

Measure = Callable[[np.ndarray, np.ndarray, int], "float | Mapping[str, float]"]
EVAL = 'pip install "vocoder-core[eval]"'
DISTILL = "pip install --no-deps distillmos xls-r-sqa==0.1.0 einops"
DNSMOS = "pip install --no-deps speechmos onnxruntime flatbuffers"
MIN_SECONDS = 0.2  # the longest window of MR-STFT at 8 kHz
MAX_LENGTH_DIFFERENCE = 0.1


@dataclass(frozen=True)
class Score:
    """One column of a score table: what it is called, which way is better, what computes it and what that needs."""

    name: str
    title: str
    unit: str
    better: Literal["lower", "higher", "near 0"]
    digits: int
    tier: Literal["core", "eval", "neural"]
    measure: Measure  # gives the score, or a mapping that holds it under `name`
    definition: str
    packages: tuple[str, ...] = ()  # import names
    install: str = EVAL


# fmt: off
SCORES: tuple[Score, ...] = (
    Score("mr_stft", "MR-STFT", "", "lower", 3, "core", spectral.mr_stft,
          "multi-resolution STFT distance, equal to auraloss' default"),
    Score("log_mel_mae", "log-mel MAE", "nat", "lower", 3, "core", spectral.log_mel_mae,
          "mean absolute difference of 128-band ln mel magnitudes, 50 ms windows every 12.5 ms"),
    Score("lsd", "LSD", "dB", "lower", 2, "core", spectral.lsd,
          "log-spectral distance, 32 ms windows, spectra floored 80 dB below the reference's peak"),
    Score("mcd", "MCD", "dB", "lower", 2, "core", cepstral.mcd,
          "mel-cepstral distortion of STFT envelopes smoothed by 200 Hz, order 24 without c0, 5 ms, no time warping; "
          "not comparable with WORLD's"),
    Score("f0_rmse", "F0-RMSE", "cents", "lower", 1, "eval", pitch.pitch_scores,
          "RMS pitch difference where both are voiced, pYIN 50 to 550 Hz every 10 ms", ("librosa",)),
    Score("vuv_f1", "V/UV F1", "", "higher", 3, "eval", pitch.pitch_scores,
          "F1 of the decision voiced, the reference's being the truth, pYIN", ("librosa",)),
    Score("periodicity_rmse", "Periodicity RMSE", "", "lower", 3, "eval", pitch.pitch_scores,
          "RMS difference of pYIN's probability of voicing", ("librosa",)),
    Score("mcd_world", "MCD (WORLD)", "dB", "lower", 2, "eval", cepstral.mcd_world,
          "mel-cepstral distortion of WORLD CheapTrick envelopes (DIO + StoneMask), order 24 without c0, 5 ms, "
          "no time warping", ("pyworld",)),
    Score("pesq", "PESQ-WB", "MOS", "higher", 2, "eval", perceptual.pesq_wb,
          "ITU-T P.862.2 at 16 kHz", ("pesq",)),
    Score("estoi", "ESTOI", "", "higher", 3, "eval", perceptual.estoi,
          "extended short-time objective intelligibility", ("pystoi",)),
    Score("visqol", "ViSQOL", "MOS", "higher", 2, "eval", perceptual.visqol,
          "ViSQOL v3, speech mode at 16 kHz, lattice mapping", ("visqol", "ai_edge_litert")),
    Score("distill_mos", "Distill-MOS", "MOS", "higher", 2, "neural", neural.distill_mos,
          "Distill-MOS v7 of the generated wave", ("distillmos", "xls_r_sqa", "einops"), DISTILL),
    Score("distill_mos_drop", "Distill-MOS drop", "MOS", "near 0", 2, "neural", neural.distill_mos,
          "Distill-MOS v7 of the reference minus that of the generated wave",
          ("distillmos", "xls_r_sqa", "einops"), DISTILL),
    Score("dnsmos", "DNSMOS OVRL", "MOS", "higher", 2, "neural", neural.dnsmos,
          "DNSMOS P.835 overall of the generated wave", ("speechmos", "onnxruntime"), DNSMOS),
    Score("dnsmos_drop", "DNSMOS OVRL drop", "MOS", "near 0", 2, "neural", neural.dnsmos,
          "DNSMOS P.835 overall, reference minus generated", ("speechmos", "onnxruntime"), DNSMOS),
    Score("dnsmos_p808", "DNSMOS P.808", "MOS", "higher", 2, "neural", neural.dnsmos,
          "DNSMOS P.808 of the generated wave", ("speechmos", "onnxruntime"), DNSMOS),
    Score("dnsmos_p808_drop", "DNSMOS P.808 drop", "MOS", "near 0", 2, "neural", neural.dnsmos,
          "DNSMOS P.808, reference minus generated", ("speechmos", "onnxruntime"), DNSMOS),
    Score("speaker_cosine", "Speaker cosine", "", "higher", 3, "neural", neural.speaker_cosine,
          "cosine of Resemblyzer speaker embeddings", ("resemblyzer", "webrtcvad"),
          "pip install --no-deps Resemblyzer webrtcvad-wheels"),
    Score("phone_error_rate", "Phone error rate", "", "lower", 3, "neural", neural.phone_error_rate,
          "pocketsphinx phone loop (English), generated against the decode of the reference", ("pocketsphinx",),
          "pip install --no-deps pocketsphinx"),
)
# fmt: on


def score(
    reference: np.ndarray, generated: np.ndarray, sample_rate: int, metrics: Sequence[str] | None = None
) -> dict[str, float]:
    """Scores of a generated wave against its reference, name -> value, in the order of SCORES; NaN: cannot be judged.

    reference, generated: (T,) samples in [-1, 1] at sample_rate in Hz. They must be aligned in time, as the copy of a
    vocoder is: the longer is cropped at its end. metrics: names, or groups "core", "eval", "neural", "all"; None: core
    and whatever of eval is installed.

    Raises ValueError for waves that are not such a pair (lengths more than 10 % apart, under 0.2 s, not finite), for an
    unknown name, and for a score asked for by name whose package is missing.
    """
    chosen, missing = select(metrics)
    named = [f"{name} {reason}" for name, reason in missing.items() if metrics is not None and name in metrics]
    if named:
        raise ValueError(named[0])
    ref, gen = aligned(reference, generated, sample_rate)
    results: dict[Measure, float | Mapping[str, float]] = {}
    for item in chosen:
        if item.measure not in results:
            results[item.measure] = item.measure(ref, gen, sample_rate)
    values = {item.name: results[item.measure] for item in chosen}
    return {name: float(value[name] if isinstance(value, Mapping) else value) for name, value in values.items()}


def select(names: Sequence[str] | None = None) -> tuple[list[Score], dict[str, str]]:
    """The scores that names or groups ask for and that can be computed here, and name -> "needs ..." for the others.

    None asks for core and eval. Raises ValueError for a name that is neither score nor group.
    """
    groups = {"core", "eval", "neural", "all"}
    asked = {"core", "eval"} if names is None else set(names)
    known = groups | {item.name for item in SCORES}
    for name in sorted(asked - known):
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {near[0]}?" if near else f"expected some of: {', '.join(item.name for item in SCORES)}"
        raise ValueError(f"unknown metric {name!r}; {hint}")
    chosen = [item for item in SCORES if asked & {item.name, item.tier, "all"}]
    reasons = {item.name: why for item in chosen if (why := _missing(item))}
    return [item for item in chosen if item.name not in reasons], reasons


def aligned(reference: np.ndarray, generated: np.ndarray, sample_rate: int) -> tuple[np.ndarray, np.ndarray]:
    """Both as float32 (T,) cropped to the shorter. Raises ValueError as `score` says."""
    pair = [np.asarray(wav, dtype=np.float32) for wav in (reference, generated)]
    for role, wav in zip(("reference", "generated"), pair):
        if wav.ndim != 1:
            raise ValueError(f"the {role} wave has shape {wav.shape}; expected mono samples (T,)")
        if len(wav) < MIN_SECONDS * sample_rate:
            seconds = len(wav) / sample_rate
            raise ValueError(f"the {role} wave is {seconds:.2f} s long; scores need at least {MIN_SECONDS} s")
        if not np.isfinite(wav).all():
            raise ValueError(f"the {role} wave holds NaN or infinite samples; expected finite samples in [-1, 1]")
    shorter, longer = sorted(len(wav) for wav in pair)
    if longer - shorter > MAX_LENGTH_DIFFERENCE * longer:
        lengths = " and ".join(f"{len(wav) / sample_rate:.2f}" for wav in pair)
        raise ValueError(
            f"reference and generated wave are {lengths} s long, more than 10 % apart; expected an aligned copy: "
            "check that the two belong together"
        )
    return pair[0][:shorter], pair[1][:shorter]


def _missing(item: Score) -> str | None:
    """What follows the score's name in a sentence if a package it needs is not installed."""
    absent = [name for name in item.packages if importlib.util.find_spec(name) is None]
    if not absent:
        return None
    return f"needs the package {absent[0]}, which is not installed: {item.install}"
