"""Texts as the Open ASR leaderboard compares them: Whisper's normalization, so that only a word that was heard wrongly
counts as an error, not its spelling, its capitals or its comma."""

from __future__ import annotations

import functools
import importlib.metadata
import re
from collections.abc import Callable
from dataclasses import dataclass

from transforms.packages import require_packages
from transforms.text.scripts import CHARACTER_LANGUAGES, COUNTED_IN_CHARACTERS

_PACKAGES = ("rapidfuzz", "whisper_normalizer", "opencc")
_ARABIC_SCRIPT = frozenset({"ar", "fa", "ur", "ps", "sd"})
_TASHKEEL = re.compile("[\u0610-\u061a\u0640\u064b-\u0652\u0656-\u065f\u0670\u06d6-\u06dc\u06df-\u06e8\u06ea-\u06ed]")
"""Vowel signs, marks of recitation, tatweel; not the hamza and madda (U+0653 to U+0655) of decomposed letters."""


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
def normalizer(language: str | None, *, simplified: bool = False) -> Normalizer:
    """English has number words, contractions and spelling to unify. Others lose case and punctuation only, and keep
    their combining marks: without its vowel signs Hindi would fall into pieces (the leaderboard's own drops them).

    Arabic script loses tashkeel and tatweel, which most writers leave out. With `simplified`, traditional Chinese
    characters are their simplified ones, by OpenCC: a transcript may be in either.
    """
    from whisper_normalizer.basic import BasicTextNormalizer
    from whisper_normalizer.english import EnglishTextNormalizer

    version = importlib.metadata.version("whisper-normalizer")
    if language == "en":
        return Normalizer(f"whisper-english {version}", "word", EnglishTextNormalizer())
    unit = "character" if language in COUNTED_IN_CHARACTERS else "word"
    name = f"whisper-basic {version}, marks kept{', characters' if unit == 'character' else ''}"
    basic = BasicTextNormalizer(preserve_marks=True)
    if language in _ARABIC_SCRIPT:
        return Normalizer(f"{name} but tashkeel", unit, lambda text: basic(_TASHKEEL.sub("", text)))
    if simplified and language in CHARACTER_LANGUAGES:
        from opencc import OpenCC

        to_simplified = OpenCC("t2s").convert
        opencc = importlib.metadata.version("opencc")
        return Normalizer(f"{name}, simplified by opencc {opencc}", unit, lambda text: basic(to_simplified(text)))
    return Normalizer(name, unit, basic)
