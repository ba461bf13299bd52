"""`write_page`: baselines, scores, sound and picture files, and the page around them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from vocoder_core.metrics import markdown, score, select, summarise, write_csv, write_json

from .clip import RECORDING, Clip, Track
from .markup import render
from .picture import power_db, spectrogram_png

if TYPE_CHECKING:
    from vocoder_core.mel import MelConfig

GRIFFIN_LIM, WORLD = "Griffin-Lim", "WORLD"
ITERATIONS = 60
CAPTIONS = {
    RECORDING: "The original, and the reference of every score.",
    GRIFFIN_LIM: f"Baseline without learning: {ITERATIONS} iterations guess the phases of the same mel.",
    WORLD: "Classical baseline. It reads pitch, envelope and noise from the recording: more than a mel holds.",
}


def write_page(
    folder: str | Path,
    clips: Sequence[Clip],
    sample_rate: int,
    *,
    title: str = "Listening page",
    intro: Sequence[str] = (),
    captions: Mapping[str, str] | None = None,
    mel: MelConfig | None = None,
    world: bool = True,
    metrics: Sequence[str] | None = None,
    progress: bool = False,
) -> Path:
    """Write index.html, audio/*.flac, pictures/*.png and scores.{csv,json,md} into a folder; returns index.html.

    intro: paragraphs below the title. captions: system -> one honest sentence. mel: adds the Griffin-Lim baseline from
    the recording's mel in that dialect. world: adds WORLD where pyworld is installed. metrics: as for `score`.
    Waves are written as they are, without levelling. Files of an earlier page of the same names are replaced.
    Raises ValueError for no clips, repeated clip names, waves that are no pair, or a mel of another sample rate.
    """
    from tqdm import tqdm

    _check(clips, sample_rate, mel)
    folder = Path(folder)
    for name in ("audio", "pictures"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    with_baselines = [_with_baselines(clip, sample_rate, mel, world) for clip in tqdm(clips, disable=not progress)]
    order = list(dict.fromkeys(system for waves in with_baselines for system in waves))
    chosen, _ = select(metrics)
    tracks = []
    for index, (clip, waves) in enumerate(zip(clips, tqdm(with_baselines, unit="clip", disable=not progress)), start=1):
        tracks.append(_tracks(folder, index, clip.name, waves, sample_rate, [item.name for item in chosen]))
    summaries = {
        system: summarise([track.scores for clip_tracks in tracks for track in clip_tracks if track.system == system])
        for system in order
        if system != RECORDING
    }
    _write_scores(folder, clips, tracks, summaries)
    page = render(title, intro, {**CAPTIONS, **(captions or {})}, sample_rate, clips, tracks, summaries, chosen)
    (folder / "index.html").write_text(page, encoding="utf-8")
    return folder / "index.html"


def _check(clips: Sequence[Clip], sample_rate: int, mel: MelConfig | None) -> None:
    if not clips:
        raise ValueError("a listening page needs at least one clip, got none")
    names = [clip.name for clip in clips]
    repeated = next((name for name in names if names.count(name) > 1), None)
    if repeated is not None:
        raise ValueError(f"two clips are named {repeated!r}; expected a name of its own for each")
    if mel is not None and mel.sample_rate != sample_rate:
        raise ValueError(f"mel.sample_rate is {mel.sample_rate} and the clips have {sample_rate} Hz; expected the same")


def _with_baselines(clip: Clip, sample_rate: int, mel: MelConfig | None, world: bool) -> dict[str, np.ndarray]:
    """Recording first, systems, then the baselines that the caller has not brought; all float32."""
    waves = {RECORDING: np.asarray(clip.recording, dtype=np.float32)}
    waves |= {name: np.asarray(wav, dtype=np.float32) for name, wav in clip.systems.items()}
    if mel is not None and GRIFFIN_LIM not in waves:
        import torch

        from vocoder_core.griffinlim import griffin_lim
        from vocoder_core.mel import log_mel

        copy = griffin_lim(log_mel(torch.from_numpy(waves[RECORDING]), mel), mel, ITERATIONS).numpy()
        waves[GRIFFIN_LIM] = np.pad(copy, (0, len(waves[RECORDING]) - len(copy)))
    if world and WORLD not in waves:
        from vocoder_core.world import available, copy_synthesis

        if available():
            waves[WORLD] = copy_synthesis(waves[RECORDING], sample_rate)
    return waves


def _tracks(
    folder: Path, index: int, name: str, waves: Mapping[str, np.ndarray], sample_rate: int, metrics: Sequence[str]
) -> list[Track]:
    """Score and write every wave of one clip."""
    from vocoder_core.audio import save

    peak_db = float(power_db(waves[RECORDING], sample_rate).max())
    tracks = []
    for place, (system, wav) in enumerate(waves.items()):
        try:
            scores = score(waves[RECORDING], wav, sample_rate, metrics) if system != RECORDING else {}
        except ValueError as error:
            raise ValueError(f"clip {name!r}, system {system!r}: {error}") from None
        slug = re.sub(r"[^a-z0-9]+", "-", system.lower()).strip("-") or "system"
        stem = f"{index:02d}-{place}-{slug}"
        save(folder / "audio" / f"{stem}.flac", wav, sample_rate)
        (folder / "pictures" / f"{stem}.png").write_bytes(spectrogram_png(wav, sample_rate, peak_db))
        tracks.append(Track(system, f"audio/{stem}.flac", f"pictures/{stem}.png", len(wav) / sample_rate, scores))
    return tracks


def _write_scores(
    folder: Path,
    clips: Sequence[Clip],
    tracks: Sequence[Sequence[Track]],
    summaries: Mapping[str, Mapping[str, tuple[float, float, float, int]]],
) -> None:
    rows = [
        {"clip": clip.name, "system": track.system, **track.scores}
        for clip, clip_tracks in zip(clips, tracks)
        for track in clip_tracks
        if track.scores
    ]
    write_csv(folder / "scores.csv", rows)
    fields = ("mean", "low", "high", "n")
    summary = {
        system: {name: dict(zip(fields, values)) for name, values in scores.items()}
        for system, scores in summaries.items()
    }
    (folder / "scores.md").write_text(markdown(summaries), encoding="utf-8")
    write_json(folder / "scores.json", {"summary": summary, "clips": rows})
