"""The aligner's tokens ↔ the characters of the transcript, and the repair of times that run backwards.

The package's tokens hold letters, digits and apostrophes only; here each is given back its place in the text.
"""

from __future__ import annotations

import unicodedata
from bisect import bisect_right
from collections.abc import Callable, Sequence
from itertools import pairwise

_HALFWIDTH_MARKS = "\uff9e\uff9f"
"""Japanese voicing marks, which join the character before them when it is made full-width."""


def place_tokens(text: str, tokens: Sequence[str], is_kept: Callable[[str], bool]) -> list[tuple[int, int]] | None:
    """(char_start, char_end) in `text` of each of the package's tokens, in order; None if they are not the letters of
    this text.

    A token's place ends after its last letter; the marks on it belong to it, what follows does not. A sign that stands
    for letters, as ℃ does, is dropped by the package in most languages and written out in Japanese: both are tried.
    """
    wanted = [_letters(token, is_kept) for token in tokens]
    for with_signs in (False, True):
        letters = [
            (letter, start, end)
            for start, end in _clusters(text)
            if with_signs or is_kept(text[start])
            for letter in _letters(text[start:end], is_kept)
        ]
        places = _matched(letters, wanted)
        if places is not None:
            return places
    return None


def _letters(text: str, is_kept: Callable[[str], bool]) -> list[str]:
    """Without case, width and marks; decomposed, since composed ones may be written in several ways."""
    return [letter.casefold() for letter in unicodedata.normalize("NFKD", text) if is_kept(letter)]


def _matched(letters: Sequence[tuple[str, int, int]], wanted: Sequence[list[str]]) -> list[tuple[int, int]] | None:
    places, at = [], 0
    for token in wanted:
        found = letters[at : at + len(token)]
        if not token or [letter for letter, _, _ in found] != token:
            return None
        places.append((found[0][1], found[-1][2]))
        at += len(token)
    return places if at == len(letters) else None


def _clusters(text: str) -> list[tuple[int, int]]:
    """Each character with the combining marks that follow it."""
    starts = [
        index
        for index, char in enumerate(text)
        if index == 0 or not (unicodedata.category(char)[0] == "M" or char in _HALFWIDTH_MARKS)
    ]
    return list(pairwise([*starts, len(text)]))


def rising(values: Sequence[float]) -> list[bool]:
    """Which values belong to a longest non-decreasing run of them; the others are outliers. O(n log n)."""
    ends: list[float] = []
    last_of: list[int] = []
    before: list[int] = []
    for index, value in enumerate(values):
        length = bisect_right(ends, value)
        before.append(last_of[length - 1] if length else -1)
        if length == len(ends):
            ends.append(value)
            last_of.append(index)
        else:
            ends[length], last_of[length] = value, index
    kept = [False] * len(values)
    index = last_of[-1] if last_of else -1
    while index >= 0:
        kept[index] = True
        index = before[index]
    return kept


def repaired(values: Sequence[float]) -> tuple[list[float], list[bool]]:
    """Values that never fall, and which of them were moved: outliers go evenly between their neighbours."""
    kept = rising(values)
    fixed, at = list(values), 0
    while at < len(fixed):
        if kept[at]:
            at += 1
            continue
        end = at
        while end < len(fixed) and not kept[end]:
            end += 1
        left = fixed[at - 1] if at else fixed[end]
        right = fixed[end] if end < len(fixed) else left
        for place in range(at, end):
            fixed[place] = left + (right - left) * (place - at + 1) / (end - at + 1)
        at = end
    return fixed, [not is_kept for is_kept in kept]
