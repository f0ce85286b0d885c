"""Transcripts and references → the table evaluations, a recording a row, scored in parallel; and its sums."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F
from pyspark.sql.pandas.types import from_arrow_schema
from pyspark.storagelevel import StorageLevel

from schemas.config import ConfigError
from schemas.tables import EVALUATIONS, RECORDINGS, WORDS, rows_of, to_batch
from transforms.evaluation.evaluate import score
from transforms.lake.context import tasks_at_once
from transforms.lake.session import limit_arrow_batches
from transforms.lake.tables import Tables

GROUPS = ("language", "channel", "speaker", "status", "model", "normalization", "unit")
"""Columns of EVALUATIONS to sum by, beside 'metadata.…'."""
_METADATA = "metadata."
_ERRORS = "substitutions + deletions + insertions"
_ROWS_A_TASK = 500
_NO_REFERENCE = (
    "no recording in {root} has a reference in {source}; give --references FILE (TSV, CSV, JSONL or Parquet with "
    "audio_id or uri, and reference), --against OTHER_TABLES, or a column reference in the manifest before transcribing"
)


@dataclass(frozen=True)
class Evaluated:
    """`rows` were written; `unknown` references have no recording; `mixed` are of one channel or speaker of several, in
    recordings that were transcribed as one; `without` recordings have no reference."""

    rows: int
    unknown: int
    mixed: int
    without: int


def evaluate(tables: Tables, references: DataFrame, source: str, *, simplified: bool = False) -> Evaluated:
    """Scores `references` (see references.py) into EVALUATIONS. What was there for the same transcripts and `source` is
    replaced; earlier transcripts of a recording keep their rows, to compare with.
    `simplified`: traditional Chinese counts as simplified.

    Raises ConfigError if no recording has a reference.
    """
    now = datetime.datetime.now(datetime.UTC)
    shown = tables.read(RECORDINGS)
    references = references.withColumn("references", F.count("*").over(Window.partitionBy("audio_id"))).persist()
    try:
        known = references.join(shown.select("audio_id", F.lit(True).alias("known")), "audio_id", "left")
        counts = known.agg(
            F.count("*").alias("all"),
            F.count("known").alias("known"),
            F.count_distinct(F.when(F.col("known"), F.col("audio_id"))).alias("recordings"),
        ).collect()[0]
        unknown = counts.all - counts.known
        if not counts.known:
            reason = _NO_REFERENCE.format(root=tables.root, source=source)
            raise ConfigError(f"{reason} ({unknown} references name other recordings)" if unknown else reason)
        limit_arrow_batches(tables.spark)
        tasks = max(tasks_at_once(tables.spark), counts.known // _ROWS_A_TASK)
        pairs = _pairs(tables, references).repartition(min(tasks, counts.known))
        scored = pairs.mapInArrow(_scorer(source, now, simplified), from_arrow_schema(EVALUATIONS.arrow))
        rows = _write(tables, scored, source, now)
        return Evaluated(rows, unknown, counts.known - rows, shown.count() - counts.recordings)
    finally:
        references.unpersist()


def _write(tables: Tables, scored: DataFrame, source: str, now: datetime.datetime) -> int:
    """Leaves exactly `scored` for the transcripts that recordings shows and this source; returns how many rows."""
    scored = scored.persist(StorageLevel.MEMORY_AND_DISK)
    try:
        if not tables.read(EVALUATIONS).where(F.col("reference_source") == source).limit(1).count():
            tables.append(EVALUATIONS, scored)
            return scored.count()
        tables.upsert(EVALUATIONS, scored, EVALUATIONS.key)
        written = scored.count()
    finally:
        scored.unpersist()
    before = tables.read(RECORDINGS).select(
        "audio_id", "run_key", F.lit(source).alias("source"), F.lit(now).alias("now")
    )
    same = "t.audio_id = s.audio_id AND t.run_key = s.run_key AND t.reference_source = s.source"
    tables.delete_matching(EVALUATIONS, before, f"{same} AND t.evaluated_at < s.now")
    return written


def _pairs(tables: Tables, references: DataFrame) -> DataFrame:
    """Each reference with the transcript that recordings shows, and its words in order."""
    shown = tables.read(RECORDINGS).select(
        "audio_id", "run_key", "take_id", "uri", "status", "text", "model", F.col("language").alias("heard_language")
    )
    rows = references.join(shown, "audio_id")
    kept = F.struct("word_index", "word", "start_ms", "end_ms", "confidence", "channel", "speaker")
    asked = rows.select("audio_id", "take_id").distinct()
    words = tables.read(WORDS).join(asked, ["audio_id", "take_id"], "left_semi")
    words = words.groupBy("audio_id", "take_id").agg(F.array_sort(F.collect_list(kept)).alias("found_words"))
    rows = rows.join(words, ["audio_id", "take_id"], "left").drop("take_id")
    rows = rows.withColumn("language", F.coalesce("language", "heard_language")).drop("heard_language")
    # Of several references, each of a channel, none is that of a recording whose channels were mixed.
    mixed = " OR ".join(
        f"({part} IS NOT NULL AND NOT exists(found_words, word -> word.{part} IS NOT NULL))"
        for part in ("channel", "speaker")
    )
    return rows.where(f"NOT coalesce(references > 1 AND ({mixed}), false)")


def _scorer(source: str, now: datetime.datetime, simplified: bool) -> Any:
    def score_batches(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for row in rows_of(batches):
            yield to_batch(
                [{**_scored(row, simplified), "reference_source": source, "evaluated_at": now}], EVALUATIONS.arrow
            )

    return score_batches


def _scored(row: Mapping[str, Any], simplified: bool) -> dict[str, Any]:
    """A row of EVALUATIONS, but for its source and time, of one of `_pairs`."""
    words, text = row["found_words"] or [], row["text"] or ""
    parts = [part for part in ("channel", "speaker") if row[part] is not None]
    if any(word[part] is not None for word in words for part in parts):
        words = [word for word in words if all(word[part] == row[part] for part in parts)]
        text = " ".join(word["word"] for word in words)
    passed = {name: value for name, value in row.items() if name in EVALUATIONS.names}
    timed = row["reference_words"] or []
    return {**passed, **score(row["reference"], text, row["language"], words, timed, simplified=simplified)}


def current(tables: Tables, source: str | None = None) -> DataFrame:
    """The evaluations of the transcripts that recordings shows, against `source` or against all, with the recordings'
    metadata."""
    shown = tables.read(RECORDINGS).select("audio_id", "run_key", "run_id", "metadata")
    rows = tables.read(EVALUATIONS).join(shown, ["audio_id", "run_key"])
    return rows if source is None else rows.where(F.col("reference_source") == source)


def group_column(rows: DataFrame, name: str) -> Column:
    """What --by names: one of GROUPS or 'metadata.…', for which `rows` have a column metadata. Raises ConfigError that
    names those there are."""
    if name in GROUPS:
        return F.col(name).cast("string")
    keys = [row.key for row in rows.select(F.explode(F.map_keys("metadata")).alias("key")).distinct().collect()]
    if name.removeprefix(_METADATA) in keys and name.startswith(_METADATA):
        return F.col("metadata")[name.removeprefix(_METADATA)]
    known = [*GROUPS, *(f"{_METADATA}{key}" for key in sorted(keys) if key != "reference")]
    raise ConfigError(f"--by {name}: no such column; there are {', '.join(known)}")


def default_groups(rows: DataFrame) -> list[str]:
    """language, and channel and speaker where references have them."""
    counts = rows.agg(F.count("channel").alias("channel"), F.count("speaker").alias("speaker")).collect()[0]
    return ["language", *(name for name in ("channel", "speaker") if counts[name])]


def error_rates(rows: DataFrame, group: Column | None = None) -> list[dict[str, Any]]:
    """Sums over `rows`, for each value of `group`, most words first: recordings, failed, words, substitutions,
    deletions, insertions, wer, cer; a rate is null without words."""
    sums = rows.groupBy((F.lit("all") if group is None else group).alias("value")).agg(
        F.count_distinct("audio_id").alias("recordings"),
        F.count_distinct(F.when(F.col("status") == "failed", F.col("audio_id"))).alias("failed"),
        *[F.sum(name).alias(name) for name in ("words", "substitutions", "deletions", "insertions")],
        (F.sum(F.expr(_ERRORS)) / F.nullif(F.sum("words"), F.lit(0))).alias("wer"),
        (F.sum("character_errors") / F.nullif(F.sum("characters"), F.lit(0))).alias("cer"),
    )
    return [row.asDict() for row in sums.orderBy(F.desc("words"), "value").collect()]


def confidence_bins(rows: DataFrame) -> list[dict[str, Any]]:
    """`calibration` summed over `rows`: bin, words, right, confidence_sum, in order."""
    found = rows.select(F.explode("calibration").alias("found")).select("found.*")
    sums = found.groupBy("bin").agg(*[F.sum(name).alias(name) for name in ("words", "right", "confidence_sum")])
    return [row.asDict() for row in sums.orderBy("bin").collect()]


def time_errors(rows: DataFrame) -> list[dict[str, Any]]:
    """Of word starts and of word ends: edge, words compared, median_ms, p90_ms, within_50 and within_100 (shares of
    words whose time is off by at most so many milliseconds). Empty without reference times."""
    found = rows.select(F.explode("time_errors").alias("found")).select("found.*")
    edges = []
    for edge in ("start", "end"):
        off = F.abs(f"{edge}_error_ms")
        summed = found.agg(
            F.count(off).alias("words"),
            F.percentile(off, 0.5).alias("median_ms"),
            F.percentile(off, 0.9).alias("p90_ms"),
            F.avg((off <= 50).cast("double")).alias("within_50"),
            F.avg((off <= 100).cast("double")).alias("within_100"),
        )
        edges.append({"edge": edge, **summed.collect()[0].asDict()})
    return [edge for edge in edges if edge["words"]]


def worst(rows: DataFrame, most: int) -> list[dict[str, Any]]:
    """The recordings that were read worst, by error rate, with their alignment; not those that failed, which have no
    transcript to look at."""
    read = rows.where("status <> 'failed'").withColumn("errors", F.expr(_ERRORS)).where("errors > 0")
    order: Sequence[Any] = (F.desc(F.coalesce("wer", "errors")), F.desc("errors"), "audio_id")
    return [row.asDict(recursive=True) for row in read.orderBy(*order).limit(most).collect()]
