"""Rows of chunks → answers in the shapes of OpenAI's API. Times are in seconds there; what is not known is null."""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, Protocol

import langcodes

from schemas.config import Config
from schemas.tables import CHUNKS, to_batch
from transforms.exports import FORMATS
from transforms.exports.recording import UNKNOWN_SPEAKER, Recording, from_row
from transforms.exports.whisper_json import as_dict
from transforms.live.asked import SUBTITLES, Asked
from transforms.publishing.transcript import assemble
from transforms.text.clock import seconds
from transforms.text.words import separator

Row = dict[str, Any]
_TAKE = "live"


def transcript(rows: Sequence[Row], config: Config) -> Row:
    """A row of the table recordings with its segments, words and failures, of all rows of one recording."""
    return assemble(to_batch(rows, CHUNKS.arrow).to_pylist(), config.segments, _TAKE)


def answer(row: Row, asked: Asked, name: str) -> Row | str:
    """What is sent: an object, or a text for text, srt and vtt. `name` is what the recording was sent as."""
    recording = from_row({**row, "uri": name})
    if asked.form == "text":
        return (recording.text or "") + "\n"
    if asked.form in SUBTITLES:
        return FORMATS[asked.form].render(recording, asked.config)
    body: Row = {"text": recording.text or ""}
    if asked.form == "diarized_json":
        body |= {"task": "transcribe", "duration": seconds(recording.duration_ms), "segments": speakers(recording)}
    if asked.form == "verbose_json":
        body |= _verbose(row, recording, asked)
    body |= {name: FORMATS[name].render(recording, asked.config) for name in asked.subtitles}
    if asked.logprobs:
        body["logprobs"] = [logprob(word.word, word.confidence) for part in recording.segments for word in part.words]
    return {**body, "usage": usage(recording)}


def usage(recording: Recording) -> Row:
    return {"type": "duration", "seconds": math.ceil((recording.duration_ms or 0) / 1000)}


def speakers(recording: Recording) -> list[Row]:
    return [
        {
            "type": "transcript.text.segment",
            "id": f"seg_{index:03d}",
            "start": seconds(segment.start_ms),
            "end": seconds(segment.end_ms),
            "text": segment.text,
            "speaker": segment.speaker or UNKNOWN_SPEAKER,
        }
        for index, segment in enumerate(recording.segments)
    ]


def _verbose(row: Row, recording: Recording, asked: Asked) -> Row:
    document, language = as_dict(recording), recording.language
    body: Row = {
        "task": "transcribe",
        "language": None if language is None else langcodes.get(language).display_name().lower(),
        "duration": document["duration"],
        "confidence": recording.confidence,
        "flags": document["flags"],
        "model": row["model"],
    }
    if asked.words:
        body["words"] = document["words"]
    if asked.segments:
        body["segments"] = [
            {
                **segment,
                "seek": int(segment["start"] * 100),
                "tokens": [],
                "temperature": 0.0,
                "avg_logprob": _log(segment["confidence"]),
                "compression_ratio": len(data := segment["text"].encode()) / len(zlib.compress(data)),
                "no_speech_prob": None,
            }
            for segment in document["segments"]
        ]
    return body


def logprob(word: str, confidence: float | None) -> Row:
    """A word stands for its tokens, with the logarithm of its confidence."""
    return {"token": word, "logprob": _log(confidence), "bytes": list(word.encode())}


def _log(confidence: float | None) -> float | None:
    return None if confidence is None else math.log(max(confidence, 1e-10))


class Told(NamedTuple):
    """A stretch of text that is told at once, and the words in it."""

    text: str
    words: list[Row]
    language: str | None


class Said:
    """What can be told of a recording's text while it is at work: chunks come as they are done, and are told in their
    order. Of several channels nothing can, since their turns mix."""

    def __init__(self) -> None:
        self.text = ""
        self._waiting: dict[tuple[int, int], Row] = {}
        self._closed: set[int] = set()
        self._part, self._next = 0, 0

    def take(self, row: Row) -> Iterator[Told]:
        """What a row of chunks adds."""
        if row["closing"]:
            self._closed.add(row["part_index"])
        elif row["channel"] is None:
            self._waiting[row["part_index"], row["chunk_index"]] = row
        while (place := (self._part, self._next)) in self._waiting or self._part in self._closed:
            if place not in self._waiting:
                self._part, self._next = self._part + 1, 0
                continue
            row = self._waiting.pop(place)
            self._next += 1
            if row["words"]:
                more = separator(self.text, row["text"]) + row["text"]
                self.text += more
                yield Told(more, row["words"], row["language"])

    def rest(self, text: str) -> str:
        """What the whole text has beyond what was told."""
        return text[len(self.text) :] if text.startswith(self.text) else ""


class Stream(Protocol):
    """The events of an answer that is sent as it is read."""

    def more(self, told: Told) -> list[Row]:
        """Of text that is told before all is known."""
        ...

    def last(self, row: Row, rest: str) -> list[Row]:
        """When all is known: `row` as of transcript, and what of its text was not told."""
        ...


class TranscriptStream:
    """As OpenAI streams transcriptions: text, then all of it; in diarized_json segments by speaker, when all is
    known."""

    def __init__(self, asked: Asked) -> None:
        self._asked, self._by_speaker = asked, asked.form == "diarized_json"

    def more(self, told: Told) -> list[Row]:
        if self._by_speaker:
            return []
        words = [logprob(word["word"], word["confidence"]) for word in told.words]
        return [
            {
                "type": "transcript.text.delta",
                "delta": told.text,
                **({"logprobs": words} if self._asked.logprobs else {}),
            }
        ]

    def last(self, row: Row, rest: str) -> list[Row]:
        recording = from_row(row)
        events = speakers(recording) if self._by_speaker else self.more(Told(rest, [], None)) if rest else []
        return [*events, {"type": "transcript.text.done", "text": row["text"] or "", "usage": usage(recording)}]
