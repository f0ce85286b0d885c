"""What the gauges are, and the questions to the tables that fill them: one SQL for Spark, which reads any store and any
catalog, and DuckDB, which reads a local folder."""

from __future__ import annotations

import datetime
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from schemas.tables import CLAIMS, FAILURES, RECORDINGS, RUNS
from transforms.lake.local_tables import LocalTables
from transforms.lake.tables import Tables
from transforms.run.registry import lives
from transforms.run.signs import FOLDER, Signs

ASKED = (RUNS, RECORDINGS, FAILURES, CLAIMS)

Lake = Tables | LocalTables
Row = dict[str, Any]


@dataclass
class Gauge:
    """`samples` are values by the labels' values, in the labels' order; a value that is not known has no sample."""

    name: str
    meaning: str
    labels: tuple[str, ...] = ()
    samples: dict[tuple[str, ...], float] = field(default_factory=dict)

    def set(self, value: Any, *labels: Any) -> Gauge:
        if isinstance(value, datetime.datetime):
            value = value.timestamp()
        if value is not None:
            self.samples[tuple("" if label is None else str(label) for label in labels)] = float(value)
        return self


def gauges(tables: Lake, claim_minutes: float) -> list[Gauge]:
    """Raises ConfigError if there are no tables, or those of an earlier version. A run without a sign of life for
    `claim_minutes` is dead."""
    tables.require(*ASKED)
    names = {table.name: tables.identifier(table) for table in ASKED}

    def ask(query: str) -> list[Row]:
        rows: list[Row] = tables.ask(query.format(**names)).to_pylist()
        return rows

    return [
        *_of_runs(ask("SELECT status, count(*) AS runs FROM {runs} GROUP BY status")),
        _alive(tables, ask("SELECT run_id, driver, alive_at FROM {runs} WHERE status = 'running'"), claim_minutes),
        *_of_the_last_run(ask(_LAST_RUN)),
        *_of_recordings(ask(_RECORDINGS)),
        *_of_the_week(ask(_WEEK)),
        *_of_failures(ask("SELECT stage, transient, count(*) AS failures FROM {failures} GROUP BY stage, transient")),
        *_single(ask(_SINGLE)),
    ]


_LAST_RUN = """
SELECT
  status, ended_at, recordings, failed, audio_hours, wall_seconds, times_real_time, batch_fill,
  stage_seconds['wait'] / nullif(stage_seconds['recognize'] + stage_seconds['wait'], 0) AS wait_share
FROM {runs} WHERE ended_at IS NOT NULL AND recordings > 0
ORDER BY run_id DESC LIMIT 1
"""
_RECORDINGS = """
SELECT status, count(*) AS recordings, sum(duration_ms) / 3600000 AS hours FROM {recordings} GROUP BY status
"""
_WEEK = """
SELECT
  language, sum(speech_ms) / 3600000 AS hours,
  sum(confidence * speech_ms) / nullif(sum(CASE WHEN confidence IS NOT NULL THEN speech_ms END), 0) AS confidence
FROM {recordings}
WHERE status = 'ok' AND language IS NOT NULL AND transcribed_at > now() - INTERVAL 7 DAY
GROUP BY language
"""
_SINGLE = "SELECT (SELECT max(transcribed_at) FROM {recordings}) AS at, (SELECT count(*) FROM {claims}) AS claims"


def _of_runs(rows: list[Row]) -> Iterator[Gauge]:
    runs = Gauge("lakescribe_runs", "runs in the table runs", ("status",)).set(0, "running")
    for row in rows:
        runs.set(row["runs"], row["status"])
    yield runs


def _alive(tables: Lake, running: list[Row], claim_minutes: float) -> Gauge:
    if isinstance(tables, LocalTables):
        folder = Path(tables.root) / RUNS.name / FOLDER
        signs = {file.name: file.stat().st_mtime for file in folder.glob("*")}
    else:
        signs = Signs(tables).last()
    alive = sum(lives(SimpleNamespace(**row), signs, claim_minutes * 60) for row in running)
    return Gauge("lakescribe_runs_alive", "running ones that give signs of life").set(alive)


def _of_the_last_run(rows: list[Row]) -> Iterator[Gauge]:
    (row,) = rows or [{}]
    share = row["failed"] / row["recordings"] if row else None
    is_ok = row["status"] == "ok" if row else None
    yield Gauge("lakescribe_last_run_ok", "1 if the last run that did recordings ended well, else 0").set(is_ok)
    yield Gauge("lakescribe_last_run_end_timestamp_seconds", "when it ended").set(row.get("ended_at"))
    yield Gauge("lakescribe_last_run_recordings", "recordings that it did").set(row.get("recordings"))
    yield Gauge("lakescribe_last_run_failed_share", "0 to 1: of these, failed").set(share)
    yield Gauge("lakescribe_last_run_audio_hours", "hours of audio that it did").set(row.get("audio_hours"))
    yield Gauge("lakescribe_last_run_wall_seconds", "what it took").set(row.get("wall_seconds"))
    yield Gauge("lakescribe_last_run_times_real_time", "audio seconds a wall second").set(row.get("times_real_time"))
    yield Gauge("lakescribe_last_run_batch_fill", "0 to 1: audio in the engine's batches").set(row.get("batch_fill"))
    yield Gauge("lakescribe_last_run_wait_share", "0 to 1: time that the recognizer waited for audio").set(
        row.get("wait_share")
    )


def _of_recordings(rows: list[Row]) -> Iterator[Gauge]:
    recordings = Gauge("lakescribe_recordings", "recordings in the table", ("status",))
    hours = Gauge("lakescribe_audio_hours", "hours of audio of the recordings in the table", ("status",))
    for row in rows:
        recordings.set(row["recordings"], row["status"])
        hours.set(row["hours"], row["status"])
    yield from (recordings, hours)


def _of_the_week(rows: list[Row]) -> Iterator[Gauge]:
    hours = Gauge("lakescribe_week_speech_hours", "speech transcribed in the last seven days", ("language",))
    confidence = Gauge("lakescribe_week_confidence", "its mean confidence, weighted by speech", ("language",))
    for row in rows:
        hours.set(row["hours"], row["language"])
        confidence.set(row["confidence"], row["language"])
    yield from (hours, confidence)


def _of_failures(rows: list[Row]) -> Iterator[Gauge]:
    failures = Gauge("lakescribe_failures", "rows in the table failures", ("stage", "transient"))
    for row in rows:
        failures.set(row["failures"], row["stage"], str(row["transient"]).lower())
    yield failures


def _single(rows: list[Row]) -> Iterator[Gauge]:
    (row,) = rows
    yield Gauge("lakescribe_latest_recording_timestamp_seconds", "when the latest was transcribed").set(row["at"])
    yield Gauge("lakescribe_claims", "recordings that runs are at work on, or were when they died").set(row["claims"])
    yield Gauge("lakescribe_read_timestamp_seconds", "when the tables were read for this").set(time.time())
