"""Manifest, recordings and chunks → what is still to do, cut into waves and balanced over tasks."""

from __future__ import annotations

import hashlib
import heapq
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from schemas.config import CUT_WINDOW_S, Config
from schemas.tables import CHUNKS, FAILURES, RECORDINGS
from transforms.engines import AlignerSpec, EngineSpec
from transforms.lake.tables import Tables, Take
from transforms.run.manifest import run_key_of

Reprocess = Literal["no", "changed", "failed", "all"]
"""What to do again although it was done: what another configuration made, what failed for good, or everything."""

PIPELINE_VERSION = 1
"""Part of run_key: to be raised when a change of this code changes texts or times."""

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
    ]
)
"""A row of work as the task gets it: the fields of front.Work, in order."""

_BYTES_PER_S = {
    ".wav": 32_000,
    ".flac": 16_000,
    ".aif": 64_000,
    ".aiff": 64_000,
    ".opus": 4_000,
    ".mp4": 100_000,
    ".mov": 200_000,
    ".mkv": 100_000,
}
_OTHER_BYTES_PER_S = 12_000
_UNKNOWN_MS = 60_000
"""Guesses for balancing alone, before anything was decoded: usual rates of speech recordings."""
_MAX_PARTS_AHEAD = 64
"""A header may claim any length; this many parts are planned beyond those known to exist."""


@dataclass(frozen=True)
class Unit:
    """One part of one recording to do. `language` was detected in an earlier part. What runs up to `newer_than` made of
    it does not count."""

    audio_id: str
    run_key: str
    source_key: str
    part_index: int
    estimated_ms: int
    language: str | None = None
    newer_than: str = ""


@dataclass
class Plan:
    """`todo`: longest first. `to_publish`: recordings that an earlier run recognized but did not publish. `skipped`:
    done already."""

    todo: list[Unit]
    to_publish: list[Take]
    skipped: int


@dataclass
class Progress:
    """The closed parts of one take: whether each goes on, what the header claims, and the language found."""

    continues: dict[int, bool] = field(default_factory=dict)
    header_ms: int | None = None
    language: str | None = None

    @property
    def complete(self) -> bool:
        """True once an unbroken chain of parts ends in one that does not go on."""
        part = 0
        while self.continues.get(part):
            part += 1
        return part in self.continues

    def parts_to_do(self, part_ms: int) -> list[int]:
        """The first part alone, then, once that goes on, all that the header promises; always at least the next one."""
        if self.complete:
            return []
        reached = next(part for part in range(len(self.continues) + 1) if part not in self.continues)
        # A part exists if the window for its cut is filled: see audio/parts.py.
        promised = 1 + max(0, (self.header_ms or 0) - CUT_WINDOW_S * 1000) // part_ms if self.continues else 1
        last = max(reached + 1, min(promised, reached + _MAX_PARTS_AHEAD))
        return [part for part in range(reached, last) if part not in self.continues]


def config_key(config: Config, recognizer: EngineSpec, aligners: Sequence[tuple[str, AlignerSpec | None]]) -> str:
    """A hash of all in the configuration that can change a chunk: not of segments (publish re-derives them), batching,
    fetching or waves."""
    parts = {
        "pipeline": PIPELINE_VERSION,
        "engine": dict(recognizer.key),
        "aligners": [[name, None if spec is None else dict(spec.key)] for name, spec in aligners],
        "vad": config.vad.model_dump(),
        "packing": config.packing.model_dump(),
        "retry": config.retry.model_dump(),
        "defaults": [config.language, config.context, config.audio.channels],
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:32]


def make_plan(manifest: DataFrame, tables: Tables, key: str, part_ms: int, reprocess: Reprocess) -> Plan:
    """What is pending for the configuration `key`: new, changed at the source, failed in a way that may pass, or asked
    for.

    Only ids and lengths come to the driver. The engine is not asked again for parts that are committed in chunks.
    """
    wanted, skipped = [], 0
    for row in _with_state(manifest, tables).toLocalIterator(prefetchPartitions=True):
        if _is_pending(row, run_key_of(key, row.source_key), reprocess):
            wanted.append(row)
        else:
            skipped += 1
    units = [_first_unit(row, run_key_of(key, row.source_key)) for row in wanted]
    progress = read_progress(tables, units)
    plan = Plan([], [], skipped)
    for unit in units:
        state = progress[unit.audio_id]
        if state.complete:
            plan.to_publish.append((unit.audio_id, unit.run_key))
        plan.todo += next_units(unit, state, part_ms)
    plan.todo.sort(key=lambda unit: (-unit.estimated_ms, unit.audio_id, unit.part_index))
    return plan


def next_units(unit: Unit, state: Progress, part_ms: int) -> list[Unit]:
    """The parts of `unit`'s recording to do next."""
    length_ms = unit.estimated_ms if not state.continues else part_ms
    return [
        replace(unit, part_index=part, language=state.language, estimated_ms=min(length_ms, part_ms))
        for part in state.parts_to_do(part_ms)
    ]


def _with_state(manifest: DataFrame, tables: Tables) -> DataFrame:
    done = tables.read(RECORDINGS).select(
        "audio_id", "status", "run_key", "run_id", F.col("source_key").alias("done_source_key")
    )
    failures = tables.read(FAILURES).groupBy("audio_id").agg(F.max("transient").alias("may_pass"))
    rows = manifest.select("audio_id", "uri", "size_bytes", "start_ms", "end_ms", "source_key")
    return rows.join(done, "audio_id", "left").join(failures, "audio_id", "left")


