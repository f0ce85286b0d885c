"""How many tasks of recognition run at once, and in which pool. What needs a cluster is in tests/cluster."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from pyspark.sql import SparkSession
from pyspark.sql.types import StringType, StructField, StructType

from tests.kit.lake import ROOT
from transforms.lake.context import in_pool
from transforms.lake.session import read_conf
from transforms.run.slots import map_in_slots, recognition_profile, slot_count

SHIPPED = read_conf(ROOT / "conf" / "spark-gpu.conf")


def cluster(executors: int, **changes: str) -> Any:
    """A session's part that is asked here, of a cluster with conf/spark-gpu.conf on which so many executors have
    registered."""
    conf = {**SHIPPED, **{f"spark.{key.replace('_', '.')}": value for key, value in changes.items()}}
    tracker = SimpleNamespace(getExecutorInfos=lambda: ["driver", *range(executors)])
    java = SimpleNamespace(sc=lambda: SimpleNamespace(statusTracker=lambda: tracker))
    context = SimpleNamespace(
        master="spark://host:7077", getConf=lambda: conf, _jsc=java, defaultParallelism=executors * 5
    )
    return SimpleNamespace(sparkContext=context)


def test_on_one_machine_cores_are_slots_and_nothing_is_claimed(spark: SparkSession) -> None:
    assert recognition_profile(spark) is None
    assert slot_count(spark, None) == spark.sparkContext.defaultParallelism


PROFILE: Any = object()


@pytest.mark.parametrize(
    ("executors", "changes", "slots"),
    [
        (3, {}, 3),
        (0, {}, 1),
        (2, {"executor_instances": "8"}, 8),
        (9, {"executor_instances": "8"}, 9),
        (1, {"dynamicAllocation_enabled": "true", "dynamicAllocation_maxExecutors": "6"}, 6),
        (3, {"lakescribe_recognition_gpus": "0.5", "lakescribe_recognition_cpus": "1"}, 6),
        (3, {"executor_resource_gpu_amount": "4", "executor_cores": "11"}, 12),
        (3, {"executor_resource_gpu_amount": "4", "executor_cores": "5"}, 6),
    ],
)
def test_slots_are_counted_in_gpus(executors: int, changes: dict[str, str], slots: int) -> None:
    assert slot_count(cluster(executors, **changes), PROFILE) == slots


def test_without_gpus_slots_are_counted_in_cores() -> None:
    assert slot_count(cluster(3, executor_cores="8", task_cpus="2"), None) == 12


def test_beside_recognition_an_executor_has_room_for_one_other_task() -> None:
    """With more, publishing would fill it, and recognition wait for all its cores to be free again."""
    cores, recognition, others = (
        int(SHIPPED[f"spark.{key}"]) for key in ("executor.cores", "lakescribe.recognition.cpus", "task.cpus")
    )
    assert recognition + others <= cores < 2 * others
    assert "spark.task.resource.gpu.amount" not in SHIPPED


def test_jobs_of_a_block_run_in_its_pool(spark: SparkSession) -> None:
    context = spark.sparkContext

    def pool() -> str | None:
        return context.getLocalProperty("spark.scheduler.pool")

    assert context.getConf().get("spark.scheduler.mode") == "FAIR"
    with in_pool(spark, "outer"):
        with in_pool(spark, "inner"):
            assert pool() == "inner"
        assert pool() == "outer"
    assert pool() is None


def test_without_a_profile_rows_are_mapped_as_ever(spark: SparkSession) -> None:
    rows = spark.createDataFrame([("a",), ("b",)], StructType([StructField("x", StringType())]))
    assert map_in_slots(rows, lambda batches: batches, rows.schema, None).collect() == rows.collect()
