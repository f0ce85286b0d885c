"""A standalone cluster on this machine: a master and two workers of pip's pyspark, each with one feigned GPU, and
spark-submit of the job as it is run on a real one. All ports are on the loopback address."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyspark

from tests.kit.lake import QUICK_SPARK, ROOT

GPU_ADDRESSES = ("0", "1")
"""One a worker: a task that ignores its address takes the first, and is found out on the second worker."""
_HOST = "127.0.0.1"
_PROGRAMS = Path(sys.executable).parent
_START_S = 60
_JOB_S = 150
_WHILE_WE_LIVE = 'exec 3<&0; { cat <&3 >/dev/null; kill -9 0; } & "$@" 3<&-'
"""For `sh -c`: runs a program, and ends it and all that it started when standard input ends, as it does when this process
ends in whatever way."""
_QUICK_JAVA = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC -XX:ReservedCodeCacheSize=256m"
SETTINGS = {
    # What a machine for tests needs in place of conf/spark-gpu.conf: the jars are in pyspark already.
    "spark.jars.packages": "",
    "spark.jars.excludes": "",
    "spark.executor.memory": "600m",
    "spark.driver.memory": "1g",
    "spark.driver.bindAddress": _HOST,
    "spark.driver.host": _HOST,
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    "spark.eventLog.enabled": "true",
    "spark.eventLog.compress": "false",
    "spark.eventLog.rolling.enabled": "false",
    **{key: value for key, value in QUICK_SPARK.items() if key != "spark.sql.adaptive.enabled"},
    "spark.executor.extraJavaOptions": _QUICK_JAVA,
    "spark.driver.extraJavaOptions": _QUICK_JAVA,
}


@dataclass(frozen=True)
class Cluster:
    """`master` is the url for --master."""

    folder: Path
    master: str

    @contextmanager
    def submit(self, name: str, *arguments: str | Path) -> Iterator[Submitted]:
        """Runs jobs/transcribe.py with `arguments`; its event log and output are in a folder `name`."""
        folder = self.folder / name
        folder.mkdir()
        command: list[str | Path] = [_PROGRAMS / "spark-submit", "--master", self.master]
        command += ["--properties-file", ROOT / "conf" / "spark-gpu.conf", "--py-files", self._archives()]
        for key, value in {**SETTINGS, "spark.eventLog.dir": folder}.items():
            command += ["--conf", f"{key}={value}"]
        command += [ROOT / "jobs" / "transcribe.py", *arguments]
        with running(command, folder / "output", {"PYSPARK_PYTHON": sys.executable}) as process:
            yield Submitted(process, folder)

    def _archives(self) -> str:
        """The project as `make zip` makes it, and beside it the engines of the tests."""
        project, engines = self.folder / "lakescribe.zip", self.folder / "engines.zip"
        if not project.exists():
            make_zip = ROOT / "conf" / "setup" / "make_zip.py"
            subprocess.run([sys.executable, make_zip, project], check=True, capture_output=True)
            with zipfile.ZipFile(engines, "w") as archive:
                for path in (
                    "tests/__init__.py",
                    *(f"tests/kit/{name}.py" for name in ("__init__", "engine", "device_engine")),
                ):
                    archive.write(ROOT / path, path)
        return f"{project},{engines}"


@dataclass(frozen=True)
class Submitted:
    process: subprocess.Popen[bytes]
    folder: Path

    def output(self) -> str:
        return (self.folder / "output").read_text()

    def wait(self, timeout_s: float = _JOB_S) -> None:
        """Until it has ended well."""
        assert self.process.wait(timeout_s) == 0, self.output()[-6000:]

    def events(self, kind: str) -> list[dict[str, Any]]:
        """Spark's own record of the run: its events SparkListener`kind`, in order."""
        (path,) = [path for path in self.folder.iterdir() if path.name.startswith("app-")]
        events = [json.loads(line) for line in path.read_text().splitlines()]
        return [event for event in events if event["Event"].rpartition("SparkListener")[2] == kind]


@contextmanager
def running_cluster(folder: Path, addresses: Sequence[str] = GPU_ADDRESSES) -> Iterator[Cluster]:
    """A worker for each GPU address, in each room for one executor of conf/spark-gpu.conf."""
    with ExitStack() as stack:
        stack.enter_context(_daemon(folder, "master", "org.apache.spark.deploy.master.Master", "--port", "0"))
        master = said(folder / "master.log", r"Starting Spark master at (spark://\S+)")
        for address in addresses:
            stack.enter_context(_worker(folder, f"worker_{address}", address, master))
        for address in addresses:
            said(folder / f"worker_{address}.log", r"Successfully registered with master (\S+)")
        yield Cluster(folder, master)


def _worker(folder: Path, name: str, address: str, master: str) -> AbstractContextManager[Any]:
    script, properties = folder / f"{name}.sh", folder / f"{name}.conf"
    script.write_text(f"#!/bin/sh\necho '{json.dumps({'name': 'gpu', 'addresses': [address]})}'\n")
    script.chmod(0o755)
    properties.write_text(f"spark.worker.resource.gpu.amount 1\nspark.worker.resource.gpu.discoveryScript {script}\n")
    room = ["--cores", "5", "--memory", "1g", "--work-dir", str(folder / name), "--properties-file", str(properties)]
    return _daemon(folder, name, "org.apache.spark.deploy.worker.Worker", *room, master)


def _daemon(folder: Path, name: str, java_class: str, *arguments: str) -> AbstractContextManager[Any]:
    command = [Path(pyspark.__file__).parent / "bin" / "spark-class", java_class, "--host", _HOST, "--webui-port", "0"]
    settings = {"SPARK_DAEMON_MEMORY": "256m", "SPARK_DAEMON_JAVA_OPTS": _QUICK_JAVA}
    return running([*command, *arguments], folder / f"{name}.log", settings)


@contextmanager
def running(command: Sequence[str | Path], log: Path, settings: Mapping[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """A program in the folder of `log`, where its output goes; it, and all that it started, end with the block."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("PYSPARK", "SPARK", "PYTHONPATH"))}
    with log.open("w") as output:
        process = subprocess.Popen(
            ["sh", "-c", _WHILE_WE_LIVE, "sh", *command],
            cwd=log.parent,
            env={**kept, "SPARK_LOCAL_IP": _HOST, **settings},
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    with process:  # which closes its standard input, and waits
        yield process


def said(log: Path, pattern: str) -> str:
    """Waits for a line in `log`; the first group of `pattern`."""
    deadline = time.monotonic() + _START_S
    while not (found := re.search(pattern, log.read_text())):
        assert time.monotonic() < deadline, f"{log.name} does not say '{pattern}': {log.read_text()[-2000:]}"
        time.sleep(0.1)
    return found[1]
