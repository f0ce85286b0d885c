"""Recordings for the tests of formats, made of text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from transforms.exports.recording import Recording, Segment, Word
from transforms.text.words import separator

HOSTILE = "He said \"no\" </script><b>&amp; <i>x</i> --> {\\an8} 'q' {{title}} ${x} \\ end"
"""Quotes, tags, and what ends a script, a cue or a template's hole."""


def segment(
    text: str,
    start_ms: int = 0,
    *,
    word_ms: int = 300,
    pause_ms: int = 20,
    speaker: str | None = None,
    channel: int | None = None,
    untimed: Sequence[int] = (),
    language: str | None = "en",
    confidence: float | None = 0.9,
    words: Sequence[str] | None = None,
) -> Segment:
    """`text` said evenly: each word `word_ms`, then `pause_ms`; those in `untimed` have no times."""
    said = text.split() if words is None else words
    step_ms = word_ms + pause_ms
    times = [(start_ms + k * step_ms, start_ms + k * step_ms + word_ms) for k in range(len(said))]
    timed = tuple(Word(word, *((None, None) if k in untimed else times[k]), confidence) for k, word in enumerate(said))
    return Segment(start_ms, times[-1][1], text, language, speaker, channel, confidence, timed)


def recording(*segments: Segment, uri: str | None = "/calls/talk.wav", **changes: Any) -> Recording:
    text = ""
    for one in segments:
        text += separator(text, one.text) + one.text
    values: dict[str, Any] = {
        "audio_id": "a",
        "name": "talk-abc",
        "uri": uri,
        "status": "ok" if segments else "no_speech",
        "text": text or None,
        "language": segments[0].language if segments else None,
        "duration_ms": max((one.end_ms for one in segments), default=3_000) + 500,
        "confidence": 0.9 if segments else None,
        "flags": (),
        "segments": tuple(segments),
    }
    return Recording(**values | changes)


def row(**changes: Any) -> dict[str, Any]:
    """What Spark hands over of a recording of two words, for `from_row`."""
    times = {"start_ms": 0, "end_ms": 400}
    words = [
        {"word_index": k, "word": word, **times, "confidence": 0.5, "segment_index": 0}
        for k, word in enumerate(["Hello,", "world."])
    ]
    one = {"segment_index": 0, **times, "text": "Hello, world.", "language": "en", "speaker": None}
    one |= {"channel": None, "confidence": 0.5}
    values = {"audio_id": "a", "uri": "/a.wav", "status": "ok", "text": "Hello, world.", "language": "en"}
    values |= {"duration_ms": 1000, "confidence": 0.5, "word_count": 2, "flags": None}
    return {**values, "segments": [one], "words": words, **changes}
