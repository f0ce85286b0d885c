"""What waits for an engine → batches of like length, sized by padded audio. No result depends on it."""

from __future__ import annotations

import math
from typing import Any, Generic, Protocol, TypeVar

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
    """Holds items, and hands them out longest first, so that a batch wastes little padding.

    `engine` stands for who is asked (its spec): one that ran out of memory gets smaller batches in this process.
    """

    def __init__(self, most_padded_s: float, engine: Any = None) -> None:
        self._engine, self._most_padded_s = engine or object(), most_padded_s
        self._waiting: list[tuple[Any, Item]] = []
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
        self._waiting.append((id, item))
        self.audio_s += audio_s(item)

    def too_large(self, batch: list[Item]) -> None:
        """This batch did not fit into memory: half of it is tried from now on, also in later windows of this
        process."""
        _fits_s[self._engine] = min(self.most_padded_s, padded_s(batch) / 2)

    def take(self) -> list[tuple[Any, Item]]:
        """The longest item and as many of the next longest as `most_padded_s` holds; at least one. Raises IndexError if
        empty."""
        self._waiting.sort(key=lambda waiting: len(waiting[1].samples))
        longest_s = max(audio_s(self._waiting[-1][1]), 1e-3)
        count = max(1, int(min(len(self._waiting), self.most_padded_s / longest_s)))
        batch, self._waiting = self._waiting[-count:], self._waiting[:-count]
        self.audio_s = sum(audio_s(item) for _, item in self._waiting)
        return batch
