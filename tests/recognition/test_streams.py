"""The seam to engines at work: as many answers as items, none that depends on another, and an engine that need not wait
for what is made of its answers."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms.engines import EngineLost, Utterance
from transforms.engines.resident import Resident
from transforms.errors import RecordingError
from transforms.recognition.batching import Window
from transforms.recognition.dialogues import Dialogue, Dialogues, hold
from transforms.recognition.streams import Batches, Stream


class Echo:
    """Answers with the number of samples; `bad` lengths raise, more than `limit` at once do not fit into memory."""

    def __init__(self, bad: Sequence[int] = (), limit: int = 1000) -> None:
        self.bad, self.limit = set(bad), limit
        self.batches: list[list[int]] = []
        self.threads: set[str] = set()

    def __call__(self, items: Sequence[Utterance]) -> list[int]:
        lengths = [len(item.samples) for item in items]
        self.batches.append(lengths)
        self.threads.add(threading.current_thread().name)
        if len(items) > self.limit:
            raise MemoryError
        if self.bad & set(lengths):
            raise ValueError("bad")
        return lengths


def _stream(ask: Callable[[Sequence[Utterance]], Sequence[Any]], most_s: float = 1e9) -> tuple[Stream, Any]:
    bell = threading.Condition()
    failure = lambda error: RecordingError("recognize", type(error).__name__, str(error))  # noqa: E731
    return Batches("the engine", Resident(lambda: None), ask, failure, Window(most_s), bell), bell


def _sound(samples: int) -> Utterance:
    return Utterance(np.zeros(samples, np.float32))


def _drain(stream: Stream, bell: threading.Condition, count: int) -> list[tuple[Any, Any]]:
    found: list[tuple[Any, Any]] = []
    while len(found) < count:
        stream.hurry()
        with bell:
            assert bell.wait_for(lambda: stream.ready, 60)
        found += stream.done()
    return found


@settings(max_examples=40)
@given(
    st.lists(st.integers(1, 40), max_size=30),
    st.sets(st.integers(1, 40)),
    st.integers(1, 30),
    st.sampled_from([0.001, 0.004, 1e9]),
    st.randoms(use_true_random=False),
)
def test_n_in_n_out_and_no_answer_depends_on_its_company(
    lengths: list[int], bad: set[int], limit: int, most_s: float, random: Any
) -> None:
    stream, bell = _stream(Echo(sorted(bad), limit), most_s)
    found: list[tuple[Any, Any]] = []
    for id, length in enumerate(lengths):
        stream.submit(id, _sound(length))
        if random.random() < 0.3:
            stream.hurry()
            found += stream.done()
    answers = dict(found + _drain(stream, bell, len(lengths) - len(found)))
    assert sorted(answers) == list(range(len(lengths)))
    for id, length in enumerate(lengths):
        if length in bad:
            assert isinstance(answers[id], RecordingError)
        else:
            assert answers[id] == length
    assert (stream.done(), stream.ready, stream.waiting_s) == ([], False, pytest.approx(0))


def test_an_engine_is_called_in_one_thread_which_is_not_the_callers() -> None:
    engine = Echo()
    stream, bell = _stream(engine, 0.001)
    for length in range(1, 60):
        stream.submit(length, _sound(length))
    _drain(stream, bell, 59)
    assert len(engine.threads) == 1
    assert threading.current_thread().name not in engine.threads


def test_what_fills_no_batch_waits_for_company_until_it_is_in_a_hurry() -> None:
    engine = Echo()
    stream, bell = _stream(engine, 0.02)
    for length in (100, 60, 80):
        stream.submit(length, _sound(length))
    assert (engine.batches, stream.waiting_s) == ([], 240 / 16_000)
    stream.submit(90, _sound(90))
    _drain(stream, bell, 4)
    assert engine.batches == [[80, 90, 100], [60]]


def test_the_next_batch_is_there_before_the_answers_were_taken() -> None:
    both = threading.Semaphore(0)

    def ask(items: Sequence[Utterance]) -> list[int]:
        both.release()
        return [0] * len(items)

    stream, _ = _stream(ask, 0.001)
    for _ in range(4):
        stream.submit(0, _sound(16))
    assert both.acquire(timeout=60)
    assert both.acquire(timeout=60), "it waited for its caller"


def test_a_wrong_count_and_a_lost_engine_are_raised_to_who_asks_for_answers() -> None:
    def lost(_: Any) -> list[int]:
        raise EngineLost("the device is gone")

    for ask, error, says in [(lambda _: [1], RuntimeError, "given 2 .* returned 1"), (lost, EngineLost, "is gone")]:
        stream, bell = _stream(ask)
        stream.submit(0, _sound(1))
        stream.submit(1, _sound(1))
        with pytest.raises(error, match=says):
            _drain(stream, bell, 2)


def _asking(stream: Stream, *rounds: Sequence[int]) -> Dialogue[list[list[int]]]:
    told = []
    for lengths in rounds:
        told.append((yield [(stream, _sound(length)) for length in lengths]))
    return told


@given(st.lists(st.lists(st.lists(st.integers(1, 9), min_size=1, max_size=3), max_size=3), max_size=8))
def test_each_dialogue_gets_its_own_answers_in_the_order_of_its_questions(rounds: list[list[list[int]]]) -> None:
    stream, bell = _stream(Echo(), 0.001)
    assert hold([_asking(stream, *asked) for asked in rounds], [stream], bell) == rounds


def test_questions_of_several_dialogues_share_a_batch() -> None:
    engine = Echo()
    stream, bell = _stream(engine)
    hold([_asking(stream, [1], [2]), _asking(stream, [3], [4]), _asking(stream, [5])], [stream], bell)
    assert engine.batches == [[1, 3, 5], [2, 4]]


def test_an_error_in_a_dialogue_is_raised() -> None:
    def wrong(stream: Stream) -> Dialogue[None]:
        yield [(stream, _sound(1))]
        raise RuntimeError("a bug")

    stream, bell = _stream(Echo())
    with pytest.raises(RuntimeError, match="a bug"):
        hold([wrong(stream)], [stream], bell)


def test_dialogues_say_how_many_go_on_and_how_much_waits() -> None:
    stream, bell = _stream(Echo())
    going: Dialogues[Any] = Dialogues([stream])
    going.begin("a", _asking(stream, [16_000]))
    going.begin("b", _asking(stream))
    assert (len(going), going.waiting_s, going.ready) == (2, 1.0, True)
    assert going.done() == [("b", [])]
    going.hurry()
    with bell:
        assert bell.wait_for(lambda: going.ready, 60)
    assert (going.done(), len(going)) == ([("a", [[16_000]])], 0)
