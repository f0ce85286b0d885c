"""Threads that run the front end ahead of the engine, bounded in bytes."""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType

from schemas.config import Config
from transforms.audio.front import Chunk, Closing, StageClock, Work, front

Events = Iterator[Chunk | Closing]


class Prefetch:
    """Runs `read` (the front end) on each work in a few threads. A context manager, so that the threads end however the
    task does.

    Events of one work come in order; works are started in order, and finish as they may. At most `prefetch_mib` of
    samples wait. Whoever waits for `changed`, too, hears of each event.
    """

    def __init__(
        self,
        works: Iterable[Work],
        config: Config,
        read: Callable[[Work, Config, StageClock], Events] = front,
        changed: threading.Condition | None = None,
    ) -> None:
        self._works, self._config, self._read = iter(works), config, read
        self._max_bytes = config.batching.prefetch_mib << 20
        self._events: deque[Chunk | Closing | BaseException] = deque()
        self._waiting_bytes = 0
        self._stopped = False
        self._changed = changed or threading.Condition()
        self._works_lock = threading.Lock()
        self.stage_seconds: Counter[str] = Counter()
        self._threads = [
            threading.Thread(target=self._run, daemon=True, name=f"front-{i}")
            for i in range(config.batching.front_threads)
        ]
        self._running = len(self._threads)

    def __enter__(self) -> Prefetch:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._changed:
            self._stopped = True
            self._changed.notify_all()
        if error is None:
            for thread in self._threads:
                thread.join()

    def next(self, *, wait: bool) -> Chunk | Closing | None:
        """The next event; None at the end, or, without `wait`, if none is there yet. Raises what a thread raised."""
        with self._changed:
            if wait:
                self._changed.wait_for(lambda: self._events or not self._running)
            if not self._events:
                return None
            event = self._events.popleft()
            self._waiting_bytes -= _size_bytes(event)
            self._changed.notify_all()
        if isinstance(event, BaseException):
            raise event
        return event

    @property
    def ready(self) -> bool:
        """True if `next` has an event without waiting."""
        with self._changed:
            return bool(self._events)

    @property
    def ended(self) -> bool:
        with self._changed:
            return not self._events and not self._running

    def _run(self) -> None:
        clock = StageClock()
        try:
            while not self._stopped:
                with self._works_lock:
                    work = next(self._works, None)
                if work is None or not self._put_all(self._read(work, self._config, clock)):
                    break
        except BaseException as error:  # raised again in the task's own thread
            self._put(error)
        finally:
            with self._changed:
                self.stage_seconds.update(clock.seconds)
                self._running -= 1
                self._changed.notify_all()

    def _put_all(self, events: Events) -> bool:
        return all(self._put(event) for event in events)

    def _put(self, event: Chunk | Closing | BaseException) -> bool:
        """False if the task has ended."""
        with self._changed:
            size_bytes = _size_bytes(event)
            self._changed.wait_for(
                lambda: self._stopped or not self._events or self._waiting_bytes + size_bytes <= self._max_bytes
            )
            if self._stopped:
                return False
            self._events.append(event)
            self._waiting_bytes += size_bytes
            self._changed.notify_all()
            return True


def _size_bytes(event: Chunk | Closing | BaseException) -> int:
    return event.samples.nbytes if isinstance(event, Chunk) else 0
