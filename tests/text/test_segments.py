from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.config import SegmentsConfig
from tests.kit.texts import TEXTS
from transforms.text.segments import Segment, TimedWord, mean_confidence, split_segments
from transforms.text.words import split_words

_CONFIG = SegmentsConfig()
_NARROW = SegmentsConfig(max_chars=24, max_ms=2000, max_pause_ms=600)


def _timed(
    text: str, word_ms: int = 300, pauses: dict[int, int] | None = None, language: str | None = "en"
) -> list[TimedWord]:
    """The words of `text` one after the other; `pauses` before the words of these indexes."""
    at_char = at_ms = 0
    words = []
    for index, word in enumerate(text.split()):
        at_ms += (pauses or {}).get(index, 0)
        words.append(
            TimedWord(
                word,
                at_char,
                at_char + len(word),
                at_ms,
                at_ms + word_ms,
                False,
                0.9,
                language,
                (at_ms, at_ms + word_ms),
            )
        )
        at_char, at_ms = at_char + len(word) + 1, at_ms + word_ms
    return words


def _texts(words: list[TimedWord], config: SegmentsConfig = _CONFIG) -> list[str]:
    return [" ".join(word.word for word in words[first:last]) for first, last, _ in _split(words, config)]


def _text(words: list[TimedWord]) -> str:
    text = ""
    for word in words:
        text += " " * (word.char_start - len(text)) + word.word
    return text


def _split(words: list[TimedWord], config: SegmentsConfig) -> list[Segment]:
    return split_segments(_text(words), words, config)


@st.composite
def _speech(draw: st.DrawFn) -> list[TimedWord]:
    words = [word for text in draw(st.lists(TEXTS, max_size=6)) for word in text.split()]
    at_char = at_ms = 0
    found = []
    for word in words:
        start = at_ms + draw(st.sampled_from([0, 0, 10, 400, 3000]))
        end = start + draw(st.sampled_from([1, 150, 900, 9000]))
        timed = draw(st.integers(0, 5)) > 0
        language = draw(st.sampled_from(["en", "en", "en", "de", None]))
        times = (start, end) if timed else (None, None)
        found.append(TimedWord(word, at_char, at_char + len(word), *times, None, None, language, (at_ms, end)))
        at_char, at_ms = at_char + len(word) + draw(st.integers(0, 2)), end
    return found


@given(_speech(), st.sampled_from([_CONFIG, _NARROW]))
def test_segments_cover_every_word_once_and_keep_to_the_limits(words: list[TimedWord], config: SegmentsConfig) -> None:
    parts = _split(words, config)
    ranges = [(first, last) for first, last, _ in parts]
    assert all(a.char_start < b.char_start <= words[b.first].char_start for a, b in pairwise(parts))
    assert [index for first, last in ranges for index in range(first, last)] == list(range(len(words)))
    for first, last in ranges:
        inside = words[first:last]
        assert len({word.language for word in inside}) == 1
        if len(inside) > 1:
            assert inside[-1].char_end - inside[0].char_start <= config.max_chars
            assert inside[-1].ends_ms - inside[0].begins_ms <= config.max_ms
        assert all(b.begins_ms - a.ends_ms <= config.max_pause_ms for a, b in pairwise(inside))
        # Where letters follow; a mark alone belongs to what stands before it.
        assert not any(a.word.endswith(("。", "؟", "።")) and b.word[0].isalpha() for a, b in pairwise(inside))


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("One two. Three four? Five! Six", ["One two.", "Three four?", "Five!", "Six"]),
        ("She said “no.” Then left.", ["She said “no.”", "Then left."]),
        ("Mr. Smith met Dr. J. Brown etc. Then he left.", ["Mr. Smith met Dr. J. Brown etc.", "Then he left."]),
        ("It costs 3.50 e.g. today.", ["It costs 3.50 e.g. today."]),
        ("Wait… what? 你好。 世界", ["Wait… what?", "你好。", "世界"]),
    ],
)
def test_a_segment_ends_with_a_sentence_and_not_with_an_abbreviation(text: str, sentences: list[str]) -> None:
    assert _texts(_timed(text)) == sentences


