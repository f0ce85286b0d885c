"""Threads in which what live sessions send is heard. A session keeps to one of them, so that its sound stays in order;
nobody waits for each piece, which would cost more than hearing it."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from itertools import count
from queue import SimpleQueue
from types import TracebackType

from transforms.logs import tell

Ear = Callable[[Callable[[], None]], None]
"""Does what it is given, one after the other, in its thread."""

_MOST_THREADS = 8


class Ears:
    """A context manager."""

    def __init__(self) -> None:
        threads = min(_MOST_THREADS, os.cpu_count() or 1)
        self._queues = [SimpleQueue[Callable[[], None] | None]() for _ in range(threads)]
        self._threads = [
            threading.Thread(target=_work, args=(queue,), daemon=True, name=f"ear-{number}")
            for number, queue in enumerate(self._queues)
        ]
        self._given = count()

    def __enter__(self) -> Ears:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for queue in self._queues:
            queue.put(None)
        for thread in self._threads:
            thread.join()

    def one(self) -> Ear:
        return self._queues[next(self._given) % len(self._queues)].put


def _work(queue: SimpleQueue[Callable[[], None] | None]) -> None:
    while (task := queue.get()) is not None:
        try:
            task()
        except Exception as error:
            tell(f"a session's sound could not be heard: {type(error).__name__}: {error}", logging.ERROR)
        del task  # a session would stay in memory until the next one speaks
