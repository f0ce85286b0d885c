"""What waits for an engine → batches of like length, sized by padded audio. No result depends on it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import accumulate
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

from schemas.config import SAMPLE_RATE_HZ
from transforms.engines import Samples

_fits_s: dict[Any, float] = {}
"""Padded audio that fits into this process's memory, by engine, where more did not: later tasks need not find out
again."""


class HasSamples(Protocol):
    @property
    def samples(self) -> Samples: ...


Item = TypeVar("Item", bound=HasSamples)


def audio_s(item: HasSamples) -> float:
    return len(item.samples) / SAMPLE_RATE_HZ


def padded_s(items: list[Any]) -> float:
    """Each as long as the longest."""
    return len(items) * max(map(audio_s, items), default=0.0)


class Window(Generic[Item]):
    """Holds items, and hands out those of like length together, so that a batch wastes little padding.

    `engine` stands for who is asked (its spec): one that ran out of memory gets smaller batches in this process.
    `fair`: what has waited longest goes with the next batch, however odd its length, and what is still being said
    after all that is whole, never with it: it will be read again.
    """

    def __init__(self, most_padded_s: float, engine: Any = None, *, fair: bool = False) -> None:
        self._engine, self._most_padded_s, self._fair = engine or object(), most_padded_s, fair
        self._waiting: list[_Waiting[Item]] = []
        self._count = 0
        self.audio_s = 0.0

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def most_padded_s(self) -> float:
        return min(self._most_padded_s, _fits_s.get(self._engine, math.inf))

    @property
    def has_full_batch(self) -> bool:
        return self.audio_s >= self.most_padded_s

    def add(self, id: Any, item: Item) -> None:
        self._count += 1
        self._waiting.append(_Waiting(self._count, id, item))
        self.audio_s += audio_s(item)

    def too_large(self, batch: list[Item]) -> None:
        """This batch did not fit into memory: half of it is tried from now on, also in later windows of this
        process."""
        _fits_s[self._engine] = min(self.most_padded_s, padded_s(batch) / 2)

    def take(self, last: bool = False) -> list[tuple[Any, Item]]:
        """As many items of like length as `most_padded_s` holds, at least one: those of all runs in order of length
        that need the least padding, so that what is odd waits for company. `last`: nothing more comes, so all must go;
        the longest first. Raises IndexError if empty."""
        self._waiting.sort(key=lambda waiting: (_grows(waiting.item), len(waiting.item.samples)))
        if self._fair:
            start, end = self._with_the_oldest()
        else:
            runs = self._runs()
            start, end, _ = next(runs) if last else min(runs, key=lambda run: run[2])
        batch = self._waiting[start:end]
        del self._waiting[start:end]
        self.audio_s = sum(audio_s(waiting.item) for waiting in self._waiting)
        return [(waiting.id, waiting.item) for waiting in batch]

    def _with_the_oldest(self) -> tuple[int, int]:
        """(start, end) of most items that may go together with the one that came first; of as many the shortest."""
        whole = sum(not _grows(waiting.item) for waiting in self._waiting)
        last = whole or len(self._waiting)
        oldest = min(range(last), key=lambda place: self._waiting[place].number)
        best = (oldest, oldest + 1)
        for end in range(oldest + 1, last + 1):
            start = max(0, end - self._most_of(audio_s(self._waiting[end - 1].item)))
            if start > oldest:
                break
            if end - start > best[1] - best[0]:
                best = start, end
        return best

    def _most_of(self, longest_s: float) -> int:
        return max(1, int(min(len(self._waiting), self.most_padded_s / max(longest_s, 1e-3))))

    def _runs(self) -> Iterator[tuple[int, int, float]]:
        """(start, end, share of padding) of what may go together, by its longest item downwards: full batches, and
        what is left if there is not one."""
        lengths_s = [max(audio_s(waiting.item), 1e-3) for waiting in self._waiting]
        sums_s = [0.0, *accumulate(lengths_s)]
        for end in range(len(lengths_s), 0, -1):
            count = self._most_of(lengths_s[end - 1])
            if count > end < len(lengths_s):
                return
            start = max(0, end - count)
            yield start, end, 1 - (sums_s[end] - sums_s[start]) / ((end - start) * lengths_s[end - 1])
        if not lengths_s:
            raise IndexError("nothing waits")


def _grows(item: Any) -> bool:
    """Of an utterance: whether it is still being said."""
    return getattr(item, "growth", None) is not None


class _Waiting(NamedTuple, Generic[Item]):
    """`number` counts what came."""

    number: int
    id: Any
    item: Item
