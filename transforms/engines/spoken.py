"""What an English reader says for a written word: '$1,000.50' is 'one thousand dollars fifty cents'.

One usual reading a word. A wrong guess inside a number costs little: only the two ends of the written word are timed.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence
from itertools import pairwise

from num2words import num2words

_SYMBOLS = {
    "&": "and",
    "+": "plus",
    "@": "at",
    "=": "equals",
    "%": "percent",
    "°": "degrees",
    "#": "number",
    "-": "minus",
    ".": "dot",
}
_CURRENCIES = {"$": ("dollars", "cents"), "£": ("pounds", "pence"), "€": ("euros", "cents"), "¥": ("yen", "sen")}
_MAJOR_UNITS = frozenset(major for major, _ in _CURRENCIES.values())
_SINGULARS = {"dollars": "dollar", "pounds": "pound", "euros": "euro", "cents": "cent", "pence": "penny"}
_SCALES = {"k": "thousand", "m": "million", "b": "billion", "bn": "billion"}
_ORDINAL = frozenset({"st", "nd", "rd", "th"})
_SCALE_WORDS = frozenset({"thousand", "million", "billion", "trillion"})
_ABBREVIATIONS = {
    **{"vs": "versus", "kg": "kilograms", "km": "kilometers", "cm": "centimeters", "ft": "feet", "lbs": "pounds"},
    **{"ii": "two", "iii": "three", "iv": "four", "vi": "six", "vii": "seven", "viii": "eight", "ix": "nine"},
}
_FOLDED = str.maketrans(
    {
        **dict.fromkeys("’‘ʼ", "'"),
        **dict.fromkeys("−‐‑–—", "-"),
        **{
            "ß": "ss",
            "æ": "ae",
            "Æ": "Ae",
            "œ": "oe",
            "Œ": "Oe",
            "ø": "o",
            "Ø": "O",
            "ł": "l",
            "Ł": "L",
            "đ": "d",
            "ı": "i",
        },
        **{"ð": "th", "þ": "th", "½": " half ", "¼": " quarter ", "¾": " three quarters "},
    }
)
"""What Unicode's decomposition leaves alone, or would take apart wrongly: '5½' is not '51⁄2'."""
_MOST_CHARACTERS = 100
"""Of a longer 'word' only the start is read; nobody said it."""
_PUNCTUATION = ' .,;:!?"()[]{}<>*_~«»“”„…¿¡-'

_MOST_DIGITS = 6
"""A longer run of digits without commas is a code, read digit by digit, and so is one that starts with 0."""
_MOST_AMOUNT_DIGITS = 15
"""Nobody says the names of the numbers beyond hundreds of trillions, and num2words ends at 10**306."""

_PIECE = re.compile(
    r"""(?P<phone>(?:[0-9]{3}-)+[0-9]{4}(?![0-9]))
    | (?P<clock>[0-9]{1,2}(?::[0-9]{2})+)
    | (?P<currency>[$£€¥])?(?P<number>[0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]+)?|[0-9]+(?:\.[0-9]+)*)
      (?P<suffix>(?:st|nd|rd|th|'?s|bn|[kmb])(?![a-z]))?
    | (?P<letters>'?[a-z]+(?:'[a-z]+)*'?)
    | (?P<symbol>[&+@=%°] | \#(?=[0-9]) | (?<=[a-z0-9])\.(?=[a-z0-9]{2}) | (?<![a-z0-9)])-(?=[$£€¥]?[0-9]))""",
    re.VERBOSE | re.IGNORECASE | re.ASCII,
)


def spoken(words: Sequence[str], known: Callable[[str], bool]) -> list[list[str]]:
    """The tokens said for each word: lower case, or UPPER case if the letters may be named; [] if nothing is said.

    `known` tells the words of the dictionary, in lower case.
    """
    said = []
    for word, following in zip(words, [*words[1:], ""], strict=True):
        decomposed = unicodedata.normalize("NFKD", word[:_MOST_CHARACTERS].translate(_FOLDED))
        text = "".join(character for character in decomposed if not unicodedata.combining(character))
        said.append(_say(text, following.strip(_PUNCTUATION).lower() in _SCALE_WORDS, known))
    for tokens, later in pairwise(said):
        if later and later[0] in _SCALE_WORDS and tokens and tokens[-1] in _MAJOR_UNITS:
            later.append(tokens.pop())  # '$5 million' is 'five million dollars'
    return said


