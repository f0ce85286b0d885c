"""The whole run: plan → waves of recognize → publish → runs. What jobs/transcribe.py does, as a Python call."""

from __future__ import annotations

import datetime
import importlib.metadata
import platform
import time
import uuid
from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from py4j.protocol import Py4JError
from pyspark.errors import PySparkException
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.pandas.types import from_arrow_schema

from schemas.config import Config, show_config
from schemas.tables import CHUNKS, RECORDINGS, RUNS, to_batch
from transforms.engines import aligner_specs, recognizer_spec
from transforms.errors import RecordingError
from transforms.lake.session import limit_arrow_batches
from transforms.lake.tables import Tables, Take
from transforms.publishing.publish import delete_stale, publish
from transforms.recognition.task import TaskReport, TaskSpec, failed_row, recognize_partition, works_of
from transforms.run.manifest import read_manifest
from transforms.run.plan import (
    Plan,
    Reprocess,
    Unit,
    balance,
    config_key,
    make_plan,
    next_units,
    read_progress,
    take_wave,
    task_count,
    work_of,
)
from transforms.run.progress import ProgressDisplay, TaskReports
from transforms.run.slots import in_pool, map_in_slots, recognition_profile, slot_count

_PACKAGES = (
    "lakescribe",
    "pyspark",
    "delta-spark",
    "pyarrow",
    "faster-whisper",
    "ctranslate2",
    "pocketsphinx",
    "onnxruntime",
    "soundfile",
    "av",
)
_WORKER_DIED = "Python worker exited unexpectedly"
"""What Spark says when a worker was killed or crashed in native code; it has tried the task four times by then."""
_MAX_CRASHED = 3
"""More crashing recordings than this in one run are the machine's fault, not theirs."""


@dataclass(frozen=True)
class RunSummary:
    """What a run did: `run_id` None if there was nothing to do; `skipped` recordings were recognized before."""

    run_id: str | None
    recordings: int
    failed: int
    skipped: int
    audio_s: float
    wall_s: float


def transcribe(
    spark: SparkSession, config: Config, manifest_path: str, root: str, reprocess: Reprocess = "no"
) -> RunSummary:
    """Transcribes what is pending in the manifest (Parquet) into the tables at `root`.

    Raises ConfigError and ManifestError before anything has run; what is wrong with a recording becomes a row, what is
    wrong with the machines is raised after Spark's own retries. What was committed by then is kept: the next run goes
    on from there.
    """
    spec = _spec(config)
    limit_arrow_batches(spark)
    manifest = read_manifest(spark, manifest_path, config)
    tables = Tables(spark, root)
    tables.create()
    part_ms = int(config.packing.part_minutes * 60_000)
    plan = make_plan(manifest, tables, config_key(config, spec.recognizer, spec.aligners), part_ms, reprocess)
    delete_stale(tables)
    if not plan.todo and not plan.to_publish:
        return RunSummary(None, 0, 0, plan.skipped, 0.0, 0.0)
    with in_pool(spark, "publish"):  # waves have threads of their own, and so the default pool
        return _Run(spark, config, manifest, tables, spec, part_ms).execute(plan)


def _spec(config: Config) -> TaskSpec:
    recognizer, aligners = recognizer_spec(config), aligner_specs(config)
    now = datetime.datetime.now(datetime.UTC)
    run_id = f"{now:%Y%m%dT%H%M%S.%fZ}-{uuid.uuid4().hex[:6]}"
    return TaskSpec(
        config, recognizer, aligners, config.engine.name, str(recognizer.key.get("model", config.engine.name)), run_id
    )


