"""Recordings → manifest: listing folders, object stores and lists; and a manifest in Parquet, checked, as a
DataFrame."""

from __future__ import annotations

import csv
import datetime
import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pyarrow as pa
import pyarrow.parquet as pq
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql import types as T

from schemas.config import Config, FetchConfig
from transforms.fetch import local_path, open_filesystem

SUFFIXES = frozenset(
    ".wav .mp3 .flac .m4a .aac .ogg .oga .opus .wma .aif .aiff .aifc .caf .amr .3gp .ac3 .mp2 .mka .mp4 .m4v .mov .mkv "
    ".webm .avi .wmv .flv .ts .mpg .mpeg .sph .au .w64 .gsm .alac .ape .wv .m4b".split()
)
"""What counts as a recording when a folder is listed; a file named by itself is always taken."""
_LISTS = frozenset({".csv", ".tsv", ".jsonl", ".parquet"})
_INTEGERS = (T.ByteType, T.ShortType, T.IntegerType, T.LongType)
_COLUMNS: dict[str, tuple[tuple[type[T.DataType], ...], str]] = {
    "uri": ((T.StringType,), "string"),
    "content": ((T.BinaryType,), "binary"),
    "audio_id": ((T.StringType,), "string"),
    "language": ((T.StringType,), "string"),
    "context": ((T.StringType,), "string"),
    "channels": ((T.StringType,), "string"),
    "start_ms": (_INTEGERS, "bigint"),
    "end_ms": (_INTEGERS, "bigint"),
    "size_bytes": (_INTEGERS, "bigint"),
    "modified_at": ((T.TimestampType, T.TimestampNTZType), "timestamp"),
}
"""The columns that mean something to the job: accepted types, and the name of the wanted one. All others become
metadata."""
_SHOWN = 5


class ManifestError(ValueError):
    """A manifest that cannot be used; names the column and the first offending rows."""


def list_recordings(sources: Sequence[str], config: FetchConfig) -> pa.Table:
    """A manifest of everything in `sources`: files, folders (with all below), globs, uris of any fsspec filesystem, and
    lists (CSV, TSV, JSONL, Parquet) whose columns travel along. In the order of the sources, sorted within each; each
    uri once.

    Columns: uri, size_bytes, modified_at (UTC), then those of the lists. Raises ManifestError for a source that yields
    nothing.
    """
    rows: dict[Any, dict[str, Any]] = {}
    for source in sources:
        found = list(
            _rows_of_list(source) if Path(urlsplit(source).path).suffix.lower() in _LISTS else _files(source, config)
        )
        if not found:
            raise ManifestError(
                f"{source}: no recording found; name a folder, a file, a glob such as '{source.rstrip('/')}/**/*.mp3', "
                "or a list (CSV, TSV, JSONL, Parquet)"
            )
        for number, row in enumerate(found):
            rows.setdefault(row.get("audio_id") or row.get("uri") or (source, number), row)
    names = dict.fromkeys(["uri", "size_bytes", "modified_at", *(name for row in rows.values() for name in row)])
    types = {
        "uri": pa.string(),
        "size_bytes": pa.int64(),
        "modified_at": pa.timestamp("us", tz="UTC"),
        "start_ms": pa.int64(),
        "end_ms": pa.int64(),
    }
    return pa.table({name: _array(name, [row.get(name) for row in rows.values()], types.get(name)) for name in names})


def _array(name: str, values: list[Any], data_type: pa.DataType | None) -> pa.Array:
    try:
        if data_type is not None and pa.types.is_integer(data_type):
            values = [int(value) if isinstance(value, str) else value for value in values]
        return pa.array(values, type=data_type)
    except (pa.ArrowInvalid, pa.ArrowTypeError, ValueError) as error:
        raise ManifestError(
            f"column {name}: {error}; its values must be of one type{f' ({data_type})' if data_type else ''}"
        ) from error


def _rows_of_list(source: str) -> Iterator[dict[str, Any]]:
    path = local_path(source)
    if path is None or not path.is_file():
        raise ManifestError(f"list {source}: no such local file; copy it here first")
    suffix = path.suffix.lower()
    if suffix == ".parquet":
        rows: Iterable[dict[str, Any]] = pq.read_table(path).to_pylist()
    elif suffix == ".jsonl":
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    else:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = [
                {key: value or None for key, value in row.items()}
                for row in csv.DictReader(file, delimiter="," if suffix == ".csv" else "\t")
            ]
    for number, row in enumerate(rows, start=1):
        if not row.get("uri") and not row.get("content"):
            raise ManifestError(f"list {source}: column uri is missing or empty in row {number}: {row}")
        local = local_path(row["uri"]) if row.get("uri") else None
        if local is not None and not local.is_absolute():
            row["uri"] = str((path.parent / local).resolve())
        yield _with_stat(row)


