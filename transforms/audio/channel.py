"""Level, VAD and packing of one stream of samples: blocks in, chunks of speech out as soon as nothing can join them.

Knows no recording: `front` dresses the chunks with the work they belong to, and a live server calls this as it is.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from schemas.config import SAMPLE_RATE_HZ, PackingConfig, VadConfig
from transforms.audio.level import Leveller, lifted_voices
from transforms.audio.packing import ChunkSpan, Packer
from transforms.audio.quality import VoicePower
from transforms.audio.vad import Span, SpeechFinder


@dataclass(frozen=True)
class SpeechChunk:
    """A stretch to recognize; times in ms on the stream's own time line; `samples` as engines.Utterance wants them, at
    a usual level (level.lifted_voices). `speech`: the spans of them that are speech, the rest is pauses and padding.
    `index` counts from 0 in the stream."""

    index: int
    start_ms: int
    end_ms: int
    samples: NDArray[np.float32] = field(repr=False)
    speech: tuple[Span, ...]

    @property
    def speech_samples(self) -> int:
        return sum(span.end - span.start for span in self.speech)

    @property
    def speech_ms(self) -> int:
        return self.speech_samples * 1000 // SAMPLE_RATE_HZ


class Channel:
    """One stream, of which only the samples are held that a chunk may still need.

    `start`: the place of its first sample on the time line, in samples. Not for several threads at once.
    """

    def __init__(self, vad: VadConfig, packing: PackingConfig, start: int = 0) -> None:
        self._start = start
        self._packer = Packer(vad, packing)
        self._leveller = Leveller()
        self._finder = SpeechFinder(vad, self._packer.max_span_samples)
        self._held = np.zeros((2, 0), dtype=np.float32)
        """Levelled, as recorded."""
        self._held_from = 0
        self.count = 0
        """Chunks that came out so far."""

    @property
    def voice(self) -> VoicePower:
        return self._finder.voice

    @property
    def speaks(self) -> bool:
        """True while somebody speaks, as far as is heard."""
        return self._finder.speech is not None

    @property
    def begun(self) -> bool:
        """True while there is something of the chunk to come."""
        return self.speaks or bool(self._packer.waiting)

    def so_far(self) -> SpeechChunk | None:
        """The chunk to come as far as it is heard, which may go on; None while there is none."""
        spans = (*self._packer.waiting, *filter(None, [self._finder.speech]))
        if not spans:
            return None
        total = self._held_from + self._held.shape[1]
        return self._made(ChunkSpan(self._packer.start_of(spans[0]), total, spans))

    def push(self, samples: NDArray[np.float32]) -> list[SpeechChunk]:
        """The chunks that these samples complete, in order of time. `samples`: the stream's next, 1-D float32 of 16 kHz
        in [-1, 1], of any length."""
        return self._hear(*self._leveller.push(samples))

    def flush(self) -> list[SpeechChunk]:
        """The chunk to come as it is, of a stream that goes on, as where a speaker lets go of a key."""
        found = self._hear(*self._leveller.finish())
        packed = [chunk for span in self._finder.flush() for chunk in self._packer.push(span)]
        # Not the last samples, less than a frame, which VAD has not heard: what it hears in them may begin there.
        heard = self._finder.settled
        return found + self._cut_out(packed + self._packer.flush(heard), heard)

    def finish(self) -> list[SpeechChunk]:
        """The last chunks, once all samples were pushed."""
        found = self._hear(*self._leveller.finish())
        packed = [chunk for span in self._finder.finish() for chunk in self._packer.push(span)]
        total = self._held_from + self._held.shape[1]
        return found + self._cut_out(packed + self._packer.finish(total), total)

    def _hear(self, levelled: NDArray[np.float32], recorded: NDArray[np.float32]) -> list[SpeechChunk]:
        self._held = np.concatenate([self._held, np.stack([levelled, recorded])], axis=1)
        spans = self._finder.push(levelled, recorded)
        packed = [chunk for span in spans for chunk in self._packer.push(span)] + self._packer.advance(
            self._finder.settled
        )
        return self._cut_out(packed, self._packer.needed_from(self._finder.settled))

    def _cut_out(self, packed: Iterable[ChunkSpan], needed_from: int) -> list[SpeechChunk]:
        found = []
        for span in packed:
            found.append(self._made(span))
            self.count += 1
        drop = needed_from - self._held_from
        if drop > 0:
            self._held, self._held_from = self._held[:, drop:].copy(), needed_from
        return found

    def _made(self, span: ChunkSpan) -> SpeechChunk:
        start_ms, end_ms = ((self._start + at) * 1000 // SAMPLE_RATE_HZ for at in (span.start, span.end))
        speech = tuple(Span(part.start - span.start, part.end - span.start) for part in span.speech)
        levelled, recorded = self._held[:, span.start - self._held_from : span.end - self._held_from]
        return SpeechChunk(self.count, start_ms, end_ms, lifted_voices(levelled, recorded, speech), speech)
