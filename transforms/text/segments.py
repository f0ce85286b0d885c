"""Words of one channel → sentences that a subtitle could show. Needs no Spark."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from typing import Any, NamedTuple

from schemas.config import SegmentsConfig
from transforms.text.marks import opened_at
from transforms.text.scripts import UNSPACED_LANGUAGES
from transforms.text.sentences import ends_clause, sentence_starts

_CLAUSE_WEIGHT = 3.0
_PAUSE_WEIGHT_MS = 300
_MAX_PAUSE_WEIGHT = 2.0
_UNTIMED_MS = 200
"""Weight of a word without a time: about the length of a word."""


@dataclass(frozen=True)
class TimedWord:
    """A word of a channel's text: `room_ms` stands in where its own times are None, (end of the timed word before it,
    start of the next one), at the edges those of its chunk."""

    word: str
    char_start: int
    char_end: int
    start_ms: int | None
    end_ms: int | None
    estimated: bool | None
    confidence: float | None
    language: str | None
    room_ms: tuple[int, int]

    @property
    def begins_ms(self) -> int:
        return self.room_ms[0] if self.start_ms is None else self.start_ms

    @property
    def ends_ms(self) -> int:
        return self.room_ms[1] if self.end_ms is None else self.end_ms


class Segment(NamedTuple):
    """Words [first, last) of a channel, and where in its text the segment begins: with the marks that open it."""

    first: int
    last: int
    char_start: int


def split_segments(text: str, words: Sequence[TimedWord], config: SegmentsConfig) -> list[Segment]:
    """Segments that cover the `words` of `text` in order.

    A segment ends with a sentence, at a change of language, and at a pause over `max_pause_ms`. One that is over
    `max_chars` or `max_ms` is divided where punctuation, pause and balance of the halves speak for it most; a single
    word is never divided.
    """
    if not words:
        return []
    sentences = _sentences(text, words)
    ends = [
        index + 1
        for index, (word, following) in enumerate(pairwise(words))
        if index + 1 in sentences or _must_end(word, following, config)
    ]
    edges = [0, *ends, len(words)]
    ranges: list[tuple[int, int]] = []
    open_ranges = [(first, last) for first, last in pairwise(edges)][::-1]
    while open_ranges:
        first, last = open_ranges.pop()
        if last - first == 1 or _fits(words[first], words[last - 1], config):
            ranges.append((first, last))
        else:
            cut = _best_cut(text, words, first, last)
            open_ranges += [(cut, last), (first, cut)]
    return [Segment(first, last, sentences.get(first) or _begin(text, words, first)) for first, last in ranges]


def _begin(text: str, words: Sequence[TimedWord], first: int) -> int:
    return max(opened_at(text, words[first].char_start), words[first - 1].char_end) if first else 0


def _sentences(text: str, words: Sequence[TimedWord]) -> dict[int, int]:
    """The index of each word but the first with which a sentence begins, and where in `text` that does, marks and
    dashes before the word included."""
    starts = [word.char_start for word in words]
    found: dict[int, int] = {}
    for language, group in groupby(words, key=lambda word: word.language):
        run = list(group)
        begin = run[0].char_start
        for at in sentence_starts(text[begin : run[-1].char_end], language):
            index = bisect_left(starts, begin + at)
            if index < len(words) and not any(map(str.isalnum, text[begin + at : starts[index]])):
                found[index] = max(begin + at, words[index - 1].char_end)
    return found


def mean_confidence(words: Sequence[TimedWord]) -> float | None:
    """The words' confidence weighted by their duration; None if none has one."""
    return weighted(
        (word.confidence, None if word.start_ms is None else word.ends_ms - word.begins_ms) for word in words
    )


def confidence_of(words: Iterable[Mapping[str, Any]]) -> float | None:
    """The same of the words of a row of chunks."""
    return weighted(
        (word["confidence"], None if word["start_ms"] is None else word["end_ms"] - word["start_ms"]) for word in words
    )


def weighted(values: Iterable[tuple[float | None, int | None]]) -> float | None:
    """The mean of (confidence, ms of the word; None if it could not be timed), where there is a confidence."""
    known = [(confidence, _UNTIMED_MS if ms is None else ms) for confidence, ms in values if confidence is not None]
    weight = sum(ms for _, ms in known)
    return sum(confidence * ms for confidence, ms in known) / weight if weight else None


def _must_end(word: TimedWord, following: TimedWord, config: SegmentsConfig) -> bool:
    return word.language != following.language or following.begins_ms - word.ends_ms > config.max_pause_ms


def _fits(first: TimedWord, last: TimedWord, config: SegmentsConfig) -> bool:
    return last.char_end - first.char_start <= config.max_chars and last.ends_ms - first.begins_ms <= config.max_ms


def _best_cut(text: str, words: Sequence[TimedWord], first: int, last: int) -> int:
    """The index at which to divide words [first, last), at least two of them."""
    begin, end = words[first].char_start, words[last - 1].char_end

    def score(cut: int) -> float:
        before, after = words[cut - 1], words[cut]
        clause = _CLAUSE_WEIGHT if _ends_clause(text, before, after) else 0.0
        pause = min(_MAX_PAUSE_WEIGHT, max(0, after.begins_ms - before.ends_ms) / _PAUSE_WEIGHT_MS)
        imbalance = abs((before.char_end - begin) - (end - after.char_start)) / (end - begin)
        return clause + pause - 4 * imbalance

    return max(range(first + 1, last), key=score)


def _ends_clause(text: str, before: TimedWord, after: TimedWord) -> bool:
    """By the marks up to the next word; where words have no blanks between them, a blank is such a mark."""
    said = text[before.char_start : opened_at(text, after.char_start)]
    return ends_clause(said) or (before.language in UNSPACED_LANGUAGES and said[-1:].isspace())
