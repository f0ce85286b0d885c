"""ISO 639 codes ↔ the names that Qwen3-ASR writes and reads."""

from __future__ import annotations

from collections.abc import Iterable

NAMES = {
    "ar": "Arabic",
    "cs": "Czech",
    "da": "Danish",
    "de": "German",
    "el": "Greek",
    "en": "English",
    "es": "Spanish",
    "fa": "Persian",
    "fi": "Finnish",
    "fil": "Filipino",
    "fr": "French",
    "hi": "Hindi",
    "hu": "Hungarian",
    "id": "Indonesian",
    "it": "Italian",
    "ja": "Japanese",
    "ko": "Korean",
    "mk": "Macedonian",
    "ms": "Malay",
    "nl": "Dutch",
    "pl": "Polish",
    "pt": "Portuguese",
    "ro": "Romanian",
    "ru": "Russian",
    "sv": "Swedish",
    "th": "Thai",
    "tr": "Turkish",
    "vi": "Vietnamese",
    "yue": "Cantonese",
    "zh": "Chinese",
}
"""All 30 languages of Qwen3-ASR."""

CODES = {name.casefold(): code for code, name in NAMES.items()}

ALIGNABLE = frozenset("de en es fr it ja ko pt ru yue zh".split())
"""The 11 languages of Qwen3-ForcedAligner."""


def known(names: Iterable[str] | None) -> set[str]:
    """The codes of what a checkpoint says that it knows; of all where it says nothing."""
    return {CODES[name.casefold()] for name in names or NAMES.values() if name.casefold() in CODES}


def code_of(names: str) -> str | None:
    """The code of the first known language in what the model wrote, as in 'Chinese,English'; None if there is none."""
    for name in names.replace(",", " ").split():
        if name.casefold() in CODES:
            return CODES[name.casefold()]
    return None
