"""Tables of a version that had no takes: their rows get one, once, and what that version's interrupted runs left is put
in order."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from schemas.tables import CHUNKS, CLAIMS, PASSAGES, RECORDINGS, RUNS, SEGMENTS, WORDS, Table
from transforms.lake.unique import keep_one

if TYPE_CHECKING:
    from transforms.lake.tables import Tables


def give_takes(tables: Tables) -> None:
    """Sets take_id where it is null, to the run_key, which told takes apart before. Recordings come last: a kill in the
    middle is mended by the next call. The change data feed shows these rows as updated."""
    _delete_stale(tables)
    _claim_unfinished(tables)
    made = [PASSAGES] if tables.exists(PASSAGES) else []
    for table in (SEGMENTS, WORDS, *made, RECORDINGS):
        tables.update(table, "take_id IS NULL", {"take_id": "run_key"})
    for table in (SEGMENTS, WORDS, RECORDINGS):
        _keep_one_of_each(tables, table)


def _keep_one_of_each(tables: Tables, table: Table) -> None:
    """Two drivers at once left every row of a recording twice, alike."""
    doubled = tables.read(table).groupBy(*table.key).count().where("count > 1")
    if doubled.limit(1).count():
        keep_one(tables, table, doubled, "run_key")


def _delete_stale(tables: Tables) -> None:
    """Segments and words that recordings does not show, and parts of chunks that a later run made again."""
    shown = tables.read(RECORDINGS).select("audio_id", "run_key")
    for table in (WORDS, SEGMENTS):
        there = tables.read(table).where("take_id IS NULL").select("audio_id", "run_key").distinct()
        orphans = there.join(shown, ["audio_id", "run_key"], "left_anti")
        tables.delete_matching(
            table, orphans, "t.audio_id = s.audio_id AND t.run_key = s.run_key AND t.take_id IS NULL"
        )
    parts = tables.read(CHUNKS).where("closing IS NOT NULL").groupBy("audio_id", "run_key", "part_index")
    doubled = parts.agg(F.max("run_id").alias("run_id"), F.count("*").alias("runs")).where("runs > 1")
    same_part = "t.audio_id = s.audio_id AND t.run_key = s.run_key AND t.part_index = s.part_index"
    tables.delete_matching(CHUNKS, doubled, f"{same_part} AND t.run_id < s.run_id")


def _claim_unfinished(tables: Tables) -> None:
    """What was recognized and not published counts as claimed by its run, which is over: the next run publishes it. All
    runs get a row in runs."""
    closings = tables.read(CHUNKS).where("closing IS NOT NULL")
    runs = closings.groupBy("run_id").agg(F.max("created_at").alias("ended_at"))
    unknown = runs.join(tables.read(RUNS), "run_id", "left_anti").withColumn("status", F.lit("lost"))
    if unknown.limit(1).count():
        tables.append(RUNS, tables.filled(RUNS, unknown))
    shown = tables.read(RECORDINGS).select(
        "audio_id", F.col("run_id").alias("shown_run"), F.col("run_key").alias("replaces")
    )
    left = closings.join(shown, "audio_id", "left").where("shown_run IS NULL OR run_id > shown_run")
    left = left.groupBy("audio_id").agg(
        F.max("run_id").alias("run_id"), F.first("replaces").alias("replaces"), F.collect_set("run_id").alias("begun")
    )
    left = left.withColumn("begun", F.array_remove("begun", F.col("run_id"))).withColumn("claimed_at", F.now())
    left = left.join(tables.read(CLAIMS), "audio_id", "left_anti")
    if left.limit(1).count():
        tables.append(CLAIMS, tables.filled(CLAIMS, left))
