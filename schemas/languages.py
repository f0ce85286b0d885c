"""What people and other systems call a language → its one code, the same in manifests, configurations, references,
tables, and between the job and its engines."""

from __future__ import annotations

import functools
from typing import Any

import langcodes
from language_data.names import load_trie, normalize_name
from language_data.util import data_filename

_UNSAID = frozenset({"", "und", "auto", "none", "null"})
"""What says that the language is to be heard: nothing, ISO 639's 'undetermined', and what other recognizers call it."""
_SPECIAL = frozenset({"mul", "mis", "zxx"})
"""ISO 639's codes for several languages, for others, and for none."""
_WRITTEN = {"nb": "no"}
"""Of two codes for one spoken language, the one that recognizers list: Bokmål is a way to write Norwegian."""

_SHORTEST_NAME = 3
"""Letters of a name in ASCII: shorter ones are codes gone wrong ('en-', which is a name of Enets)."""


def is_unsaid(tag: str | None) -> bool:
    """True if `tag` leaves the language to be detected."""
    return tag is None or tag.strip().casefold() in _UNSAID


@functools.cache
def code(tag: str) -> str | None:
    """The normal code of a language: ISO 639-1 where it has one, else ISO 639-3, without script, region and variant;
    None for what is no language.

    Takes codes in any case, of any part of ISO 639, withdrawn ones too ('eng', 'ger', 'iw'), BCP 47 tags ('en-US',
    'zh_Hant'), and names in many languages ('German', 'Deutsch', 'allemand'). A macrolanguage stands for the member
    that CLDR takes for it ('cmn' is 'zh', 'arb' is 'ar'); Cantonese ('yue') is not Chinese, nor Nynorsk ('nn')
    Norwegian; Tagalog is Filipino ('fil'), as in CLDR.
    """
    tag = tag.strip()
    if not langcodes.tag_is_valid(tag):
        tag = _tag_of_name(tag) or ""
    if is_unsaid(tag):
        return None
    language = langcodes.get(langcodes.standardize_tag(tag, macro=True)).language or ""
    if not language.isalpha() or language in _SPECIAL or "qaa" <= language <= "qtz":  # the last are for private use
        return None
    return _WRITTEN.get(language, language)


def _tag_of_name(name: str) -> str | None:
    """Only for the whole name: langcodes.find takes any beginning of one, so that 'klingonish' would be Klingon."""
    name = normalize_name(name.partition("(")[0])
    if name.isascii() and len(name) < _SHORTEST_NAME:
        return None
    found = next((names[name] for language in ("en", "und") if name in (names := _tags_of_names(language))), None)
    return found[0].decode() if found else None


@functools.cache
def _tags_of_names(language: str) -> Any:
    """By the names in that language, or, for 'und', by those that are clear in any."""
    return load_trie(data_filename(f"trie/{language}/name_to_language.marisa"))
