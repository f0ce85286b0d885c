"""A very long recording → parts that different tasks can do, cut by a rule that both neighbours compute alike."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from schemas.config import CUT_WINDOW_S, SAMPLE_RATE_HZ, PackingConfig
from transforms.audio.reading import Block
from transforms.audio.vad import quietest_sample


class Part:
    """Cuts one part out of a recording, or of the stretch of it that begins at `start_ms`.

    Part k starts at the cut after k times the nominal length and ends at the next one. A cut is the quietest point of
    the CUT_WINDOW_S after the nominal length, and only exists if the recording fills that window: both neighbours see
    the same samples, so they agree.
    """

    def __init__(self, index: int, start_ms: int, config: PackingConfig) -> None:
        self._nominal = int(config.part_minutes * 60) * SAMPLE_RATE_HZ
        self._window = CUT_WINDOW_S * SAMPLE_RATE_HZ
        self._index = index
        self._offset = start_ms * SAMPLE_RATE_HZ // 1000
        self.read_from_ms = start_ms + index * self._nominal * 1000 // SAMPLE_RATE_HZ
        self.start = self._offset
        """The part's first sample, from the start of the file; known once the first block came."""
        self.continues = False

    def cut(self, blocks: Iterator[Block]) -> Iterator[Block]:
        position = self._index * self._nominal
        if self._index:
            window, blocks = _take(blocks, self._window)
            if window is None or window.shape[1] < self._window:
                return
            cut = quietest_sample(window)
            position += cut
            blocks = _chain(window[:, cut:], blocks)
        self.start = self._offset + position
        end = (self._index + 1) * self._nominal
        for block in blocks:
            if position + block.shape[1] <= end:
                position += block.shape[1]
                yield block
                continue
            if end > position:
                yield block[:, : end - position]
            window, _ = _take(_chain(block[:, end - position :], blocks), self._window)
            assert window is not None
            self.continues = window.shape[1] >= self._window
            yield window[:, : quietest_sample(window)] if self.continues else window
            return


def _take(blocks: Iterator[Block], samples: int) -> tuple[Block | None, Iterator[Block]]:
    """The first `samples` samples (fewer where the stream ends) as one block, and what follows."""
    taken: list[Block] = []
    have = 0
    while have < samples and (block := next(blocks, None)) is not None:
        taken.append(block)
        have += block.shape[1]
    if not taken:
        return None, blocks
    joined = np.concatenate(taken, axis=1)
    return joined[:, :samples], _chain(joined[:, samples:], blocks) if have > samples else blocks


def _chain(first: Block, rest: Iterator[Block]) -> Iterator[Block]:
    if first.shape[1]:
        yield first
    yield from rest
