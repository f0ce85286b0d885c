"""What makes two spellings the same to a search: case, accents, width and punctuation folded away, in any script. Needs
no Spark."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping
from typing import Any

from transforms.text.scripts import UNSPACED

_MEETING = re.compile(rf"(?<={UNSPACED})(?=[^ ])(?!{UNSPACED})|(?<=[^ ])(?<!{UNSPACED})(?={UNSPACED})")
_BETWEEN = re.compile(rf"(?<={UNSPACED}) (?={UNSPACED})")
_LOOSE_HYPHEN = re.compile(rf"(?<![^\W_])-|(?<={UNSPACED})-|-(?![^\W_])|-(?={UNSPACED})")
_THOUSANDS = re.compile(r"(?<![\d.,])\d{1,3}(?:(?:,\d{3})+(?![\d,])|(?:\.\d{3})+(?![\d.]))")
"""1,234.50 and 1.234,50, up to the decimals; 1.000 is a thousand, as most say who write it."""
_LETTERS = {
    "ı": "i",
    "ø": "o",
    "đ": "d",
    "ð": "d",
    "ł": "l",
    "ħ": "h",
    "ŧ": "t",
    "æ": "ae",
    "œ": "oe",
    "þ": "th",
    "ـ": "",
}
"""What Unicode does not take apart and people type so (as Lucene's ASCIIFoldingFilter has it), and Arabic's tatweel."""
_ACCENT_CLASSES = frozenset([*range(10, 36), *range(200, 256)])
"""Canonical combining classes: points of Hebrew and Arabic, which most writers leave out, and marks above, below and
attached, as in é and ş. Vowel signs of India and tones of Thailand make another word and stay."""


class _Folded(dict[int, str]):
    """For str.translate: what stands for a character of folded text, found out once."""

    def __missing__(self, code: int) -> str:
        char = chr(code)
        if unicodedata.combining(char) in _ACCENT_CLASSES or unicodedata.category(char) == "Cf" or _is_variant(char):
            folded = ""
        elif char in "-\u2010":
            folded = "-"
        elif unicodedata.category(char)[0] in "LNM":
            folded = _LETTERS.get(char, char)
        else:
            folded = " "
        self[code] = folded
        return folded


def _is_variant(char: str) -> bool:
    """Asks for one of several shapes of the character before."""
    return unicodedata.name(char, "").startswith("VARIATION SELECTOR")


_FOLDED = _Folded()


def fold(text: str) -> str:
    """The words of `text`, one blank between them and none around: 'L’ÉTÉ, Straße!' is 'l ete strasse'.

    A hyphen inside a word stays ('e-mail'): it stands for a blank and for nothing, see HYPHENS. Numbers lose the
    marks of their thousands: '1,234.50' is '1234 50'.

    Between two characters of a script that writes no blanks there is none, whatever stood there ('你好。 世界' is
    '你好世界'); where such a script meets another there is one. Empty if there is neither letter nor digit.
    """
    compatible = unicodedata.normalize("NFKD", text).casefold()
    numbers = _THOUSANDS.sub(lambda number: re.sub("[,.]", "", number[0]), compatible)
    plain = _LOOSE_HYPHEN.sub(" ", unicodedata.normalize("NFC", numbers.translate(_FOLDED)))
    spaced = " ".join(plain.split())
    return _BETWEEN.sub("", _MEETING.sub(" ", spaced))


def by_channel(words: Iterable[Mapping[str, Any]]) -> list[list[Mapping[str, Any]]]:
    """What each channel says, in order: a phrase is one voice's, also where another speaks in between."""
    channels: dict[int, list[Mapping[str, Any]]] = {}
    for word in words:
        channels.setdefault(word["channel"] or 0, []).append(word)
    return [channels[channel] for channel in sorted(channels)]


def folded_text(words: Iterable[Mapping[str, Any]]) -> str | None:
    """recordings.folded_text of a recording's words in order; None if there is nothing to search."""
    lines = [fold(" ".join(word["word"] for word in channel)) for channel in by_channel(words)]
    return "\n".join(f" {line} " for line in lines) if any(lines) else None


HYPHENS = (" ", "")
"""What a hyphen of folded text may be read as: 'e-mail' is 'e mail', and it is 'email'."""


def needle(phrase: str, *, inflected: bool = False) -> str:
    """What to look for in folded_text, read with each of HYPHENS on both sides: whole words, but any stretch of a
    script without blanks; with `inflected`, the last word may go on. Empty if `phrase` has neither letter nor digit."""
    folded = fold(phrase)
    first, last = ("" if re.match(UNSPACED, char) else " " for char in (folded[:1], folded[-1:]))
    return f"{first}{folded}{'' if inflected else last}" if folded else ""
