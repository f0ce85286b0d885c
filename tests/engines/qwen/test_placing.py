from __future__ import annotations

import unicodedata
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.kit.texts import TEXTS
from transforms.engines.qwen.placing import place_tokens, repaired, rising


@pytest.fixture(scope="module")
def package() -> Any:
    """The package's own way from a text to the aligner's tokens."""
    reason = "needs the extra qwen: make setup-qwen"
    return pytest.importorskip("qwen_asr.inference.qwen3_forced_aligner", reason=reason).Qwen3ForceAlignProcessor()


def _tokens(package: Any, text: str, language: str) -> list[str]:
    """As the aligner asks for them."""
    tokens: list[str] = package.encode_timestamp(unicodedata.normalize("NFC", text), language)[0]
    return tokens


def _placed(package: Any, text: str, language: str) -> list[str]:
    places = place_tokens(text, _tokens(package, text, language), package.is_kept_char)
    assert places is not None
    return [text[start:end] for start, end in places]


_DEVANAGARI = "हिन्दी में, बोलिए।"
_FAMILY = "\U0001f469\u200d\U0001f469\u200d\U0001f467"


@pytest.mark.parametrize(
    ("text", "language", "shown"),
    [
        ("Well, yes -- (no)... “Fine!”", "English", ["Well", "yes", "no", "Fine"]),
        ("It costs $1,000 or 3.50 €, 50% off.", "English", ["It", "costs", "1,000", "or", "3.50", "50", "off"]),
        ("Don’t stop, it's twenty-one", "English", ["Don’t", "stop", "it's", "twenty-one"]),
        ("l’été c’est-à-dire", "French", ["l’été", "c’est-à-dire"]),
        ("Cafe\u0301, voila\u0300!", "French", ["Cafe\u0301", "voila\u0300"]),
        ("q\u0307e\u0301\u0323 x", "French", ["q\u0307e\u0301\u0323", "x"]),
        ("Straße ÖL İstanbul", "German", ["Straße", "ÖL", "İstanbul"]),
        (_DEVANAGARI, "Hindi", ["हिन्दी", "में", "बोलिए"]),
        (f"Hi {_FAMILY} you 🎉❤️ 🇸🇪!", "English", ["Hi", "you"]),
        ("20 ℃ in Brand™ № 5, x² ½ ﬁne", "English", ["20", "in", "Brand", "5", "x²", "½", "ﬁne"]),
        ("привет, ЁЖ. И\u0306од", "Russian", ["привет", "ЁЖ", "И\u0306од"]),
        ("你好，世界！GPT-4很好。", "Chinese", ["你", "好", "世", "界", "GPT-4", "很", "好"]),
        ("我哋「去」𠮷野家", "Cantonese", ["我", "哋", "去", "𠮷", "野", "家"]),
        ("안녕하세요, 123 저는.", "Korean", None),
        (unicodedata.normalize("NFD", "한국어 말, 123"), "Korean", None),
        ("図書館は、開いています。", "Japanese", None),
        ("ﾊﾟｿｺﾝでｶﾞﾑを買う。ＡＢＣ１２３、ａｂ！", "Japanese", None),
        ("か\u3099くせい と は\u309aん", "Japanese", None),
        ("気温は20℃、㍿Lake、½", "Japanese", ["気温", "は", "2", "0", "℃", "㍿", "㍿", "Lake", "½", "½"]),
        ("hello 你好 こんにちは 안녕 привет 42nd!", "English", None),
        ("hello 你好 こんにちは 안녕 привет 42nd!", "Japanese", None),
        ("hello 你好 こんにちは 안녕 привет 42nd!", "Korean", None),
    ],
)
def test_a_token_lies_where_its_letters_stand(package: Any, text: str, language: str, shown: list[str] | None) -> None:
    found = _placed(package, text, language)
    if shown is None:  # where the words are is the package's business
        assert not any(piece[0].isspace() or piece[-1].isspace() for piece in found)
        assert list(map(_letters, found)) == list(map(_letters, _tokens(package, text, language)))
    else:
        assert found == shown


def _letters(text: str) -> str:
    """Independent of case, width and how marks are written."""
    plain = unicodedata.normalize("NFKD", text).casefold()
    return "".join(char for char in plain if char.isalnum())


