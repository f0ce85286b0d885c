"""What a run tells as objects, a line each: itself, its tasks and its recordings."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

from jobs.status import Status
from tests.kit.driver import Driver
from tests.kit.lake import ROOT, file_row, write_clips, write_manifest
from transforms.logs import speak, tell

_FAILS = """
from transforms.logs import speak
speak("json", run_id="r1")
raise KeyError("nobody foresaw")
"""


@pytest.mark.drivers
def test_a_run_tells_in_json_of_itself_its_tasks_and_its_recordings_and_nothing_else(tmp_path: Path) -> None:
    rows = [file_row(path) for path in write_clips(tmp_path / "audio", 2, 3.0)]
    rows.append({"uri": str(tmp_path / "missing.wav")})
    manifest = write_manifest(tmp_path / "manifest.parquet", rows)
    driver = Driver.of_tests(manifest, tmp_path / "tables", tmp_path / "calls", "run.log=json", "run.progress_s=1")
    assert driver.wait() == Status.DONE, driver.said()
    lines: list[dict[str, Any]] = [json.loads(line) for line in driver.said().splitlines()]
    (run_id,) = {line["context"]["run_id"] for line in lines}
    assert f"run {run_id}: 3 recordings (1 failed" in lines[-1]["msg"]
    told = [line for line in lines if line["logger"] == "lakescribe.task" and "uri" in line["context"]]
    done = {Path(line["context"]["uri"]).name: line for line in told if line["level"] == "INFO"}
    assert done.keys() == {"clip_00.wav", "clip_01.wav"}
    assert all(line["context"]["stage_seconds"].keys() == {"fetch", "decode", "vad"} for line in done.values())
    (failed,) = (line for line in told if line["level"] == "WARNING")
    assert (failed["context"]["stage"], failed["context"]["kind"]) == ("fetch", "missing")
    tasks = [line["context"] for line in lines if line["msg"].startswith("task done")]
    assert sum(task["recordings"] for task in tasks) == 3
    assert {task["task"] for task in tasks} >= {line["context"]["task"] for line in told}
    assert all("recognize" in task["stage_seconds"] for task in tasks)
    assert [line["context"]["failed"] for line in lines if "of_recordings" in line["context"]][-1] == 1


def test_spark_reads_the_objects_as_its_own_logs(
    spark: SparkSession, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    from pyspark.logger import SPARK_LOG_SCHEMA

    speak("json", run_id="r1")
    tell("die Straße", recordings=3)
    speak("text")
    tell("said")
    line, sentence = capsys.readouterr().err.splitlines()
    assert sentence == "said"
    (tmp_path / "log.jsonl").write_text(line, encoding="utf-8")
    row = spark.read.schema(SPARK_LOG_SCHEMA).json(str(tmp_path / "log.jsonl")).first()
    assert row is not None
    assert (row.level, row.msg, row.context) == ("INFO", "die Straße", {"run_id": "r1", "recordings": "3"})
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", json.loads(line)["ts"])


def test_an_error_that_nobody_foresaw_is_an_object_with_its_trace() -> None:
    done = subprocess.run([sys.executable, "-c", _FAILS], cwd=ROOT, capture_output=True, text=True, check=False)
    told = json.loads(done.stderr)
    assert (done.returncode, told["level"], told["context"]) == (Status.NOT_WELL, "CRITICAL", {"run_id": "r1"})
    assert (told["exception"]["class"], len(told["exception"]["stacktrace"])) == ("KeyError", 1)
