"""What crosses the seam of a task: rows of work in, rows of the table chunks out."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

import pyarrow as pa

from schemas.config import Config
from transforms.audio.front import Chunk, Closing, Work
from transforms.engines import AlignerSpec, EngineSpec, Hypothesis
from transforms.errors import RecordingError
from transforms.recognition.align import Timed
from transforms.recognition.keys import content_key

WORK = pa.schema(
    [
        ("audio_id", pa.string()),
        ("run_key", pa.string()),
        ("source_key", pa.string()),
        ("uri", pa.string()),
        ("content", pa.binary()),
        ("language", pa.string()),
        ("language_source", pa.string()),
        ("context", pa.string()),
        ("channels", pa.string()),
        ("start_ms", pa.int64()),
        ("end_ms", pa.int64()),
        ("metadata", pa.map_(pa.string(), pa.string())),
        ("part_index", pa.int32()),
        ("audio_track", pa.int32()),
    ]
)
"""A row of work as the task gets it: the fields of audio.front.Work, in order."""


@dataclass(frozen=True)
class TaskSpec:
    """All that a task needs to know, made on the driver and checked there."""

    config: Config
    recognizer: EngineSpec
    aligners: tuple[tuple[str, AlignerSpec | None], ...]
    engine_name: str
    model_name: str
    run_id: str
    wave_index: int = 0


def works_of(batches: Iterable[pa.RecordBatch]) -> Iterator[Work]:
    """Rows of WORK as values."""
    for batch in batches:
        for row in batch.to_pylist():
            row["metadata"] = dict(row["metadata"] or ())
            yield Work(**row)


def chunk_row(chunk: Chunk, hypothesis: Hypothesis, timed: Timed, spec: TaskSpec) -> dict[str, Any]:
    """The row of a chunk that was read; the words of `timed` have times from the chunk's start."""
    words = timed.words
    for word in words:
        for end in ("start_ms", "end_ms"):
            word[end] = None if word[end] is None else chunk.start_ms + word[end]
    flags = [*hypothesis.flags]
    known = [word["confidence"] for word in words if word["confidence"] is not None]
    if known and sum(known) / len(known) < spec.config.retry.low_confidence:
        flags.append("low_confidence")
    if timed.error or (words and all(word["start_ms"] is None for word in words)):
        flags.append("unaligned")
    return {
        **_key_row(chunk, spec),
        "text": hypothesis.text or None,
        "language": hypothesis.language,
        "language_source": chunk.work.language_source or "detected",
        "words": words,
        "token_count": hypothesis.token_count,
        "mean_logprob": hypothesis.mean_logprob,
        "alternatives": [asdict(other) for other in hypothesis.alternatives] or None,
        "no_speech_probability": hypothesis.no_speech_probability,
        "aligner": timed.aligner,
        "flags": flags,
        "error": timed.error.row() if timed.error else None,
    }


def failed_chunk_row(chunk: Chunk, error: RecordingError, spec: TaskSpec) -> dict[str, Any]:
    """The row of a chunk that could not be read."""
    return {**_key_row(chunk, spec), "error": error.row(), "flags": ["incomplete"]}


def closing_row(closing: Closing, spec: TaskSpec, language: str | None = None) -> dict[str, Any]:
    """The row of chunks that says that a part is complete: all its chunks are in the same commit."""
    work, content = closing.work, closing.content_sha256
    return {
        **_work_row(work, spec),
        "chunk_index": -1,
        "error": closing.error.row() if closing.error else None,
        "closing": {
            "uri": work.uri,
            "metadata": list(work.metadata.items()),
            "source_key": work.source_key,
            "duration_ms": closing.duration_ms,
            "speech_ms": closing.speech_ms,
            "chunk_count": closing.chunk_count,
            "continues": closing.continues,
            "header_duration_ms": closing.header_duration_ms,
            "language": language,
            "flags": closing.flags,
            "engine": spec.engine_name,
            "model": spec.model_name,
            "quality": closing.quality,
            "audio_track": closing.audio_track,
            "content_sha256": content,
            "content_key": content and content_key(content, work, spec.config, spec.recognizer, spec.aligners),
        },
    }


def failed_row(work: Work, error: RecordingError, spec: TaskSpec) -> dict[str, Any]:
    """The closing row of a part that no task could do."""
    return closing_row(Closing(work, error=error), spec)


def _work_row(work: Work, spec: TaskSpec) -> dict[str, Any]:
    return {
        "audio_id": work.audio_id,
        "run_key": work.run_key,
        "part_index": work.part_index,
        "run_id": spec.run_id,
        "wave_index": spec.wave_index,
        "created_at": datetime.datetime.now(datetime.UTC),
    }


def _key_row(chunk: Chunk, spec: TaskSpec) -> dict[str, Any]:
    return {
        **_work_row(chunk.work, spec),
        "channel": chunk.channel,
        "chunk_index": chunk.chunk_index,
        "start_ms": chunk.start_ms,
        "end_ms": chunk.end_ms,
    }