class _Run:
    def __init__(
        self, spark: SparkSession, config: Config, manifest: DataFrame, tables: Tables, spec: TaskSpec, part_ms: int
    ) -> None:
        self.spark, self.config, self.manifest, self.tables, self.spec, self.part_ms = (
            spark,
            config,
            manifest,
            tables,
            spec,
            part_ms,
        )
        self.started_at, self.started = datetime.datetime.now(datetime.UTC), time.monotonic()
        self.reports = spark.sparkContext.accumulator(TaskReport(), TaskReports())
        self.profile = recognition_profile(spark)
        self.with_content = bool(manifest.where("content IS NOT NULL").limit(1).count())
        self.skipped = 0
        self.crashed = 0

    def execute(self, plan: Plan) -> RunSummary:
        self.skipped = plan.skipped + len(plan.to_publish)
        recordings, estimated_ms = (
            len({unit.audio_id for unit in plan.todo}),
            sum(unit.estimated_ms for unit in plan.todo),
        )
        try:
            publish(self.tables, plan.to_publish, self.config)
            with ProgressDisplay(recordings, estimated_ms, lambda: self.reports.value, self.config.run.progress_s):
                self._waves(plan.todo)
        except BaseException as error:
            self._write_run(error)
            raise
        return self._write_run(None)

    def _waves(self, todo: list[Unit]) -> None:
        """Each wave is one commit to chunks. The next one starts while the last one's stragglers finish; publishing is
        done here, one at a time."""
        running: dict[Future[None], list[Unit]] = {}
        with ThreadPoolExecutor(self.config.run.waves_at_once, thread_name_prefix="wave") as pool:
            while todo or running:
                while todo and len(running) < self.config.run.waves_at_once:
                    wave, todo = take_wave(todo, int(self.config.run.wave_audio_hours * 3.6e6))
                    running[pool.submit(self._recognize, wave)] = wave
                finished, _ = wait(running, return_when=FIRST_COMPLETED)
                for future in finished:
                    wave = running.pop(future)
                    future.result()
                    unfinished = {unit.audio_id for units in [todo, *running.values()] for unit in units}
                    todo = self._after(wave, unfinished) + todo

    def _recognize(self, wave: list[Unit]) -> None:
        """Commits a wave to chunks. A recording that kills its Python worker at every try is found by halving the wave,
        and becomes a failure row."""
        try:
            self.tables.append(CHUNKS, self._recognized(wave))
        except (PySparkException, Py4JError) as error:
            if _WORKER_DIED not in str(error) or (len(wave) == 1 and self.crashed >= _MAX_CRASHED):
                raise
            if len(wave) == 1:
                self.crashed += 1
                self.tables.append(CHUNKS, self._quarantined(wave[0]))
                return
        else:
            return
        half = len(wave) // 2
        self._recognize(wave[:half])
        self._recognize(wave[half:])

    def _recognized(self, wave: list[Unit]) -> DataFrame:
        slots = slot_count(self.spark, self.profile)
        tasks = balance(wave, task_count(wave, int(self.config.run.task_audio_minutes * 60_000), slots))
        rows = work_of(self.spark, self.manifest, tasks, self.with_content)
        return map_in_slots(rows, _task(self.spec, self.reports), from_arrow_schema(CHUNKS.arrow), self.profile)

    def _quarantined(self, unit: Unit) -> DataFrame:
        (work,) = works_of(work_of(self.spark, self.manifest, [[unit]]).toArrow().to_batches())
        advice = "convert it to WAV or take it out, then try --reprocess failed"
        error = RecordingError("decode", "crash", f"{work.name} kills the process that reads it; {advice}")
        row = failed_row(work, error, self.spec)
        return self.spark.createDataFrame(pa.Table.from_batches([to_batch([row], CHUNKS.arrow)]))

    def _after(self, wave: list[Unit], unfinished: set[str]) -> list[Unit]:
        """Publishes what a wave has completed; returns the parts of very long recordings that are to follow.

        `unfinished` are recordings of which other parts are still planned: they are looked at again after those.
        """
        units = list({unit.audio_id: unit for unit in wave if unit.audio_id not in unfinished}.values())
        progress = read_progress(self.tables, units)
        done: list[Take] = [(unit.audio_id, unit.run_key) for unit in units if progress[unit.audio_id].complete]
        publish(self.tables, done, self.config, fresh=True)
        return [following for unit in units for following in next_units(unit, progress[unit.audio_id], self.part_ms)]

    def _write_run(self, error: BaseException | None) -> RunSummary:
        report, wall_s = self.reports.value, time.monotonic() - self.started
        made = self.tables.read(RECORDINGS).where(f"run_id = '{self.spec.run_id}'")
        totals = made.selectExpr(
            "count(*) n", "count_if(status = 'failed') failed", "sum(duration_ms) audio_ms", "sum(speech_ms) speech_ms"
        ).first()
        assert totals is not None
        audio_s = (totals.audio_ms or 0) / 1000
        row = {
            "run_id": self.spec.run_id,
            "status": "ok" if error is None else "failed",
            "error": None if error is None else f"{type(error).__name__}: {error}"[:4000],
            "started_at": self.started_at,
            "ended_at": datetime.datetime.now(datetime.UTC),
            "wall_seconds": wall_s,
            "recordings": totals.n,
            "failed": totals.failed,
            "audio_hours": audio_s / 3600,
            "speech_hours": (totals.speech_ms or 0) / 3.6e6,
            "times_real_time": audio_s / wall_s,
            "stage_seconds": sorted(report.seconds.items()),
            "batches": report.batches,
            "batch_fill": report.batch_audio_s / report.padded_audio_s if report.padded_audio_s else None,
            "second_tries": report.second_tries,
            "retries": report.retries,
            "versions": sorted(_versions().items()),
            "config": show_config(self.config),
        }
        self.tables.append(RUNS, self.spark.createDataFrame(pa.Table.from_batches([to_batch([row], RUNS.arrow)])))
        return RunSummary(self.spec.run_id, totals.n, totals.failed, self.skipped, audio_s, wall_s)


def _task(spec: TaskSpec, reports: Any) -> Any:
    """The function that runs in the Python workers. It must not hold the session."""

    def run(rows: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        from pyspark import TaskContext

        context = TaskContext.get()

        def add(report: TaskReport) -> None:
            report.retries = int(context is not None and context.attemptNumber() > 0)
            reports.add(report)

        return recognize_partition(rows, spec, add)

    return run


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
