"""What a run does about recordings that another living run is at work on: it leaves them, or waits for them."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from pyspark.sql import SparkSession

from tests.kit.lake import Lake, engine_config, file_row, write_clips, write_manifest
from transforms.run.claims import Claims
from transforms.run.job import RunSummary, transcribe
from transforms.run.registry import Registry

CLAIM_MINUTES = 0.2
QUICK = f"run.claim_minutes={CLAIM_MINUTES}"


def test_recordings_that_another_run_holds_are_left_to_it_or_waited_for(spark: SparkSession, tmp_path: Path) -> None:
    lake = Lake(spark, tmp_path)
    lake.tables.create()
    rows = [file_row(path, audio_id=path.stem) for path in write_clips(tmp_path / "audio", 2, 3.0)]
    manifest = write_manifest(tmp_path / "manifest.parquet", rows)
    with Registry(lake.tables, CLAIM_MINUTES) as other, ThreadPoolExecutor(1) as pool:
        other.register("config: none")
        claims = Claims(lake.tables, other)
        claims.take({"clip_00": None})
        summary = lake.run(rows, QUICK)
        assert (summary.recordings, summary.left) == (1, {other.run_id: 1})

        def waiting() -> RunSummary:
            return transcribe(spark, engine_config(QUICK), str(manifest), str(lake.root), wait_for_others=True)

        run = pool.submit(waiting)
        time.sleep(60 * CLAIM_MINUTES)  # several signs of life, of which one is enough for a run that does not wait
        assert not run.done()
        claims.release(["clip_00"])
        assert (run.result().recordings, run.result().left) == (1, {})
    assert lake.by_name("recordings").keys() == {"clip_00.wav", "clip_01.wav"}
