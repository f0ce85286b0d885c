"""The seam to an engine at work: items are submitted as they come, and answers taken as they are done.

A task has one stream for its recognizer and one for each aligner, and a live server the same with many sessions at
once. A stream belongs to one thread; the engine works in its own meanwhile, so that it need not wait while a caller
times words, reads audio or makes rows.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any, Generic, Protocol, TypeVar

from transforms.engines import AtWork, EngineLost, check_counts
from transforms.engines.resident import Resident
from transforms.errors import MachineError, RecordingError
from transforms.recognition.batching import Item, Window, audio_s, padded_s

Answer = TypeVar("Answer")

_AT_ONCE = 2
"""Batches in the engine's hands: one is computed, and the next is there when it is done."""


class Stream(Protocol):
    """As many answers come out as items went in, in any order; an answer depends on its item alone."""

    def submit(self, id: Any, item: Any) -> None:
        """`id` comes back with the answer."""
        ...

    def hurry(self, last: bool = False) -> None:
        """Nothing more is submitted before something is done: what waits need not wait for company. `last`: and only
        what follows from that will be."""
        ...

    def done(self) -> list[tuple[Any, Any]]:
        """(id, answer) of what was done since the last call, a RecordingError where the item is at fault. Raises
        EngineLost if the engine cannot go on, RuntimeError if it does not keep its contract."""
        ...

    @property
    def ready(self) -> bool:
        """True if `done` has something to say. The bell rings whenever that may have changed."""
        ...

    @property
    def waiting_s(self) -> float:
        """Audio of what was submitted and is not in the engine's hands yet, in seconds: what admission goes by."""
        ...


class Batches(Generic[Item, Answer]):
    """A stream over an engine that is asked for many items at once, `ask`, one answer an item and in order.

    `what` is the engine's name in errors; an item that raises when it goes alone gets what `failure` makes of it. What
    does not fit into memory is asked for in smaller batches. `bell` is notified when a batch is done.
    """

    def __init__(
        self,
        what: str,
        engine: Resident,
        ask: Callable[[Sequence[Item]], Sequence[Answer]],
        failure: Callable[[Exception], RecordingError],
        window: Window[Item],
        bell: threading.Condition,
    ) -> None:
        self._what, self._engine, self._ask, self._failure, self._bell = what, engine, ask, failure, bell
        self._window, self._last = window, False
        self._alone: deque[tuple[Any, Item]] = deque()
        """From batches in which one is at fault: whose fault it is shows when each goes alone."""
        self._asked: deque[tuple[list[tuple[Any, Item]], Future[Sequence[Answer]]]] = deque()
        self.busy_s = 0.0
        self.batches = 0
        self.audio_s = 0.0
        self.padded_s = 0.0

    @property
    def waiting_s(self) -> float:
        return self._window.audio_s

    @property
    def ready(self) -> bool:
        return bool(self._asked) and self._asked[0][1].done()

    def submit(self, id: Any, item: Item) -> None:
        self._window.add(id, item)
        self._go_on()

    def hurry(self, last: bool = False) -> None:
        self._last = last
        if len(self._window) and not self._asked:
            self._begin(self._window.take(last))

    def done(self) -> list[tuple[Any, Answer | RecordingError]]:
        found: list[tuple[Any, Answer | RecordingError]] = []
        while self.ready:
            found += self._answers(*self._asked.popleft())
        self._go_on()
        return found

    def _go_on(self) -> None:
        while len(self._asked) < _AT_ONCE and (self._alone or (self._window.has_full_batch and len(self._window))):
            self._begin([self._alone.popleft()] if self._alone else self._window.take(self._last))

    def _begin(self, batch: list[tuple[Any, Item]]) -> None:
        items = [item for _, item in batch]
        self.batches += 1
        self.audio_s += sum(map(audio_s, items))
        self.padded_s += padded_s(items)
        future = self._engine.call(self._timed, items)
        self._asked.append((batch, future))
        future.add_done_callback(self._ring)

    def _timed(self, items: Sequence[Item]) -> Sequence[Answer]:
        began_at = time.monotonic()
        try:
            return self._ask(items)
        finally:
            self.busy_s += time.monotonic() - began_at

    def _ring(self, _: Future[Sequence[Answer]]) -> None:
        with self._bell:
            self._bell.notify_all()

    def _answers(
        self, batch: list[tuple[Any, Item]], future: Future[Sequence[Answer]]
    ) -> Sequence[tuple[Any, Answer | RecordingError]]:
        """Those of the batch; none where it is asked for again in another way."""
        items = [item for _, item in batch]
        try:
            answers = future.result()
        except MachineError:
            raise
        except MemoryError as error:
            if len(batch) == 1:
                raise EngineLost(f"out of memory with one utterance of {audio_s(items[0]):.1f} s") from error
            self._window.too_large(items)
            for id, item in batch:
                self._window.add(id, item)
            return ()
        except Exception as error:
            if len(batch) > 1:
                self._alone += batch
                return ()
            return [(batch[0][0], error if isinstance(error, RecordingError) else self._failure(error))]
        check_counts(self._what, len(items), len(answers))
        return [(id, answer) for (id, _), answer in zip(batch, answers, strict=True)]


