"""Readings of one utterance, each of more audio → what of its text stands, and what may still change."""

from __future__ import annotations

from itertools import takewhile

from transforms.text.words import split_words


class Agreement:
    """A word stands once two readings in a row have it in its place (local agreement: Liu, Spanakis and Niehues 2020,
    Low-Latency Sequence-to-Sequence Speech Recognition and Translation by Partial Hypothesis Selection). What stands
    is never taken back by a later reading."""

    def __init__(self) -> None:
        self.stable = ""
        self._standing = 0
        self._before: list[str] = []

    def hear(self, text: str, language: str | None) -> tuple[str, str]:
        """(stable, tail): the text that stands, and the rest of this reading."""
        spans = split_words(text, language)
        words = [text[span.char_start : span.char_end] for span in spans]
        pairs = zip(self._before[self._standing :], words[self._standing :], strict=False)
        agreed = self._standing + sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
        ends = [0, *(span.char_end for span in spans)]
        if agreed > self._standing:
            begin = ends[self._standing] if self._standing else 0
            self.stable += text[begin : ends[agreed]]
            self._standing = agreed
        self._before = words
        return self.stable, text[ends[self._standing] :] if self._standing < len(ends) else ""
