"""What Spark did for a call: seconds, jobs, commits, files and bytes read."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import astuple, dataclass
from pathlib import Path

from pyspark.sql import SparkSession

_FILES_READ = "number of files read"


@dataclass(frozen=True)
class Figures:
    seconds: float
    jobs: float
    commits: float
    files_read: float
    bytes_read: float

    def more_than(self, other: Figures, each: int) -> Figures:
        """What this did more, divided by `each`."""
        return Figures(*((one - two) / each for one, two in zip(astuple(self), astuple(other), strict=True)))

    def __str__(self) -> str:
        files = f"{self.files_read:,.0f} | {self.bytes_read / 2**20:,.1f}"
        return f"{self.seconds:.2f} | {self.jobs:,.0f} | {self.commits:,.1f} | {files}"


HEADER = "seconds | Spark jobs | commits | files read | MiB read"


def figures(spark: SparkSession, root: Path, call: Callable[[], object]) -> Figures:
    """Of `call`, which works on the tables in the folder `root`."""
    before = _counts(spark, root)
    executions = {execution.executionId() for execution in _executions(spark)}
    began_at = time.perf_counter()
    call()
    seconds = time.perf_counter() - began_at
    spark._jsc.sc().listenerBus().waitUntilEmpty()
    jobs, commits, bytes_read = (now - then for now, then in zip(_counts(spark, root), before, strict=True))
    store = spark._jsparkSession.sharedState().statusStore()
    files_read = 0
    for execution in _executions(spark):
        if execution.executionId() not in executions:
            values = store.executionMetrics(execution.executionId())
            for metric in _listed(execution.metrics()):
                value = values.get(metric.accumulatorId())
                if metric.name() == _FILES_READ and value.isDefined():
                    files_read += int(value.get().replace(",", ""))
    return Figures(seconds, jobs, commits, files_read, bytes_read)


def _counts(spark: SparkSession, root: Path) -> tuple[int, int, int]:
    """Jobs, commits and bytes read since the session began."""
    context = spark._jsc.sc()
    executors = _listed(context.statusStore().executorList(False))
    commits = sum(1 for _ in root.glob("*/_delta_log/[0-9]*[0-9].json"))
    return context.dagScheduler().numTotalJobs(), commits, sum(each.totalInputBytes() for each in executors)


def _executions(spark: SparkSession) -> list:
    return _listed(spark._jsparkSession.sharedState().statusStore().executionsList())


def _listed(scala_sequence: object) -> list:
    return [scala_sequence.apply(index) for index in range(scala_sequence.size())]
