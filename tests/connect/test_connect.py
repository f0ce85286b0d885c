"""The commands that read and publish run over Spark Connect as they do on a driver of their own: each as a user types it,
against a server that knows of Connect what Spark brings, and has no plug-in of Delta's for it."""

from __future__ import annotations

import contextlib
import datetime
import importlib
import io
import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

from schemas.config import ConfigError
from schemas.tables import CLAIMS, RUNS
from tests.connect.server import serving
from tests.kit import delta_log
from tests.kit.lake import ROOT, Lake, file_row, set_options, write_clips
from transforms.errors import MachineError
from transforms.lake.context import has_context
from transforms.lake.session import session
from transforms.run.signs import Signs

ASKED = "SELECT file, language, word_count FROM transcripts ORDER BY file"
JSON = "SELECT audio_id, take_id, start_ms, word FROM words ORDER BY 1, 3"
REGROUPED = set_options("segments.max_ms=2000")
"""Other segments of the same chunks."""


_COUNT_TOGETHER = """
import sys
from concurrent.futures import ThreadPoolExecutor
from schemas.tables import RUNS
from transforms.lake.session import session
from transforms.lake.tables import Tables

tables = Tables(session(over_connect=True), sys.argv[1])
tables.create([RUNS])
tables.append(RUNS, tables.filled(RUNS, tables.spark.sql("SELECT 'r' AS run_id, 0L AS recordings")))

def count(_: int) -> None:
    for _ in range(3):
        tables.update(RUNS, "run_id = 'r'", {"recordings": "recordings + 1"})

with ThreadPoolExecutor(3) as pool:
    list(pool.map(count, range(3)))
"""
"""Three at once, each of which adds 1 three times to the same row."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serving(tmp_path_factory.mktemp("server")) as url:
        yield url


@dataclass(frozen=True)
class Both:
    """The same lake twice: `here` for a driver of its own, `there` for the server."""

    here: Lake
    there: Lake
    url: str

    def run(self, command: str, *arguments: str) -> tuple[str, str]:
        """What it prints here and there, with one name for the two lakes."""
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
            importlib.import_module(command).main(self._arguments(self.here, *arguments))
        return self._plain(printed.getvalue(), self.here), self.said_there(command, *arguments)

    def said_there(self, command: str, *arguments: str, status: int = 0) -> str:
        """In a process of its own, which finds no Java."""
        done = subprocess.run(
            [sys.executable, "-m", command, *self._arguments(self.there, *arguments)],
            cwd=ROOT,
            env={**os.environ, "SPARK_REMOTE": self.url, "PATH": "/nowhere", "JAVA_HOME": ""},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == status, done.stderr
        return self._plain(done.stdout + done.stderr, self.there)

    def _arguments(self, lake: Lake, *more: str) -> list[str]:
        return ["--tables", str(lake.root), *(part.replace("LAKE", str(lake.folder)) for part in more)]

    def _plain(self, text: str, lake: Lake) -> str:
        return text.replace(str(lake.folder), "LAKE")


@pytest.fixture(scope="module")
def both(spark: SparkSession, server: str, tmp_path_factory: pytest.TempPathFactory) -> Both:
    folder = tmp_path_factory.mktemp("lakes")
    rows: list[dict[str, Any]] = [file_row(path) for path in write_clips(folder / "audio", 3)]
    rows[0]["reference"] = "Something that nobody said."
    lake = Lake(spark, folder / "here")
    lake.run([*rows, {"uri": str(folder / "missing.wav")}])
    return Both(lake, lake.copy(folder / "there"), server)


def test_sql_and_search_answer_the_same(both: Both) -> None:
    for here, there in (both.run("jobs.sql", ASKED), both.run("jobs.sql", JSON)):
        assert there == here
        assert here.count("|") > 10
    word = both.here.rows("words")[0]["word"]
    here, there = both.run("jobs.search", word, "--json")
    assert there == here
    assert json.loads(there.splitlines()[0])["phrase"]


def test_exports_and_the_report_are_the_same_files(both: Both) -> None:
    here, there = both.run("jobs.export", "--format", "srt", "json", "--out", "LAKE/out")
    assert there == here
    files = [
        {path.name: path.read_bytes() for path in (lake.folder / "out").iterdir()} for lake in (both.here, both.there)
    ]
    assert files[0] == files[1]
    assert len(files[0]) == 6
    both.run("jobs.report", "--out", "LAKE/report.html")
    pages = [
        (lake.folder / "report.html").read_text().replace(str(lake.folder), "") for lake in (both.here, both.there)
    ]
    assert re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d", "", pages[0]) == re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d", "", pages[1])


def test_evaluating_writes_the_same_rows_also_a_second_time(both: Both) -> None:
    for _ in range(2):
        here, there = both.run("jobs.evaluate")
        assert there == here
        without = frozenset({"evaluated_at"})
        assert both.there.contents("evaluations", without=without) == both.here.contents("evaluations", without=without)
    assert len(both.there.rows("evaluations")) == 1


def test_publishing_makes_the_same_tables_and_ends_its_run(both: Both) -> None:
    before = both.there.contents("segments")
    for said in both.run("jobs.publish", *REGROUPED):
        assert "4 recordings published from chunks" in said
    assert both.there.contents() == both.here.contents()
    assert both.there.contents("segments") != before
    assert not both.there.stale()
    assert not both.there.rows("claims")
    last = max(both.there.rows("runs"), key=lambda run: run["run_id"])
    assert last["status"] == "ok" and last["ended_at"] is not None


def test_what_a_living_run_holds_is_left_to_it(both: Both) -> None:
    """Its signs of life are files, which its driver writes and nobody over Connect sees but through Spark."""
    tables = both.there.tables
    run, held = min(row["run_id"] for row in both.there.rows("runs")), both.there.rows("recordings")[0]["audio_id"]
    long_ago = {"alive_at": "TIMESTAMP '2020-01-01'", "driver": "'elsewhere/1/1'"}
    tables.update(RUNS, f"run_id = '{run}'", {"status": "'running'", **long_ago})
    claimed_at = datetime.datetime.now(datetime.UTC)
    both.there.add(CLAIMS, [{"audio_id": held, "run_id": run, "begun": [], "claimed_at": claimed_at}])
    Signs(tables).give(run)
    said = both.said_there("jobs.publish")
    assert "3 recordings published from chunks; 1 are left to the runs that are at work on them" in said
    (row,) = (row for row in both.there.rows("runs") if row["run_id"] == run)
    assert row["status"] == "running"


@pytest.mark.parametrize(
    ("command", "arguments"),
    [("jobs.transcribe", ("--manifest", "m.parquet")), ("jobs.maintain", ()), ("jobs.erase", ()), ("jobs.check", ())],
)
def test_what_needs_a_driver_says_so_before_anything_is_written(
    both: Both, command: str, arguments: tuple[str, ...]
) -> None:
    before = both.there.versions()
    said = both.said_there(command, *arguments, status=2)
    assert said.startswith(
        "error: this command needs a driver of its own, and SPARK_REMOTE leads to a Spark Connect server"
    )
    assert both.there.versions() == before


def test_a_server_that_is_not_there_is_told_in_a_sentence_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("transforms.lake.session._ANSWERS_WITHIN_S", 1.0)
    with socket.socket() as taken:  # and not listened on
        taken.bind(("127.0.0.1", 0))
        where = f"sc://127.0.0.1:{taken.getsockname()[1]}/"
        monkeypatch.setenv("SPARK_REMOTE", f"{where};token=secret")
        with pytest.raises(MachineError) as raised:
            session(over_connect=True)
    assert str(raised.value).startswith(f"the Spark Connect server of SPARK_REMOTE, {where}, has not answered for 1 s")


@pytest.mark.parametrize("address", ["sc:/spark", "sc://spark:port"])
def test_an_address_that_is_none_is_told_in_a_sentence(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.setenv("SPARK_REMOTE", address)
    with pytest.raises(ConfigError, match=f"SPARK_REMOTE is {address}, which is no address as in"):
        session(over_connect=True)


def test_writers_that_meet_over_connect_start_anew(server: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _COUNT_TOGETHER, str(tmp_path)],
        cwd=ROOT,
        env={**os.environ, "SPARK_REMOTE": server},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert [row["recordings"] for row in delta_log.rows(tmp_path, "runs")] == [9]


def test_only_one_file_asks_for_spark_s_context(spark: SparkSession) -> None:
    assert has_context(spark)
    asks = re.compile(r"\bsparkContext\b|\bSparkContext\b|\._jvm\b|\._jsc\b|\._jsparkSession\b|\._jdf\b|\.rdd\b")
    code = [path for room in ("jobs", "transforms", "schemas") for path in (ROOT / room).rglob("*.py")]
    found = {
        str(path.relative_to(ROOT)) for path in code if asks.search(re.sub(r'"""[\s\S]*?"""', "", path.read_text()))
    }
    assert found == {"transforms/lake/context.py"}
