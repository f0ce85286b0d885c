"""Runs of the DAG over days of real recordings, and what they leave in the tables."""

from __future__ import annotations

import csv
import datetime
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from airflow.dag_processing.dagbag import DagBag
from airflow.executors.base_executor import BaseExecutor
from airflow.jobs.job import Job, run_job
from airflow.jobs.scheduler_job_runner import SchedulerJobRunner
from airflow.models import dagrun as dagruns
from airflow.sdk import DAG

from tests.airflow.conftest import HOME, PROJECT_BIN, ROOT

_make_run = dagruns.get_or_create_dagrun
NAME = "transcribe_daily"
VARIABLE = f"AIRFLOW_VAR_{NAME.upper()}"
PYTHON = PROJECT_BIN / "python"
DAYS = {
    "2026-01-30": ("voice_memo.m4a", "telephone_8khz.wav"),
    "2026-01-31": ("interview_clip.wav",),
}
_QUICK = (
    "engine.options.model=tiny.en",
    "aligners=[recognizer]",
    "batching.max_padded_audio_s=1",  # each chunk alone, so that its figures do not depend on its company
    "run.wave_audio_hours=0.001",  # each recording a commit of its own
    "run.waves_at_once=1",
    "run.progress_s=60",
)
_SPARK = {
    "spark.sql.codegen.wholeStage": "false",
    "spark.sql.codegen.factoryMode": "NO_CODEGEN",
    "spark.sql.adaptive.enabled": "false",
    "spark.sql.shuffle.partitions": "1",
    "spark.databricks.delta.snapshotPartitions": "1",
    "spark.driver.extraClassPath": str(ROOT / "conf" / "log-store.jar"),
    "spark.delta.logStore.file.impl": "lakescribe.LinkedLogStore",
}
"""Quick, and drivers at once on a disk lose no commits."""
_CONTENTS = """
import json, sys; from pathlib import Path
from tests.kit.comparison import contents, doubled; from tests.kit import delta_log
root = Path(sys.argv[1])
print(json.dumps({"contents": contents(root), "doubled": doubled(root),
    "runs": [row["status"] for row in sorted(delta_log.rows(root, "runs"), key=lambda row: row["run_id"])],
    "rates": [row["wer"] for row in delta_log.rows(root, "evaluations")]}))
"""


@dataclass
class Site:
    """Where an operator has the days' recordings, and what comes of them."""

    folder: Path

    def __post_init__(self) -> None:
        for day, names in DAYS.items():
            (self.folder / "calls" / day).mkdir(parents=True)
            for name in names:
                shutil.copy2(ROOT / "examples" / "audio" / name, self.folder / "calls" / day)
        lines = [(ROOT / "conf" / "spark-local.conf").read_text(), *(f"{key} {value}" for key, value in _SPARK.items())]
        self.file("spark.conf").write_text("\n".join(lines))
        with (ROOT / "examples" / "transcripts.tsv").open(encoding="utf-8") as file:
            texts = {row["file"]: row["text"] for row in csv.DictReader(file, delimiter="\t")}
        rows = [f"{self.folder}/calls/{day}/{name}\t{texts[name]}" for day, names in DAYS.items() for name in names]
        self.file("references.tsv").write_text("\n".join(["uri\treference", *rows]), "utf-8")
        subprocess.run(
            [sys.executable, ROOT / "conf" / "setup" / "make_zip.py", self.file("lakescribe.zip")], check=True
        )

    def file(self, name: str) -> Path:
        return self.folder / name

    def settings(self, tables: str) -> dict[str, Any]:
        """As the Variable holds them."""
        return {
            "source": f"{self.folder}/calls/{{day}}",
            "manifest": f"{self.folder}/{tables}-manifests/{{day}}.parquet",
            "tables": f"{self.folder}/{tables}",
            "config": "local",
            "set": list(_QUICK),
            "project": str(ROOT),
            "python": str(PYTHON),
            "properties_file": f"{self.folder}/spark.conf",
            "py_files": f"{self.folder}/lakescribe.zip",
            "references": f"{self.folder}/references.tsv",
            "exports": f"{self.folder}/exports/{{day}}",
            "formats": ["srt", "json"],
        }


def load(folder: Path = HOME / "dags") -> DagBag:
    """Anew for each run: a run leaves its params on the DAG."""
    bag = DagBag(folder)
    assert bag.import_errors == {}
    return bag


def fresh_dag() -> DAG:
    dag = load().dags[NAME]
    for task in dag.tasks:
        task.retry_delay = datetime.timedelta(0)
    return dag


def run(
    settings: dict[str, Any],
    *,
    day: str | None = None,
    partition: str | None = None,
    leave_out: str | None = None,
    change: Callable[[DAG], None] = lambda dag: None,
) -> dict[str, tuple[str | None, int]]:
    """State and number of tries of each task, of a run by hand for a day, or of one as the scheduler makes it, for a
    partition. `leave_out`: tasks by a regular expression, marked as done."""
    dag = fresh_dag()
    change(dag)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(VARIABLE, json.dumps(settings))
        if partition is not None:
            patch.setattr(dagruns, "get_or_create_dagrun", partial(_made_for, partition))
        done = dag.test(run_conf={"ds": day} if day else None, logical_date=None, mark_success_pattern=leave_out)
    return {one.task_id: (one.state, one.try_number) for one in done.get_task_instances()}


def _made_for(partition: str, *, session: Any, **more: Any) -> dagruns.DagRun:
    """DAG.test() makes runs by hand only; this one has a partition, as the scheduler's have."""
    one = _make_run(session=session, **more)
    one.partition_key = partition
    session.commit()
    return one


class _Idle(BaseExecutor):
    """Runs nothing: for what the scheduler does by itself."""

    def _process_workloads(self, workload_items: Any) -> None: ...

    def sync(self) -> None: ...

    def end(self) -> None: ...


def schedule() -> None:
    """Some rounds of the scheduler."""
    runner = SchedulerJobRunner(Job(), num_runs=3, scheduler_idle_sleep_time=0, executors=[_Idle()])
    run_job(job=runner.job, execute_callable=runner._execute)


def drivers(tables: str) -> list[int]:
    """The process ids of the Python drivers of jobs.transcribe that write these tables."""
    found = []
    for folder in Path("/proc").iterdir():
        try:
            words = (folder / "cmdline").read_bytes().split(b"\0") if folder.name.isdigit() else []
            alive = words and (folder / "stat").read_text().rpartition(")")[2].split()[0] != "Z"
        except OSError:  # it has just ended
            continue
        if (
            alive
            and b"python" in words[0]
            and f"{ROOT}/jobs/transcribe.py".encode() in words
            and tables.encode() in words
        ):
            found.append(int(folder.name))
    return found


def java_of(driver: int) -> int | None:
    """The spark-submit that started this driver; None if that has ended."""
    try:
        parent = int(Path(f"/proc/{driver}/stat").read_text().rpartition(")")[2].split()[1])
        return parent if b"SparkSubmit" in Path(f"/proc/{parent}/cmdline").read_bytes() else None
    except OSError:
        return None


def left_in(tables: Path) -> dict[str, Any]:
    """What the tables hold: their contents without what tells who made them when, keys that stand twice, how the runs ended in
    their order, and the error rates."""
    done = subprocess.run([PYTHON, "-c", _CONTENTS, tables], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
