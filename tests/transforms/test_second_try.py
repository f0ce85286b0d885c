from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.config import RetryConfig
from tests.sounds import noise
from transforms.engines import EngineLost, Hypothesis, Token, Utterance
from transforms.errors import RecordingError
from transforms.second_try import Tries, recognize_all, repeats_itself

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
    assert engine.batches == [10, 5, 2, 3, 5, 2, 3]


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
    halves = engine.asked[-2:]
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
    left, right = (half.samples for half in engine.asked[1:])
    assert np.array_equal(np.concatenate([left, right]), utterance.samples)
    assert min(len(left), len(right)) >= samples // 4
    assert left.flags.c_contiguous
    assert right.flags.c_contiguous


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
