from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.config import RetryConfig
from tests.kit.sounds import noise
from transforms.engines import EngineLost, Hypothesis, Utterance
from transforms.errors import RecordingError
from transforms.recognition.second_try import (
    Tries,
    echoes,
    find_doubts,
    recognize_all,
    repeats_itself,
)
from transforms.text.tokens import Token

_CONFIG = RetryConfig(min_audio_ms=2000)
_LOOP = " ".join(["thank you"] * 12)


def _hypothesis(text: str, **changes: Any) -> Hypothesis:
    """Each word a token of 100 ms."""
    tokens, at = [], 0
    for index, word in enumerate(text.split()):
        at = text.index(word, at)
        tokens.append(Token(at, at + len(word), 0.5, index * 100, index * 100 + 90))
        at += len(word)
    values = {"language": "en", "language_probability": 0.7, "token_count": len(tokens), "mean_logprob": -0.5}
    return Hypothesis(**{"text": text, "tokens": tuple(tokens)} | values | changes)


class Engine:
    """Reads each utterance by `read`, which may raise; `limit` utterances fit into its memory."""

    def __init__(self, read: Callable[[Utterance], Hypothesis], limit: int = 1000) -> None:
        self._read, self._limit = read, limit
        self.batches: list[int] = []
        self.asked: list[Utterance] = []

    def recognize(self, utterances: Sequence[Utterance]) -> list[Hypothesis]:
        self.batches.append(len(utterances))
        self.asked += utterances
        if len(utterances) > self._limit:
            raise MemoryError
        return [self._read(utterance) for utterance in utterances]


def _utterances(count: int, seconds: float = 1.0) -> list[Utterance]:
    """Told apart by their samples."""
    return [Utterance(np.full(int(seconds * 16_000), index / 100, dtype=np.float32)) for index in range(count)]


def _number(utterance: Utterance) -> int:
    return round(float(utterance.samples[0]) * 100)


def _all(engine: Any, utterances: Sequence[Utterance], config: RetryConfig = _CONFIG) -> list[Any]:
    return recognize_all(engine, utterances, config, Tries())


@settings(max_examples=30)
@given(st.integers(1, 12), st.sets(st.integers(0, 11)), st.integers(1, 12))
def test_an_utterance_that_raises_costs_only_itself(count: int, bad: set[int], limit: int) -> None:
    def read(utterance: Utterance) -> Hypothesis:
        if _number(utterance) in bad:
            raise ValueError(f"cannot read {_number(utterance)}")
        return _hypothesis(f"number {_number(utterance)}")

    results = _all(Engine(read, limit), _utterances(count))
    assert len(results) == count
    for index, result in enumerate(results):
        if index in bad:
            assert isinstance(result, RecordingError)
            assert (result.stage, result.kind, result.transient) == ("recognize", "ValueError", False)
            assert f"cannot read {index}" in result.message
        else:
            assert result == _hypothesis(f"number {index}")


def test_what_does_not_fit_into_memory_is_halved() -> None:
    engine = Engine(lambda utterance: _hypothesis(f"number {_number(utterance)}"), limit=3)
    results = _all(engine, _utterances(10))
    assert [result.text for result in results] == [f"number {index}" for index in range(10)]
    assert engine.batches == [10, 5, 5, 2, 2, 2, 2, 2]


def test_one_utterance_that_does_not_fit_is_the_machines_fault() -> None:
    with pytest.raises(EngineLost, match=r"1\.0 s"):
        _all(Engine(lambda _: _hypothesis("a"), limit=0), _utterances(3))


def test_a_lost_engine_is_nobodys_failure_row() -> None:
    def read(utterance: Utterance) -> Hypothesis:
        raise EngineLost("the device is gone")

    engine = Engine(read)
    with pytest.raises(EngineLost, match="the device is gone"):
        _all(engine, _utterances(3))
    assert engine.batches == [3]


