from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.kit.texts import TEXTS
from transforms.engines.qwen.answer import TAG, Answer, ids_of, read_answer

_SPECIAL = 1000
"""Ids from here on stand for special tokens, of which decoding leaves nothing."""


def _decode(ids: list[int]) -> str:
    """An id is a byte of UTF-8, as in the smallest byte-level vocabulary."""
    return bytes(number for number in ids if number < _SPECIAL).decode("utf-8", errors="replace")


class Vocabulary:
    """Ids that stand for several bytes; gives those of a text that is divided as told."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def encode(self, *pieces: str | bytes) -> list[int]:
        first = len(self._pieces)
        self._pieces += [piece.encode() if isinstance(piece, str) else piece for piece in pieces]
        return list(range(first, len(self._pieces)))

    def decode(self, ids: list[int]) -> str:
        return b"".join(self._pieces[number] for number in ids).decode("utf-8", errors="replace")


def _read(*pieces: str | bytes, logprobs: list[float] | None = None) -> Answer:
    """Each piece is a token; -0.1 of each unless told."""
    vocabulary = Vocabulary()
    ids = vocabulary.encode(*pieces)
    return read_answer(ids, logprobs or [-0.1] * len(ids), vocabulary.decode)


def _in_bytes(text: str) -> Answer:
    ids = list(text.encode())
    return read_answer(ids, [-0.1] * len(ids), _decode)


def _shown(answer: Answer) -> list[str]:
    return [answer.text[token.char_start : token.char_end] for token in answer.tokens]


@pytest.mark.parametrize(
    ("raw", "language", "text"),
    [
        (f"language English{TAG}The dog.", "en", "The dog."),
        (f"language English\n{TAG} The dog. ", "en", "The dog."),
        (f"language None{TAG}", None, ""),
        (f"language None{TAG}Well.", None, "Well."),
        (f"language Klingon{TAG}Qapla'.", None, "Qapla'."),
        ("The dog.", None, "The dog."),
        ("My native language is English.", None, "My native language is English."),
        ("", None, ""),
        (f"{TAG}The dog.", None, "The dog."),
        (f"language English{TAG}language English{TAG}The dog.", "en", "The dog."),
        (f"language Cantonese{TAG}我哋", "yue", "我哋"),
        (f"language Chinese,English{TAG}我要 check in。", "zh", "我要 check in。"),
        (f"language Chinese, English{TAG}我要 check in。", "zh", "我要 check in。"),
        (f"language Chinese English{TAG}我要 check in。", "zh", "我要 check in。"),
        (f"language Klingon,German{TAG}Nein.", "de", "Nein."),
        (f"language English{TAG}The dog.language German{TAG}Der Hund.", "en", "The dog. Der Hund."),
        (f"language Chinese{TAG}你好。language Japanese{TAG}はい", "zh", "你好。はい"),
        (f"{TAG}The dog. language German{TAG}Der Hund.", "de", "The dog. Der Hund."),
        (f"The language is fine. language German{TAG}Der Hund.", "de", "The language is fine. Der Hund."),
    ],
)
def test_headers_are_read_and_leave_the_text(raw: str, language: str | None, text: str) -> None:
    answer = _in_bytes(raw)
    assert (answer.language, answer.text) == (language, text)
    assert answer.says_none == raw.startswith("language None")
    assert "".join("".join(_shown(answer)).split()) == "".join(text.split()), "each character has its token"


def test_a_header_that_a_forced_language_brings_again_leaves_only_the_text() -> None:
    """The prompt ended with the header, and the model writes it once more before it goes on."""
    once = _read("The", " dog", ".")
    again = _read("language", " English", TAG, "The", " dog", ".")
    assert again.text == once.text == "The dog."
    assert again.tokens == once.tokens


def test_a_header_in_the_middle_gives_way_to_a_space_and_tokens_keep_their_places() -> None:
    answer = _read("One", " two", ".", "language", " German", TAG, "Drei", " vier")
    assert answer.text == "One two. Drei vier"
    assert _shown(answer) == ["One", " two", ".", "Drei", " vier"]


def test_a_token_that_reaches_beyond_the_header_keeps_its_share() -> None:
    answer = _read("language English", "<asr_", "text>The", " dog", ".  ")
    assert answer.text == "The dog."
    assert _shown(answer) == ["The", " dog", "."]


def test_a_tokens_probability_is_that_of_the_ids_that_make_it() -> None:
    answer = _read("The", " d", " og", logprobs=[-0.5, -1.0, 0.0])
    assert [token.probability for token in answer.tokens] == pytest.approx([math.exp(-0.5), math.exp(-1.0), 1.0])
    ids = list("é!".encode())
    cut = read_answer(ids, [-0.2, -0.6, -0.3], _decode)
    assert [token.probability for token in cut.tokens] == pytest.approx([math.exp(-0.4), math.exp(-0.3)])
    assert all(token.start_ms is None and token.end_ms is None for token in cut.tokens)


@pytest.mark.parametrize(
    ("pieces", "logprobs", "expected"),
    [
        (["language", " English", TAG, "Hi"], [-9.0, -0.25, -9.0, -9.0], -0.25),
        (["language", " Eng", "lish", TAG, "Hi"], [-9.0, -0.25, -0.5, -9.0, -9.0], -0.75),
        (["language", " ", "Chinese", ",", "English", TAG, "Hi"], [-9.0, -9.0, -0.1, -0.2, -0.3, -9.0, -9.0], -0.6),
        (["language", " None", TAG], [-9.0, -0.4, -9.0], -0.4),
        ([TAG, "Hi. ", "language", " German", TAG, "Ja"], [-9.0, -9.0, -9.0, -0.7, -9.0, -9.0], -0.7),
    ],
)
def test_the_languages_probability_is_that_of_its_own_tokens(
    pieces: list[str], logprobs: list[float], expected: float
) -> None:
    assert _read(*pieces, logprobs=logprobs).language_probability == pytest.approx(math.exp(expected))


def test_without_a_header_the_language_has_no_probability() -> None:
    assert _read("The", " dog").language_probability is None
    assert _read(TAG, "The", " dog").language_probability is None


def test_a_character_cut_across_tokens_is_one_token() -> None:
    violin = "🎻".encode()
    answer = _read("My ", violin[:1], violin[1:2], violin[2:3], violin[3:], "!")
    assert answer.text == "My 🎻!"
    assert _shown(answer) == ["My ", "🎻", "!"]


@pytest.mark.parametrize("width", [1, 2, 3, 5, 7])
def test_tokens_that_end_inside_characters_lose_none_of_them(width: int) -> None:
    """Several characters in a row may be cut, so that no token ends where a character does."""
    text = "👩\u200d👩\u200d👧 naïve 湖水 🎻🎻🎻🎻"
    data = text.encode()
    answer = _read(*(data[at : at + width] for at in range(0, len(data), width)))
    assert answer.text == text
    assert "".join(_shown(answer)) == text


def test_bytes_that_make_no_character_do_not_take_the_others_along() -> None:
    answer = _read("Well", b"\xff", " then", b"\xf0\x9f")
    assert answer.text == "Well\ufffd then\ufffd"
    assert answer.tokens[-1].char_end == len(answer.text)


def test_special_tokens_leave_no_trace() -> None:
    ids = [_SPECIAL, *b"Hi", _SPECIAL + 1, *b"!", _SPECIAL + 2]
    answer = read_answer(ids, [-0.1] * len(ids), _decode)
    assert (answer.text, _shown(answer)) == ("Hi!", ["H", "i", "!"])
    assert read_answer([], [], _decode) == Answer("", None, None, False, ())


_HEADERS = st.sampled_from(["", "", "language English", "language None", "language Chinese,English", "language"])


@st.composite
def _answers(draw: st.DrawFn) -> tuple[bytes, list[int]]:
    """What a model may write, and where its tokens are cut: anywhere, inside of characters, too."""
    parts = draw(st.lists(st.tuples(_HEADERS, st.sampled_from(["", TAG]), TEXTS), min_size=1, max_size=3))
    data = "".join(header + tag + text for header, tag, text in parts).encode()
    return data, sorted(draw(st.sets(st.integers(1, max(1, len(data))), max_size=60)))


@given(_answers(), st.data())
def test_tokens_lie_in_the_text_in_order(written: tuple[bytes, list[int]], data: Any) -> None:
    raw, cuts = written
    edges = [0, *(cut for cut in cuts if cut < len(raw)), len(raw)]
    pieces = [raw[start:end] for start, end in pairwise(edges)]
    logprobs = [data.draw(st.floats(-10, 0)) for _ in pieces]
    answer = _read(*pieces, logprobs=logprobs)
    assert answer.text == answer.text.strip()
    assert TAG not in answer.text or TAG.encode() in raw.replace(TAG.encode(), b"")
    tokens = answer.tokens
    assert all(0 <= token.char_start < token.char_end <= len(answer.text) for token in tokens)
    assert all(before.char_end <= after.char_start for before, after in pairwise(tokens))
    assert all(token.probability is not None and 0 < token.probability <= 1 for token in tokens)
    assert answer.language_probability is None or 0 < answer.language_probability <= 1
    held = {index for token in tokens for index in range(token.char_start, token.char_end)}
    assert all(index in held or char.isspace() for index, char in enumerate(answer.text))
    whole = _in_bytes(raw.decode())
    assert (answer.text, answer.language, answer.says_none) == (whole.text, whole.language, whole.says_none)


@given(_answers(), st.integers(0, 60))
def test_the_ids_of_a_beginning_write_it_and_no_more_than_its_last_character(
    written: tuple[bytes, list[int]], length: int
) -> None:
    raw, _ = written
    text = _in_bytes(raw.decode()).text
    length = min(length, len(text))
    count = ids_of(length, list(raw), _decode)
    if raw[:count].decode(errors="replace").endswith("\ufffd"):
        return  # a model may write that itself
    begun = _in_bytes(raw[:count].decode()).text
    assert text.startswith(begun) and len(begun.strip()) >= len(text[:length].strip())
