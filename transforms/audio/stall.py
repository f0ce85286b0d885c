"""A decoder that hangs costs its recording, not the task."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

from transforms.errors import RecordingError

T = TypeVar("T")


def watched(items: Iterator[T], name: str, stall_s: float) -> Iterator[T]:
    """The same items, made by a thread of their own, one at a time as they are asked for.

    Raises what making them raises, and RecordingError, stage 'decode', kind 'timeout', where one takes longer than
    `stall_s`: nothing can end a thread that is lost in a decoder, so it is left behind.
    """
    asked: SimpleQueue[bool] = SimpleQueue()
    made: SimpleQueue[tuple[T | None, BaseException | None]] = SimpleQueue()
    thread = threading.Thread(target=_make, args=(items, asked, made), daemon=True, name="decode")
    thread.start()
    hangs = False
    try:
        while True:
            asked.put(True)
            try:
                item, error = made.get(timeout=stall_s)
            except Empty:
                hangs = True
                message = f"{name}: its decoder gave nothing for {stall_s:g} s (audio.stall_s); convert it to WAV"
                raise RecordingError("decode", "timeout", message) from None
            if isinstance(error, StopIteration):
                return
            if error is not None:
                raise error
            yield item  # type: ignore[misc]
    finally:
        asked.put(False)
        if not hangs:
            thread.join()


def _make(items: Any, asked: SimpleQueue[bool], made: SimpleQueue[Any]) -> None:
    while asked.get():
        try:
            made.put((next(items), None))
        except BaseException as error:  # raised again where the items are asked for
            made.put((None, error))
            return
    items.close()  # here, since files are closed by the thread that reads them
