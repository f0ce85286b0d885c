"""Text and timed tokens → words: offsets into the text, times that run forward, confidence. Needs no Spark and no
engine."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from typing import NamedTuple

from transforms.text.scripts import CHARACTER_LANGUAGES, HAN, UNSPACED, UNSPACED_LANGUAGES
from transforms.text.tokens import Token, WordTime, WordTimes

_PIECES = re.compile(rf"[{HAN}]|[^\s{HAN}]+")
_SPOKEN_MARKS = frozenset("&%@#")


class Span(NamedTuple):
    char_start: int
    char_end: int


def split_words(text: str, language: str | None, tokens: Sequence[Token] = ()) -> list[Span]:
    """The words of `text` in order, punctuation attached; marks that stand alone between spaces belong to no word.

    A character each in Chinese and Cantonese, the recognizer's `tokens` in other languages written without spaces, else
    what spaces divide.
    """
    if language in UNSPACED_LANGUAGES and tokens:
        pieces = [Span(token.char_start, token.char_end) for token in tokens]
    elif language in CHARACTER_LANGUAGES:
        pieces = [Span(*match.span()) for match in _PIECES.finditer(text)]
    else:
        pieces = [Span(*match.span()) for match in re.finditer(r"\S+", text)]
    return _attach_marks(text, pieces)


def _attach_marks(text: str, pieces: Sequence[Span]) -> list[Span]:
    words: list[Span] = []
    opening: int | None = None
    for piece in pieces:
        touches = bool(words) and words[-1].char_end == piece.char_start
        if any(_is_spoken(char) for char in text[piece.char_start : piece.char_end]):
            words.append(Span(piece.char_start if opening is None else opening, piece.char_end))
            opening = None
        elif unicodedata.category(text[piece.char_start]) in ("Ps", "Pi"):
            opening = piece.char_start if opening is None else opening
        elif touches:
            words[-1] = Span(words[-1].char_start, piece.char_end)
        if opening is not None and piece.char_end < len(text) and text[piece.char_end].isspace():
            opening = None
    return words


def _is_spoken(char: str) -> bool:
    return unicodedata.category(char)[0] in "LMNS" or char in _SPOKEN_MARKS


def separator(left: str, right: str) -> str:
    """What joins two pieces of one transcript: nothing between scripts that write no spaces, else a space."""
    if not left or not right or (re.match(UNSPACED, left[-1]) and re.match(UNSPACED, right[0])):
        return ""
    return " "


def token_times(words: Sequence[Span], tokens: Sequence[Token]) -> WordTimes:
    """Each word's time from the tokens that lie in it: from the first start to the last end; None if one of the two is
    unknown."""
    times: WordTimes = []
    for inside in _tokens_by_word(words, tokens):
        starts = [token.start_ms for token in inside if token.start_ms is not None]
        ends = [token.end_ms for token in inside if token.end_ms is not None]
        times.append(WordTime(min(starts), max(ends)) if starts and ends else None)
    return times


def confidences(words: Sequence[Span], tokens: Sequence[Token]) -> list[float | None]:
    """The mean probability of each word's tokens; None where none is known."""
    found = []
    for inside in _tokens_by_word(words, tokens):
        known = [token.probability for token in inside if token.probability is not None]
        found.append(sum(known) / len(known) if known else None)
    return found


def _tokens_by_word(words: Sequence[Span], tokens: Sequence[Token]) -> list[list[Token]]:
    """Both in order, so one pass over the tokens."""
    groups: list[list[Token]] = []
    first = 0
    for word in words:
        while first < len(tokens) and tokens[first].char_end <= word.char_start:
            first += 1
        last = first
        while last < len(tokens) and tokens[last].char_start < word.char_end:
            last += 1
        groups.append(list(tokens[first:last]))
    return groups


def settle_times(times: WordTimes, length_ms: int) -> WordTimes:
    """Times in order, without overlap, inside [0, length_ms], none of zero length.

    A word that reaches into the next one ends where that starts. Words that start together share their time evenly, as
    an estimate. A word for which no millisecond is left has None.
    """
    known = [(index, time) for index, time in enumerate(times) if time is not None]
    starts, ends = [], []
    reached = 0
    for _, time in known:
        reached = max(reached, min(max(time.start_ms, 0), length_ms))
        starts.append(reached)
        ends.append(min(max(time.end_ms, reached), length_ms))
    settled: WordTimes = [None] * len(times)
    at = 0
    while at < len(known):
        run = at + 1
        while run < len(known) and starts[run] == starts[at]:
            run += 1
        limit = starts[run] if run < len(known) else length_ms
        end = min(max(ends[at:run]), limit)
        end = end if end - starts[at] >= run - at else min(limit, starts[at] + run - at)
        if end - starts[at] >= run - at:
            edges = [starts[at] + (end - starts[at]) * k // (run - at) for k in range(run - at + 1)]
            for k in range(run - at):
                index, time = known[at + k]
                settled[index] = WordTime(edges[k], edges[k + 1], time.estimated or run - at > 1)
        at = run
    return settled
