"""Text and timed tokens → words: offsets into the text, times that run forward, confidence. Needs no Spark and no
engine."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from transforms.text.marks import is_combining, is_opening
from transforms.text.scripts import CHARACTER_LANGUAGES, HAN, UNSPACED, UNSPACED_LANGUAGES
from transforms.text.tokens import Token, WordTime, WordTimes

_ON_TOP = r"\u0300-\u036f\u200d\u3099\u309a\ufe00-\ufe0f\U000e0100-\U000e01ef"
"""What stands on a character of another block: accents, voicing, variants."""
_CHARACTERS = re.compile(rf"[{HAN}][{_ON_TOP}]*|[^\s{HAN}]+")
_SCRIPTS = re.compile(rf"(?P<unspaced>(?:(?!\s){UNSPACED}[{_ON_TOP}]*)+)|(?:(?!{UNSPACED})\S)+")
_SPOKEN_MARKS = frozenset("&%@#")


class Span(NamedTuple):
    char_start: int
    char_end: int


def split_words(text: str, language: str | None) -> list[Span]:
    """The words of `text` in order, punctuation attached: marks that open something to the word after them, all others
    to the one before; marks that stand alone between spaces belong to no word.

    A character each in Chinese and Cantonese, in other languages written without spaces what ICU's dictionaries (for
    Tibetan its rules) take for a word, else what spaces divide. No word begins or ends inside a grapheme.
    """
    if language in UNSPACED_LANGUAGES:
        pieces = list(_by_dictionary(text, language))
    elif language in CHARACTER_LANGUAGES:
        pieces = [Span(*match.span()) for match in _CHARACTERS.finditer(text)]
    else:
        pieces = [Span(*match.span()) for match in re.finditer(r"\S+", text)]
    return _attach_marks(text, pieces)


def graphemes(text: str) -> list[str]:
    """What a reader takes for one character each, and nothing may divide."""
    from icu4py.breakers import CharacterBreaker

    return list(CharacterBreaker(text, "en"))


def _by_dictionary(text: str, language: str) -> Iterator[Span]:
    from icu4py.breakers import WordBreaker

    for stretch in _SCRIPTS.finditer(text):
        at = stretch.start()
        # By their lengths, since its offsets count in UTF-16.
        for piece in WordBreaker(stretch[0], language) if stretch["unspaced"] else [stretch[0]]:
            yield Span(at, at + len(piece))
            at += len(piece)


def _attach_marks(text: str, pieces: Sequence[Span]) -> list[Span]:
    words: list[Span] = []
    opening: int | None = None
    for piece in _opened(text, pieces):
        touches = bool(words) and words[-1].char_end == piece.char_start
        if touches and is_combining(text[piece.char_start]):
            words[-1] = Span(words[-1].char_start, piece.char_end)
        elif any(_is_spoken(char) for char in text[piece.char_start : piece.char_end]):
            words.append(Span(piece.char_start if opening is None else opening, piece.char_end))
            opening = None
        elif is_opening(text[piece.char_start]):
            opening = piece.char_start if opening is None else opening
        elif touches:
            words[-1] = Span(words[-1].char_start, piece.char_end)
        if opening is not None and piece.char_end < len(text) and text[piece.char_end].isspace():
            opening = None
    return words


def _opened(text: str, pieces: Sequence[Span]) -> Iterator[Span]:
    """The pieces; of those that touch each other the marks apart that belong to the other one."""
    for index, (start, end) in enumerate(pieces):
        first, last = start, end
        if index and pieces[index - 1].char_end == start:
            while first < end and not _is_spoken(text[first]) and not is_opening(text[first]):
                first += 1
        if index + 1 < len(pieces) and pieces[index + 1].char_start == end:
            while last > first and is_opening(text[last - 1]):
                last -= 1
        yield from (Span(a, b) for a, b in ((start, first), (first, last), (last, end)) if a < b)


def _is_spoken(char: str) -> bool:
    return unicodedata.category(char)[0] in "LMNS" or char in _SPOKEN_MARKS


def separator(left: str, right: str) -> str:
    """What joins two pieces of one transcript: nothing between scripts that write no spaces, else a space."""
    if not left or not right or (re.match(UNSPACED, left[-1]) and re.match(UNSPACED, right[0])):
        return ""
    return " "


def token_times(words: Sequence[Span], tokens: Sequence[Token]) -> WordTimes:
    """Each word's time from the tokens that lie in it: from the first start to the last end; None if one of the two is
    unknown. A token that reaches beyond the word gives it its share by characters, as an estimate."""
    times: WordTimes = []
    for word, inside in zip(words, _tokens_by_word(words, tokens), strict=True):
        parts = [_share(word, token) for token in inside]
        starts = [part.start_ms for part in parts if part.start_ms is not None]
        ends = [part.end_ms for part in parts if part.end_ms is not None]
        estimated = any(part is not token for part, token in zip(parts, inside, strict=True))
        times.append(WordTime(min(starts), max(ends), estimated) if starts and ends else None)
    return times


def _share(word: Span, token: Token) -> Token:
    """The part of `token` that lies in `word`; the token itself if all of it does, or its times are not known."""
    start, end = max(token.char_start, word.char_start), min(token.char_end, word.char_end)
    if (start, end) == (token.char_start, token.char_end) or token.start_ms is None or token.end_ms is None:
        return token
    per_char = (token.end_ms - token.start_ms) / (token.char_end - token.char_start)
    start_ms, end_ms = (token.start_ms + round(per_char * (at - token.char_start)) for at in (start, end))
    return Token(start, end, token.probability, start_ms, end_ms)


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
