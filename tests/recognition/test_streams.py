"""The seam to engines at work: as many answers as items, none that depends on another, and an engine that need not wait
for what is made of its answers."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms.engines import EngineLost, Utterance
from transforms.engines.resident import Resident, new_thread
from transforms.errors import RecordingError
from transforms.recognition.batching import Window
from transforms.recognition.dialogues import Dialogue, Dialogues, hold
from transforms.recognition.streams import Batches, Flow, Stream


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


class Juggler:
    """An engine at work, which is done with some of what it has now and then, in any order; `bad` lengths raise."""

    def __init__(self, bad: Sequence[int] = ()) -> None:
        self.bad, self.held, self.random = set(bad), {}, random.Random(3)  # type: ignore[var-annotated]

    def reset(self) -> None:
        self.held.clear()

    def submit(self, id: int, item: Utterance) -> None:
        if len(item.samples) in self.bad:
            raise ValueError("bad")
        self.held[id] = len(item.samples)

    def step(self) -> list[tuple[int, int]]:
        done = [id for id in self.held if self.random.random() < 0.4]
        self.random.shuffle(done)
        return [(id, self.held.pop(id)) for id in done]


def _failure(error: Exception) -> RecordingError:
    return RecordingError("recognize", type(error).__name__, str(error))


def _flow(engine: Any) -> tuple[Stream, Any]:
    bell = threading.Condition()
    return Flow(Resident(lambda: engine), _failure, bell), bell


def _stream(ask: Callable[[Sequence[Utterance]], Sequence[Any]], most_s: float = 1e9) -> tuple[Stream, Any]:
    bell = threading.Condition()
    return Batches("the engine", Resident(lambda: None), ask, _failure, Window(most_s), bell), bell


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
    st.sampled_from([0.001, 0.004, 1e9, None]),
    st.randoms(use_true_random=False),
)
def test_n_in_n_out_and_no_answer_depends_on_its_company(
    lengths: list[int], bad: set[int], limit: int, most_s: float | None, random: Any
) -> None:
    """Of an engine that wants batches, and of one at work."""
    stream, bell = _flow(Juggler(sorted(bad))) if most_s is None else _stream(Echo(sorted(bad), limit), most_s)
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


def test_two_engines_at_work_in_one_thread_take_turns() -> None:
    """Neither waits until the other has nothing left to do."""
    thread, steps = new_thread(), []

    class Patient(Juggler):
        def step(self) -> list[tuple[int, int]]:
            steps.append(self)
            return super().step() if len(set(steps)) == 2 else []

    bell = threading.Condition()
    engines = [Patient(), Patient()]
    streams = [Flow(Resident(lambda e=engine: e, thread), _failure, bell) for engine in engines]
    for stream in streams:
        stream.submit("a", _sound(5))
    assert [_drain(stream, bell, 1) for stream in streams] == [[("a", 5)]] * 2


def test_an_engine_at_work_that_is_lost_says_so_to_who_asks_for_answers() -> None:
    class Dying(Juggler):
        def step(self) -> list[tuple[int, int]]:
            raise EngineLost("the device is gone")

    stream, bell = _flow(Dying())
    stream.submit(0, _sound(1))
    with pytest.raises(EngineLost, match="the device is gone"):
        _drain(stream, bell, 1)


def test_what_a_task_left_behind_is_no_answer_of_the_next_one() -> None:
    engine, bell = Resident(Juggler), threading.Condition()
    engine.engine.random.random = lambda: 1.0  # it is never done
    left = Flow(engine, _failure, bell)
    for length in range(1, 9):
        left.submit(length, _sound(length))
    engine.call(lambda: None).result()
    following = Flow(engine, _failure, bell)
    engine.engine.random.random = lambda: 0.0
    for length in range(21, 29):
        following.submit(length, _sound(length))
    assert sorted(_drain(following, bell, 8)) == [(length, length) for length in range(21, 29)]
    assert (left.done(), engine.engine.held) == ([], {})
