"""Manifest and recordings → what is still to do, as one table on the driver, and from it wave after wave."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from schemas.parts import Parts
from schemas.tables import CHUNKS, CLAIMS, FAILURES, RECORDINGS
from transforms.lake.sql import any_of
from transforms.lake.tables import Tables
from transforms.recognition.rows import WORK
from transforms.run.erased import erased_among
from transforms.run.lengths import estimated_ms
from transforms.run.manifest import Manifest
from transforms.run.units import Unit

Reprocess = Literal["no", "changed", "failed", "all"]
"""What to do again although it was done: what another configuration made, what failed for good, or everything."""

_PLANNED = [name for name in WORK.names if name not in ("content", "part_index")]


@dataclass
class Plan:
    """What is pending: `table` has a row a recording, the longest first, with the columns of WORK that a recording has,
    estimated_ms, and of what recordings shows of it take_id (as `replaces`) and run_key (as `shown_key`). A row that is
    not `asked` for is there for what a run that died has left to finish, and needs no engine. `skipped` recordings are
    done already, and `erased` ones are left out for good."""

    table: pa.Table
    skipped: int
    erased: int = 0

    @property
    def estimated_ms(self) -> int:
        return int(self.lengths_ms.sum())

    @property
    def lengths_ms(self) -> NDArray[np.int64]:
        """By row."""
        return np.asarray(self.table["estimated_ms"].to_numpy(), dtype=np.int64)

    def queue(self, parts: Parts) -> Queue:
        return Queue(self, parts)


class Queue:
    """The units still to do. Those that are put back, as the later parts of long recordings, go first."""

    def __init__(self, plan: Plan, parts: Parts) -> None:
        self._plan, self._first = plan, 0
        self._lengths_ms = np.minimum(plan.lengths_ms, parts.first_ms)
        self._ends_ms = np.cumsum(self._lengths_ms)
        self._back: list[Unit] = []

    def __bool__(self) -> bool:
        return bool(self._back) or self._first < len(self._lengths_ms)

    def put_back(self, units: Sequence[Unit]) -> None:
        self._back += units

    def take(self, wave_ms: int) -> list[Unit]:
        """The next units that make up `wave_ms` together; at least one."""
        wave: list[Unit] = []
        while self._back and (not wave or wave_ms >= self._back[0].estimated_ms):
            wave.append(self._back.pop(0))
            wave_ms -= wave[-1].estimated_ms
        if self._back:
            return wave
        begins_ms = int(self._ends_ms[self._first - 1]) if self._first else 0
        last = int(np.searchsorted(self._ends_ms, begins_ms + max(0, wave_ms), side="right"))
        last = max(last, self._first if wave else min(self._first + 1, len(self._ends_ms)))
        ids = self._plan.table["audio_id"].slice(self._first, last - self._first).to_pylist()
        lengths = self._lengths_ms[self._first : last].tolist()
        rows = range(self._first, last)
        self._first = last
        return wave + [Unit(*one[:2], 0, one[2]) for one in zip(ids, rows, lengths, strict=True)]


def make_plan(manifest: Manifest, tables: Tables, key: str, reprocess: Reprocess, living: Collection[str] = ()) -> Plan:
    """What is pending for the configuration `key`: new, changed at the source, failed in a way that may pass, or asked
    for; and what a run that is not among the `living` had recognized or published, but not ended. Reads of the lake
    only who is there, not what was said."""
    done = tables.read(RECORDINGS).select(
        "audio_id",
        "status",
        F.col("run_key").alias("shown_key"),
        F.col("take_id").alias("replaces"),
        F.col("source_key").alias("done_source_key"),
    )
    failures = tables.read(FAILURES).groupBy("audio_id").agg(F.max("transient").alias("may_pass"))
    wanted, erased = _without_erased(tables, manifest)
    rows = wanted.join(done, "audio_id", "left").join(failures, "audio_id", "left")
    same = F.array_contains(F.array_append("earlier_source_keys", F.col("source_key")), F.col("done_source_key"))
    rows = rows.withColumn("same_source", F.coalesce(same, F.lit(False)))
    rows = rows.withColumn(
        "source_key", F.when(F.col("same_source"), F.col("done_source_key")).otherwise(F.col("source_key"))
    )
    run_key = F.substring(F.sha2(F.concat(F.lit(f"{key}/"), "source_key"), 256), 1, 32)
    rows = rows.withColumn("run_key", run_key).withColumn("estimated_ms", estimated_ms())
    rows = rows.withColumn("asked", _is_pending(reprocess))
    dead = tables.read(CLAIMS).where(f"NOT {any_of('run_id', living)}")
    pending = F.col("asked")
    if dead.limit(1).count():
        rows = rows.join(_finishable(tables, rows.where("NOT asked"), dead), "audio_id", "left")
        pending = pending | F.coalesce("finishable", F.lit(False))
    kept = rows.where(pending).select(*_PLANNED, "estimated_ms", "replaces", "shown_key", "asked")
    # In one partition, since to find out where to cut takes longer than to sort.
    table = kept.coalesce(1).sortWithinPartitions(F.desc("estimated_ms"), "audio_id").toArrow()
    return Plan(table, manifest.count - erased - table.num_rows, erased)


def _without_erased(tables: Tables, manifest: Manifest) -> tuple[DataFrame, int]:
    """The manifest's rows but for those that were erased, and the number of these."""
    erased = erased_among(tables, manifest.rows)
    if erased is None or not (count := erased.count()):
        return manifest.rows, 0
    return manifest.rows.join(erased, "audio_id", "left_anti"), count