@pytest.mark.parametrize("returned", [2, 4])
def test_a_wrong_count_is_raised_with_both_counts(returned: int) -> None:
    class Miscounting(Engine):
        def recognize(self, utterances: Sequence[Utterance]) -> list[Hypothesis]:
            return [_hypothesis("a")] * returned

    with pytest.raises(RuntimeError, match=f"3 items and returned {returned}"):
        _all(Miscounting(lambda _: _hypothesis("a")), _utterances(3))


def _paused() -> Utterance:
    """Ten seconds of noise with a pause from 6.0 to 6.3 s."""
    samples = noise(10)
    samples[96_000:100_800] *= 0.001
    return Utterance(samples, None, "some context")


def _halving(left: Hypothesis, right: Hypothesis, first: Hypothesis) -> Engine:
    """Reads `first` in ten seconds, `left` and `right` in the parts before and after the pause."""

    def read(utterance: Utterance) -> Hypothesis:
        return first if len(utterance.samples) == 160_000 else left if len(utterance.samples) > 80_000 else right

    return Engine(read)


def _in_order(halves: Sequence[Utterance], whole: Utterance) -> list[Utterance]:
    """A batch may hold them in any order."""
    return sorted(halves, key=lambda half: half.samples[0] != whole.samples[0])


@pytest.mark.parametrize("doubtful", [_hypothesis(_LOOP), _hypothesis("cut off in the mid", finish="length")])
def test_a_loop_or_a_truncation_is_mended_by_halves(doubtful: Hypothesis) -> None:
    left = _hypothesis("all is well", mean_logprob=-1.0)
    right = _hypothesis("so far.", mean_logprob=-2.0)
    engine, tries = _halving(left, right, doubtful), Tries()
    sound = _utterances(1)[0]
    (other, result) = recognize_all(engine, [sound, _paused()], _CONFIG, tries)
    assert other == right
    assert tries.second == 1
    assert (result.text, result.flags, result.finish) == ("all is well so far.", (), "stop")
    assert [result.text[token.char_start : token.char_end] for token in result.tokens] == result.text.split()
    halves = _in_order(engine.asked[-2:], _paused())
    assert np.array_equal(np.concatenate([half.samples for half in halves]), _paused().samples)
    assert {(half.language, half.context) for half in halves} == {("en", "some context")}
    cut_ms = len(halves[0].samples) // 16
    assert 6000 <= cut_ms <= 6300
    assert [token.start_ms for token in result.tokens] == [0, 100, 200, cut_ms, cut_ms + 100]
    assert result.tokens[-1].end_ms == cut_ms + 190
    assert (result.token_count, result.mean_logprob) == (5, pytest.approx((3 * -1.0 + 2 * -2.0) / 5))
    assert (result.language, result.language_probability) == ("en", 0.7)


@pytest.mark.parametrize(
    ("left", "right", "flags", "finish"),
    [
        (_hypothesis(_LOOP), _hypothesis("fine"), ("repetition",), "stop"),
        (_hypothesis("fine"), _hypothesis("cut", finish="length"), ("truncated",), "length"),
        (_hypothesis(_LOOP, finish="length"), _hypothesis(""), ("repetition", "truncated"), "length"),
        (_hypothesis("no no no no"), _hypothesis("no no no no"), ("repetition",), "stop"),
    ],
)
def test_halves_that_are_doubtful_too_are_flagged(
    left: Hypothesis, right: Hypothesis, flags: tuple[str, ...], finish: str
) -> None:
    first = _hypothesis(_LOOP, flags=("no_speech",))
    (result,) = _all(_halving(left, right, first), [_paused()])
    assert result.flags == ("no_speech", *flags)
    assert result.finish == finish
    assert result.text == f"{left.text} {right.text}".strip()


