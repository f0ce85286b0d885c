"""Asks an engine so that one bad item costs only itself, and out of memory halves the batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from transforms.engines import EngineLost, check_counts
from transforms.errors import MachineError, RecordingError

Asked = TypeVar("Asked")
Answer = TypeVar("Answer")


def ask_safely(
    what: str,
    ask: Callable[[Sequence[Asked]], Sequence[Answer]],
    items: Sequence[Asked],
    failure: Callable[[Exception], RecordingError],
    audio_s: Callable[[Asked], float],
    out_of_memory: Callable[[], None] = lambda: None,
) -> list[Answer | RecordingError]:
    """One result an item, in order; an item that raises when it goes alone gets what `failure` makes of it.

    `what` is the engine's name in errors; `out_of_memory` is called for each batch that did not fit. Raises EngineLost
    if the engine cannot go on, even with one item, of `audio_s` seconds, at a time; RuntimeError if it does not return
    one result an item.
    """
    try:
        found = ask(items)
    except MachineError:
        raise
    except MemoryError as error:
        if len(items) == 1:
            raise EngineLost(f"out of memory with one utterance of {audio_s(items[0]):.1f} s") from error
        out_of_memory()
        half = len(items) // 2
        return [
            result
            for part in (items[:half], items[half:])
            for result in ask_safely(what, ask, part, failure, audio_s, out_of_memory)
        ]
    except Exception as error:  # whose fault it is shows when each item goes alone
        if len(items) == 1:
            return [error if isinstance(error, RecordingError) else failure(error)]
        return [result for item in items for result in ask_safely(what, ask, [item], failure, audio_s, out_of_memory)]
    check_counts(what, len(items), len(found))
    return list(found)
