"""A day's recordings, every night: list → transcribe → check → evaluate and export → maintain.

For the DAGs folder of Airflow 3.3; docs/airflow.md tells what else it wants. It imports nothing of Lakescribe, which
need not be in Airflow's environment."""

from __future__ import annotations

import copy
import datetime
import re
import shlex
from pathlib import Path
from typing import Any

from airflow.providers.apache.spark.operators.spark_submit import SparkSubmitOperator
from airflow.sdk import DAG, Asset, Connection, Context, CronPartitionTimetable, Param, Variable, task
from airflow.sdk.exceptions import (
    AirflowFailException,
    AirflowNotFoundException,
    AirflowSkipException,
    ParamValidationError,
)

NAME = "transcribe_daily"
"""Of the DAG, and of the Variable with its settings."""
CONNECTION = "spark_default"
POOL = "gpu"
MAINTAIN = "maintain"
WHEN_IT_FAILS: list[Any] = []
"""Callbacks, as of a notifier: they are called when a run has failed, after all retries."""

WORDS = Asset("lakescribe_words")
"""The table of words, with a day more in it. Checked, and so what other DAGs should wait for."""

_NONE_THERE = 3
"""The exit status of jobs.manifest for a source without recordings."""

SETTINGS: dict[str, Any] = {
    "project": "/opt/lakescribe",
    "python": "python3",
    "properties_file": "{project}/conf/spark-gpu.conf",
    "py_files": "{project}/dist/lakescribe.zip",
    "config": "gpu",
    "set": [],
    "formats": ["srt"],
    "reprocess": "no",
}
"""What holds where neither the run's params nor the Variable say otherwise."""


def _param(description: str, *types: str, **schema: Any) -> Param:
    return Param(None, description, type=["null", *types], **schema)


PARAMS = {
    "ds": _param("the day, as in 2026-01-31; without it that of the partition", "string", format="date"),
    "source": _param("where the day's recordings lie: s3://calls/{day}, /data/calls/{day:%Y/%m/%d}", "string"),
    "manifest": _param("the list of them, which the first task writes: s3://lake/manifests/{day}.parquet", "string"),
    "tables": _param("where the Delta tables are: a path or uri, or catalog.schema", "string"),
    "config": _param("of the jobs: a YAML file, or one that comes along: local, gpu", "string"),
    "set": _param("keys of the configuration to override, a line each: vad.threshold=0.6", "array"),
    "reprocess": _param("what to do again", "string", enum=[None, "no", "changed", "failed", "all"]),
    "references": _param("what was really said, for jobs.evaluate; without it that is skipped", "string"),
    "exports": _param("the folder of exported files, as in s3://lake/{day}; without it export is skipped", "string"),
    "formats": _param("of exported files, a line each: srt, vtt, json, …", "array"),
    "project": _param("the folder that holds jobs/: a checkout, or site-packages", "string"),
    "python": _param("the Python of the project's environment", "string"),
    "properties_file": _param("Spark's settings", "string"),
    "py_files": _param("the project's zip (make zip)", "string"),
}


@task(multiple_outputs=True)
def prepare(**context: Any) -> dict[str, Any]:
    """The day, what is set for it, and the arguments of each job (none: it is skipped). What is missing is told here,
    before anything has run, and no retry would mend it."""
    _require_connection()
    day = _day(context)
    settings = _settings(context["params"], day)
    print(f"day {day}, {settings}")
    print(f"transcribe waits for a slot of the pool {POOL}; if for ever: airflow pools set {POOL} 1 'runs on GPUs'")
    tables, manifest = ["--tables", settings["tables"]], settings["manifest"]
    config = ["--config", settings["config"], *(part for pair in settings["set"] for part in ("--set", pair))]
    listing = [settings["python"], f"{settings['project']}/jobs/manifest.py", settings["source"], "--out", manifest]
    transcribe = ["--manifest", manifest, "--reprocess", settings["reprocess"], "--wait"]
    of_the_day = f"uri IN (SELECT uri FROM parquet.`{manifest}`)"
    export = ["--out", settings.get("exports"), "--where", of_the_day, "--format", *settings["formats"]]
    return {
        "day": day.isoformat(),
        "above": settings["above"],
        "list": shlex.join([*listing, *config]),
        "transcribe": [*config, *tables, *transcribe],
        "check": [*config, *tables, "--repair"],
        "evaluate": [*config, *tables, "--references", settings["references"]] if settings.get("references") else [],
        "export": [*config, *tables, *export] if settings.get("exports") else [],
        **{name: settings[name] for name in ("tables", "project", "properties_file", "py_files")},
    }


def _require_connection() -> None:
    """Without it SparkSubmitOperator would ask a YARN that is not there, and say so in a line among its others."""
    try:
        host = Connection.get(CONNECTION).host
    except AirflowNotFoundException:
        host = None
    if not host:
        made = '\'{"conn_type": "spark", "host": "spark://master:7077"}\''
        raise AirflowFailException(
            f"the connection {CONNECTION} is missing or names no master in its host; make it with: "
            f"airflow connections add {CONNECTION} --conn-json {made}"
        )