def _is_pending(row: Any, run_key: str, reprocess: Reprocess) -> bool:
    if row.status is None or row.done_source_key != row.source_key or row.may_pass or reprocess == "all":
        return True
    # One that is read but for a chunk has a failure, too: may_pass is false then, and null without any.
    failed = row.status == "failed" or row.may_pass is not None
    return (reprocess == "failed" and failed) or (reprocess == "changed" and row.run_key != run_key)


def _first_unit(row: Any, run_key: str) -> Unit:
    estimated_ms = _estimated_ms(row.uri, row.size_bytes, row.start_ms, row.end_ms)
    # What a recording shows now is no progress on doing it again in the same way.
    return Unit(
        row.audio_id, run_key, row.source_key, 0, estimated_ms, newer_than=row.run_id if row.run_key == run_key else ""
    )


def read_progress(tables: Tables, units: Sequence[Unit]) -> dict[str, Progress]:
    """By audio_id, the closed parts of each unit's recording under its run_key."""
    newer_than = {unit.audio_id: unit.newer_than for unit in units}
    found = {audio_id: Progress() for audio_id in newer_than}
    if not found:
        return found
    run_keys = {unit.audio_id: unit.run_key for unit in units}
    ids = pa.table(
        {"audio_id": pa.array(list(run_keys), pa.string()), "run_key": pa.array(list(run_keys.values()), pa.string())}
    )
    closings = (
        tables.read(CHUNKS)
        .where("closing is not null")
        .select("audio_id", "run_key", "run_id", "part_index", "closing.*")
    )
    rows = closings.join(F.broadcast(tables.spark.createDataFrame(ids)), ["audio_id", "run_key"], "left_semi")
    for row in (
        rows.select("audio_id", "run_id", "part_index", "continues", "header_duration_ms", "language")
        .orderBy("run_id")
        .collect()
    ):
        if row.run_id > newer_than[row.audio_id]:
            state = found[row.audio_id]
            state.continues[row.part_index] = row.continues
            if row.part_index == 0:
                state.header_ms, state.language = row.header_duration_ms, row.language
    return found


def _estimated_ms(uri: str | None, size_bytes: int | None, start_ms: int, end_ms: int | None) -> int:
    if end_ms is not None:
        return end_ms - start_ms
    if size_bytes is None:
        return _UNKNOWN_MS
    suffix = Path(uri or "").suffix.lower()
    return max(1, size_bytes * 1000 // _BYTES_PER_S.get(suffix, _OTHER_BYTES_PER_S) - start_ms)


def take_wave(todo: list[Unit], wave_ms: int) -> tuple[list[Unit], list[Unit]]:
    """The first units that make up `wave_ms` together (at least one), and the rest."""
    total = 0
    for count, unit in enumerate(todo):
        if count and total + unit.estimated_ms > wave_ms:
            return todo[:count], todo[count:]
        total += unit.estimated_ms
    return todo, []


def balance(units: Sequence[Unit], tasks: int) -> list[list[Unit]]:
    """At most `tasks` lists of about equal length in ms: each unit, longest first, goes to the list that is shortest so
    far."""
    lists: list[list[Unit]] = [[] for _ in range(min(tasks, len(units)))]
    heap = [(0, index) for index in range(len(lists))]
    for unit in sorted(units, key=lambda unit: (-unit.estimated_ms, unit.audio_id, unit.part_index)):
        total_ms, index = heapq.heappop(heap)
        lists[index].append(unit)
        heapq.heappush(heap, (total_ms + max(1, unit.estimated_ms), index))
    return lists


def task_count(units: Iterable[Unit], task_ms: int, slots: int) -> int:
    """Tasks of about `task_ms`; with less work than that, one a slot."""
    return max(slots, -(-sum(unit.estimated_ms for unit in units) // task_ms))


def work_of(
    spark: SparkSession, manifest: DataFrame, tasks: Sequence[Sequence[Unit]], with_content: bool = False
) -> DataFrame:
    """The rows of WORK for the tasks, each in its own partition, in order. `with_content`: the manifest holds the bytes
    of recordings, which are too large to go by way of the driver."""
    placed = [(unit, task, position) for task, units in enumerate(tasks) for position, unit in enumerate(units)]
    columns = {
        "audio_id": pa.array([unit.audio_id for unit, _, _ in placed], pa.string()),
        "run_key": pa.array([unit.run_key for unit, _, _ in placed], pa.string()),
        "part_index": pa.array([unit.part_index for unit, _, _ in placed], pa.int32()),
        "detected": pa.array([unit.language for unit, _, _ in placed], pa.string()),
        "task": pa.array([task for _, task, _ in placed], pa.int32()),
        "position": pa.array([position for _, _, position in placed], pa.int32()),
    }
    rows = manifest.join(F.broadcast(spark.createDataFrame(pa.table(columns))), "audio_id")
    rows = rows.withColumn(
        "language_source", F.coalesce("language_source", F.when(F.col("detected").isNotNull(), "detected"))
    )
    rows = rows.withColumn("language", F.coalesce("language", "detected"))
    if with_content:
        placed_rows = rows.repartitionById(len(tasks), "task")
    else:
        # No shuffle: with an executor its output would be lost, and what the others are recognizing begun anew.
        partitions = spark.range(0, len(tasks), 1, len(tasks)).select(F.col("id").cast("int").alias("task"))
        placed_rows = partitions.join(F.broadcast(rows), "task")
    return placed_rows.sortWithinPartitions("position").select(WORK.names)