def test_halves_that_cannot_be_read_leave_the_first_reading_flagged() -> None:
    def read(utterance: Utterance) -> Hypothesis:
        if len(utterance.samples) < 80_000:
            raise ValueError
        return _hypothesis(_LOOP)

    (result,) = _all(Engine(read), [_paused()])
    assert (result.text, result.flags) == (_LOOP, ("repetition",))


def test_what_is_too_short_to_halve_is_flagged_at_once() -> None:
    engine = Engine(lambda _: _hypothesis(_LOOP, finish="length"))
    (result,) = _all(engine, [Utterance(noise(1.9))])
    assert (result.flags, engine.batches) == (("truncated", "repetition"), [1])


def test_scripts_without_spaces_are_joined_without_one() -> None:
    left, right = _hypothesis("你好"), _hypothesis("世界")
    (result,) = _all(_halving(left, right, _hypothesis("好" * 40)), [_paused()])
    assert result.text == "你好世界"
    assert [result.text[token.char_start : token.char_end] for token in result.tokens] == ["你好", "世界"]


@given(st.integers(3200, 50_000))
def test_halves_together_are_the_whole(samples: int) -> None:
    engine = Engine(lambda _: _hypothesis(_LOOP))
    utterance = Utterance(noise(4)[:samples])
    _all(engine, [utterance], RetryConfig(min_audio_ms=200))
    left, right = (half.samples for half in _in_order(engine.asked[1:], utterance))
    assert np.array_equal(np.concatenate([left, right]), utterance.samples)
    assert min(len(left), len(right)) >= samples // 4
    assert left.flags.c_contiguous
    assert right.flags.c_contiguous


_CONTEXT = "Vasylenko, Okonkwo and Lindqvist of the harbour board"


@pytest.mark.parametrize(
    ("text", "is_echo"),
    [
        ("Vasylenko, Okonkwo and Lindqvist of the harbour board", True),
        ("okonkwo AND lindqvist", True),
        ("well Okonkwo and Lindqvist of the", True),
        ("Okonkwo and", False),
        ("", False),
        ("I met Okonkwo and Lindqvist of course near the old mill", False),
        ("board harbour the of Lindqvist and", False),
    ],
)
def test_an_echo_is_most_of_a_text_in_the_contexts_own_words(text: str, is_echo: bool) -> None:
    assert echoes(text, _CONTEXT) == is_echo


def _with_context(utterance: Utterance) -> Utterance:
    return Utterance(utterance.samples, utterance.language, _CONTEXT)


def test_what_echoes_the_context_is_read_again_without_it() -> None:
    def read(utterance: Utterance) -> Hypothesis:
        if _number(utterance) == 1 and utterance.context:
            return _hypothesis("Okonkwo and Lindqvist of the harbour")
        return _hypothesis(f"number {_number(utterance)} was said")

    engine, tries = Engine(read), Tries()
    results = recognize_all(engine, [_with_context(u) for u in _utterances(3)], _CONFIG, tries)
    assert results == [_hypothesis(f"number {index} was said") for index in range(3)]
    assert tries.second == 1
    assert engine.batches == [3, 1]
    assert (_number(engine.asked[-1]), engine.asked[-1].context) == (1, None)


def test_what_is_read_the_same_without_the_context_was_said() -> None:
    said = _hypothesis("Okonkwo and Lindqvist")
    (result,) = _all(Engine(lambda _: said), [_with_context(_utterances(1)[0])])
    assert result == said


def test_an_echo_that_cannot_be_read_again_stays_and_is_flagged() -> None:
    def read(utterance: Utterance) -> Hypothesis:
        if not utterance.context:
            raise ValueError
        return _hypothesis("Okonkwo and Lindqvist", flags=("context_cut",))

    (result,) = _all(Engine(read), [_with_context(_utterances(1)[0])])
    assert (result.text, result.flags) == ("Okonkwo and Lindqvist", ("context_cut", "context_echo"))