def _with_stat(row: dict[str, Any]) -> dict[str, Any]:
    local = local_path(row["uri"]) if row.get("uri") else None
    if local is not None and local.is_file():
        stat = local.stat()
        row.setdefault("size_bytes", stat.st_size)
        row.setdefault("modified_at", datetime.datetime.fromtimestamp(stat.st_mtime, datetime.UTC))
    return row


def _files(source: str, config: FetchConfig) -> Iterator[dict[str, Any]]:
    path = local_path(source)
    if path is None:
        yield from _remote_files(source, config)
    elif path.is_dir():
        yield from (
            _with_stat({"uri": str(file.resolve())})
            for file in sorted(path.rglob("*"))
            if _is_recording(file.name) and file.is_file()
        )
    elif path.exists():
        yield _with_stat({"uri": str(path.resolve())})
    elif any(mark in source for mark in "*?["):
        anchor = Path(path.anchor or ".")
        pattern = str(path.relative_to(anchor)) if path.anchor else str(path)
        yield from (_with_stat({"uri": str(file.resolve())}) for file in sorted(anchor.glob(pattern)) if file.is_file())


def _is_recording(name: str) -> bool:
    return Path(name).suffix.lower() in SUFFIXES and not Path(name).name.startswith(".")


def _remote_files(source: str, config: FetchConfig) -> Iterator[dict[str, Any]]:
    scheme = urlsplit(source).scheme
    if scheme in ("http", "https"):  # no listing there: the address itself is the recording
        yield {"uri": source}
        return
    filesystem, path = open_filesystem(source, config)
    pattern = any(mark in path for mark in "*?[")
    listed = filesystem.glob(path, detail=True) if pattern else filesystem.find(path, detail=True)
    for name, info in sorted(listed.items()):
        if info.get("type") == "file" and (pattern or name == path or _is_recording(name)):
            modified = info.get("LastModified") or info.get("mtime") or info.get("updated") or info.get("last_modified")
            if isinstance(modified, str):
                modified = datetime.datetime.fromisoformat(modified.replace("Z", "+00:00"))
            yield {"uri": filesystem.unstrip_protocol(name), "size_bytes": info.get("size"), "modified_at": modified}


def read_manifest(spark: SparkSession, path: str, config: Config) -> DataFrame:
    """The manifest at `path` (Parquet), checked, one row a recording: audio_id, uri, content, language,
    language_source, context, channels, start_ms, end_ms, size_bytes, metadata, source_key. `config` gives language,
    context and channels where the manifest has none.

    Raises ManifestError, before any recording is opened, for a missing or mistyped column, a doubled audio_id, or an
    impossible value.
    """
    raw = spark.read.parquet(path)
    _check_types(raw)
    have = set(raw.columns)

    def column(name: str) -> Column:
        return F.col(name) if name in have else F.lit(None)

    start_ms, end_ms = F.coalesce(column("start_ms").cast("bigint"), F.lit(0)), column("end_ms").cast("bigint")
    where = F.coalesce(column("uri"), F.sha2(column("content").cast("binary"), 256))
    cut = F.when(
        (start_ms > 0) | end_ms.isNotNull(),
        F.concat_ws(",", F.lit("#t"), start_ms, F.coalesce(end_ms.cast("string"), F.lit(""))),
    ).otherwise("")
    language = F.coalesce(column("language").cast("string"), F.lit(config.language).cast("string"))
    # Only what the manifest itself says: defaults are the configuration's, and the time zone is the session's.
    source = [column(name).cast("string").alias(name) for name in ("language", "context", "channels")]
    source += [
        start_ms.alias("start_ms"),
        end_ms.alias("end_ms"),
        column("size_bytes").cast("bigint").alias("size_bytes"),
    ]
    source += [_instant(raw, column("modified_at")).alias("modified_at")]
    source += [F.coalesce(F.sha2(column("content").cast("binary"), 256), column("uri").cast("string")).alias("where")]
    rows = raw.select(
        F.coalesce(column("audio_id").cast("string"), F.substring(F.sha2(F.concat(where, cut), 256), 1, 32)).alias(
            "audio_id"
        ),
        column("uri").cast("string").alias("uri"),
        column("content").cast("binary").alias("content"),
        language.alias("language"),
        F.when(language.isNotNull(), "given").alias("language_source"),
        F.coalesce(column("context").cast("string"), F.lit(config.context).cast("string")).alias("context"),
        F.coalesce(column("channels").cast("string"), F.lit(config.audio.channels)).alias("channels"),
        start_ms.alias("start_ms"),
        end_ms.alias("end_ms"),
        column("size_bytes").cast("bigint").alias("size_bytes"),
        _metadata(raw, [name for name in raw.columns if name not in _COLUMNS]).alias("metadata"),
        F.substring(F.sha2(F.to_json(F.struct(*source)), 256), 1, 32).alias("source_key"),
    )
    _check_rows(rows)
    return rows


