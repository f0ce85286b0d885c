"""The job on a standalone cluster of two workers with a feigned GPU each, by spark-submit with the zip and
conf/spark-gpu.conf; in the middle an executor is killed. Not a part of `make test`: run by `make test-cluster`."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pytest
from pyspark.sql import SparkSession

from schemas.config import show_config
from tests.kit import delta_log
from tests.kit.cluster import GPU_ADDRESSES, Submitted, running_cluster
from tests.kit.device_engine import Batch, read_batches
from tests.kit.lake import Lake, engine_config, file_row, write_clips, write_manifest

COMPARED = ("chunks", "recordings", "segments", "words", "failures")
ENGINE = "engine.name=tests.kit.device_engine:DeviceSpec"
SETTINGS = (
    "run.wave_audio_hours=0.026",  # two waves, each of some six tasks, each of two batches
    "run.task_audio_minutes=0.3",
    "batching.max_padded_audio_s=12",
    "batching.lookahead_audio_s=24",
    "engine.options.delay_s=1.5",
)


@dataclass(frozen=True)
class Run:
    """The job on the cluster, ended: what it should have made and what it made; `killed`: the last batch of the
    executor that was killed."""

    expected: dict[str, list[str]]
    made: dict[str, list[str]]
    calls: list[tuple[str, int]]
    batches: list[Batch]
    killed: Batch
    submitted: Submitted

    @cached_property
    def tasks(self) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """The ends of the tasks of recognition, and those of all others."""
        stages = [event["Stage Info"] for event in self.submitted.events("StageSubmitted")]
        claiming = {stage["Stage ID"] for stage in stages if stage["Resource Profile Id"]}
        ends = self.submitted.events("TaskEnd")
        recognition, others = ([end for end in ends if (end["Stage ID"] in claiming) is of] for of in (True, False))
        return recognition, others


@pytest.fixture(scope="module")
def run(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("cluster")
    rows: list[Any] = [file_row(path) for path in write_clips(folder / "audio", 32, 6.0)]
    rows.append({"uri": str(folder / "audio" / "missing.wav"), "size_bytes": 1})
    here = Lake(spark, folder / "here")
    here.run(rows, ENGINE, device_log=folder / "places_here")

    calls, places, config, tables = (folder / name for name in ("calls", "places", "config.yaml", "tables"))
    config.write_text(show_config(engine_config(ENGINE, *SETTINGS, log_path=calls, device_log=places)), "utf-8")
    arguments = (
        "--config",
        config,
        "--manifest",
        write_manifest(folder / "manifest.parquet", rows),
        "--tables",
        tables,
    )
    with running_cluster(folder) as cluster, cluster.submit("job", *arguments) as submitted:
        while len(batches := read_batches(places)) < 4:  # each executor is in the first wave
            assert submitted.process.poll() is None, submitted.output()[-6000:]
            time.sleep(0.05)
        os.kill(batches[-1].executor, signal.SIGKILL)
        submitted.wait()
    made = {table: delta_log.contents(tables, table) for table in COMPARED}
    lines = [line.split() for line in calls.read_text().splitlines()]
    read = [(text, int(worker)) for text, worker in lines]
    return Run(here.contents(*COMPARED), made, read, read_batches(places), batches[-1], submitted)


def test_the_rows_are_those_of_a_run_in_one_process(run: Run) -> None:
    assert run.made == run.expected


def test_every_task_ran_on_the_gpu_that_it_was_given(run: Run) -> None:
    assert all(batch.given == batch.loaded_for for batch in run.batches)
    assert {batch.given for batch in run.batches} == set(GPU_ADDRESSES), "both workers took part"
    workers = {(batch.executor, batch.worker) for batch in run.batches}
    assert len(workers) == len({executor for executor, _ in workers}), "one loaded model an executor"


def beside(one: dict[str, Any], others: Iterable[dict[str, Any]]) -> bool:
    """True if the task `one` ran with one of the `others` on one executor at one time."""
    first, rest = one["Task Info"], (other["Task Info"] for other in others if other is not one)
    return any(
        first["Executor ID"] == second["Executor ID"]
        and first["Launch Time"] < second["Finish Time"]
        and second["Launch Time"] < first["Finish Time"]
        for second in rest
    )


def test_recognition_alone_takes_gpus_and_publishing_runs_beside_it(run: Run) -> None:
    profiles = sorted(run.submitted.events("ResourceProfileAdded"), key=lambda event: event["Resource Profile Id"])
    assert ["gpu" in profile["Task Resource Requests"] for profile in profiles] == [False, True]
    recognition, others = run.tasks
    assert any(beside(task, others) for task in recognition)


def test_a_killed_executor_costs_only_its_tasks(run: Run) -> None:
    recognition, _ = run.tasks
    (lost,) = {event["Executor ID"] for event in run.submitted.events("ExecutorRemoved")}
    failed = [
        (task["Task Info"]["Executor ID"], task["Task End Reason"]["Reason"])
        for task in recognition
        if task["Task Info"]["Failed"]
    ]
    assert failed == [(lost, "ExecutorLostFailure")]
    counts, doomed = (
        Counter(text for text, _ in run.calls),
        {batch.worker for batch in run.batches if batch.executor == run.killed.executor},
    )
    again = {text for text, count in counts.items() if count > 1}
    assert again, "the executor was killed when it had read something"
    assert again <= {text for text, worker in run.calls if worker in doomed}
