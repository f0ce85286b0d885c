"""Chunks of many recordings → batches of like length, sized by padded audio. No result depends on it."""

from __future__ import annotations

from collections import Counter
from typing import Any

from schemas.config import BatchingConfig
from transforms.recognition.languages import Ready

_halved: Counter[Any] = Counter()
"""How often batches for an engine did not fit into this process's memory: its later tasks need not find out again."""


class Window:
    """Holds chunks that may be recognized, and hands them out longest first, so that a batch wastes little padding.

    `engine` is the spec of who recognizes them: one that ran out of memory gets smaller batches in this process.
    """

    def __init__(self, config: BatchingConfig, engine: Any = None) -> None:
        self._engine = engine
        self._full_s = config.max_padded_audio_s
        self._ready: list[Ready] = []
        self.audio_s = 0.0

    def __len__(self) -> int:
        return len(self._ready)

    @property
    def has_full_batch(self) -> bool:
        return self.audio_s >= self._max_padded_s

    @property
    def _max_padded_s(self) -> float:
        return self._full_s / 2.0 ** _halved[self._engine]

    def add(self, ready: list[Ready]) -> None:
        self._ready += ready
        self.audio_s += sum(item.chunk.audio_s for item in ready)

    def halve(self) -> None:
        """Smaller batches from now on, also in later windows of this process: the last one did not fit into memory."""
        _halved[self._engine] += 1

    def take(self) -> list[Ready]:
        """The longest chunk and as many of the next longest as `max_padded_audio_s` holds; at least one. Raises
        IndexError if empty."""
        self._ready.sort(key=lambda item: len(item.chunk.samples))
        count = max(1, min(len(self._ready), int(self._max_padded_s / max(self._ready[-1].chunk.audio_s, 1e-3))))
        batch, self._ready = self._ready[-count:], self._ready[:-count]
        self.audio_s -= sum(item.chunk.audio_s for item in batch)
        return batch
