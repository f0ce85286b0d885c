"""The places on the cluster where recognition runs: its claim to GPUs, how many tasks that lets run at once, and the
room beside it in which publishing never waits for the next wave."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable

import pyarrow as pa
from pyspark.resource import ResourceProfile, ResourceProfileBuilder, TaskResourceRequests
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.types import StructType

from transforms.lake.context import executor_count, is_on_one_machine, setting, tasks_at_once, worker_environment

TASK_GPUS, TASK_CPUS = "spark.lakescribe.recognition.gpus", "spark.lakescribe.recognition.cpus"
"""What a task of recognition takes of its executor: settings of our own beside Spark's, which hold for all other
tasks."""
_EXECUTOR_GPUS, _EXECUTOR_CORES = "spark.executor.resource.gpu.amount", "spark.executor.cores"
_OWN_WORKERS = "LAKESCRIBE_RECOGNITION"
_building = threading.Lock()


def recognition_profile(spark: SparkSession) -> ResourceProfile | None:
    """What a task of recognition claims; None where executors have no GPUs or the master knows no profiles (local).

    To be asked once a run: each call makes a profile that Spark keeps.
    """
    if is_on_one_machine(spark) or not _amount(spark, _EXECUTOR_GPUS, 0):
        return None
    claim = TaskResourceRequests().cpus(_recognition_cpus(spark)).resource("gpu", _amount(spark, TASK_GPUS, 1))
    # Of requests for tasks alone Spark makes a profile for the executors that it has, instead of starting others.
    return ResourceProfileBuilder().require(claim).build


def slot_count(spark: SparkSession, profile: ResourceProfile | None) -> int:
    """Tasks of recognition that run at once, at least 1: on executors that are here or that the settings promise. To be
    asked for each wave, since executors come and go."""
    cores = int(_amount(spark, _EXECUTOR_CORES, 0))
    if profile is None and not cores:
        return max(1, tasks_at_once(spark) // int(_amount(spark, "spark.task.cpus", 1)))
    if profile is None:
        return _executor_count(spark) * max(1, cores // int(_amount(spark, "spark.task.cpus", 1)))
    by_gpus = int(_amount(spark, _EXECUTOR_GPUS, 0) / _amount(spark, TASK_GPUS, 1))
    by_cores = cores // _recognition_cpus(spark) if cores else by_gpus
    return _executor_count(spark) * max(1, min(by_gpus, by_cores))


def map_in_slots(
    rows: DataFrame,
    task: Callable[[Iterable[pa.RecordBatch]], Iterable[pa.RecordBatch]],
    schema: StructType,
    profile: ResourceProfile | None,
) -> DataFrame:
    """`rows.mapInArrow` with `profile`, in Python workers that run nothing else.

    Spark gives an idle worker to whatever task comes next: a publishing task would borrow the one that holds the model,
    and the next task of recognition load a second one beside it. Workers are shared by functions of equal environment
    only. That is the session's, so a function which another thread makes in this very moment shares the workers, too.
    """
    if profile is None:
        return rows.mapInArrow(task, schema)
    environment = worker_environment(rows.sparkSession)
    with _building:
        environment[_OWN_WORKERS] = "1"
        try:
            return rows.mapInArrow(task, schema, profile=profile)
        finally:
            del environment[_OWN_WORKERS]


def _recognition_cpus(spark: SparkSession) -> int:
    return int(_amount(spark, TASK_CPUS, _amount(spark, "spark.task.cpus", 1)))


def _executor_count(spark: SparkSession) -> int:
    promised = _amount(spark, "spark.executor.instances", 1)
    if setting(spark, "spark.dynamicAllocation.enabled", "false") == "true":
        promised = _amount(spark, "spark.dynamicAllocation.maxExecutors", promised)
    return max(int(promised), executor_count(spark))


def _amount(spark: SparkSession, key: str, default: float) -> float:
    return float(setting(spark, key, str(default)))
