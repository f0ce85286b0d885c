"""What is asked about one chunk, and what is asked then, given the answers: generators, of which many run at once.

A dialogue yields its questions, (stream, item) each, gets their answers as a list, and returns what came of it. So a
second try is submitted like any other item, and nobody waits for it but the chunk itself.
"""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from transforms.recognition.streams import Stream

Result = TypeVar("Result")

Dialogue = Generator[Sequence[tuple[Stream, Any]], list[Any], Result]


def asked(stream: Stream, item: Any) -> Dialogue[Any]:
    """One question; its answer."""
    return (yield [(stream, item)])[0]


@dataclass
class _Open(Generic[Result]):
    id: Any
    dialogue: Dialogue[Result]
    answers: list[Any]
    missing: int


class Dialogues(Generic[Result]):
    """The dialogues that are going on. All that is submitted to `streams` is submitted by them."""

    def __init__(self, streams: Sequence[Stream]) -> None:
        self._streams = streams
        self._open: dict[int, _Open[Result]] = {}
        self._begun = 0
        self._done: list[tuple[Any, Result]] = []

    def __len__(self) -> int:
        return len(self._open) + len(self._done)

    @property
    def ready(self) -> bool:
        """True if `done` would get on."""
        return bool(self._done) or any(stream.ready for stream in self._streams)

    @property
    def waiting_s(self) -> float:
        """Audio that waits for the engines, in seconds."""
        return sum(stream.waiting_s for stream in self._streams)

    def hurry(self, last: bool = False) -> None:
        """As Stream.hurry."""
        for stream in self._streams:
            stream.hurry(last)

    def begin(self, id: Any, dialogue: Dialogue[Result]) -> None:
        """`id` comes back with the result."""
        self._begun += 1
        self._go_on(self._begun, _Open(id, dialogue, [], 0), None)

    def done(self) -> list[tuple[Any, Result]]:
        """(id, result) of those that came to their end since the last call. Raises what a stream or a dialogue
        raises."""
        for stream in self._streams:
            for (number, place), answer in stream.done():
                told = self._open[number]
                told.answers[place] = answer
                told.missing -= 1
                if not told.missing:
                    self._go_on(number, self._open.pop(number), told.answers)
        done, self._done = self._done, []
        return done

    def _go_on(self, number: int, told: _Open[Result], answers: list[Any] | None) -> None:
        try:
            questions = next(told.dialogue) if answers is None else told.dialogue.send(answers)
        except StopIteration as end:
            self._done.append((told.id, end.value))
            return
        told.answers, told.missing = [None] * len(questions), len(questions)
        self._open[number] = told
        for place, (stream, item) in enumerate(questions):
            stream.submit((number, place), item)


def hold(dialogues: Iterable[Dialogue[Result]], streams: Sequence[Stream], bell: threading.Condition) -> list[Result]:
    """Leads all to their end; results in order. `bell` is the one of `streams`."""
    going: Dialogues[Result] = Dialogues(streams)
    for index, dialogue in enumerate(dialogues):
        going.begin(index, dialogue)
    found: dict[int, Result] = {}
    while going:
        found.update(going.done())
        going.hurry(last=True)
        with bell:
            bell.wait_for(lambda: going.ready or not going)
    return [found[index] for index in range(len(found))]
