"""jobs/dags/transcribe_daily.py in a real Airflow, with real spark-submit jobs over real recordings: make test-airflow."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from airflow.models.asset import AssetEvent
from airflow.models.dagrun import DagRun
from airflow.sdk import DAG
from airflow.sdk.exceptions import AirflowFailException
from airflow.utils.session import create_session
from sqlalchemy import select

from tests.airflow.conftest import DAG_FILE
from tests.airflow.nights import DAYS, NAME, VARIABLE, Site, drivers, fresh_dag, java_of, left_in, run, schedule

FIRST, SECOND = DAYS
TRIALS = int(os.environ.get("TRIALS", "1"))
"""Nights whose job is killed at random."""
SUCCESS = ("success", 1)
_PARSE = """
import json, sys, time
from airflow.dag_processing.dagbag import DagBag
started = time.monotonic()
bag = DagBag(sys.argv[1])
seconds = time.monotonic() - started
print(json.dumps([seconds, bag.import_errors, sorted(bag.dags), sorted({name.partition(".")[0] for name in sys.modules})]))
"""


@dataclass(frozen=True)
class Night:
    """The whole DAG over the first day; `states` of its tasks and what it `left` in the tables."""

    site: Site
    states: dict[str, tuple[str | None, int]]
    left: dict[str, Any]


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Night:
    """At first neither the disk with the recordings is there nor the place for the tables: each is mended after a try."""
    site = Site(tmp_path_factory.mktemp("site"))
    calls, away, tables = site.file("calls"), site.file("away"), site.file("tables")
    calls.rename(away)
    tables.write_text("a file where the folder of tables should be")

    def mend_after_a_try(dag: DAG) -> None:
        dag.get_task("list").on_retry_callback = [lambda context: away.rename(calls)]
        dag.get_task("transcribe").on_retry_callback = [lambda context: tables.unlink()]

    states = run(site.settings("tables"), partition=FIRST, change=mend_after_a_try)
    return Night(site, states, left_in(tables))


@pytest.fixture
def empty(tmp_path: Path) -> Site:
    return Site(tmp_path)


def test_the_file_is_parsed_in_under_a_second_and_imports_neither_spark_nor_the_project() -> None:
    parsed = [sys.executable, "-c", _PARSE, DAG_FILE.parent]
    done = subprocess.run(parsed, capture_output=True, text=True, check=True, cwd=DAG_FILE.parent)
    seconds, errors, dags, modules = json.loads(done.stdout.splitlines()[-1])
    assert seconds < 1
    assert (errors, dags) == ({}, [NAME])
    assert not {"pyspark", "pyarrow", "jobs", "transforms", "schemas"} & set(modules)


def test_a_night_ends_well_with_tries_that_failed_healed_by_the_next_ones(night: Night) -> None:
    healed = dict.fromkeys(("list", "transcribe"), ("success", 2))
    others = dict.fromkeys(("prepare", "check", "evaluate", "export", "maintain"), SUCCESS)
    assert night.states == healed | others
    assert len(night.left["contents"]["recordings"]) == len(DAYS[FIRST])
    assert len(night.left["contents"]["words"]) > 50
    assert night.left["doubled"] == []
    assert night.left["runs"][0] == "ok"
    assert all(rate < 0.5 for rate in night.left["rates"]) and len(night.left["rates"]) == len(DAYS[FIRST])
    exported = sorted(path.suffix for path in night.site.file("exports").joinpath(FIRST).iterdir())
    assert exported == [".json", ".json", ".srt", ".srt"]


def test_another_day_by_hand_appends_to_the_tables_and_exports_its_own_recordings_alone(
    night: Night, capfd: pytest.CaptureFixture[str]
) -> None:
    states = run(night.site.settings("tables"), day=SECOND, leave_out="evaluate|maintain")
    assert set(states.values()) == {SUCCESS}
    assert "spark-submit --master local[2,4] " in "".join(capfd.readouterr())
    now, before = left_in(night.site.file("tables")), night.left
    assert now["doubled"] == []
    for table in ("recordings", "words"):
        assert set(before["contents"][table]) < set(now["contents"][table])
    assert len(now["contents"]["recordings"]) == len(DAYS[FIRST] + DAYS[SECOND])
    (first, second) = sorted(path.name.split("-")[0] for path in night.site.file("exports").joinpath(SECOND).iterdir())
    assert first == second == "interview_clip"


def test_a_driver_left_behind_by_execution_timeout_ends_soon_and_the_retry_makes_the_tables_of_an_undisturbed_run(
    night: Night,
) -> None:
    settings = night.site.settings("late")
    chunks = night.site.file("late") / "chunks" / "_delta_log"
    left_behind: dict[int, float] = {}

    def ring() -> None:
        """The alarm of execution_timeout, at the moment when one recording is committed and another is at work."""
        while not (chunks / f"{1:020}.json").exists():
            time.sleep(0.05)
        pids = drivers(settings["tables"])
        os.kill(os.getpid(), signal.SIGALRM)
        rung = time.monotonic()
        while alive := [pid for pid in pids if Path(f"/proc/{pid}").exists()]:
            time.sleep(0.05)
            if time.monotonic() - rung > 60:
                break
        left_behind.update({pid: time.monotonic() - rung if pid not in alive else -1 for pid in pids})

    alarm = threading.Thread(target=ring, daemon=True)
    alarm.start()
    states = run(settings, day=FIRST, leave_out="check|evaluate|export|maintain")
    alarm.join(90)
    assert states["transcribe"] == ("success", 2)
    (ended_after_s,) = left_behind.values()
    assert 0 <= ended_after_s < 60
    left = left_in(night.site.file("late"))
    assert left["runs"] == ["lost", "ok"]
    assert left["doubled"] == []
    for table, rows in night.left["contents"].items():
        assert left["contents"][table] == rows, table


@pytest.mark.parametrize("trial", range(TRIALS))
def test_a_day_whose_job_is_killed_at_random_ends_in_the_tables_of_an_undisturbed_run(night: Night, trial: int) -> None:
    rng = random.Random(seed := random.randrange(1_000_000))
    tables = night.site.file(f"killed_{trial}")
    settings = night.site.settings(tables.name)
    events, ended, met = list[str](), threading.Event(), set[int]()

    def kill_the_next_driver() -> None:
        table, version = rng.choice(["runs", "claims", "chunks", "words", "recordings"]), rng.randint(0, 2)
        what, wait_s = rng.choice(["driver", "java", "both"]), rng.uniform(0, 3)
        commit = tables / table / "_delta_log" / f"{version:020}.json"
        while not ended.wait(0.02):
            # A driver whose spark-submit has ended is one of a try before, which is about to end.
            at_work = [(pid, java) for pid in drivers(str(tables)) if (java := java_of(pid)) and pid not in met]
            if commit.exists() and at_work:
                ((driver, java),) = at_work
                met.add(driver)
                time.sleep(wait_s)
                victims = {"driver": [driver], "java": [java], "both": [driver, java]}[what]
                for pid in victims if java_of(driver) == java else []:
                    os.kill(pid, signal.SIGKILL)
                    events.append(f"{what} {wait_s:.1f} s after commit {version} of {table}")
                return

    def kill() -> None:
        for _ in range(rng.randint(1, 2)):
            kill_the_next_driver()

    killer = threading.Thread(target=kill, daemon=True)
    killer.start()
    states = run(settings, day=FIRST, leave_out="check|evaluate|export|maintain")
    ended.set()
    killer.join()
    print(
        f"trial {trial}, seed {seed}: {'; '.join(dict.fromkeys(events)) or 'nothing happened'}: {states['transcribe']}"
    )
    assert states["transcribe"] == ("success", 1 + len(set(events)))
    left = left_in(tables)
    assert left["doubled"] == []
    assert left["contents"] == night.left["contents"]


def test_a_day_without_recordings_is_skipped_with_all_after_it(empty: Site, capfd: pytest.CaptureFixture[str]) -> None:
    states = run(empty.settings("tables"), day="2026-02-01")
    assert states.pop("prepare") == SUCCESS
    assert {state for state, _ in states.values()} == {"skipped"}
    assert "calls/2026-02-01: no recording found" in "".join(capfd.readouterr())
    assert not empty.file("tables").exists()


def test_a_missing_connection_fails_at_once_and_says_what_makes_it(
    empty: Site, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("AIRFLOW_CONN_SPARK_DEFAULT")
    states = run(empty.settings("tables"), day=FIRST)
    assert states.pop("prepare") == ("failed", 1)
    assert {state for state, _ in states.values()} == {"upstream_failed"}
    assert "airflow connections add spark_default --conn-json" in "".join(capfd.readouterr())


@pytest.mark.parametrize(
    ("wrong", "ds", "sentence"),
    [
        (
            {"source": None},
            FIRST,
            "source is not set; name it in the run's params, or for all runs with: airflow variables",
        ),
        ('{"source": "/calls"}', FIRST, "the Variable transcribe_daily is no JSON object: set it without --json"),
        ({"tabels": "x"}, FIRST, "the Variable transcribe_daily has ['tabels']; it knows ds, source,"),
        ({"exports": "out/{date}"}, FIRST, "exports is 'out/{date}', which cannot be used (KeyError: 'date')"),
        ({"formats": "srt"}, FIRST, "formats is 'srt', which cannot be used (ParamValidationError"),
        ({}, "31.1.2026", "'31.1.2026' is no day; give one as in 2026-01-31"),
    ],
)
def test_settings_that_are_missing_or_wrong_are_told_in_a_sentence(
    empty: Site, monkeypatch: pytest.MonkeyPatch, wrong: dict[str, Any] | str, ds: str, sentence: str
) -> None:
    variable = empty.settings("tables") | wrong if isinstance(wrong, dict) else wrong
    monkeypatch.setenv(VARIABLE, json.dumps(variable))
    with pytest.raises(AirflowFailException, match=re.escape(sentence)):
        fresh_dag().get_task("prepare").python_callable(params={"ds": ds})


def test_what_a_run_is_started_with_goes_before_the_variable(empty: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = empty.settings("tables") | {"source": "s3://calls/{day:%Y/%m/%d}", "exports": None}
    monkeypatch.setenv(VARIABLE, json.dumps(settings))
    prepare = fresh_dag().get_task("prepare").python_callable
    made = prepare(params={"ds": FIRST, "tables": "main.speech", "config": None, "set": []})
    assert made["transcribe"][:4] == ["--config", "local", "--tables", "main.speech"]
    assert " s3://calls/2026/01/30 " in made["list"]
    assert made["export"] == []


def test_transcribe_alone_takes_a_slot_of_the_pool_and_one_run_is_at_work_at_a_time() -> None:
    dag = fresh_dag()
    assert {task.task_id for task in dag.tasks if task.pool == "gpu"} == {"transcribe"}
    assert dag.max_active_runs == 1


def test_other_dags_follow_each_day_of_words_as_the_page_shows(night: Night) -> None:
    with create_session() as session:
        told = session.scalars(select(AssetEvent).where(AssetEvent.source_dag_id == NAME)).all()
        assert {(event.source_task_id, event.partition_key) for event in told} >= {("check", FIRST)}
    schedule()
    with create_session() as session:
        following = session.scalars(select(DagRun).where(DagRun.dag_id == "count_words")).all()
        assert FIRST in {one.partition_key for one in following}
