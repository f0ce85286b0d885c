"""The page as text: what is in it, and that nothing in a transcript gets out of its place. A browser opens it in
tests/e2e/test_page.py."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

from schemas.config import Config, FetchConfig
from tests.exports.made import HOSTILE, recording, segment
from transforms.errors import RecordingError
from transforms.exports import FORMATS, audio_link
from transforms.exports.audio_link import embedded_audio
from transforms.exports.recording import Recording


class Read(HTMLParser):
    """What a browser would make of it: the words, the texts by tag, and every attribute that opens something."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.words: list[str] = []
        self.texts: dict[str, str] = {}
        self.tags: list[str] = []
        self.attributes: set[str] = set()
        self.opened: list[str] = []
        self._inside: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes |= {name for name, _ in attributes}
        self.opened += [
            value or "" for name, value in attributes if name in ("src", "href", "action", "data", "poster")
        ]
        if tag not in ("meta", "input"):
            self._inside.append(tag)
        if self._inside[-2:] == ["p", "span"] and "section" in self._inside:
            self.words.append("")

    def handle_endtag(self, tag: str) -> None:
        assert self._inside.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._inside:
            self.texts[self._inside[-1]] = self.texts.get(self._inside[-1], "") + data
            if self._inside[-2:] == ["p", "span"] and "section" in self._inside:
                self.words[-1] += data


def read(one: Recording) -> Read:
    return Read(FORMATS["html"].render(one, Config()))


HOSTILE_CALL = recording(
    segment(HOSTILE, speaker='<img src=x onerror="alert(1)">'),
    segment("{{times}} a\u2028b", 9_000, speaker="Ann"),
    uri='/calls/"><script>alert(1)</script>.wav',
    audio_src='x" onerror="alert(1)',
    flags=("low_confidence",),
)


def test_every_word_is_a_span_with_its_times() -> None:
    page = read(recording(segment("One two.", untimed=[1]), segment("three", 1_000)))
    assert page.words == ["One", "two.", "three"]
    times = json.loads(page.texts["script"].partition('"use strict"')[0])
    assert times == [0, 300, 300, 620, 1_000, 1_300]


def test_hostile_text_stays_text() -> None:
    page, harmless = read(HOSTILE_CALL), read(recording(segment("a", speaker="b"), segment("c", 9_000, speaker="d")))
    assert set(page.tags) == set(harmless.tags)
    assert page.attributes == harmless.attributes | {"src", "data-uri"}
    assert page.tags.count("script") == 2
    assert page.words == [*HOSTILE.split(), "{{times}}", "a", "b"] or page.words == [
        *HOSTILE.split(),
        "{{times}}",
        "a b",
    ]
    assert page.texts["h2"] == '<img src=x onerror="alert(1)">Ann'
    assert page.texts["h1"] == "script>.wav"


def test_nothing_but_the_recording_is_opened() -> None:
    page = read(recording(segment("One."), audio_src="../a.wav"))
    assert [address for address in page.opened if not address.startswith("#")] == ["../a.wav"]
    assert not {"link", "img", "iframe", "object"} & set(page.tags)


def test_doubtful_words_are_marked_by_how_sure_the_recognizer_was() -> None:
    text = "".join(
        FORMATS["html"].render(recording(segment("word", confidence=sure)), Config()) for sure in (0.2, 0.6, 0.9, None)
    )
    assert text.count('<span class="d2" title="20% sure">word</span>') == 1
    assert text.count('<span class="d1" title="60% sure">word</span>') == 1
    assert text.count("<span>word</span>") == 2


def test_silence_says_so() -> None:
    page = read(recording(audio_src="a.wav"))
    assert page.words == []
    assert "No speech was found" in page.texts["p"]


@pytest.mark.parametrize(
    ("uri", "folder", "link"),
    [
        ("/calls/a b#1?.wav", "/pages", "../calls/a%20b%231%3F.wav"),
        ("/calls/javascript:alert(1)", "/calls", "javascript%3Aalert%281%29"),
        ("/calls/a.wav", "s3://bucket/pages", "file:///calls/a.wav"),
        ("file:///calls/a%20b.wav", "/calls/pages", "../a%20b.wav"),
        ("https://host/a b.mp3?x=1&y=2", "/pages", "https://host/a%20b.mp3?x=1&y=2"),
        ("s3://bucket/a.wav", "/pages", "s3://bucket/a.wav"),
        (None, "/pages", None),
    ],
)
def test_the_player_finds_the_recording(uri: str | None, folder: str, link: str | None) -> None:
    assert audio_link.audio_link(uri, folder) == link


def test_embedded_audio_is_the_file_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.M4A"
    path.write_bytes(b"audio")
    assert embedded_audio(str(path), FetchConfig()) == "data:audio/mp4;base64,YXVkaW8="
    monkeypatch.setattr(audio_link, "MAX_EMBEDDED_BYTES", 4)
    with pytest.raises(RecordingError, match="too much for a page"):
        embedded_audio(str(path), FetchConfig())
    with pytest.raises(RecordingError, match="does not exist"):
        embedded_audio(str(tmp_path / "none.wav"), FetchConfig())


def test_the_page_travels_in_the_zip(tmp_path: Path) -> None:
    root = Path(__file__).resolve().parents[2]
    archive = tmp_path / "lakescribe.zip"
    subprocess.run([sys.executable, root / "conf/setup/make_zip.py", archive], check=True, capture_output=True)
    script = "from transforms.exports.page import _resource as read; print(*map(len, map(read, ARGS)))"
    script = script.replace("ARGS", "['page.html', 'page.css', 'page.js']")
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "PYTHONPATH": str(archive)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert min(map(int, done.stdout.split())) > 1_000
