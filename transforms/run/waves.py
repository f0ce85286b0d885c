"""A wave of the run: claim its recordings, recognize what nobody has recognized, commit it to chunks, and read back,
from the files of that commit alone, which parts are closed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql.pandas.types import from_arrow_schema

from schemas.parts import Parts
from schemas.tables import CHUNKS, to_batch
from transforms.errors import RecordingError
from transforms.lake.context import in_pool
from transforms.lake.sql import any_of, literal
from transforms.lake.tables import Tables
from transforms.logs import speak, tell_of_task
from transforms.recognition.report import TaskReport
from transforms.recognition.rows import TaskSpec, failed_row, works_of
from transforms.recognition.task import recognize_partition
from transforms.run.claims import Claims, Taken, Writer, lane_name
from transforms.run.crashes import Crashes, isolate
from transforms.run.manifest import Manifest
from transforms.run.plan import Plan, work_of
from transforms.run.sizes import Sizes
from transforms.run.slots import map_in_slots, recognition_profile, slot_count
from transforms.run.units import Progress, Unit, balance, task_count

_CLOSING = [
    "audio_id",
    "run_key",
    "run_id",
    "part_index",
    "closing.continues",
    "closing.header_duration_ms",
    "closing.language",
]


@dataclass(frozen=True)
class Wave:
    """What came of a wave: `units` were recognized and have a row of `closings` each; `resumed` recordings had been
    begun by runs that died, and `settled` ones published."""

    index: int
    taken: Taken
    units: list[Unit]
    closings: list[Any]
    resumed: dict[str, Progress]
    settled: set[str]


class Waves:
    """Does waves, several at once, each lane one after the other."""

    def __init__(
        self,
        tables: Tables,
        manifest: Manifest,
        plan: Plan,
        spec: TaskSpec,
        claims: Claims,
        sizes: Sizes,
        crashes: Crashes,
        reports: Any,
    ) -> None:
        self._tables, self._manifest, self._plan, self._spec = tables, manifest, plan, spec
        self._claims, self._sizes, self._crashes, self._reports = claims, sizes, crashes, reports
        self._profile = recognition_profile(tables.spark)
        self._writers: dict[int, Writer] = {}
        self._parts = Parts(spec.config.packing.part_minutes)

    @property
    def slots(self) -> int:
        """Tasks of recognition that run at once, now."""
        return slot_count(self._tables.spark, self._profile)

    def do(self, units: Sequence[Unit], index: int, lane: int) -> Wave:
        """Raises LostClaims if another run has taken this one for dead."""
        replaces = self._plan.table["replaces"]
        new = {unit.audio_id: replaces[unit.row].as_py() for unit in units if not unit.claimed}
        # Not behind all tasks of another wave, as in the pool of recognition.
        with in_pool(self._tables.spark, "publish"):
            taken = self._claims.take(new) if new else Taken()
            settled = self._settle(units, taken)
            mine = [unit for unit in units if unit.claimed or unit.audio_id in taken.held.keys() - settled]
            resumed = self._resumed([unit for unit in mine if taken.held.get(unit.audio_id)], taken.held)
        todo = [unit for unit in mine if unit.audio_id not in resumed]
        todo += [
            part
            for unit in mine
            if unit.audio_id in resumed
            for part in resumed[unit.audio_id].units(unit, self._parts)
        ]
        if not todo:
            return Wave(index, taken, [], [], resumed, settled)
        writer = self._writers.setdefault(lane, Writer(self._spec.run_id, lane_name(lane)))
        spec = replace(self._spec, wave_index=index)
        isolate(
            todo,
            lambda some: self._tables.append(CHUNKS, self._recognized(some, spec), writer.ticket()),
            lambda one: self._tables.append(CHUNKS, self._quarantined(one, spec), writer.ticket()),
            self._crashes,
        )
        with in_pool(self._tables.spark, "publish"):
            closings = self._closings(todo, index)
        return Wave(index, taken, todo, closings, resumed, settled)

    def _settle(self, units: Sequence[Unit], taken: Taken) -> set[str]:
        """Ends what dead runs had published; returns the audio_ids of which nothing else is asked for, also where
        another run has ended it since the plan was made. The others are begun anew: of what is shown already, nothing
        is to be taken up."""
        rows = self._plan.table.select(["audio_id", "replaces", "asked"])
        rows = rows.take(pa.array([unit.row for unit in units if unit.audio_id in taken.held], pa.int64())).to_pylist()
        published = [row for row in rows if row["replaces"] in taken.held[row["audio_id"]]]
        self._claims.tidy({row["audio_id"]: row["replaces"] for row in published}, taken.held)
        ended = {row["audio_id"] for row in published}
        ended |= {audio_id for audio_id, begun in taken.held.items() if not begun}
        done = {row["audio_id"] for row in rows if not row["asked"]} & ended
        self._claims.release(done)
        taken.held.update({row["audio_id"]: [] for row in published if row["asked"]})
        return done

    def _recognized(self, units: Sequence[Unit], spec: TaskSpec) -> DataFrame:
        tasks = balance(units, task_count(units, self._sizes.task_ms, self.slots))
        rows = work_of(self._tables, self._manifest, self._plan, tasks)
        return map_in_slots(rows, _task(spec, self._reports), from_arrow_schema(CHUNKS.arrow), self._profile)

    def _quarantined(self, unit: Unit, spec: TaskSpec) -> DataFrame:
        (work,) = works_of(work_of(self._tables, self._manifest, self._plan, [[unit]]).toArrow().to_batches())
        advice = "convert it to WAV or take it out, then try --reprocess failed"
        error = RecordingError("decode", "crash", f"{work.name} kills the process that reads it; {advice}")
        return self._tables.frame(pa.Table.from_batches([to_batch([failed_row(work, error, spec)], CHUNKS.arrow)]))

    def _closings(self, units: Sequence[Unit], index: int) -> list[Any]:
        mine = f"run_id = {literal(self._spec.run_id)} AND wave_index = {index}"
        rows = self._tables.read(CHUNKS).where(f"{mine} AND closing IS NOT NULL").select(*_CLOSING).collect()
        if len(rows) != len(units):
            # A commit that another run has fenced off leaves nothing, and no error.
            self._claims.confirm({unit.audio_id for unit in units})
            raise RuntimeError(f"wave {index} was given {len(units)} parts and committed {len(rows)}")
        return rows

    def _resumed(self, units: Sequence[Unit], held: dict[str, list[str]]) -> dict[str, Progress]:
        """What runs that died have left of these recordings in chunks, under the run_key of the plan."""
        found = {unit.audio_id: Progress(begun=held[unit.audio_id]) for unit in units}
        if not found:
            return found
        begun = any_of("run_id", {run_id for progress in found.values() for run_id in progress.begun})
        keys = self._plan.table.select(["audio_id", "run_key"]).take(pa.array([unit.row for unit in units], pa.int64()))
        listed = F.broadcast(self._tables.frame(keys))
        rows = self._tables.read(CHUNKS).where(begun).join(listed, ["audio_id", "run_key"], "left_semi")
        # Parts that failed in a way that may pass are tried again, as if they had not been begun.
        may_pass = rows.where("error.transient").select("audio_id", "run_key", "run_id", "part_index").distinct()
        same = " AND ".join(f"t.{name} = s.{name}" for name in may_pass.columns)
        self._tables.delete_matching(CHUNKS, may_pass, same)
        closed = rows.where("closing IS NOT NULL").select(*_CLOSING)
        for row in closed.orderBy("run_id").collect():
            if row.run_id in found[row.audio_id].begun:
                found[row.audio_id].close(row)
        return found


def _task(spec: TaskSpec, reports: Any) -> Callable[[Iterable[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    """The function that runs in the Python workers. It must not hold the session."""

    def run(rows: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        from pyspark import TaskContext

        context = TaskContext.get()
        if spec.config.run.log == "json":
            task = None if context is None else f"{context.stageId()}.{context.partitionId()}.{context.attemptNumber()}"
            speak("json", run_id=spec.run_id, wave_index=spec.wave_index, task=task)

        def add(report: TaskReport) -> None:
            report.retries = int(context is not None and context.attemptNumber() > 0)
            reports.add(report)
            tell_of_task(f"task done: {report.recordings} recordings, {report.failed} failed", **report.figures())

        return recognize_partition(rows, spec, add)

    return run
