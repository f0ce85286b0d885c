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

from transforms.engines import EngineLost, check_counts
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

    def hurry(self) -> None:
        """Nothing more is submitted before something is done: what waits need not wait for company."""
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
        self._window = window
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

    def hurry(self) -> None:
        if len(self._window) and not self._asked:
            self._begin(self._window.take())

    def done(self) -> list[tuple[Any, Answer | RecordingError]]:
        found: list[tuple[Any, Answer | RecordingError]] = []
        while self.ready:
            found += self._answers(*self._asked.popleft())
        self._go_on()
        return found

    def _go_on(self) -> None:
        while len(self._asked) < _AT_ONCE and (self._alone or (self._window.has_full_batch and len(self._window))):
            self._begin([self._alone.popleft()] if self._alone else self._window.take())

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
