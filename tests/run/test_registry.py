"""Which other runs a run must ask about before it does a recording."""

from __future__ import annotations

from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from schemas.tables import RUNS
from transforms.lake.tables import Tables
from transforms.run.registry import Registry


def test_a_run_that_registers_while_another_makes_its_plan_may_have_published(
    spark: SparkSession, tmp_path: Path
) -> None:
    """Its run_id sorts before the other's, although it began after the other had looked who lives."""
    tables = Tables(spark, str(tmp_path / "tables"))
    tables.create()
    with Registry(tables, 10) as slow, Registry(tables, 10) as quick:
        quick.register("")
        slow.register("")
        assert quick.run_id < slow.run_id
        assert slow.may_have_published() == {quick.run_id}
        assert quick.may_have_published() == {slow.run_id}
        with Registry(tables, 10) as late:
            late.register("")
            assert late.may_have_published() == {quick.run_id, slow.run_id}
            assert slow.may_have_published() == {quick.run_id, late.run_id}


def test_a_run_that_recognizes_nothing_writes_how_it_ended(spark: SparkSession, tmp_path: Path) -> None:
    tables = Tables(spark, str(tmp_path / "tables"))
    tables.create()
    with Registry(tables, 10) as well, well.running("config: none") as well_id:
        assert tables.read(RUNS).where("status = 'running'").count() == 1
    with pytest.raises(OSError, match="disk"), Registry(tables, 10) as ill, ill.running("config: none") as ill_id:
        raise OSError("disk full")
    rows = {row.run_id: row for row in tables.read(RUNS).collect()}
    assert (rows[well_id].status, rows[well_id].error) == ("ok", None)
    assert (rows[ill_id].status, rows[ill_id].error) == ("failed", "OSError: disk full")
    assert all(row.ended_at and row.wall_seconds > 0 for row in rows.values())
