"""The HTML of a listening page. Style and behaviour are page.css and page.js beside this file, copied into the page."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from importlib import resources

from vocoder_core.metrics import Score
from vocoder_core.metrics.tables import ARROWS, heading, number

from .clip import RECORDING, Clip, Track
from .picture import RANGE_DB, ROWS

Summary = Mapping[str, tuple[float, float, float, int]]
HEADLINES = (
    "pesq",
    "mcd",
    "f0_rmse",
    "mr_stft",
    "log_mel_mae",
)  # the first three that were computed stand at each track
COLOURS = 7  # in page.css


def render(
    title: str,
    intro: Sequence[str],
    captions: Mapping[str, str],
    sample_rate: int,
    clips: Sequence[Clip],
    tracks: Sequence[Sequence[Track]],
    summaries: Mapping[str, Summary],
    scores: Sequence[Score],
) -> str:
    """The whole page as text; all names and texts of the caller are escaped."""
    systems = [RECORDING, *summaries]
    colour = {
        system: place if place < COLOURS else 1 + (place - 1) % (COLOURS - 1) for place, system in enumerate(systems)
    }
    parts = [
        "<!doctype html>",
        '<html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{escape(title)}</title>",
        f"<style>{_file('page.css')}</style></head><body>",
        _header(title, intro, len(clips), sample_rate),
        "<main>",
        _legend(systems, colour, captions),
        _summary(summaries, scores, colour, len(clips)),
        *(_clip(index, clip, row, colour, scores, sample_rate) for index, (clip, row) in enumerate(zip(clips, tracks))),
        _definitions(scores),
        "</main>",
        _transport(),
        f"<script>{_file('page.js')}</script></body></html>",
    ]
    return "\n".join(part for part in parts if part) + "\n"


def _header(title: str, intro: Sequence[str], count: int, sample_rate: int) -> str:
    paragraphs = "".join(f"<p>{escape(paragraph)}</p>" for paragraph in intro)
    facts = f"{count} clip{'s' if count != 1 else ''} at {sample_rate / 1000:g} kHz, levels as generated."
    return (
        f"<header><h1>{escape(title)}</h1>{paragraphs}"
        f'<p class="facts">{facts} Choose a track below; changing the track keeps the position. '
        '<span class="keys">Keys: <kbd>1</kbd> to <kbd>9</kbd> change the track, <kbd>Space</kbd> plays, '
        "<kbd>←</kbd> <kbd>→</kbd> move by a second, <kbd>N</kbd> <kbd>P</kbd> change the clip, <kbd>L</kbd> loops. "
        '</span><button type="button" id="blind" aria-pressed="false">Blind test <kbd>B</kbd></button> hides names, '
        "pictures and scores and shuffles the tracks.</p></header>"
    )


def _legend(systems: Sequence[str], colour: Mapping[str, int], captions: Mapping[str, str]) -> str:
    items = "".join(
        f'<div><dt><i class="dot c{colour[system]}"></i>{escape(system)}</dt>'
        f"<dd>{escape(captions.get(system, ''))}</dd></div>"
        for system in systems
    )
    return f'<dl class="legend secret">{items}</dl>'


def _summary(summaries: Mapping[str, Summary], scores: Sequence[Score], colour: Mapping[str, int], count: int) -> str:
    shown = [item for item in scores if any(item.name in summary for summary in summaries.values())]
    if not shown:
        return ""
    head = "".join(f'<th scope="col"><i class="dot c{colour[name]}"></i>{escape(name)}</th>' for name in summaries)
    body = "".join(_summary_row(item, summaries, colour, count) for item in shown)
    return (
        '<section class="summary secret"><h2>Scores</h2><div class="wide" tabindex="0" role="region" '
        'aria-label="Score table"><table><thead><tr><th scope="col">Score</th>'
        f'{head}<th scope="col" class="range"><span>worse</span><span>better</span></th></tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
        f'<p class="small">Mean over {count} clips and, below it, the 95&nbsp;% bootstrap interval of the mean; bold '
        "is the best mean. Where intervals overlap widely the order may be chance. Scores only hint at what is heard: "
        "listen. "
        'Every clip: <a href="scores.csv">scores.csv</a>, <a href="scores.json">scores.json</a>.</p></section>'
    )


def _summary_row(item: Score, summaries: Mapping[str, Summary], colour: Mapping[str, int], count: int) -> str:
    values = {system: summary.get(item.name, (math.nan,) * 3 + (0,)) for system, summary in summaries.items()}
    goodness = {system: _goodness(item, value[0]) for system, value in values.items() if not math.isnan(value[0])}
    best = max(goodness, key=lambda system: goodness[system], default=None) if len(goodness) > 1 else None
    cells = ""
    for system, (mean, low, high, n) in values.items():
        text = number(item, mean)
        judged = f" (n={n})" if 0 < n < count else ""
        interval = "" if math.isnan(low) else f"<small>{number(item, low)} – {number(item, high)}{judged}</small>"
        cells += f"<td>{f'<b>{text}</b>' if system == best else text}{interval}</td>"
    label = f'<th scope="row" title="{escape(item.definition)}">{escape(heading(item))}</th>'
    return f'<tr>{label}{cells}<td class="range">{_ranges(item, values, colour)}</td></tr>'


def _goodness(item: Score, value: float) -> float:
    """Larger is better."""
    return {"higher": value, "lower": -value, "near 0": -abs(value)}[item.better]


def _ranges(item: Score, values: Mapping[str, tuple[float, float, float, int]], colour: Mapping[str, int]) -> str:
    """Every system's interval as a bar with a dot at the mean, better to the right; the numbers beside say it too."""
    known = [(system, *value[:3]) for system, value in values.items() if not math.isnan(value[0])]
    points = [_goodness(item, x) for _, *triple in known for x in triple if not math.isnan(x)]
    if not points:
        return ""
    least, span = min(points), max(max(points) - min(points), 1e-12)

    def place(value: float) -> float:
        return 6 + 108 * (_goodness(item, value) - least) / span

    height = 8 * len(known) + 4
    marks = ""
    for row, (system, mean, low, high) in enumerate(known):
        y = 8 * row + 6
        if not math.isnan(low):
            marks += f'<path class="c{colour[system]}" d="M{place(low):.1f} {y}H{place(high):.1f}"/>'
        marks += f'<circle class="c{colour[system]}" cx="{place(mean):.1f}" cy="{y}" r="3"/>'
    return f'<svg viewBox="0 0 120 {height}" width="120" height="{height}" aria-hidden="true">{marks}</svg>'