class Flow(Generic[Item, Answer]):
    """A stream over an engine at work (engines.AtWork): it takes what comes at any time, and computes all together.

    `failure` and `bell` as for Batches.
    """

    def __init__(
        self, engine: Resident, failure: Callable[[Exception], RecordingError], bell: threading.Condition
    ) -> None:
        self._engine, self._failure, self._bell = engine, failure, bell
        # A task that was cut off may have left work behind, and answers to it.
        engine.user = self
        engine.call(engine.engine.reset).result()
        self._coming: list[tuple[int, Item]] = []
        self._done: list[tuple[int, Answer | RecordingError]] = []
        self._next_step: Future[None] | None = None
        self._at_work = 0
        self._ids: dict[int, tuple[Any, Item]] = {}
        self._count = 0
        self.waiting_s = 0.0
        self.busy_s = 0.0
        self.batches = 0
        self.audio_s = 0.0

    @property
    def padded_s(self) -> float:
        return self.audio_s

    @property
    def ready(self) -> bool:
        with self._bell:
            return bool(self._done) or self._failed

    @property
    def _failed(self) -> bool:
        """A step that came to its end well has another in its place, or None."""
        return self._next_step is not None and self._next_step.done()

    def submit(self, id: Any, item: Item) -> None:
        self._count += 1
        self._ids[self._count] = id, item
        self.waiting_s += audio_s(item)
        self.audio_s += audio_s(item)
        with self._bell:
            self._coming.append((self._count, item))
            if self._next_step is None:
                self._next_step = self._call()

    def hurry(self, last: bool = False) -> None:
        """It never waits for company."""

    def done(self) -> list[tuple[Any, Answer | RecordingError]]:
        with self._bell:
            done, self._done = self._done, []
            if self._failed and self._next_step is not None:
                self._next_step.result()  # raises what the engine raised
        found = []
        for number, answer in done:
            id, item = self._ids.pop(number)
            self.waiting_s = self.waiting_s - audio_s(item) if self._ids else 0.0
            found.append((id, answer))
        return found

    def _take_a_step(self) -> None:
        """In the engine's thread, again and again while there is anything to do: others may live there."""
        if self._engine.user is not self:
            return
        with self._bell:
            coming, self._coming = self._coming, []
        began_at = time.monotonic()
        found = [failed for number, item in coming if (failed := self._begun(number, item)) is not None]
        found += self._engine.engine.step()
        self._at_work += len(coming) - len(found)
        self.batches += 1
        self.busy_s += time.monotonic() - began_at
        with self._bell:
            self._done += found
            self._next_step = self._call() if self._coming or self._at_work else None
            if found:
                self._bell.notify_all()

    def _call(self) -> Future[None]:
        future = self._engine.call(self._take_a_step)
        future.add_done_callback(self._ring)
        return future

    def _ring(self, step: Future[None]) -> None:
        if step.exception() is not None:
            with self._bell:
                self._bell.notify_all()

    def _begun(self, number: int, item: Item) -> tuple[int, RecordingError] | None:
        try:
            self._engine.engine.submit(number, item)
        except MachineError:
            raise
        except Exception as error:
            return number, error if isinstance(error, RecordingError) else self._failure(error)
        return None


AnyStream = Batches[Any, Any] | Flow[Any, Any]


def stream(
    what: str,
    engine: Resident,
    method: str,
    failure: Callable[[Exception], RecordingError],
    window: Window[Any],
    bell: threading.Condition,
) -> AnyStream:
    """Of a loaded engine that is at work, or that has the `method` recognize or align, for which `window` makes up
    batches; the others as for Batches."""
    if isinstance(engine.engine, AtWork):
        return Flow(engine, failure, bell)
    return Batches(what, engine, getattr(engine.engine, method), failure, window, bell)
