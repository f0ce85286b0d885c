"""What a session does with readings that come when they like."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.kit.lake import cut, engine_config
from transforms.audio.front import Chunk, Closing, Work
from transforms.engines import Hypothesis, Utterance
from transforms.live.exchange import live_config
from transforms.live.service import Delivery, Order, Peeked, work_of
from transforms.live.session import Event, Session


class _Held:
    """In the service's place: answers when it is told to."""

    def __init__(self) -> None:
        self.peeks: list[tuple[Any, Utterance]] = []
        self.deliver: Callable[[Delivery], None] = lambda delivery: None

    def open(self, work: Work, config: Any, deliver: Callable[[Delivery], None]) -> Order:
        self.deliver = deliver
        return Order(work, config, deliver)

    def has_room(self, order: Order) -> bool:
        return True

    def peek(self, order: Order, id: Any, utterance: Utterance) -> None:
        self.peeks.append((id, utterance))

    def offer(self, order: Order, event: Chunk | Closing) -> None:
        pass

    def answer(self, text: str) -> Utterance:
        id, utterance = self.peeks.pop()
        self.deliver(Peeked(id, Hypothesis(text, "en", 1.0, (), 0, None)))
        return utterance


def begun() -> tuple[Session, _Held, list[Event]]:
    held, events = _Held(), list[Event]()
    config = live_config(engine_config("serve.partial_s=0.2"), 60_000)
    session = Session(held, work_of("a", None, "en", None), config, events.append)  # type: ignore[arg-type]
    return session, held, events


def partials(events: list[Event]) -> list[tuple[str, str]]:
    return [(event["stable"], event["tail"]) for event in events if event["type"] == "partial"]


def test_the_engine_is_told_what_stands_and_gets_back_what_it_kept() -> None:
    session, held, events = begun()
    session.push(cut(20, 3))
    first = held.answer("so far it").growth
    session.push(cut(23, 1))
    second = held.answer("so far he").growth
    session.push(cut(24, 1))
    assert first is second is held.peeks[0][1].growth
    assert first is not None and first.standing == "so far"
    session.commit()
    held.answer("too late")
    session.push(cut(25, 3))
    after = held.answer("and then").growth
    assert after is not None and (after is not first, after.standing) == (True, "")
    assert partials(events) == [("", "so far it"), ("so far", " he"), ("", "and then")]


def test_a_reading_of_what_was_cleared_is_not_told() -> None:
    session, held, events = begun()
    session.push(cut(20, 3))
    session.clear()
    held.answer("forget it")
    session.push(cut(23, 3))
    held.answer("forget me")
    assert partials(events) == [("", "forget me")]
