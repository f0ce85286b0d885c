"""What a format is given: one recording as plain data, and what most formats ask of it. Needs no Spark."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, groupby, pairwise
from typing import Any, NamedTuple

from transforms.errors import ExportError
from transforms.exports.names import file_stem
from transforms.text.marks import opened_at
from transforms.text.sentences import sentence_starts
from transforms.text.words import separator

Row = dict[str, Any]

UNKNOWN_SPEAKER = "unknown"
_SEGMENT = ("start_ms", "end_ms", "text", "language", "speaker", "channel", "confidence")


@dataclass(frozen=True)
class Word:
    """A row of the table words; times are None where the word could not be timed."""

    word: str
    start_ms: int | None
    end_ms: int | None
    confidence: float | None


@dataclass(frozen=True)
class Segment:
    """A row of the table segments with its words in order."""

    start_ms: int
    end_ms: int
    text: str
    language: str | None
    speaker: str | None
    channel: int | None
    confidence: float | None
    words: tuple[Word, ...]


@dataclass(frozen=True)
class Recording:
    """A row of the table recordings with its segments in order.

    `name` is what its files are called (see names.py). `audio_src` is what a page's player opens: a relative or
    absolute address, already encoded, or a data URI; None if there is nothing to open.
    """

    audio_id: str
    name: str
    uri: str | None
    status: str
    text: str | None
    language: str | None
    duration_ms: int | None
    confidence: float | None
    flags: tuple[str, ...]
    segments: tuple[Segment, ...]
    audio_src: str | None = None


def from_row(row: Row) -> Recording:
    """A row of the table recordings with lists of its rows of segments and words, in order, under these names.

    Raises ExportError unless its words are all there and in its segments' texts.
    """
    segments = row["segments"] or []
    by_segment: dict[int, list[Word]] = {segment["segment_index"]: [] for segment in segments}
    count = 0
    for word in row["words"] or []:
        count += 1
        inside = by_segment.get(word["segment_index"])
        if inside is not None:
            inside.append(Word(word["word"], word["start_ms"], word["end_ms"], word["confidence"]))
    found = tuple(
        Segment(**{name: segment[name] for name in _SEGMENT}, words=tuple(by_segment[segment["segment_index"]]))
        for segment in segments
    )
    shown = sum(len(segment.words) for segment in found if word_starts(segment) is not None)
    if not count == shown == (row["word_count"] or 0):
        counts = f"{shown} of its {row['word_count'] or 0} words are there"
        raise ExportError(f"{row['audio_id']} is being published again, {counts}; export it once that is over")
    return Recording(
        **{name: row[name] for name in ("audio_id", "uri", "status", "text", "language", "duration_ms", "confidence")},
        name=file_stem(row["audio_id"], row["uri"]),
        flags=tuple(row["flags"] or ()),
        segments=found,
    )


def word_starts(segment: Segment) -> list[int] | None:
    """Where in the segment's text each of its words begins; None if one is not there."""
    starts, at = [], 0
    for word in segment.words:
        start = segment.text.find(word.word, at)
        if start < 0:
            return None
        starts.append(start)
        at = start + len(word.word)
    return starts


class Piece(NamedTuple):
    """A word as it is shown: `text` has the marks after it that belong to no word, `space` stands between it and the
    next one. The times are always known, though maybe estimated."""

    text: str
    space: str
    start_ms: int
    end_ms: int
    confidence: float | None
    ends_sentence: bool = False


class Turn(NamedTuple):
    """What one speaker says until another does."""

    speaker: str | None
    segments: list[Segment]


def turns(recording: Recording) -> list[Turn]:
    return [Turn(speaker, list(group)) for speaker, group in groupby(recording.segments, key=lambda s: s.speaker)]


def plain(text: str) -> str:
    """On one line, with single spaces."""
    return " ".join(text.split())


def pieces(segment: Segment) -> list[Piece]:
    """The segment's text cut before each word but the first, and the marks that open it: joined with their spaces, the
    pieces are the text."""
    starts = [0, *(opened_at(segment.text, start) for start in (word_starts(segment) or [0])[1:])]
    found = []
    times = filled_times(segment)
    for first, last, word, (start_ms, end_ms) in zip(
        starts, [*starts[1:], len(segment.text)], segment.words, times, strict=True
    ):
        raw = segment.text[first:last]
        space = " " if raw[-1:].isspace() else ""
        found.append(Piece(plain(raw), space, start_ms, end_ms, word.confidence))
    return found


def joined_pieces(segments: Sequence[Segment]) -> list[Piece]:
    """The pieces of segments of one speaker, with the space that is right between two segments."""
    found: list[Piece] = []
    for segment in segments:
        added = pieces(segment)
        if found and added:
            found[-1] = found[-1]._replace(space=separator(found[-1].text, added[0].text))
        found += added
    return _with_sentences(found, segments[0].language if segments else None)


def _with_sentences(shown: Sequence[Piece], language: str | None) -> list[Piece]:
    """The pieces, each saying whether a sentence ends with it."""
    ends = list(accumulate(len(piece.text) + len(piece.space) for piece in shown))
    sentences = set(sentence_starts("".join(piece.text + piece.space for piece in shown), language))
    return [piece._replace(ends_sentence=end in sentences) for piece, end in zip(shown, ends, strict=True)]


def filled_times(segment: Segment) -> list[tuple[int, int]]:
    """(start_ms, end_ms) of each word; words without a time share the room between their neighbours, at the edges the
    segment's, by their length in characters."""
    times: list[tuple[int, int]] = []
    before_ms = segment.start_ms
    at = 0
    words = segment.words
    while at < len(words):
        start_ms, end_ms = words[at].start_ms, words[at].end_ms
        if start_ms is not None and end_ms is not None:
            times.append((start_ms, end_ms))
            before_ms, at = end_ms, at + 1
            continue
        last = next((k for k in range(at, len(words)) if words[k].start_ms is not None), len(words))
        after_ms = words[last].start_ms if last < len(words) else segment.end_ms
        times += _shared(words[at:last], before_ms, max(before_ms, after_ms or 0))
        at = last
    return times


def _shared(words: Sequence[Word], start_ms: int, end_ms: int) -> list[tuple[int, int]]:
    total = sum(len(word.word) for word in words)
    edges, said = [start_ms], 0
    for word in words:
        said += len(word.word)
        edges.append(start_ms + (end_ms - start_ms) * said // total)
    return list(pairwise(edges))