def _day(context: dict[str, Any]) -> datetime.date:
    """As the run's params say, else its partition; of a run without either its logical date, else the day before it."""
    given = context["params"].get("ds") or context.get("partition_key") or context.get("ds")
    try:
        if given:
            return datetime.date.fromisoformat(given)
    except ValueError:
        raise AirflowFailException(f"{given!r} is no day; give one as in 2026-01-31") from None
    run_after: datetime.datetime = context["dag_run"].run_after
    return (run_after - datetime.timedelta(days=1)).date()


def _settings(params: dict[str, Any], day: datetime.date) -> dict[str, Any]:
    """SETTINGS, over those the Variable's, over those what the run was started with."""
    variable = Variable.get(NAME, default={}, deserialize_json=True)
    if not isinstance(variable, dict):
        raise AirflowFailException(
            f"the Variable {NAME} is no JSON object: set it without --json, which quotes it again"
        )
    if unknown := variable.keys() - PARAMS.keys():
        raise AirflowFailException(f"the Variable {NAME} has {sorted(unknown)}; it knows {', '.join(PARAMS)}")
    settings = SETTINGS | _given(variable) | _given(params)
    if missing := [name for name in ("source", "manifest", "tables") if not settings.get(name)]:
        raise AirflowFailException(
            f"{', '.join(missing)} is not set; name it in the run's params, or for all runs with: "
            f'airflow variables set {NAME} \'{{"{missing[0]}": "…"}}\''
        )
    settings["project"] = settings["project"].rstrip("/")
    source = settings["source"]
    above = "" if "://" in source else re.split(r"[{*?\[]", source)[0].rpartition("/")[0]
    for name, value in settings.items():
        try:
            copy.copy(PARAMS[name]).resolve(value)
            if isinstance(value, str):
                settings[name] = value.format(day=day, project=settings["project"])
        except (ParamValidationError, ValueError, LookupError, AttributeError) as error:
            reason = f"{type(error).__name__}: {str(error).splitlines()[0]}"
            raise AirflowFailException(f"{name} is {value!r}, which cannot be used ({reason})") from None
    return {**settings, "above": above}


def _given(settings: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in settings.items() if value is not None}


@task.bash(skip_on_exit_code=_NONE_THERE)
def list_recordings(above: str, command: str) -> str:
    """A day without recordings is skipped, and all after it. A disk that is not mounted is no such day."""
    if not Path(above).is_dir():
        raise FileNotFoundError(f"{above}, which should hold all days' folders, is not there: is it mounted?")
    return command


def _prepared(name: str) -> str:
    """What `prepare` has found, in a template."""
    return f"{{{{ ti.xcom_pull('prepare', key='{name}') }}}}"


class Job(SparkSubmitOperator):
    """jobs/<job>.py, by default the one of the task's name; skipped without arguments."""

    def __init__(self, *, task_id: str, arguments: Any, job: str | None = None, **more: Any) -> None:
        super().__init__(
            task_id=task_id,
            application=f"{_prepared('project')}/jobs/{job or task_id}.py",
            application_args=arguments,
            conn_id=CONNECTION,
            name=f"lakescribe {task_id} {_prepared('day')}",
            properties_file=_prepared("properties_file"),
            py_files=_prepared("py_files"),
            **more,
        )

    def execute(self, context: Context) -> None:
        if not self.application_args:
            raise AirflowSkipException(f"nothing is set for {self.task_id}: see docs/airflow.md")
        super().execute(context)
        for asset in self.outlets:
            # As the partition of what has changed, also where the run was started by hand for a day.
            context["outlet_events"][asset].add_partitions(context["ti"].xcom_pull("prepare", key="day"))


with DAG(
    NAME,
    doc_md=__doc__,
    # At midnight, for the day that is over: that is the run's partition.
    schedule=CronPartitionTimetable("0 0 * * *", timezone="UTC", run_offset=-1, key_format="%Y-%m-%d"),
    catchup=False,
    max_active_runs=1,
    params=PARAMS,
    tags=["lakescribe", "speech"],
    on_failure_callback=WHEN_IT_FAILS,
    default_args={
        # Safe for every job: what is committed is not done again, and a driver that was left behind does no harm.
        "retries": 3,
        "retry_delay": datetime.timedelta(minutes=5),
        "retry_exponential_backoff": True,
        "max_retry_delay": datetime.timedelta(hours=1),
        "execution_timeout": datetime.timedelta(hours=4),
    },
) as dag:
    prepared = prepare()
    listed = list_recordings.override(task_id="list")(prepared["above"], prepared["list"])
    transcribed = Job(
        task_id="transcribe",
        arguments=prepared["transcribe"],
        pool=POOL,
        execution_timeout=datetime.timedelta(hours=20),
    )
    checked = Job(task_id="check", arguments=prepared["check"], outlets=[WORDS])
    evaluated = Job(task_id="evaluate", arguments=prepared["evaluate"])
    exported = Job(task_id="export", arguments=prepared["export"])
    maintained = Job(
        task_id="maintain",
        job=MAINTAIN,
        # By a template: prepared[…] would put `prepare` right before it, and its success count below.
        arguments=["--tables", _prepared("tables")],
        # Also where evaluate and export are skipped; not where the whole day is.
        trigger_rule="none_failed_min_one_success",
    )
    listed >> transcribed >> checked >> [evaluated, exported, maintained]
    [evaluated, exported] >> maintained