def test_halves_of_an_echo_are_read_without_the_context_too() -> None:
    def read(utterance: Utterance) -> Hypothesis:
        if utterance.context:
            return _hypothesis(_CONTEXT)
        return _hypothesis(_LOOP if len(utterance.samples) == 160_000 else "so it goes")

    engine, tries = Engine(read), Tries()
    (result,) = recognize_all(engine, [_with_context(_paused())], _CONFIG, tries)
    assert (result.text, result.flags) == ("so it goes so it goes", ())
    assert [utterance.context for utterance in engine.asked] == [_CONTEXT, None, None, None]
    assert tries.second == 2


def _bilingual(forced: Hypothesis, free: Hypothesis) -> Engine:
    return Engine(lambda utterance: forced if utterance.language else free)


_FORCED = _hypothesis("dare hunt", language_probability=1.0, mean_logprob=-1.4)


def test_a_chunk_in_plainly_another_language_is_read_in_it_and_flagged() -> None:
    free = _hypothesis("der Hund", language="de", language_probability=0.9, mean_logprob=-0.2)
    engine, tries = _bilingual(_FORCED, free), Tries()
    (result,) = recognize_all(engine, [Utterance(noise(1), "en")], _CONFIG, tries)
    assert (result.text, result.language, result.flags) == ("der Hund", "de", ("language_mismatch",))
    assert (tries.second, [utterance.language for utterance in engine.asked]) == (1, ["en", None])


@pytest.mark.parametrize(
    "changes",
    [
        {"language": "en"},
        {"language": None},
        {"language_probability": 0.79},
        {"language_probability": None},
        {"mean_logprob": -1.2},
        {"text": "", "tokens": ()},
    ],
)
def test_what_is_not_plainly_another_language_is_left_as_it_was_read(changes: dict[str, Any]) -> None:
    free = _hypothesis("der Hund", language="de", language_probability=0.9, mean_logprob=-0.2)
    (result,) = _all(_bilingual(_FORCED, replace(free, **changes)), [Utterance(noise(1), "en")])
    assert result == _FORCED


def test_a_text_that_fits_its_language_is_not_read_again() -> None:
    for sure, language in [(_hypothesis("the dog", mean_logprob=-0.9), "en"), (_FORCED, None)]:
        engine = Engine(lambda _, sure=sure: sure)
        assert _all(engine, [Utterance(noise(1), language)]) == [sure]
        assert engine.batches == [1]


def test_more_text_than_anyone_can_say_is_a_repetition() -> None:
    """A loop that never says the same word twice has no pattern."""
    text = " ".join(f"{index * 7919 % 10_000:04d}" for index in range(60))
    assert not repeats_itself(text)
    assert find_doubts(_hypothesis(text), 7.0) == ("repetition",)
    assert find_doubts(_hypothesis(text), 8.0) == ()
    assert find_doubts(_hypothesis("forty letters fit into a second or less"), 0.1) == ()
    assert find_doubts(_hypothesis("but more than forty letters do not do that"), 0.1) == ("repetition",)


def test_halves_that_do_not_fit_together_are_read_one_by_one() -> None:
    engine, tries = _halving(_hypothesis("all is well"), _hypothesis("so far"), _hypothesis(_LOOP)), Tries()
    engine._limit = 1
    (result,) = recognize_all(engine, [_paused()], _CONFIG, tries)
    assert result.text == "all is well so far"
    assert (tries.second, engine.batches) == (1, [1, 2, 1, 1])


def test_zeros_that_somebody_really_said_stay() -> None:
    """25 of them in ten seconds: flagged, but none is deleted."""

    def read(utterance: Utterance) -> Hypothesis:
        count = 25 if len(utterance.samples) == 160_000 else 15 if len(utterance.samples) > 80_000 else 10
        return _hypothesis(" ".join(["zero"] * count))

    (result,) = _all(Engine(read), [_paused()])
    assert result.text.split() == ["zero"] * 25
    assert result.flags == ("repetition",)
    (short,) = _all(Engine(lambda _: _hypothesis("0" * 25)), _utterances(1))
    assert (short.text, short.flags) == ("0" * 25, ("repetition",))


