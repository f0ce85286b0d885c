"""jobs.metrics: what Prometheus is told of a lake, served and as a file, and what is shown and rung of it."""

from __future__ import annotations

import datetime
import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families
from pyspark.sql import SparkSession

import jobs.metrics
from schemas.config import Config
from schemas.tables import CLAIMS, FAILURES, RECORDINGS, RUNS
from tests.kit.engine import Spec
from tests.kit.lake import ROOT, Lake
from tests.kit.months import NOW, months
from transforms.lake.local_tables import LocalTables
from transforms.live.measures import Measures
from transforms.live.service import Service
from transforms.metrics.gauges import gauges
from transforms.recognition.rows import TaskSpec

CLAIM_MINUTES = 10.0
Metrics = dict[tuple[str, ...], float]


@pytest.fixture(scope="module")
def lake(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """Of the months, with a run that lives by its sign, one that has died, what they hold, and failures."""
    lake = Lake(spark, tmp_path_factory.mktemp("metrics"))
    lake.tables.create()
    recordings, runs = months()
    recordings[4] |= {"status": "failed", "confidence": None, "duration_ms": None, "speech_ms": None}
    long_ago = NOW - datetime.timedelta(days=1)
    running = {"status": "running", "started_at": long_ago, "alive_at": long_ago, "driver": "elsewhere/1/1"}
    runs += [
        {**running, "run_id": "29990101T000000.000000Z-alive"},
        {**running, "run_id": "29990102T000000.000000Z-dead"},
    ]
    lake.add(RECORDINGS, recordings)
    lake.add(RUNS, runs)
    lake.add(CLAIMS, [{"audio_id": name, "run_id": runs[-1]["run_id"], "begun": []} for name in ("a", "b")])
    failure = {"run_id": runs[0]["run_id"], "stage": "fetch", "kind": "timeout"}
    lake.add(
        FAILURES, [{**failure, "audio_id": "a", "transient": True}, {**failure, "audio_id": "b", "transient": False}]
    )
    signs = lake.root / "runs" / "_signs"
    signs.mkdir()
    (signs / runs[-2]["run_id"]).touch()
    return lake


def parsed(text: str) -> Metrics:
    """By name and labels' values."""
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def written(lake: Lake) -> Metrics:
    jobs.metrics.main(["--tables", str(lake.root), "--out", str(lake.folder / "lakescribe.prom")])
    return parsed((lake.folder / "lakescribe.prom").read_text(encoding="utf-8"))


def test_what_is_told_of_a_lake(lake: Lake) -> None:
    told = written(lake)
    expected = {
        ("lakescribe_runs", "ok"): 7,
        ("lakescribe_runs", "running"): 2,
        ("lakescribe_runs_alive",): 1,
        ("lakescribe_last_run_ok",): 1,
        ("lakescribe_last_run_end_timestamp_seconds",): (NOW - datetime.timedelta(hours=1)).timestamp(),
        ("lakescribe_last_run_failed_share",): 0.02,
        ("lakescribe_last_run_times_real_time",): 40,
        ("lakescribe_last_run_wait_share",): 0.1,
        ("lakescribe_recordings", "ok"): 27,
        ("lakescribe_recordings", "failed"): 1,
        ("lakescribe_audio_hours", "ok"): 54,
        ("lakescribe_week_confidence", "en"): pytest.approx(0.9),
        ("lakescribe_failures", "fetch", "true"): 1,
        ("lakescribe_failures", "fetch", "false"): 1,
        ("lakescribe_claims",): 2,
        ("lakescribe_latest_recording_timestamp_seconds",): (NOW - datetime.timedelta(hours=1)).timestamp(),
    }
    assert {name: told.get(name) for name in expected} == expected


def test_spark_tells_what_duckdb_tells(lake: Lake) -> None:
    def told(tables: object) -> dict[str, object]:
        found = gauges(tables, CLAIM_MINUTES)  # type: ignore[arg-type]
        return {one.name: one.samples for one in found if one.name != "lakescribe_read_timestamp_seconds"}

    assert told(lake.tables) == told(LocalTables(str(lake.root)))


def test_a_lake_without_runs_has_metrics_too(spark: SparkSession, tmp_path: Path) -> None:
    lake = Lake(spark, tmp_path)
    lake.tables.create()
    told = written(lake)
    assert told[("lakescribe_runs", "running")] == told[("lakescribe_runs_alive",)] == told[("lakescribe_claims",)] == 0
    assert ("lakescribe_last_run_ok",) not in told


def test_metrics_are_served_until_the_exporter_is_stopped(lake: Lake) -> None:
    command = [sys.executable, "-m", "jobs.metrics", "--tables", str(lake.root), "--port", "19464", "--every", "1s"]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) as exporter:
        assert exporter.stderr is not None
        assert "http://127.0.0.1:19464/metrics" in exporter.stderr.readline()
        address = "http://127.0.0.1:19464/metrics"
        deadline, told = time.monotonic() + 60, Metrics()
        while not told and time.monotonic() < deadline:
            try:
                with urllib.request.urlopen(address) as page:
                    told = parsed(page.read().decode())
            except OSError:
                time.sleep(0.2)
        time.sleep(2)
        with urllib.request.urlopen(address) as page:
            later = parsed(page.read().decode())
        os.kill(exporter.pid, signal.SIGTERM)
        assert exporter.wait(30) == 0
    read_at = ("lakescribe_read_timestamp_seconds",)
    assert later.pop(read_at) > told.pop(read_at), "the tables are read again"
    assert later == told


