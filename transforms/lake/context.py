"""All that needs the driver's own SparkContext or its Java process, and what holds where there is neither: over Spark
Connect, and so on clusters that people share. Nobody else asks a session for them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from pyspark.accumulators import Accumulator, AccumulatorParam
from pyspark.sql import SparkSession
from pyspark.sql.utils import is_remote

Value = TypeVar("Value")

_POOL = "spark.scheduler.pool"


def is_over_connect() -> bool:
    """Whether the sessions of this process are, or would be, of a Spark Connect server."""
    return "SPARK_REMOTE" in os.environ or is_remote()


def has_context(spark: SparkSession) -> bool:
    """Whether the session has a SparkContext and Java in this process; all below that says nothing else needs them."""
    return hasattr(spark, "sparkContext")


def tasks_at_once(spark: SparkSession) -> int:
    """How many tasks the cluster is made for; over Connect the session's partitions of a shuffle tell."""
    if has_context(spark):
        return spark.sparkContext.defaultParallelism
    return int(spark.conf.get("spark.sql.shuffle.partitions") or 1)


def cancel_jobs(spark: SparkSession) -> None:
    """All that run; over Connect those of this session."""
    spark.sparkContext.cancelAllJobs() if has_context(spark) else spark.interruptAll()


def setting(spark: SparkSession, key: str, default: str) -> str:
    """What Spark was started with."""
    return spark.sparkContext.getConf().get(key, default)


def is_on_one_machine(spark: SparkSession) -> bool:
    return str(spark.sparkContext.master).startswith("local")


def executor_count(spark: SparkSession) -> int:
    """Those that are here now."""
    known = spark.sparkContext._jsc.sc().statusTracker().getExecutorInfos()
    return len(known) - 1  # the driver is among them


def worker_environment(spark: SparkSession) -> dict[str, str]:
    """What the Python workers of functions get that are made from now on: to be changed in place."""
    return spark.sparkContext.environment


def accumulator(spark: SparkSession, zero: Value, parameter: AccumulatorParam[Value]) -> Accumulator[Value]:
    return spark.sparkContext.accumulator(zero, parameter)


@contextmanager
def in_pool(spark: SparkSession, name: str) -> Iterator[None]:
    """Runs this thread's Spark jobs in the pool `name`: with `spark.scheduler.mode FAIR`, pools take turns at free
    slots."""
    before = spark.sparkContext.getLocalProperty(_POOL)
    spark.sparkContext.setLocalProperty(_POOL, name)
    try:
        yield
    finally:
        spark.sparkContext.setLocalProperty(_POOL, before)  # type: ignore[arg-type]


def hadoop_folder(spark: SparkSession, where: str) -> tuple[Any, Any]:
    """Hadoop's file system and path of a place."""
    folder = _java(spark).org.apache.hadoop.fs.Path(where)
    return folder.getFileSystem(spark._jsc.hadoopConfiguration()), folder


def inside(spark: SparkSession, folder: Any, name: str) -> Any:
    """Hadoop's path of what is called `name` in a folder of Hadoop's."""
    return _java(spark).org.apache.hadoop.fs.Path(folder, name)


def write_checkpoint(spark: SparkSession, folder: Any) -> None:
    """Of the Delta table in a folder of Hadoop's."""
    _delta_log(spark).forTable(spark._jsparkSession, folder.toString()).checkpoint()


def forget_logs(spark: SparkSession) -> None:
    """Drops what Delta keeps of tables' logs in this process."""
    _delta_log(spark).clearCache()


def _delta_log(spark: SparkSession) -> Any:
    return _java(spark).org.apache.spark.sql.delta.DeltaLog


def _java(spark: SparkSession) -> Any:
    return spark._jvm
