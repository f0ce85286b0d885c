"""What a recognizer and an aligner know of a text: its tokens and the times of its words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple


@dataclass(frozen=True)
class Token:
    """A piece of a hypothesis, `text[char_start:char_end]`, in order and without overlap; times in ms from the
    utterance's first sample, None if unknown."""

    char_start: int
    char_end: int
    probability: float | None = None
    start_ms: int | None = None
    end_ms: int | None = None


class WordTime(NamedTuple):
    """Milliseconds from the utterance's first sample; `estimated` if not the word itself was found, but its
    neighbours."""

    start_ms: int
    end_ms: int
    estimated: bool = False


WordTimes = list[WordTime | None]
"""The time of each word of a request, None for a word that could not be timed."""
