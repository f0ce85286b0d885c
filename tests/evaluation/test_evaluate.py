"""What an error is, where a word went, and how confidences and times are judged. No Spark."""

from __future__ import annotations

import random
from typing import Any

import jiwer
import pytest
from hypothesis import given
from hypothesis import strategies as st
from whisper_normalizer.basic import BasicTextNormalizer

from transforms.evaluation.evaluate import calibration_error, difference, score, spans_of
from transforms.text.normalize import normalizer

WORDS = st.lists(st.sampled_from("a b c d".split()), max_size=12)


def timed(text: str, shift_ms: int = 0, confidence: float | None = None) -> list[dict[str, Any]]:
    """A word each half second."""
    return [
        {
            "word": word,
            "start_ms": index * 500 + shift_ms,
            "end_ms": index * 500 + 400 + shift_ms,
            "confidence": confidence,
        }
        for index, word in enumerate(text.split())
    ]


@given(WORDS.filter(bool), WORDS)
def test_counts_are_those_of_jiwer(reference: list[str], hypothesis: list[str]) -> None:
    found = score(" ".join(reference), " ".join(hypothesis), "de")
    theirs = jiwer.process_words(" ".join(reference), " ".join(hypothesis))
    assert found["wer"] == pytest.approx(theirs.wer)
    assert found["cer"] == pytest.approx(jiwer.cer(" ".join(reference), " ".join(hypothesis)))
    hits = found["words"] - found["substitutions"] - found["deletions"]
    assert found["substitutions"] + found["deletions"] + found["insertions"] == (
        theirs.substitutions + theirs.deletions + theirs.insertions
    )
    assert hits + found["substitutions"] + found["insertions"] == len(hypothesis)


@given(WORDS, WORDS)
def test_the_alignment_holds_both_texts(reference: list[str], hypothesis: list[str]) -> None:
    aligned = score(" ".join(reference), " ".join(hypothesis), "de")["alignment"]
    for side, words in (("reference", reference), ("hypothesis", hypothesis)):
        assert " ".join(stretch[side] for stretch in aligned if stretch[side]).split() == words
    assert all((stretch["reference"] == stretch["hypothesis"]) == (stretch["kind"] == "equal") for stretch in aligned)


def test_english_spelling_numbers_and_contractions_are_no_errors() -> None:
    found = score(
        "Mr. Smith won't pay twenty-one dollars for colours.", "mister smith will not pay $21 for colors", "en"
    )
    assert (found["words"], found["wer"], found["normalization"].split()[0]) == (8, 0.0, "whisper-english")
    assert score("he paid 21", "he paid 22", "en")["substitutions"] == 1


def test_other_languages_lose_case_and_punctuation_only_and_keep_their_marks() -> None:
    assert score("Wo ist „Köln“?", "wo ist köln", "de")["wer"] == 0.0
    assert score("schon", "schön", "de")["wer"] == 1.0
    assert normalizer("hi").tokens("हिन्दी, नमस्ते!") == ["हिन्दी", "नमस्ते"]
    for text in ("L'été, c'est fini?", "Где ты?", "¡Qué más!", "zwölf (lacht) Boxkämpfer [Musik]"):
        assert normalizer("xx").tokens(text) == BasicTextNormalizer()(text).split()


def test_arabic_is_compared_without_its_vowel_signs() -> None:
    assert score("مَرْحَبًا، مـــرحبا", "مرحبا مرحبا", "ar")["wer"] == 0.0
    assert score("أنت", "انت", "ar")["wer"] == 1.0
    assert normalizer("ar").name.endswith("marks kept but tashkeel")


@pytest.mark.parametrize("language", ["zh", "yue"])
def test_traditional_characters_are_simplified_ones_if_asked(language: str) -> None:
    assert score("漢語說得對。", "汉语说得对", language, simplified=True)["wer"] == 0.0
    assert score("漢語說得對。", "汉语说得对", language)["substitutions"] == 4
    assert "opencc" in normalizer(language, simplified=True).name
    assert "opencc" not in normalizer("ja", simplified=True).name


@pytest.mark.parametrize("language", ["zh", "yue", "ja", "th"])
def test_languages_without_spaces_are_counted_in_characters(language: str) -> None:
    found = score("今天 天气，很好。", "今天天汽很好", language)
    assert (found["unit"], found["words"], found["substitutions"], found["wer"]) == ("character", 6, 1, 1 / 6)
    assert found["cer"] == found["wer"]
    assert [stretch["reference"] for stretch in found["alignment"]] == ["今天天", "气", "很好"]


