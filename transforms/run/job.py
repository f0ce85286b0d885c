"""The whole run: plan → waves of recognition → publishing → runs. What jobs/transcribe.py does, as a Python call."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field

import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession

from schemas.config import Config, show_config
from schemas.parts import Parts
from schemas.tables import CHUNKS, RECORDINGS
from transforms.engines import aligner_specs, fitted, recognizer_spec
from transforms.errors import LostClaims
from transforms.lake.context import accumulator, in_pool
from transforms.lake.session import limit_arrow_batches, own_session
from transforms.lake.sql import any_of, literal
from transforms.lake.tables import Tables
from transforms.logs import about
from transforms.publishing.publish import TAKES, Publisher
from transforms.recognition.keys import config_key
from transforms.recognition.report import TaskReport
from transforms.recognition.rows import TaskSpec
from transforms.run.claims import Claims, Writer
from transforms.run.crashes import Crashes
from transforms.run.figures import run_figures
from transforms.run.manifest import Manifest, Source, read_manifest
from transforms.run.plan import Plan, Reprocess, make_plan
from transforms.run.progress import ProgressDisplay, TaskReports
from transforms.run.registry import Registry
from transforms.run.sizes import Sizes
from transforms.run.stops import forgive, stage_of
from transforms.run.units import Progress, Unit
from transforms.run.waves import Wave, Waves

_LOOK_S = 5.0
"""At other runs' signs of life, once there is nothing else to do."""


@dataclass(frozen=True)
class RunSummary:
    """What a run did: `run_id` None if there was nothing to do; `skipped` recordings were recognized before; `left`
    counts those that another run, by run_id, is at work on; `erased` ones are left out for good."""

    run_id: str | None
    recordings: int
    failed: int
    skipped: int
    audio_s: float
    wall_s: float
    left: dict[str, int] = field(default_factory=dict)
    erased: int = 0

    def sentences(self) -> list[str]:
        """For people."""
        if self.run_id is None:
            told = [f"nothing to do: {self.skipped} recordings are up to date"]
        else:
            counts = f"{self.recordings} recordings ({self.failed} failed, {self.skipped} up to date before)"
            speed = f"{self.audio_s / 3600:.2f} h of audio in {self.wall_s:.0f} s"
            told = [f"run {self.run_id}: {counts}, {speed}, {self.audio_s / self.wall_s:.1f}x real time"]
        if self.erased:
            told.append(f"{self.erased} recordings were erased and are left out")
        if self.left:
            told.append(f"{sum(self.left.values())} recordings are left to other runs ({', '.join(sorted(self.left))})")
        return told


def transcribe(
    spark: SparkSession,
    config: Config,
    source: Source,
    root: str,
    reprocess: Reprocess = "no",
    *,
    wait_for_others: bool = False,
    stop: threading.Event | None = None,
) -> RunSummary:
    """Transcribes what is pending in a manifest into the tables at `root`. Other runs may be at work on the same
    tables, and on the same manifest; what they hold is left to them, or waited for if so asked. Once `stop` is set,
    what is in hand is finished and published, and nothing more begun; what is left is the next run's.

    Raises ConfigError and ManifestError before anything has run; what is wrong with a recording becomes a row, what is
    wrong with the machines is raised after Spark's own retries. What was committed by then is kept: the next run goes
    on from there. Raises LostClaims if another run has taken this one for dead.
    """
    recognizer, aligners = recognizer_spec(config), aligner_specs(config)
    config = fitted(config, aligners)
    limit_arrow_batches(spark)
    tables = Tables(spark, root)
    with _opened(spark, source, config) as manifest, _registry(tables, config) as registry:
        plan = make_plan(manifest, tables, config_key(config, recognizer, aligners), reprocess, registry.at_first)
        if not plan.table.num_rows:
            return RunSummary(None, 0, 0, plan.skipped, 0.0, 0.0, erased=plan.erased)
        model = str(recognizer.key.get("model", config.engine.name))
        run_id = registry.register(show_config(config, redacted=True))
        about(run_id=run_id)
        spec = TaskSpec(config, recognizer, aligners, config.engine.name, model, run_id)
        with in_pool(spark, "publish"):  # waves have threads of their own, and so the default pool
            return _Run(tables, registry, manifest, plan, spec, wait_for_others, stop or threading.Event()).execute()


