"""Words → what a subtitle may not divide: words, and the numbers and names that several words make. Needs no Spark."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from transforms.exports.recording import Piece
from transforms.text.sentences import ends_clause
from transforms.text.words import graphemes

_BOND_PAUSE_MS = 300
_BOND_MS = 2_500
"""A name that takes longer to say is not kept together."""
_NUMBER = re.compile(r"^[^\w\s]*[\d][\d.,:/–-]*[^\w\s]*$")
_QUANTITY = frozenset(
    "% ‰ ° °c °f € $ £ am pm a.m p.m o'clock uhr percent per prozent hundred thousand million millions billion "
    "billions trillion millionen milliarden km m cm mm kg g mg l ml kb mb gb hz khz mhz kw w v euro euros dollar "
    "dollars pounds minutes minute hours hour seconds second days day weeks week months month years year".split()
)
_NUMBER_WORDS = frozenset(
    "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen twenty thirty forty fifty sixty seventy eighty ninety hundred thousand million billion".split()
)
_BEFORE_NUMBER = frozenset("no no. nr nr. chapter page room gate figure version kapitel seite € $ £ §".split())
_TITLES = frozenset("mr mrs ms dr prof st sir herr frau mme señor señora".split())


class Unit(NamedTuple):
    """A stretch of text that stays together. `width` is the text's, in columns of a line."""

    text: str
    space: str
    width: int
    start_ms: int
    end_ms: int
    ends_sentence: bool


def width(text: str) -> int:
    """Columns that `text` takes: wide East Asian characters two, marks that stand on others none."""
    return sum(
        0 if unicodedata.category(c) in ("Mn", "Me", "Cf") else 2 if unicodedata.east_asian_width(c) in "WF" else 1
        for c in text
    )


def bare(text: str) -> str:
    """In lower case, without the marks around it."""
    return text.strip("\"'“”‘’«»()[]{}「」『』（）.,;:!?…。，、！？").lower()


def units(pieces: Sequence[Piece], max_width: int) -> list[Unit]:
    """The pieces in order, those of a number or a name joined, those wider than `max_width` cut in pieces that are
    not."""
    found: list[Unit] = []
    joined: list[Piece] = []
    for piece, following in pairwise([*pieces, None]):
        assert piece is not None
        joined.append(piece)
        if following is None or not _together([*joined, following], max_width):
            found += _cut(_unit(joined), max_width)
            joined = []
    return found


def _together(pieces: Sequence[Piece], max_width: int) -> bool:
    """Whether the last piece belongs to the ones before it."""
    before, after = pieces[-2:]
    if not before.space or after.start_ms - before.end_ms > _BOND_PAUSE_MS:
        return False
    if after.end_ms - pieces[0].start_ms > _BOND_MS or _unit(pieces).width > max_width:
        return False
    left, right = bare(before.text), bare(after.text)
    number = bool(_NUMBER.match(after.text))
    if left in _BEFORE_NUMBER and number:
        return True
    if left in _TITLES and _capitalised(after.text):
        return True
    if before.ends_sentence or ends_clause(before.text):
        return False
    if _NUMBER.match(before.text) or left in _NUMBER_WORDS:
        return number or right in _QUANTITY or right in _NUMBER_WORDS
    return _capitalised(before.text) and _capitalised(after.text)


def _capitalised(text: str) -> bool:
    letters = text.lstrip("\"'“‘«([")
    return letters[:1].isupper() and bare(text) not in ("i", "i'm", "i'll", "i've", "i'd")


def _unit(pieces: Sequence[Piece]) -> Unit:
    text = "".join(piece.text + piece.space for piece in pieces[:-1]) + pieces[-1].text
    return Unit(text, pieces[-1].space, width(text), pieces[0].start_ms, pieces[-1].end_ms, pieces[-1].ends_sentence)


def _cut(unit: Unit, max_width: int) -> list[Unit]:
    """In lines' widths, sharing its time, where a word is wider than a line."""
    if unit.width <= max_width:
        return [unit]
    texts = [""]
    for character in graphemes(unit.text):
        if width(texts[-1] + character) > max_width:
            texts.append("")
        texts[-1] += character
    span_ms = unit.end_ms - unit.start_ms
    edges = [unit.start_ms + span_ms * k // len(texts) for k in range(len(texts) + 1)]
    last = len(texts) - 1
    return [
        Unit(
            text,
            unit.space if k == last else "",
            width(text),
            edges[k],
            edges[k + 1],
            unit.ends_sentence and k == last,
        )
        for k, text in enumerate(texts)
    ]
