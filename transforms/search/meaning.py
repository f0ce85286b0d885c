"""What is said like a question means, whatever its words: passages of some sentences, as vectors in the table
`passages`.

An option: the table is there once jobs.embed was run, which adds what is new. It costs no engine.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql.pandas.types import from_arrow_schema

from schemas.config import ConfigError
from schemas.tables import PASSAGES, RECORDINGS, SEGMENTS, rows_of, to_batch
from transforms.lake.session import limit_arrow_batches
from transforms.lake.tables import Tables
from transforms.search.embedder import check_model, embedder
from transforms.search.phrases import Place
from transforms.text.words import separator

_PASSAGE_BYTES = 300
"""About 50 words of English and 100 characters of Chinese: two or three sentences, which say one thing."""
_PAUSE_MS = 10_000
_RECORDINGS_AT_ONCE = 1_000
_PASSAGES_AT_ONCE = 500
"""Enough for full batches also of short recordings."""
_TAKE = ["audio_id", "take_id", "run_key"]
_SEGMENT = ["segment_index", "start_ms", "end_ms", "text", "speaker", "channel"]
_FOUND = ["audio_id", "take_id", "start_ms", "end_ms", "text", "speaker", "channel"]
_SCORED = pa.schema([*(PASSAGES.arrow.field(name) for name in _FOUND), ("similarity", pa.float64())])

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Passage(Place):
    """`similarity` is the cosine, at most 1: unrelated texts are near 0; what counts as near depends on the model."""

    text: str
    similarity: float


def embed(tables: Tables, model: str) -> int:
    """Makes the passages of all transcripts that have none by `model`; returns the number of recordings done.

    A commit every thousand recordings, so that a run that dies goes on from there. Those of replaced transcripts and of
    other models go. Raises ConfigError if `model` cannot be had.
    """
    name = check_model(model)
    limit_arrow_batches(tables.spark)
    tables.require()
    tables.create([PASSAGES])
    shown = tables.read(RECORDINGS).where("status = 'ok'").select("audio_id", "take_id")
    done = tables.read(PASSAGES).where(F.col("model") == name).select("audio_id", "take_id").distinct()
    pending = shown.join(done, ["audio_id", "take_id"], "left_anti").orderBy("audio_id").collect()
    takes = [(row.audio_id, row.take_id) for row in pending]
    if takes:
        embedder(model)  # what is wrong with it is told here, and not by a task
    for first in range(0, len(takes), _RECORDINGS_AT_ONCE):
        some = takes[first : first + _RECORDINGS_AT_ONCE]
        tables.append(PASSAGES, _embedded(tables, some, model, name))
    earlier = "t.audio_id = s.audio_id AND (t.take_id <> s.take_id OR t.model <> s.model)"
    tables.delete_matching(PASSAGES, shown.withColumn("model", F.lit(name)), earlier)
    return len(takes)


def nearest(
    tables: Tables, question: str, model: str, *, limit: int = 20, language: str | None = None
) -> list[Passage]:
    """The `limit` passages nearest to `question`, the nearest first; of recordings in `language` (ISO 639), if given.

    Raises ConfigError for an empty question, and if jobs.embed has made nothing with `model`.
    """
    name = check_model(model)
    if not question.strip():
        raise ConfigError("the question is empty, so there is nothing to search for")
    if not tables.exists(PASSAGES) or not (by_model := _by_model(tables, name)).limit(1).count():
        raise ConfigError(
            f"{tables.root} has no passages by {name}; make them, with no engine, with: "
            f"python -m jobs.embed --tables {tables.root} --model {model}"
        )
    recordings = tables.read(RECORDINGS).select("audio_id", "take_id", "uri", "language")
    if language is not None:
        recordings = recordings.where(F.col("language") == language)
    current = by_model.join(recordings, ["audio_id", "take_id"], "left_semi")
    scored = current.select(*_FOUND, "vector").mapInArrow(
        _scorer(embedder(model).question(question), limit), from_arrow_schema(_SCORED)
    )
    best = scored.orderBy(F.desc("similarity"), "audio_id", "start_ms").limit(limit)
    rows = best.join(recordings, ["audio_id", "take_id"]).orderBy(F.desc("similarity"), "audio_id", "start_ms")
    return [Passage(**row) for row in rows.drop("take_id").toArrow().to_pylist()]


def _by_model(tables: Tables, name: str) -> DataFrame:
    return tables.read(PASSAGES).where(F.col("model") == name)


def _embedded(tables: Tables, takes: Sequence[tuple[str, str]], model: str, name: str) -> DataFrame:
    audio_ids, take_ids = zip(*takes, strict=True)
    listed = tables.frame(pa.table({"audio_id": list(audio_ids), "take_id": list(take_ids)}))
    segments = tables.read(SEGMENTS).join(F.broadcast(listed), ["audio_id", "take_id"], "left_semi")
    lists = segments.groupBy(*_TAKE).agg(F.array_sort(F.collect_list(F.struct(*_SEGMENT))).alias("segments"))
    return lists.mapInArrow(_maker(model, name), from_arrow_schema(PASSAGES.arrow))


def _maker(model: str, name: str) -> Callable[[Iterable[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    def make(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        waiting: list[dict[str, Any]] = []
        for recording in rows_of(batches):
            key = {**{column: recording[column] for column in _TAKE}, "model": name}
            for index, passage in enumerate(passages(recording["segments"])):
                waiting.append({**key, "passage_index": index, **passage})
            if len(waiting) >= _PASSAGES_AT_ONCE:
                yield _with_vectors(waiting, model)
                waiting = []
        if waiting:
            yield _with_vectors(waiting, model)

    return make


def _with_vectors(rows: Sequence[Row], model: str) -> pa.RecordBatch:
    vectors = embedder(model).passages([row["text"] for row in rows])
    return to_batch(({**row, "vector": vector} for row, vector in zip(rows, vectors, strict=True)), PASSAGES.arrow)


def passages(segments: Sequence[Row]) -> Iterator[dict[str, Any]]:
    """Segments of one recording in order → stretches of one channel without a long pause, channel by channel."""
    channels: dict[int | None, list[Row]] = {}
    for segment in segments:
        channels.setdefault(segment["channel"], []).append(segment)
    for spoken in channels.values():
        together: list[Row] = []
        for segment in spoken:
            if together and not _continues(together, segment):
                yield _passage(together)
                together = []
            together.append(segment)
        yield _passage(together)


def _continues(together: Sequence[Row], segment: Row) -> bool:
    size = sum(len(one["text"].encode()) for one in [*together, segment])
    pause_ms = (segment["start_ms"] or 0) - (together[-1]["end_ms"] or 0)
    return size <= _PASSAGE_BYTES and pause_ms <= _PAUSE_MS and segment["speaker"] == together[-1]["speaker"]


def _passage(together: Sequence[Row]) -> dict[str, Any]:
    first, last = together[0], together[-1]
    text = ""
    for segment in together:
        text += separator(text, segment["text"]) + segment["text"]
    return {
        "start_ms": first["start_ms"],
        "end_ms": last["end_ms"],
        "text": text,
        "speaker": first["speaker"],
        "channel": first["channel"],
    }


def _scorer(
    question: NDArray[np.float32], limit: int
) -> Callable[[Iterable[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    """Of each batch the `limit` rows nearest to `question`, with their similarity."""

    def score(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            vectors = batch.column("vector").flatten().to_numpy().reshape(batch.num_rows, -1)
            similarity = vectors @ question
            nearest = np.argsort(-similarity, kind="stable")[:limit]
            found = batch.select(_FOUND).take(pa.array(nearest))
            columns = [*found.columns, pa.array(similarity[nearest], pa.float64())]
            yield pa.RecordBatch.from_arrays(columns, schema=_SCORED)

    return score