def _registry(tables: Tables, config: Config) -> Registry:
    tables.create()
    return Registry(tables, config.run.claim_minutes)


@contextmanager
def _opened(spark: SparkSession, source: Source, config: Config) -> Iterator[Manifest]:
    manifest = read_manifest(spark, source, config)
    try:
        yield manifest
    finally:
        manifest.close()


class _Run:
    def __init__(
        self,
        tables: Tables,
        registry: Registry,
        manifest: Manifest,
        plan: Plan,
        spec: TaskSpec,
        wait_for_others: bool,
        stop: threading.Event,
    ) -> None:
        config, spark = spec.config, tables.spark
        self.wait_for_others = wait_for_others
        self.tables, self.registry, self.plan, self.spec = tables, registry, plan, spec
        self.claims, self.stop = Claims(tables, registry), stop
        self.reports = accumulator(spark, TaskReport(), TaskReports())
        self.sizes = Sizes(config.run)
        self.waves = Waves(
            tables, manifest, plan, spec, self.claims, self.sizes, Crashes(plan.table.num_rows), self.reports
        )
        # A session of its own: what a merge is to be marked with, Delta takes from the session.
        self.published = Tables(own_session(spark), tables.root)
        writer = Writer(spec.run_id, "publisher")
        self.publisher = Publisher(self.published, config.segments, spec.run_id, writer.ticket, self.claims.confirm)
        self.parts = Parts(config.packing.part_minutes)
        self.queue = plan.queue(self.parts)
        self.open: dict[str, tuple[Unit, Progress]] = {}
        self.left: dict[str, tuple[Unit, str]] = {}
        self.skipped, self.wave_count = plan.skipped, 0
        self.started = time.monotonic()

    def execute(self) -> RunSummary:
        config = self.spec.config
        try:
            with ProgressDisplay(
                self.plan.table.num_rows, self.plan.estimated_ms, lambda: self.reports.value, config.run.progress_s
            ):
                self._do_waves()
                while self._take_up_left():
                    self._do_waves()
        except BaseException as error:
            if (stage := stage_of(error)) is not None:
                forgive(self.tables, self.spec.run_id, stage)
            self._end(error)
            raise
        return self._end(None)

    def _do_waves(self) -> None:
        """Each wave is one commit to chunks. The next one starts while the last one's stragglers finish; publishing is
        done here, one at a time."""
        lanes = list(range(self.spec.config.run.waves_at_once))
        running: dict[Future[Wave], tuple[list[Unit], int]] = {}
        with ThreadPoolExecutor(len(lanes), thread_name_prefix="wave") as pool:
            while running or (self.queue and not self.stop.is_set()):
                while self.queue and lanes and not self.stop.is_set():
                    units, lane = self.queue.take(self.sizes.wave_ms(self.waves.slots)), lanes.pop()
                    running[pool.submit(self.waves.do, units, self.wave_count, lane)] = (units, lane)
                    self.wave_count += 1
                finished, _ = wait(running, return_when=FIRST_COMPLETED)
                for future in finished:
                    units, lane = running.pop(future)
                    lanes.append(lane)
                    wave = future.result()
                    # Before they are published, since the next run tries again only what is not shown as failed for
                    # good.
                    self.reports.value.alike.check(self.spec.config.run.alike_failures)
                    self._after(units, wave)
                    self.sizes.speed = self.reports.value.audio_s_a_slot_s or self.sizes.speed

    def _after(self, asked: list[Unit], wave: Wave) -> None:
        """Notes what a wave has done, publishes what is complete, and puts back the parts that are to follow."""
        self.skipped += len(wave.taken.done) + len(wave.settled)
        for unit in asked:
            if unit.audio_id in wave.taken.left:
                self.left[unit.audio_id] = unit, wave.taken.left[unit.audio_id]
            elif unit.audio_id in wave.resumed:
                self.open[unit.audio_id] = unit, wave.resumed[unit.audio_id]
                self.skipped += wave.resumed[unit.audio_id].complete
            elif unit.audio_id in wave.taken.held and unit.audio_id not in wave.settled:
                self.open[unit.audio_id] = unit, Progress(planned={unit.part_index})
        touched = {unit.audio_id for unit in (*asked, *wave.units)} & self.open.keys()
        for closing in wave.closings:
            _, progress = self.open[closing.audio_id]
            progress.waves.add(wave.index)
            progress.close(closing)
        complete = [self.open[audio_id] for audio_id in sorted(touched) if self.open[audio_id][1].complete]
        self._publish(complete)
        for audio_id in touched & self.open.keys():
            unit, progress = self.open[audio_id]
            self.queue.put_back(progress.units(unit, self.parts))

    def _publish(self, complete: list[tuple[Unit, Progress]]) -> None:
        if not complete:
            return
        self.registry.confirm()
        audio_ids = [unit.audio_id for unit, _ in complete]
        self.publisher.publish(self._takes(complete), self._chunks(complete))
        self.claims.release(audio_ids)
        for audio_id in audio_ids:
            del self.open[audio_id]

    def _takes(self, complete: list[tuple[Unit, Progress]]) -> pa.Table:
        planned = self.plan.table.select(["audio_id", "run_key", "replaces", "shown_key"])
        rows = planned.take(pa.array([unit.row for unit, _ in complete], pa.int64())).to_pylist()
        for row, (_, progress) in zip(rows, complete, strict=True):
            row |= {"run_ids": [self.spec.run_id, *progress.begun], "begun": progress.begun}
            row["made_again"] = row.pop("shown_key") == row["run_key"] or bool(progress.begun)
        return pa.Table.from_pylist(rows, TAKES)

    def _chunks(self, complete: list[tuple[Unit, Progress]]) -> DataFrame:
        """The rows of chunks of these recordings, and of others that lie in the same files."""
        waves = sorted({wave for _, progress in complete for wave in progress.waves})
        mine = f"run_id = {literal(self.spec.run_id)} AND wave_index IN ({', '.join(map(str, waves)) or 'NULL'})"
        begun = any_of("run_id", {run_id for _, progress in complete for run_id in progress.begun})
        return self.published.read(CHUNKS).where(f"({mine}) OR {begun}")

    def _take_up_left(self) -> bool:
        """Waits until each run that holds recordings of ours has given a sign of life, or is over: then its recordings
        are put back into the queue. True if there are any. If asked to wait for other runs, a sign of life is not
        enough: waits until they let go of a recording.
        """
        if not self.left or self.stop.is_set():
            return False
        living = self.registry.living()
        first = {run_id: living.get(run_id) for _, run_id in self.left.values()}
        while True:
            free = {audio_id for audio_id, (_, run_id) in self.left.items() if run_id not in living}
            if not free and self.wait_for_others:
                free = self.left.keys() - self.claims.held(self.left)
            if free:
                self.queue.put_back([self.left.pop(audio_id)[0] for audio_id in sorted(free)])
                return True
            signs_of_all = all(living[run_id] != seen for run_id, seen in first.items())
            if self.stop.is_set() or (signs_of_all and not self.wait_for_others):
                return False
            time.sleep(min(_LOOK_S, self.registry.sign_s / 2))
            self.registry.confirm()
            living = self.registry.living()

    def _end(self, error: BaseException | None) -> RunSummary:
        wall_s = time.monotonic() - self.started
        values = run_figures(self.tables.read(RECORDINGS), self.spec.run_id, self.reports.value, wall_s, error)
        if not isinstance(error, LostClaims):
            self.registry.end(values)
        left = Counter(run_id for _, run_id in self.left.values())
        counts = values["recordings"], values["failed"], self.skipped
        return RunSummary(self.spec.run_id, *counts, values["audio_hours"] * 3600, wall_s, dict(left), self.plan.erased)