def _instant(raw: DataFrame, modified_at: Column) -> Column:
    """As text or a number that does not depend on the session's time zone."""
    if any(
        field.name == "modified_at" and isinstance(field.dataType, T.TimestampNTZType) for field in raw.schema.fields
    ):
        return modified_at.cast("string")
    return F.unix_micros(modified_at.cast("timestamp"))


def run_key_of(config_key: str, source_key: str) -> str:
    """The hash that marks all rows of one recording made in one way."""
    return hashlib.sha256(f"{config_key}/{source_key}".encode()).hexdigest()[:32]


def _metadata(raw: DataFrame, names: Sequence[str]) -> Column:
    if not names:
        return F.lit(None).cast("map<string,string>")
    nested = (T.StructType, T.ArrayType, T.MapType)
    pairs = [
        (F.to_json(name) if isinstance(raw.schema[name].dataType, nested) else F.col(name).cast("string"))
        for name in names
    ]
    filled = F.map_from_arrays(F.array(*map(F.lit, names)), F.array(*pairs))
    return F.map_filter(filled, lambda _, value: value.isNotNull())


def _check_types(raw: DataFrame) -> None:
    found = {field.name: field.dataType for field in raw.schema.fields}
    if "uri" not in found and "content" not in found:
        raise ManifestError(
            f"column uri is missing (the manifest has {', '.join(found) or 'no columns'}); "
            "make a manifest with python -m jobs.manifest, or rename the column"
        )
    for name, (types, wanted) in _COLUMNS.items():
        if name in found and not isinstance(found[name], (*types, T.NullType)):
            shown = [row[0] for row in raw.select(name).limit(_SHOWN).collect()]
            raise ManifestError(
                f"column {name} is of type {found[name].simpleString()}, it must be {wanted}; its first rows: {shown}"
            )


def _check_rows(rows: DataFrame) -> None:
    shown = ["audio_id", "uri", "channels", "start_ms", "end_ms"]
    checks = [
        (F.col("uri").isNull() & F.col("content").isNull(), "column uri is null in rows without content"),
        (~F.col("channels").isin("mix", "split"), "column channels must be 'mix' or 'split'"),
        (F.col("start_ms") < 0, "column start_ms is negative"),
        (F.col("end_ms") <= F.col("start_ms"), "column end_ms is not after start_ms"),
    ]
    numbered = rows.select(
        *shown, F.coalesce(*[F.when(wrong, F.lit(index)) for index, (wrong, _) in enumerate(checks)]).alias("check")
    )
    for row in numbered.where("check is not null").orderBy("check").limit(1).collect():
        offending = numbered.where(F.col("check") == row.check).drop("check").limit(_SHOWN).collect()
        raise ManifestError(f"{checks[row.check][1]}; first rows: {[r.asDict() for r in offending]}")
    doubled = (
        rows.groupBy("audio_id")
        .agg(F.count("*").alias("rows"), F.slice(F.collect_list("uri"), 1, 3).alias("uris"))
        .where("rows > 1")
    )
    if found := doubled.orderBy("audio_id").limit(_SHOWN).collect():
        listed = "; ".join(f"{row.audio_id} in {row.rows} rows ({', '.join(map(str, row.uris))})" for row in found)
        raise ManifestError(
            f"column audio_id is not unique: {listed}; "
            "each recording needs an id of its own (by default a hash of its uri)"
        )
