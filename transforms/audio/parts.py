"""A very long recording → parts that different tasks can do, cut by a rule that both neighbours compute alike."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator

import numpy as np

from schemas.config import SAMPLE_RATE_HZ
from schemas.parts import CUT_WINDOW_S, Parts
from transforms.audio.reading import Block
from transforms.audio.vad import quietest_sample

_WINDOW = CUT_WINDOW_S * SAMPLE_RATE_HZ


class Part:
    """Cuts one part out of a recording, or of the stretch of it that begins at `stretch_ms`.

    Part k starts at the cut after its nominal start (schemas.parts) and ends where part k + 1 starts. A cut is the
    quietest point of the CUT_WINDOW_S from there on, and only exists if the recording fills that window.

    `blocks_from(ms)` reads the recording from there on, as part k + 1 will: so both look at the very same samples.
    Those of a decoder that was there already may differ in their last bits, or in the noise that AAC makes up.
    """

    def __init__(
        self, index: int, stretch_ms: int, parts: Parts, blocks_from: Callable[[int], Iterator[Block]]
    ) -> None:
        self.read_from_ms = stretch_ms + parts.start_ms(index)
        self.nominal_s = parts.length_ms(index) / 1000
        self._index = index
        self._next_from_ms = self.read_from_ms + parts.length_ms(index)
        self._blocks_from = blocks_from
        self.start = _at(stretch_ms)
        """The part's first sample, from the start of the file; known once the first block came."""
        self.continues = False

    def cut(self, blocks: Iterator[Block]) -> Iterator[Block]:
        """`blocks`: the recording from `read_from_ms` on."""
        position = _at(self.read_from_ms)
        if self._index:
            window, blocks = _window(blocks)
            if window is None:
                return
            cut = quietest_sample(window)
            position += cut
            blocks = _chain(window[:, cut:], blocks)
        self.start = position
        end, end_is_cut = _at(self._next_from_ms), False
        for block in blocks:
            if not end_is_cut and position + block.shape[1] > end:
                end, end_is_cut = self._end(), True
            if end_is_cut and position + block.shape[1] >= end:
                if end > position:
                    yield block[:, : end - position]
                return
            position += block.shape[1]
            yield block

    def _end(self) -> int:
        """Where the next part starts, from the start of the file; beyond all if there is none."""
        window, _ = _window(self._blocks_from(self._next_from_ms))
        self.continues = window is not None
        return sys.maxsize if window is None else _at(self._next_from_ms) + quietest_sample(window)


def _at(time_ms: int) -> int:
    return time_ms * SAMPLE_RATE_HZ // 1000


def _window(blocks: Iterator[Block]) -> tuple[Block | None, Iterator[Block]]:
    """The first CUT_WINDOW_S as one block, None where they are not filled, and what follows."""
    taken: list[Block] = []
    have = 0
    while have < _WINDOW:
        block = next(blocks, None)
        if block is None:
            return None, blocks
        taken.append(block)
        have += block.shape[1]
    joined = np.concatenate(taken, axis=1)
    return joined[:, :_WINDOW], _chain(joined[:, _WINDOW:], blocks)


def _chain(first: Block, rest: Iterator[Block]) -> Iterator[Block]:
    if first.shape[1]:
        yield first
    yield from rest
