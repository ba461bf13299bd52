"""Objective scores of vocoded speech: `score` one pair, `summarise` many, write the tables; command `vocoder-eval`.

A vocoder's copy is aligned in time with its original, and everything here assumes that: nothing is shifted or warped
(PESQ and ViSQOL, which align by themselves, apart); the longer wave is cropped at its end. Levels are compared as they
are. Scores of synthesis from text, or of conversion with other timing, need other tools.
"""

from __future__ import annotations

from .bootstrap import summarise
from .scores import SCORES, Score, score, select
from .tables import markdown, write_csv, write_json

__all__ = ["score", "summarise", "select", "Score", "SCORES", "markdown", "write_csv", "write_json"]