def _finishable(tables: Tables, rows: DataFrame, dead: DataFrame) -> DataFrame:
    """audio_id, and `finishable`, of those `rows` that a dead run has published but not tidied up, or has in chunks
    whole under the run_key that they have now."""
    claimed = dead.select("audio_id", F.array_append("begun", F.col("run_id")).alias("begun"))
    claimed = rows.select("audio_id", "run_key", "replaces").join(claimed, "audio_id")
    runs = {
        run_id for row in dead.select("run_id", "begun").distinct().collect() for run_id in (row.run_id, *row.begun)
    }
    closings = tables.read(CHUNKS).where(f"{any_of('run_id', runs)} AND closing IS NOT NULL")
    parts = closings.join(claimed, ["audio_id", "run_key"]).where("array_contains(begun, run_id)")
    ends = F.min(F.when(~F.col("closing.continues"), F.col("part_index"))).alias("last_part")
    whole = parts.groupBy("audio_id").agg(ends, F.collect_set("part_index").alias("parts"))
    whole = whole.where(F.size(F.filter("parts", lambda part: part <= F.col("last_part"))) == F.col("last_part") + 1)
    published = claimed.where("array_contains(begun, replaces)")
    return published.select("audio_id").union(whole.select("audio_id")).distinct().withColumn("finishable", F.lit(True))


def _is_pending(reprocess: Reprocess) -> Column:
    new = F.col("status").isNull() | ~F.col("same_source") | F.coalesce("may_pass", F.lit(False))
    # One that is read but for a chunk has a failure, too: may_pass is false then, and null without any.
    failed = (F.col("status") == "failed") | F.col("may_pass").isNotNull()
    asked = {
        "no": F.lit(False),
        "changed": F.col("run_key") != F.col("shown_key"),
        "failed": failed,
        "all": F.lit(True),
    }
    return new | asked[reprocess]


def work_of(tables: Tables, manifest: Manifest, plan: Plan, tasks: Sequence[Sequence[Unit]]) -> DataFrame:
    """The rows of WORK for the tasks, each in its own partition, in order. The manifest is read again only for the
    bytes of recordings that it brought."""
    placed = [(unit, task, position) for task, units in enumerate(tasks) for position, unit in enumerate(units)]
    rows = plan.table.select(_PLANNED).take(pa.array([unit.row for unit, _, _ in placed], pa.int64()))
    found = pa.array([unit.language for unit, _, _ in placed], pa.string())
    rows = rows.append_column("detected", found)
    rows = rows.append_column("part_index", pa.array([unit.part_index for unit, _, _ in placed], pa.int32()))
    rows = rows.append_column("task", pa.array([task for _, task, _ in placed], pa.int32()))
    rows = rows.append_column("position", pa.array([position for _, _, position in placed], pa.int32()))
    work = tables.frame(rows)
    detected = F.when(F.col("detected").isNotNull(), "detected")
    work = work.withColumn("language_source", F.coalesce("language_source", detected))
    work = work.withColumn("language", F.coalesce("language", "detected"))
    if manifest.contents is not None:
        contents = manifest.contents.join(F.broadcast(work), "audio_id")
        placed_rows = contents.repartitionById(len(tasks), "task")
    else:
        # No shuffle: with an executor its output would be lost, and what the others are recognizing begun anew.
        partitions = tables.spark.range(0, len(tasks), 1, len(tasks)).select(F.col("id").cast("int").alias("task"))
        work = work.withColumn("content", F.lit(None).cast("binary"))
        placed_rows = partitions.join(F.broadcast(work), "task")
    return placed_rows.sortWithinPartitions("position").select(WORK.names)
