from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from transforms.audio.stall import watched
from transforms.errors import RecordingError


def test_what_hangs_is_given_up_with_a_sentence() -> None:
    free = threading.Event()

    def blocks() -> Iterator[int]:
        yield 1
        free.wait(20)
        yield 2

    start = time.monotonic()
    items = watched(blocks(), "a.mp3", 0.3)
    assert next(items) == 1
    with pytest.raises(RecordingError, match=r"a.mp3: its decoder gave nothing for 0.3 s") as failed:
        next(items)
    free.set()
    assert (failed.value.stage, failed.value.kind, failed.value.transient) == ("decode", "timeout", False)
    assert time.monotonic() - start < 5


def test_items_and_errors_pass_and_what_is_left_early_is_closed() -> None:
    closed: list[str] = []

    def blocks() -> Iterator[int]:
        try:
            yield from range(5)
            raise RecordingError("decode", "corrupt", "broken")
        finally:
            closed.append(threading.current_thread().name)

    items = watched(blocks(), "a", 5)
    assert next(items) == 0
    items.close()  # type: ignore[attr-defined]
    assert closed == ["decode"]
    items = watched(blocks(), "a", 5)
    assert [next(items) for _ in range(5)] == list(range(5))
    with pytest.raises(RecordingError, match="broken"):
        next(items)