@pytest.mark.parametrize(
    ("language", "text", "sentences"),
    [
        ("fr", "Bonjour ! Ça va ? « Oui. » Il dit.", ["Bonjour !", "Ça va ?", "« Oui. »", "Il dit."]),
        ("en", "He said no. She left. Jan. 5th came.", ["He said no.", "She left.", "Jan. 5th came."]),
        ("en", "- Hello. - Hi there. — No?", ["- Hello.", "- Hi there.", "— No?"]),
        ("de", "Am 3. Oktober war z. B. Ruhe. Dann ging er.", ["Am 3. Oktober war z. B. Ruhe.", "Dann ging er."]),
        ("es", "Sí. ¿ Qué ? ¡No!", ["Sí.", "¿ Qué ?", "¡No!"]),
        ("ur", "یہ ہے۔ وہ ہے۔", ["یہ ہے۔", "وہ ہے۔"]),
        ("am", "ሰላም ነው። እሺ።", ["ሰላም ነው።", "እሺ።"]),
        ("hy", "Բարև։ Ինչպես ես։", ["Բարև։", "Ինչպես ես։"]),
        ("el", "Τι κάνεις; Καλά.", ["Τι κάνεις;", "Καλά."]),
        ("km", "នេះជាភាសា។ ទៅ។ល។ បាន", ["នេះជាភាសា។", "ទៅ។ល។", "បាន"]),
        ("th", "สวัสดีครับ ผมชื่อสมชาย", ["สวัสดีครับ", "ผมชื่อสมชาย"]),
        ("zh", "好吧！《红楼梦》。", ["好吧！", "《红楼梦》。"]),
        (None, "One. Two.", ["One.", "Two."]),
    ],
)
def test_sentences_of_languages(language: str | None, text: str, sentences: list[str]) -> None:
    spans = split_words(text, language)
    words = [TimedWord(text[a:b], a, b, a, b, None, None, language, (a, b)) for a, b in spans]
    starts = [part.char_start for part in split_segments(text, words, _CONFIG)]
    assert [text[a:b].strip() for a, b in pairwise([*starts, len(text)])] == sentences


def test_a_sentence_that_fits_is_left_whole() -> None:
    text = "well, this is one sentence, with commas; and it fits"
    assert _texts(_timed(text, pauses={4: 1400})) == [text]


def test_a_long_pause_and_a_change_of_language_end_a_segment() -> None:
    words = _timed("one two three four", pauses={2: 1501})
    assert _texts(words) == ["one two", "three four"]
    assert _texts(_timed("one two three four", pauses={2: 1500})) == ["one two three four"]
    other = [TimedWord(**{**vars(word), "language": "de"}) for word in _timed("one two three four")[2:]]
    assert _texts(_timed("one two three four")[:2] + other) == ["one two", "three four"]


def test_a_long_sentence_is_divided_at_its_commas() -> None:
    text = (
        "when the boxes had been empty for about a year or two, "
        "the tapes were copied to a disk that is far smaller than a sandwich"
    )
    assert _texts(_timed(text, word_ms=250)) == [
        "when the boxes had been empty for about a year or two,",
        "the tapes were copied to a disk that is far smaller than a sandwich",
    ]


def test_without_punctuation_a_pause_decides_and_else_the_middle() -> None:
    text = " ".join(["aaaa"] * 24)  # 119 characters, 7.2 s
    assert [len(part.split()) for part in _texts(_timed(text))] == [12, 12]
    assert [len(part.split()) for part in _texts(_timed(text, pauses={10: 700}))] == [10, 14]


def test_a_single_word_is_never_divided() -> None:
    words = _timed(f"{'a' * 200} b", word_ms=20_000)
    assert _texts(words) == ["a" * 200, "b"]


def test_confidence_is_weighted_by_duration() -> None:
    def word(start_ms: int | None, end_ms: int | None, confidence: float | None) -> TimedWord:
        return TimedWord("a", 0, 1, start_ms, end_ms, None, confidence, "en", (0, 10_000))

    assert mean_confidence([word(0, 100, 1.0), word(100, 400, 0.2)]) == pytest.approx((100 + 60) / 400)
    assert mean_confidence([word(0, 100, 1.0), word(100, 400, None)]) == 1.0
    assert mean_confidence([word(0, 200, 1.0), word(None, None, 0.5)]) == pytest.approx(0.75)
    assert mean_confidence([word(0, 100, None)]) is None
    assert mean_confidence([]) is None
