from __future__ import annotations

from itertools import accumulate, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.kit.texts import LANGUAGES, TEXTS
from transforms.text.tokens import Token, WordTime, WordTimes
from transforms.text.words import Span, confidences, graphemes, separator, settle_times, split_words, token_times


def _words(text: str, language: str | None) -> list[str]:
    return [text[start:end] for start, end in split_words(text, language)]


@given(TEXTS, LANGUAGES)
def test_words_are_in_order_apart_and_hold_all_that_is_said(text: str, language: str | None) -> None:
    spans = split_words(text, language)
    assert all(0 <= start < end <= len(text) for start, end in spans)
    assert all(before.char_end <= after.char_start for before, after in pairwise(spans))
    inside = "".join(text[start:end] for start, end in spans)
    assert [char for char in inside if char.isalnum()] == [char for char in text if char.isalnum()]
    assert all(text[start:end].strip() for start, end in spans)
    assert not any(char.isspace() for char in inside)
    edges = {0, *accumulate(map(len, graphemes(text)))}
    assert all(start in edges and end in edges for start, end in spans)


@pytest.mark.parametrize(
    ("text", "language", "words"),
    [
        ("", "en", []),
        ("... — ?!", "en", []),
        ("Hello, world!", "en", ["Hello,", "world!"]),
        ("“Well (yes) — no,” she said.", "en", ["“Well", "(yes)", "no,”", "she", "said."]),
        ("( hello ) world", "en", ["hello", "world"]),
        ("R & D cost 50 % 🎉", "en", ["R", "&", "D", "cost", "50", "%", "🎉"]),
        ("c'est-à-dire : l’été", "fr", ["c'est-à-dire", "l’été"]),
        ("हिन्दी में", "hi", ["हिन्दी", "में"]),
        ("e\u0301te\u0301", "fr", ["e\u0301te\u0301"]),
        ("你好，世界！", "zh", ["你", "好，", "世", "界！"]),
        ("GPT-4很好 ok", "zh", ["GPT-4", "很", "好", "ok"]),
        ("（你）好", "yue", ["（你）", "好"]),
        ("你好", None, ["你好"]),
    ],
)
def test_words_of_languages(text: str, language: str | None, words: list[str]) -> None:
    assert _words(text, language) == words


@pytest.mark.parametrize(
    ("text", "language", "words"),
    [
        ("図書館は、開いています。", "ja", ["図書館", "は、", "開", "い", "てい", "ます。"]),
        ("（「はい」）とGPT-4が。", "ja", ["（「はい」）", "と", "GPT-4", "が。"]),
        ("สวัสดีชาวโลก 1,234 คน", "th", ["สวัสดี", "ชาว", "โลก", "1,234", "คน"]),
        ("ສະບາຍດີປະເທດລາວ", "lo", ["ສະບາຍດີ", "ປະເທດ", "ລາວ"]),
        ("ខ្ញុំស្រលាញ់ភាសា។", "km", ["ខ្ញុំ", "ស្រលាញ់", "ភាសា។"]),
        ("မြန်မာဘာသာစကား။", "my", ["မြန်မာဘာသာ", "စကား။"]),
        ("བཀྲ་ཤིས།", "bo", ["བཀྲ་", "ཤིས།"]),
        ("吧！《红楼》。", "zh", ["吧！", "《红", "楼》。"]),
        ("ok“你”。¿Qué?", "zh", ["ok", "“你”。", "¿Qué?"]),
        ("葛󠄀城", "zh", ["葛󠄀", "城"]),
    ],
)
def test_where_no_spaces_are_written_dictionaries_know_the_words(text: str, language: str, words: list[str]) -> None:
    assert _words(text, language) == words


@pytest.mark.parametrize(
    ("left", "right", "joined"),
    [
        ("one.", "two", " "),
        ("你好。", "世界", ""),
        ("です", "が", ""),
        ("你好", "ok", " "),
        ("ok", "你好", " "),
        ("안녕", "하세요", " "),
        ("", "one", ""),
        ("one", "", ""),
    ],
)
def test_pieces_of_a_transcript_are_joined_as_their_script_is_written(left: str, right: str, joined: str) -> None:
    assert separator(left, right) == joined


