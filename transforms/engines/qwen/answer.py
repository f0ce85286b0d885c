"""What the model wrote → the language and the text, and where each token lies in it."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from transforms.engines.qwen.languages import code_of
from transforms.text.tokens import Token
from transforms.text.words import separator

TAG = "<asr_text>"
_HEADER = re.compile(rf"(?:language\s+(?P<names>(?:(?!language\s)[^<>\n]){{0,60}}))?\s*{TAG}")
"""`language English<asr_text>` stands before the text; a model that was given the language may write it again, and one
that hears two languages may write it in between."""
_NOT_WHOLE = "\ufffd"


@dataclass(frozen=True)
class Answer:
    """`language` is an ISO code, None if the model named none or 'None'; `language_probability` that of its tokens."""

    text: str
    language: str | None
    language_probability: float | None
    says_none: bool
    tokens: tuple[Token, ...]


def read_answer(ids: Sequence[int], logprobs: Sequence[float], decode: Callable[[list[int]], str]) -> Answer:
    """`ids` and `logprobs` of the generated tokens in order; `decode` turns ids into text, and marks characters that
    are not whole with U+FFFD."""
    pieces = _whole_characters(ids, decode)
    raw, headers = _headers(pieces)
    named = [match for match in headers if match["names"]]
    names = [match["names"].strip() for match in named]
    language = next((code for name in names if (code := code_of(name))), None)
    kept, text = _without(raw, [match.span() for match in headers])
    tokens = _place(pieces, logprobs, kept)
    probability = math.exp(_logprob_between(pieces, logprobs, *named[0].span("names"))) if named else None
    says_none = bool(names) and names[0].casefold() == "none"
    return Answer(text, language, probability, says_none, tokens)


def ids_of(text_length: int, ids: Sequence[int], decode: Callable[[list[int]], str]) -> int:
    """How many of `ids`, from the first, wrote the first `text_length` characters of the answer's text, and what stands
    before them."""
    pieces = _whole_characters(ids, decode)
    raw, headers = _headers(pieces)
    places, _ = _without(raw, [match.span() for match in headers])
    count, char = 0, 0
    for text, _, end in pieces:
        if any(place is not None and place >= text_length for place in places[char : char + len(text)]):
            break
        count, char = end, char + len(text)
    return count


def _headers(pieces: Sequence[tuple[str, int, int]]) -> tuple[str, list[re.Match[str]]]:
    """What the model wrote, and what of it is no text."""
    raw = "".join(text for text, _, _ in pieces)
    return raw, list(_HEADER.finditer(raw))


def _whole_characters(ids: Sequence[int], decode: Callable[[list[int]], str]) -> list[tuple[str, int, int]]:
    """(text, first id, end id) of the smallest runs of ids that make whole characters: a byte-level tokenizer may cut
    inside one."""
    pieces, begin = [], 0
    for end in range(1, len(ids) + 1):
        text = decode(list(ids[begin:end]))
        if text.endswith(_NOT_WHOLE) and end < len(ids):
            continue
        pieces.append((text, begin, end))
        begin = end
    return pieces


def _without(raw: str, cuts: Sequence[tuple[int, int]]) -> tuple[list[int | None], str]:
    """`raw` without the cuts, stripped; and for each character of `raw` its place in that, None if it was cut."""
    places: list[int | None] = [None] * len(raw)
    text, begin = "", 0
    for cut_start, cut_end in [*cuts, (len(raw), len(raw))]:
        part = raw[begin:cut_start]
        first = begin + len(part) - len(part.lstrip())
        part = part.strip()
        if part:
            text += separator(text, part)
            places[first : first + len(part)] = range(len(text), len(text) + len(part))
            text += part
        begin = cut_end
    return places, text


def _place(
    pieces: Sequence[tuple[str, int, int]], logprobs: Sequence[float], places: Sequence[int | None]
) -> tuple[Token, ...]:
    tokens, char = [], 0
    for text, begin, end in pieces:
        inside = [place for place in places[char : char + len(text)] if place is not None]
        char += len(text)
        if inside:
            probability = math.exp(sum(logprobs[begin:end]) / (end - begin))
            tokens.append(Token(inside[0], inside[-1] + 1, probability))
    return tuple(tokens)


def _logprob_between(pieces: Sequence[tuple[str, int, int]], logprobs: Sequence[float], start: int, stop: int) -> float:
    """Of all tokens that reach into the characters [start, stop)."""
    total, char = 0.0, 0
    for text, begin, end in pieces:
        if char < stop and char + len(text) > start and text.strip():
            total += sum(logprobs[begin:end])
        char += len(text)
    return total
