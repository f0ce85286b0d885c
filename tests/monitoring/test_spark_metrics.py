"""Spark's own metrics, as conf/spark-gpu.conf serves them."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.e2e.checkout import environment
from tests.kit.lake import QUICK_SUBMIT, ROOT
from transforms.lake.session import read_conf

_SERVES = """
import json, sys, urllib.request
from pyspark.sql import SparkSession
builder = SparkSession.builder.master("local[1]").config("spark.ui.enabled", "true").config("spark.ui.port", "0")
builder = builder.config("spark.driver.bindAddress", "127.0.0.1").config("spark.driver.host", "127.0.0.1")
for key, value in json.loads(sys.argv[1]).items():
    builder = builder.config(key, value)
spark = builder.getOrCreate()
spark.range(10).collect()
for path in ("/metrics/prometheus/", "/metrics/executors/prometheus/"):
    print(urllib.request.urlopen(spark.sparkContext.uiWebUrl + path).read().decode())
"""


@pytest.mark.drivers
def test_the_driver_serves_its_metrics_and_its_executors() -> None:
    lines = {key: value for key, value in read_conf(ROOT / "conf" / "spark-gpu.conf").items() if ".metrics." in key}
    done = subprocess.run(
        [sys.executable, "-c", _SERVES, json.dumps(lines)],
        env=environment() | {"JDK_JAVA_OPTIONS": QUICK_SUBMIT["JDK_JAVA_OPTIONS"]},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "metrics_lakescribe_driver_DAGScheduler_stage_runningStages_Value" in done.stdout
    assert 'metrics_executor_completedTasks_total{application_id="' in done.stdout