@pytest.mark.parametrize("language", ["English", "Chinese", "Korean", "Japanese"])
def test_whatever_a_transcript_holds_all_its_letters_have_a_place(package: Any, language: str) -> None:
    is_kept = package.is_kept_char

    @given(TEXTS)
    def check(text: str) -> None:
        tokens = _tokens(package, text, language)
        # Letters that are nothing but a mark, alone: there is nothing to place.
        if any(not _letters(token).strip() and "'" not in token for token in tokens):
            return
        places = place_tokens(text, tokens, is_kept)
        assert places is not None
        assert len(places) == len(tokens)
        assert all(0 <= start < end <= len(text) for start, end in places)
        assert all(before[0] <= after[0] and before[1] <= after[1] for before, after in pairwise(places))
        inside = {index for start, end in places for index in range(start, end)}
        missed = [char for index, char in enumerate(text) if index not in inside and char.isalnum()]
        assert not any(is_kept(char) for char in missed)

    check()


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("one two", ["one", "too"]),
        ("one two", ["one"]),
        ("one", ["one", "two"]),
        ("one two", ["one", "", "two"]),
        ("", ["one"]),
        ("...", ["one"]),
    ],
)
def test_tokens_of_another_text_have_no_places(text: str, tokens: list[str]) -> None:
    assert place_tokens(text, tokens, str.isalnum) is None


def test_a_text_without_letters_has_no_tokens_to_place() -> None:
    assert place_tokens("", [], str.isalnum) == []
    assert place_tokens("... !", [], str.isalnum) == []


_VALUES = st.lists(st.integers(-20, 20) | st.integers(0, 300_000).map(lambda n: n // 80 * 80), max_size=30)


def _longest(values: list[int]) -> int:
    """Length of the longest non-decreasing subsequence, by its definition: O(n²)."""
    lengths: list[int] = []
    for index, value in enumerate(values):
        lengths.append(1 + max((lengths[k] for k in range(index) if values[k] <= value), default=0))
    return max(lengths, default=0)


@given(_VALUES)
def test_a_longest_run_that_never_falls_is_kept(values: list[int]) -> None:
    kept = rising(values)
    assert len(kept) == len(values)
    run = [value for value, is_kept in zip(values, kept, strict=True) if is_kept]
    assert run == sorted(run)
    assert len(run) == _longest(values)


@given(_VALUES)
def test_values_that_never_fall_are_left_alone(values: list[int]) -> None:
    assert rising(sorted(values)) == [True] * len(values)
    assert repaired(sorted(values)) == (sorted(values), [False] * len(values))


@given(_VALUES)
def test_repaired_values_never_fall_and_only_outliers_are_moved(values: list[int]) -> None:
    fixed, moved = repaired(values)
    assert len(fixed) == len(moved) == len(values)
    assert fixed == sorted(fixed)
    assert moved == [not is_kept for is_kept in rising(values)]
    assert all(after == before for before, after, was in zip(values, fixed, moved, strict=True) if not was)
    if values:
        assert min(values) <= fixed[0]
        assert fixed[-1] <= max(values)
    assert repaired(fixed) == (fixed, [False] * len(fixed))


def test_outliers_go_evenly_between_their_neighbours() -> None:
    assert repaired([0, 9000, 8000, 400]) == ([0, 400 / 3, 800 / 3, 400], [False, True, True, False])
    assert repaired([900, 0, 80, 160])[0] == [0, 0, 80, 160], "nothing before the first"
    assert repaired([0, 80, 160, 40])[0] == [0, 80, 160, 160], "nothing after the last"


class Counted(float):
    """Counts how often two of them are compared."""

    compared = 0

    def __lt__(self, other: float) -> bool:
        Counted.compared += 1
        return float(self) < float(other)

    def __gt__(self, other: float) -> bool:
        Counted.compared += 1
        return float(self) > float(other)

    __le__ = __ge__ = None  # type: ignore[assignment]


@pytest.mark.parametrize("kind", ["rising", "falling", "mixed"])
def test_a_long_text_costs_few_comparisons(kind: str) -> None:
    count = 3000
    order = {"rising": range(count), "falling": range(count, 0, -1), "mixed": [i * 7919 % count for i in range(count)]}
    Counted.compared = 0
    fixed, _ = repaired([Counted(value) for value in order[kind]])
    assert list(map(float, fixed)) == sorted(map(float, fixed))
    assert Counted.compared <= count * 14, "a comparison of each with each makes 4.5 million"