def _clip(
    index: int,
    clip: Clip,
    tracks: Sequence[Track],
    colour: Mapping[str, int],
    scores: Sequence[Score],
    sample_rate: int,
) -> str:
    text = f'<p class="said">{escape(clip.text)}</p>' if clip.text else ""
    note = f'<p class="small">{escape(clip.note)}</p>' if clip.note else ""
    lanes = "".join(
        _lane(key, clip, track, colour[track.system], scores, sample_rate) for key, track in enumerate(tracks, 1)
    )
    return (
        f'<section class="clip" aria-labelledby="clip{index}"><h2 id="clip{index}">{escape(clip.name)}</h2>{text}{note}'
        f"{lanes}{_time_axis(tracks[0].seconds)}{_clip_scores(tracks, scores)}</section>"
    )


def _lane(key: int, clip: Clip, track: Track, colour: int, scores: Sequence[Score], sample_rate: int) -> str:
    top = f"{sample_rate / 2000:g}"
    label = f"{track.system}, {clip.name}"
    wanted = [item for name in HEADLINES for item in scores if item.name == name and name in track.scores][:3]
    marks = "".join(
        f"<div><dt>{item.title} {ARROWS[item.better]}</dt><dd>{number(item, track.scores[item.name])}"
        f"{f' {item.unit}' if item.unit in ('dB', 'cents') else ''}</dd></div>"
        for item in wanted
    )
    return (
        f'<div class="lane" data-system="{escape(track.system)}">'
        f'<div class="who"><button type="button" class="pick" aria-pressed="false"><kbd>{key}</kbd>'
        f'<i class="dot c{colour}"></i><span class="name">{escape(track.system)}</span></button>'
        f'<audio controls preload="metadata" src="{escape(track.audio)}" aria-label="{escape(label)}"></audio></div>'
        f'<div class="view"><img src="{escape(track.picture)}" height="{ROWS}" '
        f'alt="Spectrogram of {escape(label)}: 0 to {top} kHz, {track.seconds:.1f} seconds">'
        f'<span class="top">{top} kHz</span><span class="head"></span></div>'
        f'<dl class="marks secret">{marks or "<div><dt>reference</dt></div>"}</dl></div>'
    )


def _time_axis(seconds: float) -> str:
    step = next((step for step in (0.5, 1, 2, 5, 10, 30) if seconds / step <= 8), 60)
    marks = [step * k for k in range(int(seconds / step) + 1) if step * k < 0.97 * seconds]
    spans = "".join(f'<span style="left:{100 * mark / seconds:.2f}%">{mark:g}</span>' for mark in marks)
    return f'<div class="time" aria-hidden="true"><div>{spans}<span class="unit">s</span></div></div>'


def _clip_scores(tracks: Sequence[Track], scores: Sequence[Score]) -> str:
    scored = [track for track in tracks if track.scores]
    if not scored or not scores:
        return ""
    head = "".join(f'<th scope="col">{escape(track.system)}</th>' for track in scored)
    rows = "".join(
        f'<tr><th scope="row">{escape(heading(item))}</th>'
        + "".join(f"<td>{number(item, track.scores[item.name])}</td>" for track in scored)
        + "</tr>"
        for item in scores
    )
    return (
        '<details class="secret"><summary>All scores of this clip</summary><div class="wide" tabindex="0" '
        'role="region" aria-label="Scores of this clip">'
        f'<table><thead><tr><th scope="col">Score</th>{head}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div></details>"
    )


def _definitions(scores: Sequence[Score]) -> str:
    items = "".join(f"<dt>{escape(heading(item))}</dt><dd>{escape(item.definition)}.</dd>" for item in scores)
    return (
        '<section class="notes"><h2>How to read this page</h2>'
        f"<p>Pictures: power over time and frequency, 32 ms windows, {RANGE_DB:.0f} dB from light to black below the "
        "loudest point of the clip's recording; one scale for all tracks of a clip. Scores compare each track with the "
        "recording sample by sample in time, without shifting or levelling.</p>"
        f'<details class="secret"><summary>What each score measures</summary><dl>{items}</dl></details></section>'
    )


def _transport() -> str:
    return (
        '<div class="bar" role="group" aria-label="Player"><button type="button" id="play" aria-label="Play">'
        '<svg viewBox="0 0 20 20" aria-hidden="true"><path class="go" d="M5 3v14l12-7z"/>'
        '<path class="stop" d="M4 3h4v14H4zM12 3h4v14h-4z"/></svg></button>'
        '<span class="now" aria-live="polite"><b id="track"></b><span id="clip"></span></span>'
        '<input type="range" id="position" min="0" max="1" step="0.01" value="0" aria-label="Position in seconds">'
        '<span id="clock">0.0 s</span><button type="button" id="loop" aria-pressed="false">Loop</button>'
        '<span class="switch" id="switch" role="group" aria-label="Track"></span></div>'
    )


def _file(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")
