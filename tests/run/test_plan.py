from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from schemas.config import load_config
from schemas.parts import Parts
from tests.kit.lake import write_manifest
from transforms.lake.tables import Tables
from transforms.recognition.rows import WORK
from transforms.run.manifest import read_manifest
from transforms.run.plan import Plan, make_plan, work_of
from transforms.run.units import Progress, Unit, balance, task_count

UNITS = st.lists(st.integers(0, 10_000), min_size=1, max_size=40).map(
    lambda lengths: [Unit(f"a{index}", index, 0, length) for index, length in enumerate(lengths)]
)
PARTS = Parts(10)
FIRST_MS, PART_MS = 300_000, 600_000


def lengths(units: list[Unit]) -> list[int]:
    return [unit.estimated_ms for unit in units]


@given(units=UNITS, tasks=st.integers(1, 12))
def test_balanced_tasks_hold_every_unit_once_longest_first_and_none_is_much_longer(
    units: list[Unit], tasks: int
) -> None:
    lists = balance(units, tasks)
    assert sorted((unit for some in lists for unit in some), key=units.index) == units
    assert all(lengths(some) == sorted(lengths(some), reverse=True) for some in lists)
    assert all(lists)
    totals = [sum(lengths(some)) for some in lists]
    assert max(totals) - min(totals) <= max(lengths(units)) + len(units)


@given(units=UNITS)
def test_balance_does_not_depend_on_the_order_of_the_units(units: list[Unit]) -> None:
    assert balance(units, 3) == balance(units[::-1], 3)


@given(lengths_ms=st.lists(st.integers(1, 10_000), max_size=40), wave_ms=st.integers(0, 30_000), back=st.integers(0, 3))
def test_waves_are_as_full_as_they_may_be_and_leave_nothing_out(lengths_ms: list[int], wave_ms: int, back: int) -> None:
    rows = [{"audio_id": f"a{index}", "estimated_ms": length} for index, length in enumerate(lengths_ms)]
    schema = pa.schema([("audio_id", pa.string()), ("estimated_ms", pa.int64())])
    queue = Plan(pa.Table.from_pylist(rows, schema), 0).queue(PARTS)
    first = [Unit(f"b{index}", index, 1, 2_000, claimed=True) for index in range(back)]
    queue.put_back(first)
    waves = []
    while queue:
        waves.append(queue.take(wave_ms))
    new = [Unit(f"a{index}", index, 0, length) for index, length in enumerate(lengths_ms)]
    assert [unit for wave in waves for unit in wave] == first + new
    for wave, following in zip(waves, waves[1:], strict=False):
        assert wave
        assert len(wave) == 1 or sum(lengths(wave)) <= wave_ms
        assert sum(lengths(wave)) + following[0].estimated_ms > wave_ms


def test_small_work_still_uses_every_slot() -> None:
    units = [Unit("a", 0, 0, 1000)] * 3
    assert task_count(units, 60_000, 8) == 8
    assert task_count(units, 1000, 2) == 3


@pytest.mark.parametrize(
    ("continues", "header_ms", "to_do"),
    [
        ({}, None, [0]),
        ({0: False}, None, []),
        ({0: True}, None, [1]),
        ({0: True}, 10, [1]),  # a header that claims too little is not believed
        ({0: True}, FIRST_MS + 2 * PART_MS, [1, 2]),
        ({0: True}, FIRST_MS + 2 * PART_MS + 29_999, [1, 2]),  # too short a rest for a part of its own
        ({0: True}, FIRST_MS + 2 * PART_MS + 30_000, [1, 2, 3]),
        ({0: True, 1: True, 2: True}, 3 * PART_MS, [3]),
        ({0: True, 2: True}, FIRST_MS + 3 * PART_MS, [1, 3]),  # 2 was done before 1 when the job was killed
        ({0: True, 1: False, 2: False}, 9 * PART_MS, []),  # 2 was only claimed
    ],
)
def test_the_parts_of_a_long_recording_that_are_to_follow(
    continues: dict[int, bool], header_ms: int | None, to_do: list[int]
) -> None:
    progress = Progress(continues, header_ms, "de")
    assert progress.parts_to_do(PARTS) == to_do
    assert progress.complete == (not to_do)
    units = progress.units(Unit("a", 0, 0, 7 * PART_MS), PARTS)
    assert [(unit.part_index, unit.language, unit.estimated_ms) for unit in units] == [
        (part, "de", PART_MS if part else FIRST_MS) for part in to_do
    ]
    assert not progress.parts_to_do(PARTS), "they are planned now"


def test_the_first_part_to_do_is_as_long_as_the_recording_and_no_longer_than_a_first_part() -> None:
    for estimated_ms, length_ms in ((20_000, 20_000), (7 * PART_MS, FIRST_MS)):
        (unit,) = Progress().units(Unit("a", 0, 0, estimated_ms), PARTS)
        assert (unit.part_index, unit.estimated_ms) == (0, length_ms)


def test_a_header_may_claim_any_length() -> None:
    assert len(Progress({0: True}, 10**12).parts_to_do(PARTS)) == 64


def test_work_reaches_its_task_in_its_order_with_what_the_manifest_says(spark: SparkSession, tmp_path: Path) -> None:
    rows = [
        {"uri": f"{name}.wav", "audio_id": name, "language": language, "note": name.upper()}
        for name, language in {"a": None, "b": "fr", "c": None, "d": None}.items()
    ]
    manifest = read_manifest(spark, str(write_manifest(tmp_path / "manifest.parquet", rows)), load_config(None))
    tables = Tables(spark, str(tmp_path / "tables"))
    tables.create()
    plan = make_plan(manifest, tables, "key", "no")
    row = {audio_id: index for index, audio_id in enumerate(plan.table["audio_id"].to_pylist())}
    key = {one["audio_id"]: one["run_key"] for one in plan.table.to_pylist()}
    unit = {name: Unit(name, row[name], 0, 1) for name in "abc"}
    second_part = Unit("a", row["a"], 1, 1, language="de")
    work = work_of(tables, manifest, plan, [[unit["c"], unit["a"]], [unit["b"], second_part]])
    assert work.columns == WORK.names
    found = work.withColumn("task", F.spark_partition_id()).collect()
    by_task: dict[int, list[tuple[object, ...]]] = {}
    for row in found:
        by_task.setdefault(row.task, []).append(
            (row.audio_id, row.part_index, row.run_key, row.language, row.language_source)
        )
    assert sorted(by_task.values()) == [
        [("b", 0, key["b"], "fr", "given"), ("a", 1, key["a"], "de", "detected")],
        [("c", 0, key["c"], None, None), ("a", 0, key["a"], None, None)],
    ]
    assert {row.audio_id: row.metadata for row in found} == {name: {"note": name.upper()} for name in "abc"}
