"""Transcripts out of the tables, into files that people open: each task of Spark writes those of its recordings."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import groupby
from operator import itemgetter

import pyarrow as pa
from pyspark.errors import PySparkException
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql.pandas.types import from_arrow_schema

from schemas.config import Config, ConfigError
from schemas.tables import RECORDINGS, SEGMENTS, WORDS, rows_of, to_batch
from transforms.errors import ExportError, RecordingError
from transforms.exports import FORMATS, Render
from transforms.exports.audio_link import audio_link, embedded_audio
from transforms.exports.names import file_stem
from transforms.exports.recording import Recording, Row, from_row
from transforms.exports.request import Request, check
from transforms.lake.session import first_line
from transforms.lake.tables import Tables
from transforms.stores.files import write_whole

_SHARD_RECORDINGS = 10_000
_SHOWN_IDS = 5
_WORD = ("word_index", "word", "start_ms", "end_ms", "confidence", "segment_index")
_SEGMENT = ("segment_index", "start_ms", "end_ms", "text", "language", "speaker", "channel", "confidence")
_RECORDING = ("audio_id", "uri", "status", "text", "language", "duration_ms", "word_count", "confidence", "flags")
_WRITTEN = pa.schema(
    [
        ("file", pa.string()),
        ("bytes", pa.int64()),
        ("recordings", pa.int64()),
        ("problem", pa.string()),
        ("warning", pa.string()),
    ]
)
"""A file, or one that could not be written: `problem` says why, `warning` what is not as asked in one that
was."""


@dataclass(frozen=True)
class Summary:
    """`failed` recordings have no transcript and so no file; `warning` is one of `warnings`."""

    files: int
    recordings: int
    failed: int
    written_bytes: int
    warnings: int
    warning: str | None


def export(tables: Tables, config: Config, request: Request) -> Summary:
    """Writes what readers see: of each recording the segments and words of the take_id that recordings shows.

    The same tables and request give the same files again, under the same names. Raises ConfigError before anything is
    written for a request that makes no sense, and ExportError after everything else is written if a file could not be.
    """
    request = check(request, config)
    chosen = _chosen(tables, request)
    counts = _counts(chosen, request)
    failed = counts.pop("failed", 0)
    rows = _transcripts(tables, chosen.where("status <> 'failed'"))
    if request.per == "shard":
        count = request.shards or max(1, -(-sum(counts.values()) // _SHARD_RECORDINGS))
        shard = F.pmod(F.xxhash64("audio_id"), F.lit(count)).cast("int")
        rows = rows.withColumn("shard", shard).repartition(count, "shard").sortWithinPartitions("shard", "audio_id")
        written = rows.mapInArrow(_shard_writer(config, request, count), from_arrow_schema(_WRITTEN))
    else:
        written = rows.mapInArrow(_recording_writer(config, request), from_arrow_schema(_WRITTEN))
    return _summary(written, failed, request)


def _chosen(tables: Tables, request: Request) -> DataFrame:
    """Rows of recordings. Raises ConfigError for SQL that cannot be read, and for ids that are not there."""
    rows = tables.read(RECORDINGS)
    if request.audio_ids is not None:
        rows = rows.where(F.col("audio_id").isin(*request.audio_ids))
        known = {row.audio_id for row in rows.select("audio_id").collect()}
        if missing := [audio_id for audio_id in request.audio_ids if audio_id not in known]:
            shown = ", ".join(missing[:_SHOWN_IDS])
            raise ConfigError(f"{len(missing)} of the audio_ids are not in {tables.root}: {shown}")
    if request.where is None:
        return rows
    try:
        return rows.where(request.where)
    except PySparkException as error:
        raise _unusable(request, error) from error


def _counts(chosen: DataFrame, request: Request) -> dict[str, int]:
    """Recordings by status. Raises ConfigError for SQL that cannot be computed, as a division by zero."""
    try:
        return {row["status"]: row["count"] for row in chosen.groupBy("status").count().collect()}
    except PySparkException as error:
        if request.where is None:
            raise
        raise _unusable(request, error) from error


def _unusable(request: Request, error: PySparkException) -> ConfigError:
    return ConfigError(f"--where {request.where}: {first_line(error)}")


def _transcripts(tables: Tables, chosen: DataFrame) -> DataFrame:
    """`chosen` with a list of its segments and one of its words, each in order."""
    keys = chosen.select("audio_id", "take_id")
    rows = chosen.select("take_id", *_RECORDING)
    for table, columns in ((SEGMENTS, _SEGMENT), (WORDS, _WORD)):
        mine = tables.read(table).join(keys, ["audio_id", "take_id"], "left_semi")
        lists = mine.groupBy("audio_id", "take_id").agg(
            F.array_sort(F.collect_list(F.struct(*columns))).alias(table.name)
        )
        rows = rows.join(lists, ["audio_id", "take_id"], "left")
    return rows


Writer = Callable[[Iterable[pa.RecordBatch]], Iterator[pa.RecordBatch]]


def _recording_writer(config: Config, request: Request) -> Writer:
    def write(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        chosen = FORMATS[request.format]
        for row in rows_of(batches):
            name = f"{file_stem(row['audio_id'], row['uri'])}.{chosen.suffix}"
            written = {"file": name, "recordings": 1}
            try:
                recording, warning = _with_audio(from_row(row), config, request)
                size_bytes = _write(request, name, [_rendered(chosen.render, recording, config)], config)
                yield to_batch([{**written, "bytes": size_bytes, "warning": warning}], _WRITTEN)
            except ExportError as error:
                yield to_batch([{**written, "problem": str(error)}], _WRITTEN)

    return write


def _shard_writer(config: Config, request: Request, count: int) -> Writer:
    def write(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        suffix, render = FORMATS[request.format].shard or ("", FORMATS[request.format].render)
        for shard, rows in groupby(rows_of(batches), key=itemgetter("shard")):
            name = f"part-{shard:05d}-of-{count:05d}.{suffix}"
            audio_ids: list[str] = []
            try:
                size_bytes = _write(request, name, _texts(rows, render, config, audio_ids), config)
                yield to_batch([{"file": name, "bytes": size_bytes, "recordings": len(audio_ids)}], _WRITTEN)
            except ExportError as error:
                yield to_batch([{"file": name, "problem": str(error)}], _WRITTEN)

    return write


def _texts(rows: Iterable[Row], render: Render, config: Config, audio_ids: list[str]) -> Iterator[str]:
    """What each recording adds to a shard; `audio_ids` gets theirs."""
    for row in rows:
        audio_ids.append(row["audio_id"])
        yield _rendered(render, from_row(row), config)


def _rendered(render: Render, recording: Recording, config: Config) -> str:
    try:
        return render(recording, config)
    except Exception as error:
        error.add_note(f"in recording {recording.audio_id} ({recording.uri})")
        raise


def _with_audio(recording: Recording, config: Config, request: Request) -> tuple[Recording, str | None]:
    """With the address of its audio, where the format plays it, and a warning if that is not the one asked for."""
    if not FORMATS[request.format].plays:
        return recording, None
    link, warning = audio_link(recording.uri, request.out), None
    if request.embed_audio and recording.uri is not None:
        try:
            link = embedded_audio(recording.uri, config.fetch)
        except RecordingError as error:
            warning = f"its audio is not embedded, but linked: {error}"
    return replace(recording, audio_src=link), warning


def _write(request: Request, name: str, parts: Iterable[str], config: Config) -> int:
    """Raises ExportError for whatever the file system or the store has against it."""
    try:
        return write_whole(request.out, name, parts, config.fetch)
    except OSError as error:
        raise ExportError(_reason(error)) from error


def _reason(error: OSError) -> str:
    advice = {
        errno.ENOSPC: "make room there or give another --out",
        errno.EDQUOT: "make room there or give another --out",
        errno.EACCES: "give the job's user the right to write there",
        errno.EROFS: "give another --out",
    }
    what = error.strerror or " ".join(str(error).split()) or type(error).__name__
    return f"{what}; {advice.get(error.errno or 0, 'mend that')}, and export again"


def _summary(written: DataFrame, failed: int, request: Request) -> Summary:
    """Runs the job; only this one row comes to the driver."""
    good = F.col("problem").isNull()
    (row,) = written.agg(
        F.count_if(good).alias("files"),
        F.count_if(~good).alias("problems"),
        F.sum(F.when(good, F.col("recordings"))).alias("recordings"),
        F.sum("bytes").alias("bytes"),
        F.min(F.when(~good, F.struct("file", "problem"))).alias("first"),
        F.count("warning").alias("warnings"),
        F.min("warning").alias("warning"),
    ).collect()
    if row.problems:
        raise ExportError(
            f"{row.problems} of {row.problems + row.files} files could not be written to {request.out}; "
            f"the first, {row.first.file}: {row.first.problem}"
        )
    return Summary(row.files, row.recordings or 0, failed, row.bytes or 0, row.warnings, row.warning)