@given(
    st.lists(st.sampled_from(["a", "see", "you", "later", "fine", "it's"]), min_size=1, max_size=20), st.integers(6, 9)
)
def test_a_pattern_said_six_times_is_a_repetition(pattern: list[str], times: int) -> None:
    assert repeats_itself("well then " + " ".join(pattern * times) + " and on")


@pytest.mark.parametrize("text", ["哈" * 7, "はい" * 6, "a" * 300, "ab " * 6])
def test_a_loop_of_characters_is_a_repetition(text: str) -> None:
    assert repeats_itself(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no",
        "No, no, no, no, no!",
        "five five five, zero one four two",
        "the more you look, the more you see, and the more you see, the more you know",
        "图书馆从上午十点开到晚上八点，请在前台出示您的卡。",
    ],
)
def test_people_repeat_themselves_a_little(text: str) -> None:
    assert not repeats_itself(text)


def test_real_talk_is_no_repetition(examples: Any) -> None:
    for line in (examples.parent / "transcripts.tsv").read_text(encoding="utf-8").splitlines()[1:]:
        assert not repeats_itself(line.split("\t")[3][:1500]), line


_FIVE_WORDS = "you never saw that coming"


def _with_little_speech(seconds: float = 0.4) -> Utterance:
    """Ten seconds of noise, of which VAD took so many from the fourth on for speech."""
    return Utterance(noise(10), "en", speech=((64_000, 64_000 + int(seconds * 16_000)),))


def _alone(then: Hypothesis, first: str = _FIVE_WORDS) -> Engine:
    """Reads `first` where anything is heard at the start, `then` where there is silence but for the speech."""
    return Engine(lambda utterance: _hypothesis(first) if utterance.samples[:16_000].any() else then)


@pytest.mark.parametrize(
    "then",
    [
        _hypothesis(""),
        _hypothesis("Thank you", mean_logprob=-1.2),
        _hypothesis("and that is more than half a second holds as well"),
    ],
)
def test_text_that_nothing_supports_is_dropped(then: Hypothesis) -> None:
    engine, tries = _alone(then), Tries()
    (result,) = recognize_all(engine, [_with_little_speech()], _CONFIG, tries)
    assert (result.text, result.tokens, result.flags, tries.second) == ("", (), (), 1)
    alone = engine.asked[1].samples
    assert not alone[: 64_000 - 1_600].any()
    assert not alone[64_000 + 6_400 + 1_600 :].any()
    assert np.array_equal(alone[64_000:70_400], noise(10)[64_000:70_400])


def test_text_that_is_read_again_on_the_speech_alone_stays_and_is_flagged() -> None:
    (result,) = _all(_alone(_hypothesis("never saw that coming, you")), [_with_little_speech()])
    assert (result.text, result.flags) == (_FIVE_WORDS, ("unsupported",))


def test_what_the_speech_alone_says_stands_where_it_fits() -> None:
    (result,) = _all(_alone(_hypothesis("coming")), [_with_little_speech()])
    assert (result.text, result.flags) == ("coming", ())


def test_text_that_its_speech_can_hold_is_not_read_again() -> None:
    for utterance in (_with_little_speech(1.0), replace(_with_little_speech(), speech=None)):
        engine = _alone(_hypothesis(""))
        assert _all(engine, [utterance]) == [_hypothesis(_FIVE_WORDS)]
        assert engine.batches == [1]


def test_a_failed_second_try_costs_no_text() -> None:
    def read(utterance: Utterance) -> Hypothesis:
        if not utterance.samples[:16_000].any():
            raise ValueError("no")
        return _hypothesis(_FIVE_WORDS)

    (result,) = _all(Engine(read), [_with_little_speech()])
    assert (result.text, result.flags) == (_FIVE_WORDS, ("unsupported",))
