from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.kit.aligning import align_all
from tests.kit.texts import LANGUAGES, TEXTS, tokens_of
from transforms.engines import AlignmentRequest, EngineLost, Hypothesis, Samples
from transforms.text.tokens import Token, WordTime, WordTimes

_RECOGNIZER = ("recognizer", None, None)


class Aligner:
    """Spec and aligner in one; `time` makes the answer to a request."""

    def __init__(self, time: Callable[[AlignmentRequest], WordTimes | None], *languages: str) -> None:
        self._time = time
        self.languages = frozenset(languages) or None
        self.asked: list[AlignmentRequest] = []

    @property
    def key(self) -> Mapping[str, Any]:
        return {}

    def checked(self) -> Any:
        return self

    def load(self) -> Aligner:
        return self

    def align(self, requests: Sequence[AlignmentRequest]) -> list[WordTimes | None]:
        self.asked += requests
        return [self._time(request) for request in requests]


def _loaded(name: str, aligner: Aligner) -> tuple[str, Aligner, Aligner]:
    return name, aligner, aligner


def _item(
    text: str, language: str | None = "en", times: Sequence[tuple[int, int] | None] = ()
) -> tuple[Samples, Hypothesis]:
    """A second of audio, and a token for each word, timed as in `times`."""
    tokens, at = [], 0
    for index, word in enumerate(text.split()):
        at = text.index(word, at)
        start, end = (times[index] if index < len(times) else None) or (None, None)
        tokens.append(Token(at, at + len(word), 0.25 + index / 10, start, end))
        at += len(word)
    return np.zeros(16_000, np.float32), Hypothesis(text, language, 1.0, tuple(tokens), len(tokens), -0.5)


def _by_hundreds(request: AlignmentRequest) -> WordTimes:
    return [WordTime(index * 100, index * 100 + 80) for index in range(len(request.words))]


def _times(words: list[dict[str, Any]]) -> list[tuple[int | None, int | None]]:
    return [(word["start_ms"], word["end_ms"]) for word in words]


def test_each_text_is_timed_by_the_first_aligner_that_can() -> None:
    english = Aligner(lambda request: None if "hard" in request.text else _by_hundreds(request), "en")
    german = Aligner(
        lambda request: [WordTime(i * 100 + 10, i * 100 + 90) for i in range(len(request.words))], "de", "en"
    )
    items = [
        _item("one two"),
        _item("eins zwei", "de"),
        _item("hard one"),
        _item("un deux", "fr", [(1, 2), (3, 4)]),
        _item("", "en"),
        _item("ett två", "sv"),
    ]
    found = align_all([_loaded("english", english), _loaded("german", german), _RECOGNIZER], items)
    assert [name for name, _, _ in found] == ["english", "german", "german", "recognizer", None, None]
    assert [_times(words) for _, words, _ in found] == [
        [(0, 80), (100, 180)],
        [(10, 90), (110, 190)],
        [(10, 90), (110, 190)],
        [(1, 2), (3, 4)],
        [],
        [(None, None), (None, None)],
    ]
    assert [request.text for request in english.asked] == ["one two", "hard one"]
    assert [request.text for request in german.asked] == ["eins zwei", "hard one"]
    assert german.asked[0].words == ((0, 4), (5, 9))
    assert len(german.asked[0].samples) == 16_000


def test_words_keep_their_text_offsets_and_confidence() -> None:
    ((_, words, _),) = align_all([_RECOGNIZER], [_item("Well, (yes) — no")])
    assert [(word["word"], word["char_start"], word["char_end"]) for word in words] == [
        ("Well,", 0, 5),
        ("(yes)", 6, 11),
        ("no", 14, 16),
    ]
    assert [word["confidence"] for word in words] == [pytest.approx(value) for value in (0.25, 0.35, 0.55)]


def test_a_word_that_the_aligner_misses_takes_the_recognizers_time_between_its_neighbours() -> None:
    partly = Aligner(lambda request: [WordTime(100, 300), None, WordTime(500, 600)])
    for own, expected in [
        ((350, 450), (350, 450)),
        ((200, 550), (300, 500)),
        ((0, 120), (None, None)),
        (None, (None, None)),
    ]:
        item = _item("one two three", times=[(0, 10), own, (20, 30)])
        ((name, words, _),) = align_all([_loaded("partly", partly), _RECOGNIZER], [item])
        assert name == "partly"
        assert _times(words) == [(100, 300), expected, (500, 600)]
        ((_, words, _),) = align_all([_loaded("partly", partly)], [item])
        assert _times(words)[1] == (None, None), "the recognizer's times were not asked for"


def test_a_word_says_whether_its_time_is_an_estimate() -> None:
    partly = Aligner(lambda request: [WordTime(100, 300), WordTime(300, 400, True), None, None])
    item = _item("one two three four", times=[(0, 10), (10, 20), (500, 600)])
    ((_, words, _),) = align_all([_loaded("partly", partly), _RECOGNIZER], [item])
    assert [word["estimated"] for word in words] == [False, True, False, None]


