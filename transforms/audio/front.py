"""The front end of a task: one recording (or one part of a very long one) → chunks for the engine, streamed. Needs no
Spark and no engine.

fetch → decode → cut to the part → VAD → pack, a block at a time: memory does not depend on the recording's length.
"""

from __future__ import annotations

import io
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from schemas.config import SAMPLE_RATE_HZ, Config
from schemas.parts import Parts
from transforms.audio.channel import Channel, SpeechChunk
from transforms.audio.decoders import DecodeReport
from transforms.audio.parts import Part
from transforms.audio.quality import Meter
from transforms.audio.reading import Block, read_audio
from transforms.audio.vad import Span
from transforms.errors import RecordingError
from transforms.stores.ranged import Source, content_sha256, source_of

_HEADER_SLACK = (500, 0.05)
"""A header's length may differ from the decoded one by this many ms, or this share, before it is flagged: bit rates
only give estimates."""


@dataclass(frozen=True)
class Work:
    """One row of the plan: a recording as the manifest has it, and which part of it to do."""

    audio_id: str
    run_key: str
    source_key: str
    uri: str | None
    content: bytes | None = field(repr=False)
    language: str | None
    language_source: Literal["given", "detected"] | None
    context: str | None
    channels: Literal["mix", "split"]
    start_ms: int
    end_ms: int | None
    metadata: dict[str, str]
    part_index: int = 0
    audio_track: int | None = None
    """Which of the file's audio tracks, from 0; None for the one that a player would choose."""

    @property
    def name(self) -> str:
        """The recording in messages."""
        return self.uri or f"recording {self.audio_id}"


@dataclass(frozen=True)
class Chunk:
    """Speech on its way to the engine; times in ms from the start of the file; `samples` as engines.Utterance wants
    them, of which the spans in `speech` are speech (None: not known)."""

    work: Work
    channel: int | None
    chunk_index: int
    start_ms: int
    end_ms: int
    samples: NDArray[np.float32] = field(repr=False)
    speech: tuple[Span, ...] | None = None

    @property
    def audio_s(self) -> float:
        return len(self.samples) / SAMPLE_RATE_HZ


@dataclass
class Closing:
    """A recording's (or part's) last word, after all its chunks."""

    work: Work
    duration_ms: int | None = None
    """From the start of the file to where decoding ended."""
    audio_ms: int = 0
    """Of it, what this part listened to."""
    header_duration_ms: int | None = None
    audio_track: int | None = None
    """The one that was heard."""
    content_sha256: str | None = None
    """Of the file's bytes, in hexadecimal digits; None where not all of them were read, and on later parts."""
    speech_ms: int | None = None
    chunk_count: int = 0
    continues: bool = False
    flags: list[str] = field(default_factory=list)
    quality: dict[str, Any] | None = None
    """As schemas.tables.QUALITY; None if nothing was heard."""
    error: RecordingError | None = None
    seconds: Counter[str] = field(default_factory=Counter, compare=False)
    """What its stages took."""


class StageClock:
    """Seconds by stage. Each thread needs its own; add them up afterwards."""

    def __init__(self) -> None:
        self.seconds: Counter[str] = Counter()

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[stage] += time.perf_counter() - start  # type: ignore[assignment]

    def timed(self, stage: str, items: Iterator[Block]) -> Iterator[Block]:
        while True:
            with self(stage):
                item = next(items, None)
            if item is None:
                return
            yield item


