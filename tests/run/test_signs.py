"""Signs of life, which need nothing that a busy cluster lacks."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from pyspark import InheritableThread
from pyspark.sql import SparkSession

from schemas.tables import RUNS
from transforms.errors import LostClaims
from transforms.lake.tables import Tables
from transforms.logs import speak
from transforms.run.registry import Registry
from transforms.run.signs import Signs

CLAIM_S = 2.0


@pytest.fixture
def tables(spark: SparkSession, tmp_path: Path) -> Tables:
    tables = Tables(spark, str(tmp_path / "tables"))
    tables.create()
    return tables


@pytest.fixture
def run(tables: Tables) -> Iterator[Registry]:
    with Registry(tables, CLAIM_S / 60) as registry:
        registry.register("config: none")
        yield registry


def test_a_run_lives_while_all_slots_are_taken(run: Registry, tables: Tables) -> None:
    taken_s = 3 * CLAIM_S
    context = tables.spark.sparkContext
    slots = context.defaultParallelism

    def hold(_: int) -> None:
        time.sleep(taken_s)

    busy = InheritableThread(target=lambda: context.parallelize(range(2 * slots), 2 * slots).foreach(hold))
    busy.start()
    signs, longest_s, deadline = Signs(tables), 0.0, time.time() + taken_s
    while time.time() < deadline:
        longest_s = max(longest_s, time.time() - signs.last()[run.run_id])
        time.sleep(0.1)
    assert busy.is_alive()
    assert longest_s < CLAIM_S
    busy.join()


def test_a_run_whose_sign_another_has_withdrawn_finds_out_at_its_next_one(run: Registry, tables: Tables) -> None:
    with Registry(tables, CLAIM_S / 60) as heir:
        heir.register("config: none")
        heir.mark_lost(run.run_id)
    assert run._lost.wait(10 * CLAIM_S)
    with pytest.raises(LostClaims, match="gave no sign of life"):
        run.confirm()


def test_a_sign_that_was_only_swept_away_is_given_again(run: Registry, tables: Tables) -> None:
    signs = Signs(tables)
    signs.withdraw(run.run_id)
    deadline = time.time() + 10 * CLAIM_S
    while run.run_id not in signs.last() and time.time() < deadline:
        time.sleep(0.05)
    assert run.run_id in signs.last()
    run.confirm()


def test_signs_end_with_the_run(tables: Tables) -> None:
    with Registry(tables, 10) as registry, registry.running("config: none"):
        assert list(Signs(tables).last()) == [registry.run_id]
    assert not Signs(tables).last()


def test_where_no_file_may_be_written_the_table_holds_the_signs(
    tables: Tables, capsys: pytest.CaptureFixture[str]
) -> None:
    speak("text")
    (Path(tables.path(RUNS)) / "_signs").write_text("in the way")
    minutes = 4 * CLAIM_S / 60  # a sign is a commit here, which takes its time on a busy machine
    with Registry(tables, minutes) as run, Registry(tables, minutes) as other:
        run.register("config: none")
        assert "signs of life go to the table runs" in capsys.readouterr().err
        first = other.living()[run.run_id]
        deadline = time.time() + 10 * CLAIM_S
        while other.living().get(run.run_id, first) == first and time.time() < deadline:
            time.sleep(0.1)
        assert other.living()[run.run_id] > first
