"""The listening page: its files, its words, and itself in a real Chromium, on a desk and on a phone."""

from __future__ import annotations

import csv
import re
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import torch

from vocoder_core import mulaw
from vocoder_core.audio import load
from vocoder_core.mel_presets import PRESETS
from vocoder_core.metrics import score
from vocoder_core.report import Clip, write_page

sys.path.append(str(Path(__file__).parent))
from headless_browser import Browser, chromium

RATE = 16_000
HOSTILE = '<script>alert("1")</script> & "Ёлка"'


@pytest.fixture(scope="module")
def clips(shared_audio: Path) -> list[Clip]:
    """Two sentences, two seconds each, through 6 and 8 bits of mu-law."""
    made = []
    for name, path in (("austen 0880", "austen/austen_64kb-0880"), (HOSTILE, "slt/arctic_a0009")):
        wav = load(shared_audio / f"{path}.flac", RATE)[0][: 2 * RATE]
        coarse = {
            f"{bits} bits": mulaw.decode(mulaw.encode(torch.from_numpy(wav), bits), bits).numpy()[:-100]
            for bits in (6, 8)
        }
        made.append(Clip(name, wav, coarse, text=f"said: {HOSTILE}", note="Speaker never heard in training."))
    return made


@pytest.fixture(scope="module")
def page(clips: list[Clip], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_page(
        tmp_path_factory.mktemp("listening page"), clips, RATE, title="Copies & originals", metrics=["core"],
        mel=PRESETS["asr16"], captions={"6 bits": "Coarse."}, intro=["Mel in, sound out."],
    )  # fmt: skip


class Elements(HTMLParser):
    """Every element's name and attributes, and every piece of visible text."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attributes)))

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.found if name == tag]


def test_the_folder_is_complete_and_refers_to_nothing_outside(page: Path) -> None:
    elements = Elements(page)
    references = [
        str(attributes[key]) for _, attributes in elements.found for key in ("src", "href") if key in attributes
    ]
    assert len(references) > 16
    for reference in references:
        assert (page.parent / reference).is_file(), reference
        assert not reference.startswith(("/", "..", "http"))
    text = page.read_text(encoding="utf-8")
    assert not re.search(r"https?://|url\(|@import", text)
    assert not elements.all("link")


def test_names_and_texts_are_shown_and_never_run(page: Path) -> None:
    elements = Elements(page)
    assert len(elements.all("script")) == 1
    assert HOSTILE in elements.texts
    assert f"said: {HOSTILE}" in elements.texts
    assert "Coarse." in elements.texts


def test_recording_systems_and_baselines_stand_in_order_with_their_scores(page: Path, clips: list[Clip]) -> None:
    systems = [str(lane["data-system"]) for lane in Elements(page).all("div") if lane.get("class") == "lane"]
    assert systems[:4] == ["Recording", "6 bits", "8 bits", "Griffin-Lim"]
    assert systems[: len(systems) // 2] == systems[len(systems) // 2 :]
    rows = list(csv.DictReader((page.parent / "scores.csv").open(encoding="utf-8")))
    assert rows[0]["system"] == "6 bits"
    expected = score(clips[0].recording, clips[0].systems["6 bits"], RATE, ["mcd"])["mcd"]
    assert float(rows[0]["mcd"]) == pytest.approx(expected, rel=1e-6)


def test_sound_files_hold_the_waves_that_were_given(page: Path, clips: list[Clip]) -> None:
    sources = [str(audio["src"]) for audio in Elements(page).all("audio")]
    for source, wav in zip(sources, (clips[0].recording, *clips[0].systems.values())):
        stored, rate = load(page.parent / source)
        assert rate == RATE
        np.testing.assert_allclose(stored, wav, atol=1 / 32768)


def test_every_player_picture_and_control_has_a_name(page: Path) -> None:
    elements = Elements(page)
    assert all(image["alt"] for image in elements.all("img"))
    assert all(audio["aria-label"] and "controls" in audio for audio in elements.all("audio"))
    assert all(control["aria-label"] for control in elements.all("input"))
    assert elements.all("html")[0]["lang"] == "en"


def test_what_makes_no_page_is_refused(clips: list[Clip], tmp_path: Path) -> None:
    wav = clips[0].recording
    with pytest.raises(ValueError, match="at least one clip"):
        write_page(tmp_path, [], RATE)
    with pytest.raises(ValueError, match="two clips are named 'austen 0880'"):
        write_page(tmp_path, [clips[0], clips[0]], RATE)
    with pytest.raises(ValueError, match="mel.sample_rate is 22050"):
        write_page(tmp_path, clips, RATE, mel=PRESETS["hifi22"])
    with pytest.raises(ValueError, match="clip 'a', system 'short': .* more than 10 % apart"):
        write_page(tmp_path, [Clip("a", wav, {"short": wav[:RATE]})], RATE, world=False, metrics=["lsd"])
    assert not (tmp_path / "index.html").exists()


def test_a_page_without_scores_and_baselines_is_written(clips: list[Clip], tmp_path: Path) -> None:
    page = write_page(tmp_path, clips[:1], RATE, world=False, metrics=[])
    assert len(Elements(page).all("audio")) == 3
    assert "Where intervals overlap" not in page.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def browser() -> Browser:
    if chromium() is None:
        pytest.skip("no Chromium found: apt-get install chromium")
    with Browser() as window:
        yield window


PLAYERS = "[...document.querySelectorAll('audio')]"


def test_in_chromium_every_player_loads_and_every_picture_is_there(
    browser: Browser, page: Path, tmp_path: Path
) -> None:
    browser.window(1280, 900)
    browser.open(page)
    browser.wait(f"{PLAYERS}.every(player => player.readyState > 0)")
    seconds = browser.value(f"{PLAYERS}.map(player => player.duration)")
    assert len(seconds) >= 8
    assert seconds == pytest.approx([2.0] * len(seconds), abs=0.01)
    widths = browser.value("[...document.images].map(image => image.naturalWidth)")
    assert len(widths) == len(seconds)
    assert min(widths) > 100
    assert not browser.errors
    browser.screenshot(tmp_path / "page.png")
    assert colours(tmp_path / "page.png") > 200, "the screenshot is blank"


def test_in_chromium_keys_change_the_track_and_keep_the_position(browser: Browser, page: Path) -> None:
    browser.window(1280, 900)
    browser.open(page)
    browser.wait(f"{PLAYERS}.every(player => player.readyState > 0)")
    browser.value(f"{PLAYERS}.forEach(player => {{ player.playbackRate = 0.25 }})")  # so that a slow machine keeps up
    browser.press("2")
    browser.press(" ")
    browser.wait(f"{PLAYERS}[1].currentTime > 0.1")
    browser.press("3")
    assert browser.value(f"{PLAYERS}.map(player => player.paused).indexOf(false)") == 2
    before, after = browser.value(f"{PLAYERS}.map(player => player.currentTime)")[1:3]
    assert 0.1 < after and before - 0.05 < after < before + 1
    assert browser.value("document.querySelector('.lane.current').dataset.system") == "8 bits"
    browser.press(" ")
    assert browser.value(f"{PLAYERS}.every(player => player.paused)")
    browser.press("ArrowLeft")
    assert browser.value(f"{PLAYERS}[2].currentTime") == 0
    browser.press("n")
    assert (
        browser.value("[...document.querySelectorAll('.clip')].indexOf(document.querySelector('.clip.current'))") == 1
    )
    assert not browser.errors


def test_in_chromium_the_blind_test_hides_names_and_gives_them_back(browser: Browser, page: Path) -> None:
    names = "[...document.querySelector('.clip').querySelectorAll('.name')].map(name => name.textContent)"
    browser.window(1280, 900)
    browser.open(page)
    before = browser.value(names)
    browser.press("b")
    assert browser.value(names) == [f"Track {letter}" for letter in "ABCDE"[: len(before)]]
    hidden = "[...document.querySelectorAll('.secret, .view')].every(part => part.offsetParent === null)"
    assert browser.value(hidden)
    browser.press("b")
    assert browser.value(names) == before
    assert not browser.errors


def test_in_chromium_a_phone_shows_it_without_scrolling_sideways(browser: Browser, page: Path, tmp_path: Path) -> None:
    browser.window(390, 844, phone=True, dark=True)
    browser.open(page)
    assert browser.value("document.documentElement.scrollWidth") == 390
    assert browser.value("getComputedStyle(document.body).backgroundColor") == "rgb(19, 17, 23)"
    small = "[...document.querySelectorAll('.pick, .bar button')].filter(button => button.offsetHeight < 30).length"
    assert browser.value(small) == 0, "buttons too small for a finger"
    browser.value("document.querySelectorAll('.pick')[1].click()")
    browser.wait(f"!{PLAYERS}[1].paused")


def colours(path: Path) -> int:
    """Different colours in a PNG."""
    from matplotlib.image import imread

    pixels = (imread(path)[..., :3] * 255).astype(int)
    return len(np.unique(pixels @ [65536, 256, 1]))
