"""Words of one channel → sentences that a subtitle could show. Needs no Spark."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from schemas.config import SegmentsConfig

_SENTENCE_ENDS = ".?!…。？！｡।؟"
_CLAUSE_ENDS = ",;:—–、，；：،"
_CLOSING_MARKS = "\"'”’»)]}」』）】"
_ABBREVIATIONS = frozenset(
    "mr. mrs. ms. dr. prof. st. vs. etc. e.g. i.e. no. inc. ltd. co. jr. sr. gen. sen. rep. approx. dept. "
    "z.b. bzw. nr. usw. hr. fr.".split()
)
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


def split_segments(words: Sequence[TimedWord], config: SegmentsConfig) -> list[tuple[int, int]]:
    """Index ranges [first, last) that cover `words` in order, one a segment.

    A segment ends with a sentence, at a change of language, and at a pause over `max_pause_ms`. One that is over
    `max_chars` or `max_ms` is divided where punctuation, pause and balance of the halves speak for it most; a single
    word is never divided.
    """
    if not words:
        return []
    ends = [index + 1 for index, (word, following) in enumerate(pairwise(words)) if _must_end(word, following, config)]
    edges = [0, *ends, len(words)]
    ranges: list[tuple[int, int]] = []
    open_ranges = [(first, last) for first, last in pairwise(edges)][::-1]
    while open_ranges:
        first, last = open_ranges.pop()
        if last - first == 1 or _fits(words[first], words[last - 1], config):
            ranges.append((first, last))
        else:
            cut = _best_cut(words, first, last)
            open_ranges += [(cut, last), (first, cut)]
    return ranges


def mean_confidence(words: Sequence[TimedWord]) -> float | None:
    """The words' confidence weighted by their duration; None if none has one."""
    known = [
        (word.confidence, _UNTIMED_MS if word.start_ms is None else word.ends_ms - word.begins_ms)
        for word in words
        if word.confidence is not None
    ]
    weight = sum(ms for _, ms in known)
    return sum(confidence * ms for confidence, ms in known) / weight if weight else None


def _must_end(word: TimedWord, following: TimedWord, config: SegmentsConfig) -> bool:
    if word.language != following.language:
        return True
    if following.begins_ms - word.ends_ms > config.max_pause_ms:
        return True
    return ends_sentence(word.word, following.word)


def ends_sentence(word: str, following: str) -> bool:
    """Whether the marks at the end of `word` end a sentence there, by what they are and by the word after."""
    bare = word.rstrip(_CLOSING_MARKS)
    if not bare or bare[-1] not in _SENTENCE_ENDS:
        return False
    if bare[-1] != ".":
        return True
    initial = len(bare) == 2 and bare[0].isupper()
    return bare.lower() not in _ABBREVIATIONS and not initial and not following[0].islower()


def ends_clause(word: str) -> bool:
    """Whether a sentence or a part of one ends with `word`, as its marks have it."""
    return word.rstrip(_CLOSING_MARKS)[-1:] in tuple(_CLAUSE_ENDS + _SENTENCE_ENDS)


def _fits(first: TimedWord, last: TimedWord, config: SegmentsConfig) -> bool:
    return last.char_end - first.char_start <= config.max_chars and last.ends_ms - first.begins_ms <= config.max_ms


def _best_cut(words: Sequence[TimedWord], first: int, last: int) -> int:
    """The index at which to divide words [first, last), at least two of them."""
    begin, end = words[first].char_start, words[last - 1].char_end

    def score(cut: int) -> float:
        before, after = words[cut - 1], words[cut]
        clause = _CLAUSE_WEIGHT if ends_clause(before.word) else 0.0
        pause = min(_MAX_PAUSE_WEIGHT, max(0, after.begins_ms - before.ends_ms) / _PAUSE_WEIGHT_MS)
        imbalance = abs((before.char_end - begin) - (end - after.char_start)) / (end - begin)
        return clause + pause - 4 * imbalance

    return max(range(first + 1, last), key=score)
