"""Marks that stand before, after and on the letters: which of them open something."""

from __future__ import annotations

import unicodedata

CLOSING = "\"'”’»)]}」』）】›〉》"
_OPENING = frozenset("¿¡")


def is_opening(char: str) -> bool:
    """Whether the mark belongs to what follows: brackets and quotation marks that open."""
    return char in _OPENING or unicodedata.category(char) in ("Ps", "Pi")


def is_combining(char: str) -> bool:
    """Whether the character stands on the one before, and so never begins anything."""
    return unicodedata.category(char)[0] == "M" or char == "\u200d"


def opened_at(text: str, at: int) -> int:
    """Where the opening marks before `at` begin, which stand right there or with blanks around ('« Non' in French).

    One that touches what is before it has closed something, if a blank follows: German quotes „so“ too.
    """
    begin = at
    while begin and is_opening(text[begin - 1]):
        begin -= 1
    while True:
        mark = len(text[:begin].rstrip())
        loose = mark < begin and mark > 0 and is_opening(text[mark - 1])
        if not loose or (mark > 1 and not text[mark - 2].isspace()):
            return begin
        begin = mark - 1
