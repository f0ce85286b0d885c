"""A recording that crashes the process which reads it costs its own row only."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.sql import SparkSession

import transforms.run.crashes
from schemas.config import load_config
from schemas.tables import FAILURES, RECORDINGS
from transforms.lake.tables import Tables
from transforms.run.job import transcribe


def run(spark: SparkSession, folder: Path, paths: list[Path], deadly: set[int]) -> Tables:
    """The job over `paths` with an engine that dies on those with the indexes in `deadly`."""
    contexts = ["deadly" if index in deadly else None for index in range(len(paths))]
    pq.write_table(
        pa.table({"uri": [str(p) for p in paths], "context": pa.array(contexts, pa.string())}), folder / "m.parquet"
    )
    config = load_config(None, ["engine.name=tests.e2e.crasher:CrashingSpec", "aligners=[recognizer]"])
    transcribe(spark, config, str(folder / "m.parquet"), str(folder / "tables"))
    return Tables(spark, str(folder / "tables"))


def test_a_crashing_recording_becomes_a_failure_row(spark: SparkSession, examples: Path, tmp_path: Path) -> None:
    paths = [examples / name for name in ("voice_memo.m4a", "meeting_note.flac", "interview_clip.wav")]
    tables = run(spark, tmp_path, paths, {1})
    status = {Path(row.uri).name: row.status for row in tables.read(RECORDINGS).collect()}
    assert status == {"voice_memo.m4a": "ok", "meeting_note.flac": "failed", "interview_clip.wav": "ok"}
    (failure,) = tables.read(FAILURES).collect()
    assert (failure.stage, failure.kind, failure.transient) == ("decode", "crash", False)
    assert "meeting_note.flac" in failure.message


def test_a_machine_on_which_many_recordings_crash_fails_the_job(
    spark: SparkSession, examples: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transforms.run.crashes, "_FEW", 0)
    with pytest.raises(Exception, match="killed the process"):
        run(spark, tmp_path, [examples / "voice_memo.m4a"], {0})