_SPAN_LISTS = st.lists(st.tuples(st.integers(0, 3), st.integers(1, 6)), max_size=8).map(
    lambda steps: [
        Span(sum(gap + size for gap, size in steps[:index]) + gap, sum(gap + size for gap, size in steps[: index + 1]))
        for index, (gap, size) in enumerate(steps)
    ]
)
_KNOWN = st.none() | st.integers(0, 10_000)


@given(_SPAN_LISTS, _SPAN_LISTS, st.data())
def test_a_word_has_the_time_and_confidence_of_its_tokens(
    words: list[Span], places: list[Span], data: st.DataObject
) -> None:
    probabilities = st.none() | st.floats(0, 1)
    tokens = [Token(*place, data.draw(probabilities), data.draw(_KNOWN), data.draw(_KNOWN)) for place in places]
    times, found = token_times(words, tokens), confidences(words, tokens)
    assert len(times) == len(found) == len(words)
    for word, time, confidence in zip(words, times, found, strict=True):
        own = [token for token in tokens if token.char_end > word.char_start and token.char_start < word.char_end]
        starts = [token.start_ms for token in own if token.start_ms is not None]
        ends = [token.end_ms for token in own if token.end_ms is not None]
        known = [token.probability for token in own if token.probability is not None]
        if all(word.char_start <= token.char_start and token.char_end <= word.char_end for token in own):
            assert time == (WordTime(min(starts), max(ends)) if starts and ends else None)
        else:
            assert (time is not None) == bool(starts and ends)
        assert confidence == (pytest.approx(sum(known) / len(known)) if known else None)


def test_a_token_of_two_words_is_shared_by_their_characters() -> None:
    words, tokens = [Span(0, 3), Span(3, 4)], [Token(0, 2, 1.0, 0, 100), Token(2, 4, 1.0, 100, 300)]
    assert token_times(words, tokens) == [WordTime(0, 200, True), WordTime(200, 300, True)]


_TIMES = st.lists(
    st.none() | st.builds(WordTime, st.integers(-50, 400), st.integers(-50, 400), st.booleans()), max_size=12
)


@given(_TIMES, st.integers(0, 300))
def test_settled_times_run_forward_inside_and_none_is_empty(times: WordTimes, length_ms: int) -> None:
    settled = settle_times(times, length_ms)
    assert len(settled) == len(times)
    assert all(after is None for before, after in zip(times, settled, strict=True) if before is None)
    known = [time for time in settled if time is not None]
    assert all(0 <= start < end <= length_ms for start, end, _ in known)
    assert all(before.end_ms <= after.start_ms for before, after in pairwise(known))
    assert settle_times(settled, length_ms) == settled


@given(st.lists(st.integers(0, 300), max_size=12, unique=True), st.data())
def test_words_that_start_one_after_the_other_all_keep_their_start(starts: list[int], data: st.DataObject) -> None:
    times: WordTimes = [WordTime(start, data.draw(st.integers(-20, 400))) for start in sorted(starts)]
    settled = settle_times(times, 301)
    assert [time and time[0] for time in settled] == sorted(starts)


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(1, 9)), max_size=12), st.data())
def test_times_that_are_in_order_are_left_alone(steps: list[tuple[int, int]], data: st.DataObject) -> None:
    at = 0
    times: WordTimes = []
    for gap, length in steps:
        time = WordTime(at + gap, at + gap + length, data.draw(st.booleans()))
        times.append(time if data.draw(st.booleans()) else None)
        at += gap + length
    assert settle_times(times, at) == times


def test_words_that_start_together_share_their_time() -> None:
    together = [WordTime(100, 400), WordTime(100, 400), WordTime(100, 160), WordTime(500, 600)]
    assert settle_times(together, 1000) == [
        WordTime(100, 200, True),
        WordTime(200, 300, True),
        WordTime(300, 400, True),
        WordTime(500, 600, False),
    ]
    crossed = [WordTime(100, 300), WordTime(200, 250), WordTime(150, 400)]
    assert settle_times(crossed, 1000) == [
        WordTime(100, 200, False),
        WordTime(200, 300, True),
        WordTime(300, 400, True),
    ]


def test_a_word_for_which_no_time_is_left_has_none() -> None:
    late = [WordTime(0, 100), WordTime(100, 120), WordTime(100, 120)]
    assert settle_times(late, 100) == [WordTime(0, 100), None, None]
    assert settle_times([WordTime(5, 9)], 0) == [None]