def test_the_dashboard_shows_every_metric_and_the_alarms_know_no_other(lake: Lake) -> None:
    exported = {one.name for one in gauges(LocalTables(str(lake.root)), CLAIM_MINUTES)}
    dashboard = json.loads((ROOT / "conf" / "grafana" / "lakescribe.json").read_text(encoding="utf-8"))
    shown = "\n".join(target["expr"] for panel in dashboard["panels"] for target in panel["targets"])
    assert set(re.findall(r"\blakescribe_\w+", shown)) == exported
    rules = yaml.safe_load((ROOT / "conf" / "prometheus" / "alarms.yml").read_text(encoding="utf-8"))
    asked = "\n".join(rule["expr"] for group in rules["groups"] for rule in group["rules"])
    assert set(re.findall(r"\blakescribe_\w+", asked)) <= exported


def test_the_servers_dashboard_shows_every_metric_and_its_alarms_know_no_other() -> None:
    service = Service(TaskSpec(Config(), Spec(), (), "tests", "model", "run"), lambda: None)
    served = {family.name for family in Measures(service).registry.collect()}
    dashboard = json.loads((ROOT / "conf" / "grafana" / "serve.json").read_text(encoding="utf-8"))
    rules = yaml.safe_load((ROOT / "conf" / "prometheus" / "serve.yml").read_text(encoding="utf-8"))
    shown = "\n".join(target["expr"] for panel in dashboard["panels"] for target in panel["targets"])
    asked = "\n".join(rule["expr"] for group in rules["groups"] for rule in group["rules"])
    named = [
        {re.sub(r"_(total|bucket)$", "", name) for name in re.findall(r"\blakescribe_\w+", text)}
        for text in (shown, asked)
    ]
    assert named[0] == served >= named[1]


@pytest.mark.parametrize("name", ["lakescribe.json", "serve.json"])
def test_panels_do_not_overlap(name: str) -> None:
    dashboard = json.loads((ROOT / "conf" / "grafana" / name).read_text(encoding="utf-8"))
    places = [
        (x, y)
        for box in (panel["gridPos"] for panel in dashboard["panels"])
        for x in range(box["x"], box["x"] + box["w"])
        for y in range(box["y"], box["y"] + box["h"])
    ]
    assert len(places) == len(set(places)) and max(x for x, _ in places) < 24
