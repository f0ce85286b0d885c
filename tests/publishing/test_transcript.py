from __future__ import annotations

import datetime
from collections import defaultdict
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.config import SegmentsConfig
from schemas.tables import CHUNKS, to_batch
from tests.kit.texts import LANGUAGES, TEXTS
from transforms.publishing.transcript import assemble
from transforms.text.tokens import WordTime
from transforms.text.words import settle_times, split_words

_NOW = datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC)
_CONFIG = SegmentsConfig(max_chars=30, max_ms=2500, max_pause_ms=600)


def _rows(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """As they come out of the table: all columns, in the table's types."""
    return to_batch(rows, CHUNKS.arrow).to_pylist(maps_as_pydicts="lossy")


def _chunk(index: int, start_ms: int, text: str | None, **changes: Any) -> dict[str, Any]:
    """A chunk of 4 s, its words timed one after the other unless `times` says otherwise."""
    language, end_ms = changes.pop("language", "en"), start_ms + changes.pop("length_ms", 4000)
    spans = split_words(text or "", language)
    times = changes.pop("times", [WordTime(k * 100, k * 100 + 90) for k in range(len(spans))])
    words = [
        {
            "word": (text or "")[span.char_start : span.char_end],
            "start_ms": time and start_ms + time.start_ms,
            "end_ms": time and start_ms + time.end_ms,
            "estimated": time and time.estimated,
            "confidence": 0.8,
            "char_start": span.char_start,
            "char_end": span.char_end,
        }
        for span, time in zip(spans, settle_times(times, end_ms - start_ms), strict=True)
    ]
    row = {"audio_id": "a", "run_key": "r", "part_index": 0, "run_id": "1", "created_at": _NOW, "flags": []}
    row |= {"chunk_index": index, "start_ms": start_ms, "end_ms": end_ms, "text": text, "words": words}
    return row | {"language": language, "language_source": "detected", "aligner": "sphinx"} | changes


def _closing(
    part_index: int = 0, run_id: str = "1", error: dict[str, Any] | None = None, **closing: Any
) -> dict[str, Any]:
    values = {"uri": "u", "metadata": [("k", "v")], "source_key": "s", "duration_ms": 60_000, "speech_ms": 3000}
    values |= {"chunk_count": 1, "continues": False, "flags": [], "engine": "e", "model": "m"} | closing
    row = {"audio_id": "a", "run_key": "r", "part_index": part_index, "run_id": run_id, "created_at": _NOW}
    return row | {"chunk_index": -1, "error": error, "closing": values}


def _assembled(*rows: dict[str, Any]) -> dict[str, Any]:
    return assemble(_rows(list(rows)), _CONFIG, "take")


@st.composite
def _recordings(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Chunks of one or two channels, in any order, of all scripts, some of their words without a time."""
    rows = []
    for channel in draw(st.sampled_from([[None], [0, 1]])):
        at_ms = 0
        for index in range(draw(st.integers(0, 4))):
            at_ms += draw(st.integers(0, 3000))
            text, language = draw(TEXTS), draw(LANGUAGES)
            count = len(split_words(text, language))
            length = draw(st.integers(1, 4000))
            starts = sorted(draw(st.lists(st.integers(0, length), min_size=count, max_size=count)))
            times = [
                None if draw(st.integers(0, 3)) == 0 else WordTime(start, start + draw(st.integers(0, 500)))
                for start in starts
            ]
            changes = {"channel": channel, "language": language, "times": times, "length_ms": length}
            rows.append(_chunk(index, at_ms, text or None, **changes))
            at_ms += length
    return [*draw(st.permutations(rows)), _closing()]


@given(_recordings())
def test_every_word_stands_in_the_text_where_it_says(rows: list[dict[str, Any]]) -> None:
    found = _assembled(*rows)
    text, words = found["text"] or "", found["words"]
    assert all(text[word["char_start"] : word["char_end"]] == word["word"] for word in words)
    assert all(before["char_end"] <= after["char_start"] for before, after in pairwise(words))
    assert [word["word_index"] for word in words] == list(range(len(words)))


@given(_recordings())
def test_no_word_is_dropped_repeated_or_moved_within_its_channel(rows: list[dict[str, Any]]) -> None:
    found = _assembled(*rows)
    by_channel: dict[int | None, list[tuple[Any, ...]]] = defaultdict(list)
    for word in found["words"]:
        by_channel[word["channel"]].append((word["word"], word["start_ms"], word["end_ms"]))
    for channel in {row.get("channel") for row in rows}:
        own = sorted(
            (row for row in rows if row["chunk_index"] >= 0 and row.get("channel") == channel),
            key=lambda r: r["start_ms"],
        )
        assert by_channel[channel] == [(w["word"], w["start_ms"], w["end_ms"]) for row in own for w in row["words"]]
    for spoken in by_channel.values():
        timed = [(start, end) for _, start, end in spoken if start is not None]
        assert all(start < end for start, end in timed)
        assert all(before[1] <= after[0] for before, after in pairwise(timed))


@given(_recordings())
def test_segments_hold_their_words_and_read_as_the_text_does(rows: list[dict[str, Any]]) -> None:
    found = _assembled(*rows)
    at = 0
    for index, segment in enumerate(found["segments"]):
        words = [word for word in found["words"] if word["segment_index"] == index]
        assert words
        assert {(word["channel"], word["speaker"]) for word in words} == {(segment["channel"], segment["speaker"])}
        at = found["text"].index(segment["text"], at)
        assert at <= words[0]["char_start"]
        at += len(segment["text"])
        assert words[-1]["char_end"] <= at
        assert segment["start_ms"] <= segment["end_ms"]
        times = [time for word in words for time in (word["start_ms"], word["end_ms"]) if time is not None]
        assert all(segment["start_ms"] <= time <= segment["end_ms"] for time in times)
    assert [s["segment_index"] for s in found["segments"]] == list(range(len(found["segments"])))
    assert all(a["start_ms"] <= b["start_ms"] for a, b in pairwise(found["segments"]))
    assert {word["segment_index"] for word in found["words"]} == set(range(len(found["segments"])))


def test_a_word_without_a_time_keeps_its_place() -> None:
    """It stands between the words around it, and not at the start of its chunk."""
    times = [WordTime(1000, 1300), WordTime(1300, 1900, True), None, WordTime(2500, 2900)]
    found = _assembled(_chunk(0, 10_000, "First one. Second two.", times=times), _closing())
    assert found["text"] == "First one. Second two."
    assert [(s["text"], s["start_ms"], s["end_ms"]) for s in found["segments"]] == [
        ("First one.", 11_000, 11_900),
        ("Second two.", 11_900, 12_900),
    ]
    assert [word["estimated"] for word in found["words"]] == [False, True, None, False]


def test_two_channels_read_as_a_dialogue() -> None:
    times = [WordTime(0, 300), WordTime(300, 600), WordTime(600, 900), WordTime(3000, 3500)]
    found = _assembled(
        _chunk(0, 0, "How are you? Good.", channel=0, times=times),
        _chunk(0, 1000, "Fine, thanks.", channel=1),
        _closing(),
    )
    assert found["text"] == "How are you?\nFine, thanks.\nGood."
    assert found["folded_text"] == " how are you good \n fine thanks "
    assert [s["speaker"] for s in found["segments"]] == ["channel-0", "channel-1", "channel-0"]
    assert [w["channel"] for w in found["words"]] == [0, 0, 0, 1, 1, 0]


def test_chunks_are_joined_as_their_script_is_written() -> None:
    chinese = {"language": "zh"}
    found = _assembled(
        _chunk(0, 0, "你好", **chinese), _chunk(1, 5000, "世界", **chinese), _chunk(2, 9000, "ok"), _closing()
    )
    assert found["text"] == "你好世界 ok"
    assert (found["language"], found["word_count"]) == ("zh", 5)


def test_of_a_part_that_was_made_twice_the_latest_run_counts() -> None:
    rows = [
        _chunk(0, 0, "old"),
        _chunk(0, 9000, "old too", part_index=1),
        _closing(0, continues=True),
        _closing(1),
        _chunk(0, 0, "new", run_id="2"),
        _closing(0, "2", continues=True, duration_ms=70_000),
    ]
    found = _assembled(*rows)
    assert found["text"] == "new old too"
    assert (found["run_id"], found["duration_ms"], found["speech_ms"]) == ("2", 70_000, 6000)


_LOST = {"stage": "recognize", "kind": "ValueError", "message": "listen to it", "transient": False}


def test_a_chunk_that_failed_leaves_the_others_and_a_flag() -> None:
    found = _assembled(
        _chunk(0, 0, "good words", flags=["low_confidence"]),
        _chunk(1, 5000, None, channel=1, error=_LOST, flags=["incomplete"]),
        _closing(flags=["damaged"]),
    )
    assert (found["status"], found["text"]) == ("ok", "good words")
    assert found["flags"] == ["damaged", "incomplete", "low_confidence"]
    (failure,) = found["failures"]
    assert {name: failure[name] for name in (*_LOST, "chunk_index", "channel", "attempts", "uri")} == {
        **_LOST,
        "chunk_index": 1,
        "channel": 1,
        "attempts": 1,
        "uri": "u",
    }


def test_a_chunk_that_no_aligner_could_time_has_its_words_and_a_failure() -> None:
    untimed = {"stage": "align", "kind": "KeyError", "message": "report it", "transient": False}
    found = _assembled(_chunk(0, 0, "good words", error=untimed, flags=["unaligned"]), _closing())
    assert (found["status"], found["text"], found["flags"]) == ("ok", "good words", ["unaligned"])
    assert [word["word"] for word in found["words"]] == ["good", "words"]
    assert [failure["stage"] for failure in found["failures"]] == ["align"]


def test_a_recording_that_failed_has_no_text_and_says_why() -> None:
    found = _assembled(_closing(error=_LOST, duration_ms=None, speech_ms=None, flags=[]))
    assert (found["status"], found["text"], found["word_count"], found["duration_ms"]) == ("failed", None, None, None)
    assert found["failures"][0]["chunk_index"] is None
    assert (found["segments"], found["words"], found["folded_text"]) == ([], [], None)


@pytest.mark.parametrize("chunks", [[], [_chunk(0, 0, None)], [_chunk(0, 0, "...")]])
def test_nothing_said_is_no_speech(chunks: list[dict[str, Any]]) -> None:
    found = _assembled(*chunks, _closing())
    assert (found["status"], found["text"], found["word_count"], found["confidence"]) == ("no_speech", None, 0, None)
    assert found["flags"] == (["no_speech"] if chunks else [])


def test_what_is_known_of_a_recording_is_kept() -> None:
    found = _assembled(
        _chunk(0, 0, "one two three"), _chunk(1, 5000, "zwei", language="de", aligner="recognizer"), _closing()
    )
    assert (found["uri"], found["source_key"], found["metadata"], found["engine"]) == ("u", "s", {"k": "v"}, "e")
    assert (found["language"], found["language_source"], found["aligner"]) == ("en", "detected", "sphinx,recognizer")
    assert (found["transcribed_at"], found["confidence"]) == (_NOW, pytest.approx(0.8))
