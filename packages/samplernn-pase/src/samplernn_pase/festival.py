"""English text -> HTS full-context labels by Festival, where it is installed: parts of speech, accents, and durations.

Debian and Ubuntu: apt install festival festlex-cmu festlex-poslex festvox-us-slt-hts (6 MB). The times are those that
its HTS voice would take. A separate program: Festival is started, told the text as data, and writes the labels.
"""

from __future__ import annotations

import shutil
import subprocess

from .hts_label import Phone, parse
from .reading import plain

PACKAGES = "festival festlex-cmu festlex-poslex festvox-us-slt-hts"
SECONDS = 60.0  # after which Festival has hung
_SCRIPT = """
(voice_cmu_us_slt_arctic_hts)
(set! utterance (eval (list 'Utterance 'Text (quote {text}))))
(utt.synth utterance)
(mapcar (lambda (line) (format t "%s" line)) (hts_dump_feats_string_list utterance hts_feats_list))
"""


def is_installed() -> bool:
    """Whether there is a program of that name; not whether its voice is there."""
    return shutil.which("festival") is not None


def transcribe(text: str) -> list[Phone]:
    """Labels of a sentence with the times of Festival's voice.

    Raises ValueError, naming the packages, where Festival or its voice is missing, and for a text it cannot say.
    """
    program = shutil.which("festival")
    if program is None:
        raise ValueError(f"Festival is not installed; on Debian and Ubuntu: apt install {PACKAGES}")
    if not any(letter.isalnum() for letter in plain(text)):
        raise ValueError(f"the text {text[:60]!r} has no word to say; expected English text")
    script = _SCRIPT.format(text=_quoted(plain(text)))
    try:
        done = subprocess.run(
            [program, "--pipe"], input=script, capture_output=True, text=True, timeout=SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        raise ValueError(
            f"Festival did not answer within {SECONDS:g} seconds; say the text in shorter pieces"
        ) from None
    lines = [line for line in done.stdout.splitlines() if "/A:" in line]
    if not lines:
        told = " ".join((done.stderr or done.stdout).split())[-200:]
        raise ValueError(f"Festival made no labels ({told}); it needs its US voice: apt install {PACKAGES}")
    return parse(lines, "Festival")


def _quoted(text: str) -> str:
    """A string of Festival's Scheme."""
    return '"' + text.replace("\\", " ").replace('"', " ") + '"'
