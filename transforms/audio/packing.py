"""Spans of speech → chunks to send to the engine. Pure arithmetic in samples, streamed.

A chunk keeps the silence between its spans, so a word's time is the chunk's start plus its offset in the chunk.
"""

from __future__ import annotations

from typing import NamedTuple

from schemas.config import SAMPLE_RATE_HZ, PackingConfig, VadConfig
from transforms.audio.vad import Span


class ChunkSpan(NamedTuple):
    """Samples [start, end) to send, padding included, and the spans in them that are speech."""

    start: int
    end: int
    speech: tuple[Span, ...]

    @property
    def speech_samples(self) -> int:
        return sum(span.end - span.start for span in self.speech)


class Packer:
    """Packs spans that come in order into chunks of at most `max_chunk_s`. Every span is in exactly one chunk; chunks
    do not overlap.

    A full chunk ends at the longest pause of its second half. Each side is padded by up to `pad_ms`: half the way to
    its neighbour at most, and a quarter of `max_chunk_s`.
    """

    def __init__(self, vad: VadConfig, packing: PackingConfig) -> None:
        self._max = int(packing.max_chunk_s * SAMPLE_RATE_HZ)
        self._pad = min(vad.pad_ms * SAMPLE_RATE_HZ // 1000, self._max // 4)
        self._max_gap = max(int(packing.max_gap_s * SAMPLE_RATE_HZ), 2 * self._pad)
        self._group: list[Span] = []
        self._before = -2 * self._pad
        """End of the speech before the group: padding goes half way back to it at most."""

    @property
    def max_span_samples(self) -> int:
        """The longest span that fits into a chunk with its padding."""
        return self._max - 2 * self._pad

    def needed_from(self, settled: int) -> int:
        """The first sample that a chunk still to come may hold, if all spans before `settled` were pushed."""
        return max(0, (self._group[0].start if self._group else settled) - self._pad)

    @property
    def waiting(self) -> tuple[Span, ...]:
        """The spans of the chunk to come, so far."""
        return tuple(self._group)

    def start_of(self, first: Span) -> int:
        """Where the chunk to come begins, with this span as its first."""
        room = (first.start - self._before) // 2
        return max(0, first.start - min(self._pad, room))

    def push(self, span: Span) -> list[ChunkSpan]:
        """Raises ValueError for a span out of order."""
        if span.start < (self._group[-1].end if self._group else max(0, self._before)) or span.end <= span.start:
            raise ValueError(f"span {span} is empty or overlaps the one before; spans must come in order")
        chunks: list[ChunkSpan] = []
        while self._group:
            if span.start - self._group[-1].end > self._max_gap:
                chunks.append(self._emit(len(self._group), span.start))
            elif span.end - self._group[0].start + 2 * self._pad > self._max:
                chunks.append(self._emit(self._best_cut(span), span.start))
            else:
                break
        self._group.append(span)
        return chunks

    def advance(self, settled: int) -> list[ChunkSpan]:
        """Tells that no span will start before `settled`: a chunk that nothing can join any more comes out, so silence
        holds no memory."""
        if self._group and settled - self._group[-1].end > self._max_gap:
            return [self._emit(len(self._group), settled)]
        return []

    def flush(self, total: int) -> list[ChunkSpan]:
        """The chunk to come as it is, of a stream that goes on after `total` samples."""
        chunks = self.finish(total)
        self._before = total
        return chunks

    def finish(self, total: int) -> list[ChunkSpan]:
        """`total`: samples in the stream."""
        return [self._emit(len(self._group), total, last=True)] if self._group else []

    def _best_cut(self, coming: Span) -> int:
        """How many spans of the group to send: up to the longest pause in the chunk's second half, the latest of
        equals."""
        starts = [span.start for span in self._group[1:]] + [coming.start]
        half = self._group[0].start + self._max // 2
        late = [i for i, span in enumerate(self._group) if span.end >= half] or [len(self._group) - 1]
        return 1 + max(late, key=lambda i: (starts[i] - self._group[i].end, i))

    def _emit(self, count: int, next_start: int, *, last: bool = False) -> ChunkSpan:
        spans, self._group = self._group[:count], self._group[count:]
        after = self._group[0].start if self._group else next_start
        room_after = after - spans[-1].end if last and not self._group else (after - spans[-1].end) // 2
        start = self.start_of(spans[0])
        end = spans[-1].end + min(self._pad, room_after)
        self._before = spans[-1].end
        return ChunkSpan(start, end, tuple(spans))
