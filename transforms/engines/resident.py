"""A loaded engine in a thread of its own: torch and OpenMP keep settings and threads for each thread that calls them,
and what calls it goes on meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

Result = TypeVar("Result")


def new_thread() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(1, thread_name_prefix="engine")


class Resident:
    """`engine` is what `load` returned. It is loaded and called in one `thread`, a call after the other, which it may
    share with others that can only take turns. `user` is whoever asks it for more than one call now."""

    def __init__(self, load: Callable[[], Any], thread: ThreadPoolExecutor | None = None) -> None:
        self._thread = thread or new_thread()
        self.user: object = None
        self.engine = self._thread.submit(load).result()

    def call(self, function: Callable[..., Result], *arguments: Any) -> Future[Result]:
        return self._thread.submit(function, *arguments)
