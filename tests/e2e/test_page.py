"""The page of jobs.export in a real browser, from file://, as somebody reads it: with the mouse, with the keyboard, with
a screen reader's eyes, and long."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from schemas.config import Config, FetchConfig
from tests.exports.made import HOSTILE, recording, segment
from tests.kit.browser import chromium, needs_chromium, wait
from transforms.exports import FORMATS
from transforms.exports.audio_link import audio_link, embedded_audio
from transforms.exports.recording import Segment

webdriver = pytest.importorskip("selenium.webdriver", reason="needs selenium (conf/requirements-dev.txt)")
pytestmark = needs_chromium
SEGMENTS = (
    segment("Note to self. Pick up the blue paint.", 1_000, word_ms=400, speaker="Ann"),
    segment("Two brushes, and a Café table.", 8_000, word_ms=400, speaker="Ben"),
)
SPANS = "[...document.querySelectorAll('.said p > span')]"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    driver = chromium()
    yield driver
    driver.quit()


@pytest.fixture
def opened(browser: Any, examples: Path, tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """Opens a page of the given segments, its audio a relative link; afterwards nothing may have gone wrong in it."""

    def open_page(*segments: Segment, name: str = "meeting_note.flac", **changes: Any) -> Any:
        audio = tmp_path / 'a "b" #1' / name
        audio.parent.mkdir()
        shutil.copy(examples / name, audio)
        made = {"uri": str(audio), "audio_src": audio_link(str(audio), str(tmp_path)), "duration_ms": 19_352}
        page = tmp_path / "page.html"
        page.write_text(FORMATS["html"].render(recording(*segments, **made | changes), Config()), encoding="utf-8")
        browser.get(page.as_uri())
        return browser

    yield open_page
    assert [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"] == []


def press(browser: Any, *keys: str) -> None:
    webdriver.ActionChains(browser).send_keys(*keys).perform()


def test_a_click_on_a_word_plays_it_and_the_words_light_up_as_they_are_said(opened: Callable[..., Any]) -> None:
    browser = opened(*SEGMENTS)
    wait(browser, "player.readyState >= 2")
    browser.execute_script(f"{SPANS}[5].click()")
    wait(browser, f"!player.paused && {SPANS}[5].classList.contains('lit')")
    assert 2.5 < browser.execute_script("return player.currentTime") < 4.5
    wait(browser, f"{SPANS}[7].classList.contains('lit') && !{SPANS}[5].classList.contains('lit')")
    wait(browser, "player.currentTime > 4.5")
    assert browser.execute_script("return document.querySelectorAll('.lit').length") == 0
    browser.execute_script("document.querySelectorAll('.time')[1].click()")
    wait(browser, f"{SPANS}[8].classList.contains('lit')")
    assert browser.execute_script("return location.hash") == "#t=8.00"


def test_the_keyboard_is_enough(opened: Callable[..., Any]) -> None:
    keys = webdriver.Keys
    browser = opened(*SEGMENTS)
    wait(browser, "player.readyState >= 2")
    browser.execute_script("document.querySelector('.time').focus()")
    focused = "document.activeElement.textContent"
    press(browser, keys.TAB)
    assert browser.execute_script(f"return {focused}") == "Note"
    press(browser, keys.ARROW_RIGHT, keys.ARROW_RIGHT, keys.ARROW_LEFT)
    assert browser.execute_script(f"return {focused}") == "to"
    press(browser, keys.ARROW_DOWN)
    assert browser.execute_script(f"return {focused}") in ("brushes,", "Two")
    press(browser, keys.HOME, keys.ARROW_RIGHT, keys.ENTER)
    wait(browser, f"!player.paused && {SPANS}[9].classList.contains('lit')")
    press(browser, keys.SPACE)
    wait(browser, "player.paused")
    press(browser, keys.SPACE)
    wait(browser, "!player.paused")
    press(browser, "/", "blue")
    wait(browser, "document.getElementById('found').textContent === '1 of 1'")
    press(browser, keys.ESCAPE)
    assert browser.execute_script(f"return {focused}") == "blue"
    assert browser.execute_script("return document.querySelectorAll('.hit').length") == 0


def test_search_finds_phrases_without_regard_to_case_and_accents(opened: Callable[..., Any]) -> None:
    browser = opened(*SEGMENTS, segment("The cafe again.", 14_000, speaker="Ann"))
    field = browser.find_element("id", "search")
    field.send_keys("CAFE")
    wait(browser, "document.getElementById('found').textContent === '1 of 2'")
    assert browser.execute_script("return [...document.querySelectorAll('.hit')].map(w => w.textContent)") == [
        "Café",
        "cafe",
    ]
    field.send_keys(webdriver.Keys.ENTER)
    assert browser.execute_script("return document.querySelector('.hit.now').textContent") == "cafe"
    field.clear()
    field.send_keys("up the bl")
    wait(browser, "document.getElementById('found').textContent === '1 of 1'")
    assert browser.execute_script(
        "return [...document.querySelectorAll('.hit')].map(w => w.textContent).join(' ')"
    ) == ("up the blue")
    field.send_keys("x")
    wait(browser, "document.getElementById('found').textContent === 'none'")


def test_hostile_text_is_shown_as_it_is_and_nothing_of_it_runs(opened: Callable[..., Any]) -> None:
    browser = opened(
        segment(HOSTILE, speaker='<img src=x onerror="document.title=1">'),
        segment("<script>document.title=1</script>", 9_000, speaker="</section></main>"),
        language='en" onfocus="document.title=1',
        flags=("<b>",),
    )
    shown = browser.execute_script(f"return {SPANS}.map(w => w.textContent).join(' ')")
    assert shown == f"{HOSTILE} <script>document.title=1</script>"
    assert browser.title == "meeting_note.flac"
    assert browser.execute_script("return document.images.length") == 0
    wait(browser, "player.readyState >= 2")


def test_it_opens_nothing_but_the_recording_and_an_embedded_one_needs_no_file(
    opened: Callable[..., Any], examples: Path
) -> None:
    audio = str(examples / "meeting_note.flac")
    browser = opened(*SEGMENTS, audio_src=embedded_audio(audio, FetchConfig()))
    wait(browser, "player.readyState >= 2")
    resources = browser.execute_script("return performance.getEntriesByType('resource').map(r => r.name.slice(0, 5))")
    assert set(resources) <= {"data:"}
    assert browser.execute_script("return Math.round(player.duration)") == 19


def test_a_recording_that_is_not_there_is_told(browser: Any, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    gone = recording(*SEGMENTS, uri="/gone/away.wav", audio_src="away.wav")
    page.write_text(FORMATS["html"].render(gone, Config()), encoding="utf-8")
    browser.get(page.as_uri())
    wait(browser, "!trouble.hidden")
    assert "cannot be played from here: /gone/away.wav" in browser.find_element("id", "trouble").text
    browser.get_log("browser")


def test_everything_that_can_be_used_has_a_name_for_a_screen_reader(opened: Callable[..., Any]) -> None:
    browser = opened(*SEGMENTS)
    nodes = [
        (node["role"]["value"], node.get("name", {}).get("value", ""))
        for node in browser.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
        if not node["ignored"]
    ]
    roles = {role for role, _ in nodes}
    assert {"main", "heading", "search", "searchbox", "combobox", "checkbox", "link", "button"} <= roles
    used = {"searchbox", "combobox", "checkbox", "link", "button", "main", "Audio"}
    assert [node for node in nodes if node[0] in used and not node[1]] == []
    assert [name for role, name in nodes if role == "heading"] == ["meeting_note.flac", "Ann", "Ben"]
    assert ("button", "Note, 0:01") in nodes
    # Only the word that Tab reaches is a button: the others read as text.
    assert sum(role == "button" and name.endswith(":01") for role, name in nodes) == 1


def test_reduced_motion_is_respected(opened: Callable[..., Any]) -> None:
    browser = opened(*SEGMENTS)
    durations = f"return getComputedStyle({SPANS}[0]).transitionDuration"
    assert browser.execute_script(durations) != "0s"
    reduce = {"features": [{"name": "prefers-reduced-motion", "value": "reduce"}]}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", reduce)
    try:
        assert browser.execute_script(durations) == "0s"
        assert browser.execute_script("return calm.matches") is True
    finally:
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


def test_text_and_marks_have_contrast_in_light_and_dark(opened: Callable[..., Any]) -> None:
    """4.5 to 1 (WCAG 2.2, level AA) for every text colour on every ground it may have."""
    browser = opened(*SEGMENTS)
    read = "return Object.fromEntries(arguments[0].map(n => [n, getComputedStyle(document.body).getPropertyValue(n)]))"
    grounds = ("--paper", "--raised")
    inks = ("--ink", "--quiet", "--doubt", *(f"--s{k}" for k in range(6)))
    for scheme in ("light", "dark"):
        emulated = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", emulated)
        colours = browser.execute_script(read, [*grounds, *inks, "--lit", "--hit", "--hit-now"])
        pairs = [(ink, ground) for ink in inks for ground in grounds]
        pairs += [("--ink", mark) for mark in ("--lit", "--hit", "--hit-now")]
        low = {pair: ratio for pair in pairs if (ratio := contrast(*(colours[name] for name in pair))) < 4.5}
        assert not low, scheme
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


def contrast(one: str, other: str) -> float:
    """WCAG's contrast ratio of two colours as '#rrggbb'."""
    light, dark = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def _luminance(colour: str) -> float:
    channels = [int(colour.strip()[k : k + 2], 16) / 255 for k in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_no_width_makes_it_scroll_sideways(opened: Callable[..., Any]) -> None:
    browser = opened(segment("a" * 120 + " and more.", 0, speaker="long" * 40), *SEGMENTS)
    for width in (320, 390, 800):
        browser.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": width, "height": 700, "deviceScaleFactor": 1, "mobile": False},
        )
        assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_twenty_thousand_words_stay_quick(opened: Callable[..., Any]) -> None:
    browser = opened(
        *(segment("So many words are said in a long meeting.", k * 9_000, word_ms=900) for k in range(2_223))
    )
    assert browser.execute_script(f"return {SPANS}.length") > 20_000
    light_ms = browser.execute_script(
        "const t = performance.now(); for (let k = 0; k < 100; k++) light(); return (performance.now() - t) / 100"
    )
    search_ms = browser.execute_script(
        "search.value = 'long meeting'; const t = performance.now(); look(); return performance.now() - t"
    )
    assert browser.execute_script("return matches.length") == 2_223
    # A frame has 16 ms; machines of CI are slow and busy.
    assert light_ms < 8
    assert search_ms < 2_000
