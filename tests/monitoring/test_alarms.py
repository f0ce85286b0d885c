"""The alarms of docs/monitoring.md: each rings in its own trouble, and none while all is well. Spark and DuckDB agree."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import duckdb
import pyarrow as pa
import pytest
from pyspark.sql import SparkSession

from schemas.tables import ALL, RECORDINGS, RUNS, to_batch
from tests.kit.lake import ROOT
from tests.kit.months import HOUR_MS, MONDAY, Rows, months
from transforms.lake.views import views

Ask = Callable[[str], list[dict[str, Any]]]
Open = Callable[[Rows, Rows], Ask]
Trouble = Callable[[Rows, Rows], None]

ALARMS = dict(
    re.findall(r"^\*\*(.*?)\*\*[^\n]*\n\n```sql\n(.*?)```", (ROOT / "docs" / "monitoring.md").read_text(), re.M | re.S)
)


def filled(recordings: Rows, runs: Rows) -> dict[str, pa.Table]:
    rows = {RECORDINGS: recordings, RUNS: runs}
    return {table.name: pa.Table.from_batches([to_batch(rows.get(table, []), table.arrow)]) for table in ALL}


@pytest.fixture(params=["spark", "duckdb"])
def opened(request: pytest.FixtureRequest) -> Open:
    if request.param == "spark":
        return lambda *rows: _in_spark(request.getfixturevalue("spark"), filled(*rows))
    return lambda *rows: _in_duckdb(filled(*rows))


def _in_spark(spark: SparkSession, tables: dict[str, pa.Table]) -> Ask:
    for name, rows in tables.items():
        spark.createDataFrame(rows).createOrReplaceTempView(name)
    for view in views():
        spark.sql(f"CREATE OR REPLACE TEMPORARY VIEW {view.name} AS {view.query}")
    return lambda query: [row.asDict() for row in spark.sql(query).collect()]


def _in_duckdb(tables: dict[str, pa.Table]) -> Ask:
    connection = duckdb.connect()
    for name, rows in tables.items():
        connection.register(name, rows)
    connection.execute((ROOT / "schemas" / "views.sql").read_text(encoding="utf-8"))
    return lambda query: connection.sql(query).to_arrow_table().to_pylist()


def last_whole_week(recordings: Rows, language: str) -> Rows:
    first = MONDAY.timestamp() - 7 * 86_400
    recent = [row for row in recordings if first <= row["transcribed_at"].timestamp() < MONDAY.timestamp()]
    return [row for row in recent if row["language"] == language]


def nothing_arrives(recordings: Rows, runs: Rows) -> None:
    del recordings[:4]


def last_run(**values: Any) -> Trouble:
    return lambda _, runs: runs[0].update(values)


def last_week(language: str, **values: Any) -> Trouble:
    def change(recordings: Rows, runs: Rows) -> None:
        for row in last_whole_week(recordings, language):
            row |= values

    return change


TROUBLES: dict[str, Trouble] = {
    "Nothing has arrived": nothing_arrives,
    "The speed has halved": last_run(times_real_time=19.0),
    "Too much fails": last_run(failed=6),
    "The engine waits": last_run(stage_seconds=[("recognize", 40.0), ("wait", 60.0)]),
    "Confidence drifts": last_week("en", confidence=0.8),
    "The mix of languages drifts": last_week("de", speech_ms=3 * HOUR_MS),
}


def ringing(ask: Ask) -> set[str]:
    return {name for name, query in ALARMS.items() if ask(query)}


def test_every_alarm_has_its_trouble_here() -> None:
    assert ALARMS.keys() == TROUBLES.keys()


def test_none_rings_while_all_is_well(opened: Open) -> None:
    assert ringing(opened(*months())) == set()


@pytest.mark.parametrize("name", TROUBLES)
def test_each_rings_in_its_trouble_alone(name: str, opened: Open) -> None:
    recordings, runs = months()
    TROUBLES[name](recordings, runs)
    assert ringing(opened(recordings, runs)) == {name}


def test_a_lake_without_recordings_has_seen_nothing_arrive(opened: Open) -> None:
    assert ringing(opened([], [])) == {"Nothing has arrived"}


def test_a_language_that_is_gone_has_its_row(opened: Open) -> None:
    recordings, runs = months()
    for row in last_whole_week(recordings, "de"):
        recordings.remove(row)
    (row,) = opened(recordings, runs)(
        ALARMS["The mix of languages drifts"].replace("language,", "language AS gone,", 1) + " AND language = 'de'"
    )
    assert (row["gone"], row["share"], row["share_before"]) == ("de", 0, 0.25)


def test_weeks_are_told_by_model_and_by_what_the_manifest_knows(opened: Open) -> None:
    recordings, runs = months()
    changed = last_whole_week(recordings, "en")[0]
    changed |= {
        "model": "large",
        "status": "failed",
        "flags": ["damaged"],
        "confidence": None,
        "metadata": [("topic", "talk")],
    }
    ask = opened(recordings, runs)
    rows = ask("SELECT * FROM weekly WHERE model = 'large'")
    (row,) = rows
    assert (row["language"], row["recordings"], row["failed"], row["flagged"]) == ("en", 1, 1, 1)
    assert (row["audio_hours"], row["confidence"]) == (2, None)
    assert ask("SELECT sum(flagged) AS flagged, sum(failed) AS failed FROM weekly")[0] == {"flagged": 1, "failed": 1}
    (query,) = re.findall(r"```sql\n(SELECT week, model.*?)```", (ROOT / "docs" / "monitoring.md").read_text(), re.S)
    (talk,) = (row for row in ask(query) if row["topic"] == "talk")
    assert (talk["week"], talk["model"]) == ((MONDAY.date()).fromordinal(MONDAY.date().toordinal() - 7), "large")
