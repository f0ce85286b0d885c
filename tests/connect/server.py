"""A Spark Connect server on this machine, with Delta and without Delta's plug-ins for it: pip's pyspark, on a free port of
the loopback address. Its Python workers have the project, as those of a cluster must."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyspark

from tests.kit.cluster import running, said
from tests.kit.lake import QUICK_SPARK, QUICK_SUBMIT, ROOT

_SUBMIT = Path(pyspark.__file__).parent / "bin" / "spark-submit"
_SERVER = "org.apache.spark.sql.connect.service.SparkConnectServer"
_SETTINGS = {
    "spark.master": "local[2]",
    "spark.log.level": "INFO",  # it tells its port
    "spark.driver.extraJavaOptions": QUICK_SUBMIT["JDK_JAVA_OPTIONS"],
    "spark.connect.grpc.binding.address": "127.0.0.1",
    "spark.connect.grpc.binding.port": "0",
    **QUICK_SPARK,
}


@contextmanager
def serving(folder: Path) -> Iterator[str]:
    """Its address, as SPARK_REMOTE has it."""
    command: list[str | Path] = [_SUBMIT, "--class", _SERVER, "--properties-file", ROOT / "conf" / "spark-local.conf"]
    command += [word for key, value in _SETTINGS.items() for word in ("--conf", f"{key}={value}")]
    workers = {"PYSPARK_PYTHON": sys.executable, "PYTHONPATH": str(ROOT)}
    log = folder / "server.log"
    with running([*command, "spark-internal"], log, workers):
        yield "sc://127.0.0.1:" + said(log, r"Spark Connect server started at: \S*:(\d+)")
