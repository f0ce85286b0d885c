"""Chunks → segments, words, failures, then recordings. Plain DataFrame code that asks no engine; every step can be
repeated without harm.

The order is what keeps readers safe: a transcript's segments and words are there before its row in recordings points to
them by run_key, and those of the transcript it replaces go last.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql.pandas.types import from_arrow_schema
from pyspark.storagelevel import StorageLevel

from schemas.config import Config, SegmentsConfig
from schemas.tables import CHUNKS, FAILURES, RECORDINGS, SEGMENTS, WORDS, to_batch
from transforms.lake.tables import Tables, Take
from transforms.publishing.transcript import assemble

_TAKES_AT_ONCE = 20_000
_NESTED = (SEGMENTS, WORDS, FAILURES)
TRANSCRIPTS = pa.schema(
    [*RECORDINGS.arrow, *(pa.field(table.name, pa.list_(pa.struct(list(table.arrow)))) for table in _NESTED)]
)
"""A row of recordings with its rows of the other tables, as `assemble` returns it."""


def publish(tables: Tables, takes: Sequence[Take], config: Config, *, fresh: bool = False) -> None:
    """Makes the public tables show `takes`, each of them complete in chunks.

    `fresh` says that this very run recognized them: then no interrupted publish can have left rows of theirs, and those
    of new recordings are simply appended.
    """
    for first in range(0, len(takes), _TAKES_AT_ONCE):
        _publish(tables, takes[first : first + _TAKES_AT_ONCE], config, fresh)


def complete_takes(tables: Tables) -> list[Take]:
    """What `publish` can show of all recordings: the take that recordings shows now, else the latest complete one."""
    closings = (
        tables.read(CHUNKS)
        .where("closing is not null")
        .select("audio_id", "run_key", "run_id", "part_index", "closing.continues")
    )
    parts = closings.groupBy("audio_id", "run_key").agg(
        F.min(F.when(~F.col("continues"), F.col("part_index"))).alias("last_part"),
        F.collect_set("part_index").alias("parts"),
        F.max("run_id").alias("run_id"),
    )
    complete = parts.where(F.size(F.filter("parts", lambda part: part <= F.col("last_part"))) == F.col("last_part") + 1)
    shown = tables.read(RECORDINGS).select("audio_id", F.col("run_key").alias("shown_key"))
    ranked = complete.join(shown, "audio_id", "left").withColumn(
        "rank", F.struct(F.col("run_key") == F.col("shown_key"), "run_id")
    )
    best = ranked.groupBy("audio_id").agg(F.max_by("run_key", "rank").alias("run_key")).orderBy("audio_id")
    return [(row.audio_id, row.run_key) for row in best.collect()]


def _publish(tables: Tables, takes: Sequence[Take], config: Config, fresh: bool) -> None:
    listed = tables.listed(takes)
    chunks = tables.read(CHUNKS).join(F.broadcast(listed), ["audio_id", "run_key"], "left_semi").select(CHUNKS.names)
    grouped = chunks.groupBy("audio_id", "run_key").applyInArrow(
        _assembler(config.segments), from_arrow_schema(TRANSCRIPTS)
    )
    transcripts = grouped.persist(StorageLevel.MEMORY_AND_DISK)
    try:
        recordings = transcripts.select(RECORDINGS.names)
        shown = tables.read(RECORDINGS).join(F.broadcast(listed.select("audio_id")), "audio_id", "left_semi")
        if fresh and not shown.limit(1).count():
            _append(tables, transcripts, recordings)
        else:
            _replace(tables, transcripts, recordings, takes)
            delete_stale(tables, listed.select("audio_id"))
    finally:
        transcripts.unpersist()


def _assembler(config: SegmentsConfig) -> Callable[[pa.Table], pa.Table]:
    def assemble_take(chunks: pa.Table) -> pa.Table:
        rows = chunks.to_pylist(maps_as_pydicts="lossy")
        return pa.Table.from_batches([to_batch([assemble(rows, config)], TRANSCRIPTS)])

    return assemble_take


def _rows(transcripts: DataFrame, name: str) -> DataFrame:
    return transcripts.select(F.explode(name).alias("row")).select("row.*")


def _append(tables: Tables, transcripts: DataFrame, recordings: DataFrame) -> None:
    for table in (SEGMENTS, WORDS, FAILURES):
        tables.append(table, _rows(transcripts, table.name))
    tables.append(RECORDINGS, recordings)


def _replace(tables: Tables, transcripts: DataFrame, recordings: DataFrame, takes: Sequence[Take]) -> None:
    for table in (SEGMENTS, WORDS):
        tables.replace(table, _rows(transcripts, table.name), takes)
    failures = _rows(transcripts, FAILURES.name)
    if failures.limit(1).count():
        # The same run published twice is still one attempt.
        tables.upsert(
            FAILURES, failures, FAILURES.key, update={"attempts": "t.attempts + 1"}, only_if="t.run_id <> s.run_id"
        )
    # Parts may be of several runs, and so their failures; those of any other run are over.
    failed_in = F.transform(FAILURES.name, lambda failure: failure["run_id"])
    done = transcripts.select("audio_id", F.array_append(failed_in, F.col("run_id")).alias("run_ids"))
    tables.delete_matching(FAILURES, done, "t.audio_id = s.audio_id AND NOT array_contains(s.run_ids, t.run_id)")
    tables.upsert(RECORDINGS, recordings, RECORDINGS.key)


def delete_stale(tables: Tables, among: DataFrame | None = None) -> None:
    """Deletes segments and words that recordings does not show, and parts of chunks that a later run made again, as a
    repeated or interrupted run leaves them; of all recordings, or of the audio_ids in `among`. No commit if there are
    none.
    """
    shown = tables.read(RECORDINGS).select("audio_id", "run_key")
    closings = tables.read(CHUNKS).where("closing is not null").select("audio_id", "run_key", "part_index", "run_id")
    if among is not None:
        shown, closings = (rows.join(F.broadcast(among), "audio_id", "left_semi") for rows in (shown, closings))
    for table in (WORDS, SEGMENTS):
        tables.delete_matching(table, shown, "t.audio_id = s.audio_id AND t.run_key <> s.run_key")
    doubled = (
        closings.groupBy("audio_id", "run_key", "part_index")
        .agg(F.max("run_id").alias("run_id"), F.count("*").alias("runs"))
        .where("runs > 1")
    )
    same_part = "t.audio_id = s.audio_id AND t.run_key = s.run_key AND t.part_index = s.part_index"
    tables.delete_matching(CHUNKS, doubled, f"{same_part} AND t.run_id < s.run_id")
