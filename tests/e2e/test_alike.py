"""When many recordings in a row fail alike, the run stops before it has marked the rest, and what it marked so is tried
again by the next run."""

from __future__ import annotations

from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from tests.kit.lake import Lake, write_clips


def test_a_broken_engine_stops_the_run_and_costs_no_recording(spark: SparkSession, tmp_path: Path) -> None:
    lake, clips = Lake(spark, tmp_path), write_clips(tmp_path / "audio", 8, 1.5)
    broken = tmp_path / "broken"
    broken.touch()
    # Tasks of one recording, in which no process meets so many in a row: the driver counts over all of them.
    small = ("run.alike_failures=4", "run.task_audio_minutes=0.01", "run.wave_audio_hours=0.002", "run.waves_at_once=1")
    with pytest.raises(Exception, match=r"recordings in a row failed in the recognizer.*the engine is broken"):
        lake.run(clips, *small, broken_while=str(broken))
    (run,) = lake.rows("runs")
    assert run["status"] == "failed"
    assert "in a row failed" in run["error"]
    assert len(lake.rows("recordings")) < len(clips), "the rest is not marked"
    broken.unlink()
    summary = lake.run(clips, *small, broken_while=str(broken))
    assert summary.failed == 0
    assert "failed" not in {row["status"] for row in lake.rows("recordings")}
    assert len(lake.rows("recordings")) == len(clips)
    assert not lake.rows("failures")
    assert not lake.rows("claims")
    assert all(row["error"] is None for row in lake.rows("chunks"))