def front(work: Work, config: Config, clock: StageClock) -> Iterator[Chunk | Closing]:
    """The chunks of `work` in order of time within each channel, then its one Closing. Never raises for what is wrong
    with the recording."""
    closing, report, before = Closing(work), DecodeReport(), clock.seconds.copy()
    try:
        with ExitStack() as open_files:
            with clock("fetch"):
                source = open_files.enter_context(source_of(work.uri, work.content, config.fetch))
                # Before it is decoded: what is still being written must not get the hash of what it will be.
                closing.content_sha256 = content_sha256(source) if work.part_index == 0 else None
            read = _reader(source, work, config, clock)
            parts = Parts(config.packing.part_minutes)
            part = Part(work.part_index, work.start_ms, parts, lambda start_ms: read(start_ms, DecodeReport(), None))
            meter = Meter(part.nominal_s)
            blocks = read(part.read_from_ms, report, meter)
            yield from _speech(work, part, blocks, config, clock, closing, meter)
            if work.part_index == 0 and closing.content_sha256 is None:  # now all may have been read
                closing.content_sha256 = content_sha256(source)
        closing.continues = part.continues
    except RecordingError as error:
        closing.error = error
    if closing.error is None:
        # A part that goes on ends at its cut, however far its last block was read.
        cut_ms = part.start * 1000 // SAMPLE_RATE_HZ + closing.audio_ms
        closing.duration_ms = cut_ms if closing.continues else report.read_samples * 1000 // SAMPLE_RATE_HZ
        _flag(closing, report, work)
    closing.seconds = clock.seconds - before
    yield closing


def _reader(
    source: Source, work: Work, config: Config, clock: StageClock
) -> Callable[[int, DecodeReport, Meter | None], Iterator[Block]]:
    """A function that reads the recording from a time in ms on; several such readings may go on at once."""

    def read(start_ms: int, report: DecodeReport, meter: Meter | None) -> Iterator[Block]:
        blocks = read_audio(
            io.BytesIO(source.getvalue()) if isinstance(source, io.BytesIO) else source,
            work.name,
            work.channels,
            report,
            block_s=config.audio.block_s,
            start_ms=start_ms,
            end_ms=work.end_ms,
            meter=meter,
            language=work.language if work.language_source == "given" else None,
            audio_track=work.audio_track,
            stall_s=config.audio.stall_s,
        )
        return clock.timed("decode", blocks)

    return read


def _flag(closing: Closing, report: DecodeReport, work: Work) -> None:
    closing.header_duration_ms = report.header_duration_ms
    if report.damage:
        closing.flags.append("damaged")
    if report.phase_cancelled:
        closing.flags.append("phase_cancelled")
    closing.audio_track = report.audio_track
    whole = report.states_length and not closing.continues and work.end_ms is None
    if whole and closing.header_duration_ms is not None and closing.duration_ms is not None:
        slack_ms, share = _HEADER_SLACK
        if abs(closing.header_duration_ms - closing.duration_ms) > max(slack_ms, share * closing.duration_ms):
            closing.flags.append("duration_mismatch")


def _speech(
    work: Work, part: Part, blocks: Iterator[Block], config: Config, clock: StageClock, closing: Closing, meter: Meter
) -> Iterator[Chunk]:
    channels: list[Channel] = []
    samples_heard = speech_samples = 0
    split = work.channels == "split"

    def dressed(index: int, found: list[SpeechChunk]) -> Iterator[Chunk]:
        nonlocal speech_samples
        for chunk in found:
            speech_samples += chunk.speech_samples
            yield Chunk(
                work, index if split else None, chunk.index, chunk.start_ms, chunk.end_ms, chunk.samples, chunk.speech
            )

    for block in part.cut(blocks):
        samples_heard += block.shape[1]
        if not channels:
            channels = [Channel(config.vad, config.packing, part.start) for _ in range(block.shape[0])]
        for index, (channel, samples) in enumerate(zip(channels, block, strict=True)):
            with clock("vad"):
                found = channel.push(samples)
            yield from dressed(index, found)
    for index, channel in enumerate(channels):
        with clock("vad"):
            found = channel.finish()
        yield from dressed(index, found)
    closing.audio_ms = samples_heard * 1000 // SAMPLE_RATE_HZ
    closing.speech_ms = speech_samples * 1000 // SAMPLE_RATE_HZ
    closing.chunk_count = sum(channel.count for channel in channels)
    if samples_heard:
        closing.quality = meter.finish(part.continues, [channel.voice for channel in channels])
