from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.kit.texts import LANGUAGES, TEXTS
from transforms.search.phrases import find, located
from transforms.text.folding import fold, folded_text, needle
from transforms.text.words import split_words


@pytest.mark.parametrize(
    ("text", "folded"),
    [
        ("L’ÉTÉ, Straße!", "l ete strasse"),
        ("İSTANBUL'da ışık IŞIK", "istanbul da isik isik"),
        ("Ærøskøbing, Łódź, Đà Nẵng", "aeroskobing lodz da nang"),
        ("e\u0301te\u0301 été", "ete ete"),
        ("don't co-op R&D 1,000 -5 a- b", "don t co-op r d 1000 5 a b"),
        ("ＡＢＣ ﬁn Ⅳ", "abc fin iv"),
        ("ｶﾞがか", "ガがか"),
        ("你好。 世界", "你好世界"),
        ("午前10時、Appleの", "午前 10 時 apple の"),
        ("สวัสดี ครับ", "สวัสดีครับ"),
        ("हिन्दी, में।", "हिन्दी में"),
        ("مَرْحَبًا، مـــرحبا أهلا", "مرحبا مرحبا اهلا"),
        ("שָׁלוֹם", "שלום"),
        ("می\u200cخواهم", "میخواهم"),
        ("Ελλάς ΕΛΛΆΣ", "ελλασ ελλασ"),
        ("葛\U000e0100城", "葛城"),
        ("한국어 학교", "한국어 학교"),
        ("1,234.50 1.234,50 1.000 1,2,3 1,234,567 4.1.2", "1234 50 1234 50 1000 1 2 3 1234567 4 1 2"),
        (" 🎻 … & % ?!", ""),
        ("", ""),
    ],
)
def test_what_does_not_count_is_folded_away(text: str, folded: str) -> None:
    assert fold(text) == unicodedata.normalize("NFC", folded)
    assert fold(fold(text)) == fold(text)


def test_words_that_differ_by_more_than_an_accent_stay_apart() -> None:
    """Vowel signs, tones and voicing marks are combining characters too."""
    for one, other in (("कि", "की"), ("कु", "का"), ("มา", "ม้า"), ("か", "が"), ("は", "ぱ"), ("кот", "ток")):
        assert fold(one) != fold(other)


def test_a_phrase_is_sought_as_whole_words_but_for_scripts_without_blanks() -> None:
    assert needle("Revenue.") == " revenue "
    assert needle("世界") == "世界"
    assert needle("10時") == " 10 時"
    assert needle("の Apple") == "の apple "
    assert needle("?!") == needle("") == needle("\u200b\u0301") == ""


@pytest.mark.parametrize(
    ("said", "phrase", "found"),
    [
        ("Send an e-mail, now", "email", [(2, 3)]),
        ("Send an email, now", "e-mail", [(2, 3)]),
        ("Send an e-mail, now", "e mail", [(2, 3)]),
        ("Send an e-mail, now", "mail", [(2, 3)]),
        ("a well-known fact", "well known fact", [(1, 3)]),
        ("They co-operate on-line.", "cooperate online", [(1, 3)]),
        ("It costs 1,234.50 now", "1234.50", [(2, 3)]),
        ("It costs 1234.50 now", "1,234.50", [(2, 3)]),
        ("them ail", "email", []),
        ("학교에서 왔다", "학교", []),
    ],
)
def test_hyphens_and_thousands_do_not_count(said: str, phrase: str, found: list[tuple[int, int]]) -> None:
    assert list(find(said.split(), needle(phrase))) == found


def test_a_stem_finds_its_inflected_form_if_asked() -> None:
    assert list(find("나는 학교에서 왔다".split(), needle("학교", inflected=True))) == [(1, 2)]
    assert list(find("나는 대학교에서 왔다".split(), needle("학교", inflected=True))) == []


@given(TEXTS, LANGUAGES)
def test_each_word_lies_in_the_folded_text_where_it_is_located(text: str, language: str | None) -> None:
    words = [text[span.char_start : span.char_end] for span in split_words(text, language)]
    line, starts, ends = located(words)
    assert (folded_text({"word": word, "channel": None} for word in words) or "  ") == line
    assert [line[start:end] for start, end in zip(starts, ends, strict=True)] == [fold(word) for word in words]


@given(TEXTS, LANGUAGES, st.data())
def test_any_words_are_found_where_they_stand(text: str, language: str | None, data: st.DataObject) -> None:
    words = [{"word": text[span.char_start : span.char_end]} for span in split_words(text, language)]
    first = data.draw(st.integers(0, len(words)))
    after = data.draw(st.integers(first, len(words)))
    sought = needle(" ".join(word["word"] for word in words[first:after]))
    if sought:
        found = list(find([word["word"] for word in words], sought))
        inside = [k for k in range(first, after) if fold(words[k]["word"])]
        assert (inside[0], inside[-1] + 1) in found
        for begin, end in found:
            assert sought.strip() in fold(" ".join(word["word"] for word in words[begin:end]))


def test_channels_are_lines_so_that_a_phrase_is_one_voice_s() -> None:
    words = [("How", 0), ("Uh-huh", 1), ("are", 0), ("you?", 0), ("Fine.", 1)]
    assert folded_text({"word": word, "channel": channel} for word, channel in words) == " how are you \n uh-huh fine "
    assert folded_text([{"word": "🎻", "channel": None}]) is None
    assert folded_text([]) is None