def test_nothing_said_and_nothing_found_count_as_what_they_are() -> None:
    nothing = score("", "", "en")
    assert (nothing["words"], nothing["wer"], nothing["cer"], nothing["alignment"]) == (0, None, None, [])
    invented = score("", "thank you", "en")
    assert (invented["words"], invented["insertions"], invented["wer"]) == (0, 2, None)
    missed = score("thank you all", "", "en")
    assert (missed["deletions"], missed["wer"], missed["cer"]) == (3, 1.0, 1.0)
    assert score("a b", "x y z w", "de")["wer"] == 2.0  # more errors than words


def test_each_word_knows_its_tokens_though_normalization_joins_splits_and_drops_them() -> None:
    text = "Uh, I won't pay twenty one dollars – okay"
    normal = normalizer("en")
    tokens = normal.tokens(text)
    assert tokens == ["i", "will", "not", "pay", "$21", "okay"]
    spans = spans_of(timed(text), tokens, normal.tokens)
    shown = [None if span is None else tokens[slice(*span)] for span in spans]
    assert shown == [None, ["i"], ["will", "not"], ["pay"], ["$21"], ["$21"], ["$21"], None, ["okay"]]
    assert spans_of(timed("it is twenty one"), ["it", "is", "21"], normal.tokens) == [(0, 1), (1, 2), (2, 3), (2, 3)]


def test_a_word_is_right_if_all_its_tokens_are() -> None:
    words = timed("He won't eat twenty one apples", confidence=0.75)
    found = score("he will now eat 21 apples", "He won't eat twenty one apples", "en", words)
    assert found["substitutions"] == 1
    assert found["calibration"] == [{"bin": 7, "words": 6, "right": 5, "confidence_sum": 4.5}]


def test_calibration_bins_are_tenths_and_one_belongs_to_the_last() -> None:
    words = [
        {"word": word, "confidence": confidence, "start_ms": None, "end_ms": None}
        for word, confidence in [("a", 1.0), ("b", 0.95), ("x", 0.1), ("c", 0.0), ("d", None)]
    ]
    bins = score("a b c d", "a b x c d", "de", words)["calibration"]
    assert [(found["bin"], found["words"], found["right"]) for found in bins] == [(0, 1, 1), (1, 1, 0), (9, 2, 2)]
    assert calibration_error(bins) == pytest.approx((1.0 + 0.1 + 0.05) / 4)
    assert calibration_error([]) is None


def test_times_are_compared_where_the_words_agree() -> None:
    reference = timed("I will not pay today")
    words = [*timed("Um, I won't", shift_ms=30), {"word": "stay", "start_ms": 1500, "end_ms": 1900}]
    words.append({"word": "today", "start_ms": None, "end_ms": 2500})
    found = score("I will not pay today", "Um, I won't stay today", "en", words, reference)
    assert found["timed_words"] == 5
    errors = {error["word"]: (error["start_error_ms"], error["end_error_ms"]) for error in found["time_errors"]}
    assert errors == {"I": (530, 530), "will": (530, None), "not": (None, 30), "today": (None, 100)}
    assert score("a", "a", "de", timed("a"))["time_errors"] is None


def test_times_of_the_same_words_differ_by_what_they_were_moved() -> None:
    text = " ".join(random.Random(1).choices("one two three it's over ten past R&D's lake".split(), k=60))
    for error in score(text, text, "en", timed(text, 40), timed(text))["time_errors"]:
        assert {error["start_error_ms"], error["end_error_ms"]} <= {40, None}


def test_the_difference_shows_what_is_around_it_and_no_more() -> None:
    long = " ".join(f"w{index}" for index in range(40))
    aligned = score(f"{long} brown {long}", f"{long} crown {long} end", "de")["alignment"]
    assert difference(aligned, "word", around=2) == [
        ("equal", "… w38 w39"),
        ("delete", "brown"),
        ("insert", "crown"),
        ("equal", "w0 w1 … w38 w39"),
        ("insert", "end"),
    ]
    assert difference(aligned, "word", around=2, most=1)[-1] == ("equal", "…")
    assert difference(score("今日は", "今日も", "ja")["alignment"], "character")[0] == ("equal", "今日")
