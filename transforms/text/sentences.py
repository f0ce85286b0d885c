"""Where sentences end, in any script: by sentencex (Wikimedia), which knows the marks and the abbreviations of 200
languages, with help for what it does not know."""

from __future__ import annotations

import re

from sentencex import get_sentence_boundaries

from transforms.text.marks import CLOSING
from transforms.text.words import separator

_CLAUSE_ENDS = frozenset(",;:—–、，；：،؛·፣፤፥၊") | frozenset(".?!…。？！｡।॥۔؟።፧։။៕។༎།")
_UNKNOWN = re.compile(
    r"[។៕៚](?!ល។)\s*"  # Khmer; "។ល។" is its "etc."
    r"|[༎།]+\s*"  # Tibetan
    r"|[。؟።।]\s*(?=\w)"  # whatever the language is said to be: they mean nothing else
    r"|(?:ครับ|ค่ะ|คะ|จ้ะ|จ้า)\s+"  # Thai ends none with a mark, but polite ones with these words and a blank
)
_TURN = re.compile(r"(?<=[.?!…。？！»”\"])\s+(?=[-–—]\s*[^\W\d_])")
"""A dash that opens another's turn."""


def sentence_starts(text: str, language: str | None) -> list[int]:
    """Where in `text` another sentence than the first begins, in order; the blanks before it belong to the one that
    ends. `language` is an ISO 639 code; unknown ones are read by the marks alone."""
    found = {boundary["end_index"] for boundary in get_sentence_boundaries(language or "", text)}
    found |= {match.end() for match in _UNKNOWN.finditer(text)}
    found |= {match.end() for match in _TURN.finditer(text)}
    return sorted(at for at in found if text[:at].strip() and text[at:].strip())


def ends_sentence(text: str, following: str, language: str | None) -> bool:
    """Whether a sentence ends where `following` follows `text`."""
    joined = text + separator(text, following)
    return len(joined) in sentence_starts(joined + following, language)


def ends_clause(text: str) -> bool:
    """Whether a sentence or a part of one ends with `text`, as its marks have it."""
    return text.rstrip().rstrip(CLOSING).rstrip()[-1:] in _CLAUSE_ENDS