def test_an_aligner_that_times_no_word_at_all_is_passed_over() -> None:
    none = Aligner(lambda request: [None] * len(request.words))
    ((name, words, _),) = align_all([_loaded("none", none), _RECOGNIZER], [_item("one", times=[(5, 9)])])
    assert (name, _times(words)) == ("recognizer", [(5, 9)])


def test_without_aligners_words_have_no_times() -> None:
    ((name, words, _),) = align_all([], [_item("one two", times=[(1, 2), (3, 4)])])
    assert (name, _times(words)) == (None, [(None, None)] * 2)


@pytest.mark.parametrize("missing", ["text", "word"])
def test_a_wrong_count_is_raised_with_the_aligner_and_both_counts(missing: str) -> None:
    class Miscounting(Aligner):
        def align(self, requests: Sequence[AlignmentRequest]) -> list[WordTimes | None]:
            answers = super().align(requests)
            return answers[1:] if missing == "text" else [answer and answer[1:] for answer in answers]

    says = (
        "'bad' was given 2 items and returned 1" if missing == "text" else "words of one text was given 3 .* returned 2"
    )
    with pytest.raises(RuntimeError, match=says):
        align_all([_loaded("bad", Miscounting(_by_hundreds))], [_item("one two three"), _item("four five six")])


def test_an_aligners_error_costs_its_text_and_is_told() -> None:
    def raising(request: AlignmentRequest) -> WordTimes:
        if "¥1" in request.text:
            raise KeyError("yen")
        return _by_hundreds(request)

    items = [_item("one two"), _item("costs ¥1", times=[(5, 9), (9, 20)])]
    good, bad = align_all([_loaded("picky", Aligner(raising))], items)
    assert (good.aligner, good.error) == ("picky", None)
    assert (bad.aligner, _times(bad.words)) == (None, [(None, None)] * 2)
    assert bad.error is not None
    assert (bad.error.stage, bad.error.kind, bad.error.transient) == ("align", "KeyError", False)
    assert "aligner 'picky' failed on this text: KeyError: 'yen'" in bad.error.message
    good, bad = align_all([_loaded("picky", Aligner(raising)), _RECOGNIZER], items)
    assert (good.aligner, bad.aligner, _times(bad.words)) == ("picky", "recognizer", [(5, 9), (9, 20)])
    assert bad.error is not None, "told also where the next aligner could"


def test_a_lost_aligner_is_raised_and_a_crowded_one_gets_fewer_texts() -> None:
    def lost(request: AlignmentRequest) -> WordTimes:
        raise EngineLost("the device is gone")

    class Cramped(Aligner):
        def align(self, requests: Sequence[AlignmentRequest]) -> list[WordTimes | None]:
            if len(requests) > 1:
                raise MemoryError
            return super().align(requests)

    def out_of_memory(request: AlignmentRequest) -> WordTimes:
        raise MemoryError

    items = [_item("one"), _item("two"), _item("three")]
    with pytest.raises(EngineLost, match="the device is gone"):
        align_all([_loaded("lost", Aligner(lost))], items)
    assert [found.aligner for found in align_all([_loaded("cramped", Cramped(_by_hundreds))], items)] == ["cramped"] * 3
    with pytest.raises(EngineLost, match=r"out of memory with one utterance of 1\.0 s"):
        align_all([_loaded("cramped", Aligner(out_of_memory))], items)


_TIME = st.none() | st.tuples(st.integers(-100, 1500), st.integers(-100, 1500))


@given(TEXTS, LANGUAGES, st.lists(st.integers(0, 60), max_size=8), st.data())
def test_whatever_an_aligner_says_words_run_forward_inside_the_audio(
    text: str, language: str | None, cuts: list[int], data: st.DataObject
) -> None:
    def wild(request: AlignmentRequest) -> WordTimes:
        times = [data.draw(_TIME) for _ in request.words]
        return [time and WordTime(*time, data.draw(st.booleans())) for time in times]

    tokens = tuple(
        Token(token.char_start, token.char_end, None, *(data.draw(_TIME) or (None, None)))
        for token in tokens_of(text, cuts)
    )
    item = np.zeros(16_000, np.float32), Hypothesis(text, language, 1.0, tokens, len(tokens), None)
    ((_, words, _),) = align_all([_loaded("wild", Aligner(wild)), _RECOGNIZER], [item])
    assert all(text[word["char_start"] : word["char_end"]] == word["word"] for word in words)
    assert all((word["estimated"] is None) == (word["start_ms"] is None) for word in words)
    timed = [time for time in _times(words) if time != (None, None)]
    assert all(0 <= start < end <= 1000 for start, end in timed)
    assert all(before[1] <= after[0] for before, after in pairwise(timed))


def test_an_aligner_is_not_asked_for_more_than_it_takes_at_once() -> None:
    short, long = Aligner(_by_hundreds), Aligner(_by_hundreds)
    short.longest_s = 0.5
    found = align_all([_loaded("short", short), _loaded("long", long)], [_item("one two")])
    assert (found[0][0], short.asked, len(long.asked)) == ("long", [], 1)
    short.longest_s = 1.0
    assert align_all([_loaded("short", short), _loaded("long", long)], [_item("one two")])[0][0] == "short"
