"""The tables → what a report shows of them. All sums are made in Spark: whatever the number of recordings, only short
lists come to the driver."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from schemas.config import ConfigError
from schemas.tables import FAILURES, RECORDINGS, RUNS
from transforms.evaluation.evaluate import BINS, calibration_error
from transforms.evaluation.evaluations import confidence_bins, current, error_rates, group_column, time_errors, worst
from transforms.lake.tables import Tables

Row = dict[str, Any]

LENGTHS_S = (10, 30, 60, 300, 900, 3600)
"""Recordings are counted by length up to each of these, and beyond the last."""
DOUBTFUL = 0.6
"""Confidence below which a recording should be listened to, whatever its flags."""
_RUNS, _NAMED_RUNS, _LANGUAGES, _FAILURES, _LISTEN, _SOURCES, _WORST = 30, 5, 20, 30, 25, 3, 5
"""Longest lists."""
TEXT_CHARS = 160
"""So much of a text is shown, and one more character says that there is more."""
_SHOWN_OF_RUNS = (
    *("run_id", "status", "error", "started_at", "wall_seconds", "recordings", "failed"),
    *("audio_hours", "times_real_time", "batch_fill"),
)
_IS_DOUBTFUL = f"status <> 'failed' AND (size(flags) > 0 OR coalesce(confidence < {DOUBTFUL}, false))"
_LENGTH_BIN = " + ".join(f"int(duration_ms >= {seconds * 1000})" for seconds in LENGTHS_S)
_CONFIDENCE_BIN = f"int(confidence * {BINS}) - int(confidence >= 1)"


@dataclass(frozen=True)
class Facts:
    """What a report shows. Lists are in the order they are shown in; hours are of audio, seconds of time passed.

    `totals`: recordings, by status, their hours, words, confidence weighted by speech, and how many should be listened
    to. `work`: the sums of `runs`, which has the latest. `stages`: seconds by stage. `lengths` and `confidences` have
    a bin and its recordings; bins without any are missing. `evaluations`: one for each source of references.
    """

    totals: Row
    work: Row
    runs: list[Row]
    stages: dict[str, float]
    languages: list[Row]
    lengths: list[Row]
    confidences: list[Row]
    failures: list[Row]
    listen: list[Row]
    evaluations: list[Row]


def gather(tables: Tables, run_id: str | None = None) -> Facts:
    """Of the run `run_id`: what recordings still shows of it; of all runs: everything.

    Raises ConfigError if there is no such run, or none at all.
    """
    runs = _runs(tables, run_id)
    recordings, failures = tables.read(RECORDINGS), tables.read(FAILURES)
    if run_id is not None:
        recordings, failures = (rows.where(F.col("run_id") == run_id) for rows in (recordings, failures))
    recordings = recordings.select(
        *("audio_id", "uri", "status", "language", "duration_ms", "speech_ms", "word_count", "confidence", "flags"),
        F.substring("text", 1, TEXT_CHARS + 1).alias("text"),
        F.expr(_IS_DOUBTFUL).alias("doubtful"),
    ).persist()
    try:
        return Facts(
            totals=_totals(recordings),
            work=_work(runs),
            runs=_rows(runs.orderBy(F.desc("started_at")).select(*_SHOWN_OF_RUNS).limit(_RUNS)),
            stages=_stages(runs),
            languages=_languages(recordings),
            lengths=_binned(recordings, _LENGTH_BIN),
            confidences=_binned(recordings, _CONFIDENCE_BIN),
            failures=_failures(failures),
            listen=_listen(recordings),
            evaluations=_evaluations(tables, run_id),
        )
    finally:
        recordings.unpersist()


def _runs(tables: Tables, run_id: str | None) -> DataFrame:
    runs = tables.read(RUNS)
    latest = [row.run_id for row in runs.orderBy(F.desc("run_id")).select("run_id").limit(_NAMED_RUNS).collect()]
    if not latest:
        raise ConfigError(f"{tables.root} has no runs yet; jobs.transcribe makes them")
    if run_id is None:
        return runs
    one = runs.where(F.col("run_id") == run_id)
    if run_id not in latest and not one.limit(1).count():
        raise ConfigError(f"{tables.root} has no run {run_id}; the latest are {', '.join(latest)}")
    return one


def _rows(rows: DataFrame) -> list[Row]:
    return [row.asDict(recursive=True) for row in rows.collect()]


def _totals(recordings: DataFrame) -> Row:
    weight = F.expr("if(confidence IS NULL, NULL, greatest(speech_ms, 1))")
    sums = recordings.agg(
        F.count("*").alias("recordings"),
        *[F.count_if(F.col("status") == status).alias(status) for status in ("ok", "no_speech", "failed")],
        F.count_if("doubtful").alias("doubtful"),
        (F.sum("duration_ms") / 3.6e6).alias("hours"),
        (F.sum("speech_ms") / 3.6e6).alias("speech_hours"),
        F.sum("word_count").alias("words"),
        (F.sum(F.col("confidence") * weight) / F.sum(weight)).alias("confidence"),
    )
    return _rows(sums)[0]


def _work(runs: DataFrame) -> Row:
    sums = runs.agg(
        F.count("*").alias("runs"),
        F.count_if(F.col("status") != "ok").alias("failed"),
        F.min("started_at").alias("first_at"),
        F.max("ended_at").alias("last_at"),
        F.coalesce(F.sum("wall_seconds"), F.lit(0.0)).alias("wall_s"),
        F.coalesce(F.sum("audio_hours"), F.lit(0.0)).alias("hours"),
        F.coalesce(F.sum("second_tries"), F.lit(0)).alias("second_tries"),
        F.coalesce(F.sum("retries"), F.lit(0)).alias("retries"),
    )
    return _rows(sums)[0]


def _stages(runs: DataFrame) -> dict[str, float]:
    seconds = runs.select(F.explode("stage_seconds").alias("stage", "seconds"))
    return {row.stage: row.seconds for row in seconds.groupBy("stage").agg(F.sum("seconds").alias("seconds")).collect()}


def _languages(recordings: DataFrame) -> list[Row]:
    sums = (
        recordings.where("status = 'ok'")
        .groupBy("language")
        .agg(
            F.count("*").alias("recordings"),
            (F.sum("duration_ms") / 3.6e6).alias("hours"),
            F.sum("word_count").alias("words"),
        )
    )
    return _rows(sums.orderBy(F.desc("hours"), "language").limit(_LANGUAGES))


def _binned(recordings: DataFrame, bin_of: str) -> list[Row]:
    binned = recordings.select(F.expr(bin_of).alias("bin")).where("bin IS NOT NULL")
    return _rows(binned.groupBy("bin").agg(F.count("*").alias("recordings")).orderBy("bin"))


def _failures(failures: DataFrame) -> list[Row]:
    """By stage and kind, with one message: it says what to do."""
    kinds = failures.groupBy("stage", "kind").agg(
        F.count_distinct("audio_id").alias("recordings"),
        F.bool_or("transient").alias("transient"),
        F.min_by("message", "audio_id").alias("message"),
    )
    return _rows(kinds.orderBy(F.desc("recordings"), "stage", "kind").limit(_FAILURES))


def _listen(recordings: DataFrame) -> list[Row]:
    """The least sure first."""
    order = recordings.where("doubtful").orderBy(F.asc_nulls_first("confidence"), F.desc(F.size("flags")), "audio_id")
    return _rows(order.limit(_LISTEN))


def _evaluations(tables: Tables, run_id: str | None) -> list[Row]:
    rows = current(tables)
    if run_id is not None:
        rows = rows.where(F.col("run_id") == run_id)
    latest = rows.groupBy("reference_source").agg(F.max("evaluated_at").alias("at")).orderBy(F.desc("at"))
    found = []
    for source in [row.reference_source for row in latest.limit(_SOURCES).collect()]:
        of_source = rows.where(F.col("reference_source") == source)
        bins = confidence_bins(of_source)
        found.append(
            {
                "source": source,
                "rates": error_rates(of_source),
                "languages": error_rates(of_source, group_column(of_source, "language"))[:_LANGUAGES],
                "normalizations": [row["value"] for row in error_rates(of_source, F.col("normalization"))],
                "bins": bins,
                "calibration_error": calibration_error(bins),
                "times": time_errors(of_source),
                "worst": worst(of_source, _WORST),
            }
        )
    return found
