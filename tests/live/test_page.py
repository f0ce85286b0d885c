"""The page of jobs.serve in a real Chromium, whose microphone hears a file."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import soundfile
import soxr

from schemas.config import load_config
from tests.kit.browser import chromium, needs_chromium, wait
from tests.kit.lake import EXAMPLES
from tests.live.made import Served, serving

webdriver = pytest.importorskip("selenium.webdriver", reason="needs selenium (conf/requirements-dev.txt)")
pytestmark = needs_chromium
NOTE = EXAMPLES / "telephone_8khz.wav"
SAID = "document.getElementById('said')"
STATUS = "document.getElementById('status').textContent"


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    settings = ["engine.options.model=tiny.en", "aligners=[recognizer]", "language=en"]
    with serving(load_config("local", settings)) as served:
        yield served


@pytest.fixture(scope="module")
def spoken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As Chromium's fake microphone wants it: 16 bits."""
    samples, rate_hz = soundfile.read(NOTE, dtype="float32")
    path = tmp_path_factory.mktemp("spoken") / "note.wav"
    soundfile.write(path, soxr.resample(samples, rate_hz, 48_000), 48_000, subtype="PCM_16")
    return path


@pytest.fixture
def browser(served: Served, spoken: Path, tmp_path: Path) -> Iterator[Any]:
    """On the page; nothing may have gone wrong in it."""
    fake = "use-fake-device-for-media-stream use-fake-ui-for-media-stream use-file-for-fake-audio-capture="
    driver = chromium(*f"{fake}{spoken}%noloop".split(), downloads=tmp_path)
    driver.get(served.url)
    yield driver
    wrong = [entry for entry in driver.get_log("browser") if entry["level"] == "SEVERE"]
    driver.quit()
    assert [entry for entry in wrong if "status of 400" not in entry["message"]] == []  # what a test has sent


def saved(browser: Any, folder: Path, form: str) -> str:
    browser.find_element("css selector", f"[data-save={form}]").click()
    deadline = 200
    while not (found := list(folder.glob(f"*.{form}"))) and deadline:
        wait(browser, "true", 60)
        deadline -= 1
        browser.execute_async_script("setTimeout(arguments[0], 50)")
    return found[0].read_text("utf-8")


def test_words_appear_while_they_are_said_and_are_heard_again_and_saved(browser: Any, tmp_path: Path) -> None:
    browser.find_element("id", "speak").click()
    wait(browser, f"{STATUS}.startsWith('Listening')", 60)
    assert browser.find_element("id", "speak").get_attribute("aria-pressed") == "true"
    wait(browser, f"{SAID}.querySelector('[aria-busy=true]')?.textContent.length > 10", 60)
    wait(browser, f"{SAID}.querySelectorAll('.word').length > 10", 60)
    browser.find_element("id", "speak").click()
    wait(browser, f"{STATUS}.startsWith('Done')", 60)
    text = browser.find_element("id", "said").text
    assert "bike shop" in text.lower()
    assert not browser.find_elements("css selector", "[aria-busy=true]")
    word = browser.find_elements("css selector", ".word")[3]
    word.click()
    wait(browser, f"{SAID}.querySelectorAll('.word.lit').length === 1", 60)
    wait(browser, f"{SAID}.querySelectorAll('.word.lit').length === 0", 60)
    subtitles = saved(browser, tmp_path, "srt")
    assert re.match(r"1\n00:00:\d\d,\d{3} --> 00:00:\d\d,\d{3}\n", subtitles)
    assert saved(browser, tmp_path, "vtt").startswith("WEBVTT\n")
    document = json.loads(saved(browser, tmp_path, "json"))
    assert document["utterances"][0]["words"][0]["confidence"] > 0
    assert document["text"].split()[0] in subtitles


def test_a_recording_is_read_and_its_words_play_it(browser: Any, tmp_path: Path) -> None:
    browser.find_element("id", "file").send_keys(str(EXAMPLES / "voice_memo.m4a"))
    wait(browser, f"{STATUS}.startsWith('Done')", 60)
    text = browser.find_element("id", "said").text
    assert "two brushes" in text
    words = browser.find_elements("css selector", ".word")
    assert len(words) > 30 and all(word.get_attribute("title") for word in words[:5])
    assert "voice_memo" in str(saved(browser, tmp_path, "srt") and next(tmp_path.glob("*.srt")))
    words[5].click()
    assert "lit" in words[5].get_attribute("class")


def test_what_cannot_be_read_is_told_and_the_keyboard_reaches_all(browser: Any, tmp_path: Path) -> None:
    notes = tmp_path / "notes.mp3"
    notes.write_text("This is no recording.")
    browser.find_element("id", "file").send_keys(str(notes))
    wait(browser, "document.getElementById('status').classList.contains('wrong')", 60)
    assert "notes.mp3" in browser.find_element("id", "status").text
    browser.execute_script("document.activeElement.blur()")
    reached = []
    for _ in range(5):
        webdriver.ActionChains(browser).send_keys("\ue004").perform()
        reached.append(browser.execute_script("return document.activeElement.id || document.activeElement.className"))
    assert reached[:4] == ["skip", "speak", "file", "language"]
    assert browser.find_element("id", "said").get_attribute("aria-live") == "polite"
