"""Chunks of many recordings → batches of like length, sized by padded audio. No result depends on it."""

from __future__ import annotations

from schemas.config import BatchingConfig
from transforms.recognition.languages import Ready


class Window:
    """Holds chunks that may be recognized, and hands them out longest first, so that a batch wastes little padding."""

    def __init__(self, config: BatchingConfig) -> None:
        self._max_padded_s = config.max_padded_audio_s
        self._ready: list[Ready] = []
        self.audio_s = 0.0

    def __len__(self) -> int:
        return len(self._ready)

    @property
    def has_full_batch(self) -> bool:
        return self.audio_s >= self._max_padded_s

    def add(self, ready: list[Ready]) -> None:
        self._ready += ready
        self.audio_s += sum(item.chunk.audio_s for item in ready)

    def halve(self) -> None:
        """Smaller batches from now on: the last one did not fit into memory."""
        self._max_padded_s /= 2

    def take(self) -> list[Ready]:
        """The longest chunk and as many of the next longest as `max_padded_audio_s` holds; at least one. Raises
        IndexError if empty."""
        self._ready.sort(key=lambda item: len(item.chunk.samples))
        count = max(1, min(len(self._ready), int(self._max_padded_s / max(self._ready[-1].chunk.audio_s, 1e-3))))
        batch, self._ready = self._ready[-count:], self._ready[:-count]
        self.audio_s -= sum(item.chunk.audio_s for item in batch)
        return batch
