"""Texts as the Open ASR leaderboard compares them: Whisper's normalization, so that only a word that was heard wrongly
counts as an error, not its spelling, its capitals or its comma."""

from __future__ import annotations

import functools
import importlib.metadata
from collections.abc import Callable
from dataclasses import dataclass

from transforms.packages import require_packages
from transforms.text.scripts import COUNTED_IN_CHARACTERS

_PACKAGES = ("rapidfuzz", "whisper_normalizer")


@dataclass(frozen=True)
class Normalizer:
    """`name` says what is done to a text, with the version of the package that does it; `unit` what a token is: word or
    character."""

    name: str
    unit: str
    clean: Callable[[str], str]

    def tokens(self, text: str) -> list[str]:
        """What is compared one by one."""
        words = self.clean(text).split()
        return words if self.unit == "word" else list("".join(words))

    def joined(self, tokens: list[str]) -> str:
        return (" " if self.unit == "word" else "").join(tokens)


def check_packages() -> None:
    """Raises ConfigError, with what to install, before anything has run."""
    require_packages("evaluation", _PACKAGES, "'lakescribe[evaluate]'")


@functools.cache
def normalizer(language: str | None) -> Normalizer:
    """English has number words, contractions and spelling to unify. Others lose case and punctuation only, and keep
    their combining marks: without its vowel signs Hindi would fall into pieces (the leaderboard's own drops them)."""
    from whisper_normalizer.basic import BasicTextNormalizer
    from whisper_normalizer.english import EnglishTextNormalizer

    version = importlib.metadata.version("whisper-normalizer")
    if language == "en":
        return Normalizer(f"whisper-english {version}", "word", EnglishTextNormalizer())
    unit = "character" if language in COUNTED_IN_CHARACTERS else "word"
    name = f"whisper-basic {version}, marks kept{', characters' if unit == 'character' else ''}"
    return Normalizer(name, unit, BasicTextNormalizer(preserve_marks=True))