def _say(text: str, scale_follows: bool, known: Callable[[str], bool]) -> list[str]:
    core = text.strip(_PUNCTUATION).lower()
    for whole in (core + ".", core):  # 'a.m.' and 'uh-huh' are words of the dictionary
        if re.search("[a-z][.-][a-z]", core) and known(whole):
            return [whole]
    tokens: list[str] = []
    for piece in _PIECE.finditer(text):
        if piece["letters"]:
            tokens += _letters(piece["letters"], known)
        elif piece["symbol"]:
            tokens.append(_SYMBOLS[piece["symbol"]])
        elif piece["phone"]:
            tokens += _digits(piece["phone"])
        elif piece["clock"]:
            tokens += _clock(piece["clock"])
        elif piece["currency"]:
            tokens += _price(piece, scale_follows)
        else:
            tokens += _number(piece["number"], (piece["suffix"] or "").lower().strip("'"))
    return tokens


def _letters(raw: str, known: Callable[[str], bool]) -> list[str]:
    word = raw.lower()
    if word in _ABBREVIATIONS:
        return [_ABBREVIATIONS[word]]
    if re.fullmatch("[A-Z]{2,}|[A-Z]+('[A-Z]|'?s)", raw):  # NATO, DON'T, CEOs
        return [raw.upper()]
    for form in (word, word.strip("'")):
        if known(form):
            return [form]
    humps = re.split("(?<=[a-z])(?=[A-Z])", raw)  # 'OpenAI'
    return [token for hump in humps for token in _letters(hump, known)] if len(humps) > 1 else [word.strip("'")]


def _number(number: str, suffix: str) -> list[str]:
    whole = number.replace(",", "")
    if suffix in _ORDINAL and whole.isdecimal() and len(whole) <= _MOST_AMOUNT_DIGITS:
        return _words(num2words(int(whole), to="ordinal"))
    is_year = re.fullmatch("1[1-9][0-9][0-9]|20[0-9][0-9]", number) is not None
    said = _words(num2words(int(number), to="year")) if is_year else _cardinal(number)
    if suffix == "s":  # the 1990s
        last = said[-1]
        said[-1] = last[:-1] + "ies" if last.endswith("y") else last + ("es" if last.endswith("x") else "s")
    return said + [suffix] * (suffix in _SCALES)  # a 10k run


def _price(piece: re.Match[str], scale_follows: bool) -> list[str]:
    number = piece["number"]
    major, minor = _CURRENCIES[piece["currency"]]
    scale = _SCALES.get((piece["suffix"] or "").lower())
    whole, _, part = number.partition(".")
    if scale or scale_follows or len(part) not in (0, 2):  # $2.25 million, $1.5
        return [*_cardinal(number), *([scale] if scale else []), major]
    said = [] if part and whole == "0" else [*_cardinal(whole), _SINGULARS.get(major, major) if whole == "1" else major]
    return said + (
        [*_cardinal(str(int(part))), _SINGULARS.get(minor, minor) if int(part) == 1 else minor]
        if part and int(part)
        else []
    )


def _clock(clock: str) -> list[str]:
    first, *rest = clock.split(":")
    said = _cardinal(str(int(first)))
    for part in rest:  # three; three oh five; three thirty
        said += [] if part == "00" else ["oh", *_digits(part[1])] if part[0] == "0" else _cardinal(part)
    return said


def _cardinal(number: str) -> list[str]:
    whole, *parts = number.replace(",", "").split(".")
    is_code = (whole[0] == "0" and whole != "0") or len(whole) > (
        _MOST_AMOUNT_DIGITS if "," in number else _MOST_DIGITS
    )
    said = _digits(whole) if is_code else _words(num2words(int(whole)))
    for part in parts:
        said += ["point", *_digits(part)]
    return said


def _digits(text: str) -> list[str]:
    return [num2words(int(digit)) for digit in text if digit.isdigit()]


def _words(text: str) -> list[str]:
    return [word for word in re.findall("[a-z]+", text) if word != "and"]
