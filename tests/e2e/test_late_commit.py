"""A killed driver's JVM may live on for a moment and commit a wave although the next run has already planned to do it
again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import functions as F

import transforms.run.job
from schemas.tables import CHUNKS
from tests.e2e.conftest import Finished
from tests.kit.lake import Lake
from transforms.lake.tables import Tables
from transforms.run.plan import read_progress


def test_a_late_wave_of_a_dead_run_changes_nothing_that_readers_see(
    finished: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake, manifest = Lake(finished.lake.spark, tmp_path), [*finished.manifest[:2], finished.manifest[-1]]

    def late_commit(tables: Tables) -> None:
        dead = F.lit("20000101T000000.000000Z-dead00")
        tables.append(CHUNKS, tables.read(CHUNKS).where("run_id > '2001'").withColumn("run_id", dead))

    def progress(tables: Tables, units: Any) -> Any:
        if units:  # a wave is committed and not yet published
            late_commit(tables)
        return read_progress(tables, units)

    monkeypatch.setattr(transforms.run.job, "read_progress", progress)
    lake.run(manifest)
    _assert_as_in(finished, lake, "recordings", "segments", "words", "failures")
    late_commit(lake.tables)
    assert lake.run(manifest).run_id is None, "there is nothing to do"
    assert not lake.calls()
    _assert_as_in(finished, lake, "chunks", "recordings", "segments", "words", "failures")
    versions = lake.versions()
    assert lake.run(manifest).run_id is None
    assert lake.versions() == versions, "the late rows are gone by then"


def _assert_as_in(finished: Finished, lake: Lake, *tables: str) -> None:
    audio_ids = {row["audio_id"] for row in lake.rows("recordings")}
    for table in tables:
        same = [row for row in finished.lake.contents(table)[table] if any(audio_id in row for audio_id in audio_ids)]
        assert lake.contents(table)[table] == same, table
