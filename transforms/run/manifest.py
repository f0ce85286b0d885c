"""A manifest in Parquet, checked, as a DataFrame with one row a recording."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import pyarrow as pa
from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql import types as T
from pyspark.storagelevel import StorageLevel

from schemas.config import AUTO_PER_CHUNK, Config
from transforms.errors import ManifestError
from transforms.lake.languages import language_codes
from transforms.lake.refusals import refusal
from transforms.text.lists import name_of

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
    "audio_track": (_INTEGERS, "int"),
    "size_bytes": (_INTEGERS, "bigint"),
    "modified_at": ((T.TimestampType, T.TimestampNTZType), "timestamp"),
    "etag": ((T.StringType,), "string"),
}
"""The columns that mean something to the job: accepted types, and the name of the wanted one. All others become
metadata."""
_SHOWN = 5

Source: TypeAlias = str | Sequence[str] | pa.Table
"""A manifest: a Parquet file or folder, or several of them, or rows at hand."""


@dataclass(frozen=True)
class Manifest:
    """`rows`, kept by Spark until `close`: one a recording, with the columns of ROWS, in no order. `contents`: audio_id
    and content of the recordings that the manifest brought as bytes; None without any."""

    rows: DataFrame
    contents: DataFrame | None
    count: int

    def close(self) -> None:
        self.rows.unpersist()


ROWS = [
    "audio_id",
    "uri",
    "language",
    "language_source",
    "context",
    "channels",
    "start_ms",
    "end_ms",
    "audio_track",
    "size_bytes",
    "metadata",
    "source_key",
    "earlier_source_keys",
]


def read_manifest(spark: SparkSession, source: Source, config: Config) -> Manifest:
    """The manifest `source`, checked; read once but for the recordings' bytes. `config` gives language,
    context and channels where the manifest has none.

    `source_key` is a hash of what the manifest says of the source; `earlier_source_keys` of the same as it was taken
    before languages got their normal codes, and before addresses of recordings with an audio_id of their own stopped
    counting.

    Raises ManifestError, before any recording is opened, for a missing or mistyped column, a doubled audio_id, or an
    impossible value.
    """
    if isinstance(source, pa.Table):
        raw = _named(spark.createDataFrame(source))
    else:
        raw = _read_parquet(spark, [source] if isinstance(source, str) else list(source))
    have = _usable_columns(raw)

    def column(name: str) -> Column:
        return F.col(name) if name in have else F.lit(None)

    start_ms, end_ms = F.coalesce(column("start_ms").cast("bigint"), F.lit(0)), column("end_ms").cast("bigint")
    digest = F.sha2(column("content").cast("binary"), 256)
    address = F.coalesce(digest, column("uri").cast("string"))
    own_id = column("audio_id").cast("string")
    cut = F.when(
        (start_ms > 0) | end_ms.isNotNull(),
        F.concat_ws(",", F.lit("#t"), start_ms, F.coalesce(end_ms.cast("string"), F.lit(""))),
    ).otherwise("")
    audio_id = F.coalesce(own_id, F.substring(F.sha2(F.concat(F.coalesce(column("uri"), digest), cut), 256), 1, 32))
    spelled = column("language").cast("string")
    known = _languages(raw) if "language" in have else spelled
    language = F.coalesce(known, F.lit(config.language).cast("string"))
    # Only what the manifest itself says: defaults are the configuration's, and the time zone is the session's.
    said = [column(name).cast("string").alias(name) for name in ("context", "channels")]
    said += [start_ms.alias("start_ms"), end_ms.alias("end_ms")]
    said += [column("audio_track").cast("int").alias("audio_track")]
    said += [column("size_bytes").cast("bigint").alias("size_bytes")]
    said += [_instant(raw, column("modified_at")).alias("modified_at")]
    # A signed address changes with every manifest: with an id of its own, a recording is known by that.
    where = F.coalesce(digest, F.when(own_id.isNull(), column("uri").cast("string")))
    etag = column("etag").cast("string").alias("etag")
    rows = raw.select(
        audio_id.alias("audio_id"),
        column("uri").cast("string").alias("uri"),
        language.alias("language"),
        F.when(language != AUTO_PER_CHUNK, "given").alias("language_source"),
        F.coalesce(column("context").cast("string"), F.lit(config.context).cast("string")).alias("context"),
        F.coalesce(column("channels").cast("string"), F.lit(config.audio.channels)).alias("channels"),
        start_ms.alias("start_ms"),
        end_ms.alias("end_ms"),
        column("audio_track").cast("int").alias("audio_track"),
        column("size_bytes").cast("bigint").alias("size_bytes"),
        _metadata(raw, [name for name in raw.columns if name not in _COLUMNS]).alias("metadata"),
        _hash_of([known.alias("language"), *said, where.alias("where"), etag]).alias("source_key"),
        F.array(
            _hash_of([spelled.alias("language"), *said, where.alias("where"), etag]),
            _hash_of([spelled.alias("language"), *said, address.alias("where")]),
        ).alias("earlier_source_keys"),
        address.isNotNull().alias("has_address"),
    ).persist(StorageLevel.MEMORY_AND_DISK)
    try:
        count = _check_rows(rows)
    except BaseException:
        rows.unpersist()
        raise
    contents = None
    if "content" in have:
        contents = raw.select(audio_id.alias("audio_id"), column("content").cast("binary").alias("content"))
    return Manifest(rows, contents, count)


def _languages(raw: DataFrame) -> Column:
    try:
        return language_codes(raw)
    except ValueError as error:
        raise ManifestError(str(error)) from None


def _hash_of(values: Sequence[Column]) -> Column:
    """Nulls leave no trace in it."""
    return F.substring(F.sha2(F.to_json(F.struct(*values)), 256), 1, 32)


def _instant(raw: DataFrame, modified_at: Column) -> Column:
    """As text or a number that does not depend on the session's time zone."""
    if any(
        field.name == "modified_at" and isinstance(field.dataType, T.TimestampNTZType) for field in raw.schema.fields
    ):
        return modified_at.cast("string")
    return F.unix_micros(modified_at.cast("timestamp"))


def _metadata(raw: DataFrame, names: Sequence[str]) -> Column:
    if not names:
        return F.lit(None).cast("map<string,string>")
    nested = (T.StructType, T.ArrayType, T.MapType)
    pairs = []
    for name in names:
        value = F.col("`" + name.replace("`", "``") + "`")  # a name may hold dots, as in 'Customer No.'
        pairs.append(F.to_json(value) if isinstance(raw.schema[name].dataType, nested) else value.cast("string"))
    filled = F.map_from_arrays(F.array(*map(F.lit, names)), F.array(*pairs))
    return F.map_filter(filled, lambda _, value: value.isNotNull())


def _named(raw: DataFrame) -> DataFrame:
    """The columns that the job knows in lower case."""
    return raw.toDF(*[name_of(name, _COLUMNS) for name in raw.columns])


def _read_parquet(spark: SparkSession, paths: Sequence[str]) -> DataFrame:
    """With all columns of all their files."""
    try:
        raw = spark.read.parquet(*paths)
        files = raw.inputFiles()
        # Of a folder's files Spark takes one for all, and loses the columns which that has not.
        return _named(raw if len(files) < 2 else _merged(spark, paths, files))
    except (PySparkException, Py4JJavaError) as error:
        if denied := refusal(error):
            raise ManifestError(f"the manifest cannot be read: {denied.sentence}") from error
        reason = str(error).splitlines()[0 if isinstance(error, PySparkException) else 1].removeprefix(": ")
        hint = "write its times in microseconds, as pandas does with coerce_timestamps='us'"
        advice = hint if "NANOS" in reason else "give --manifest a Parquet file, as python -m jobs.manifest makes it"
        raise ManifestError(f"manifest {', '.join(paths)} cannot be read: {reason.rstrip('.')}; {advice}") from error


def _merged(spark: SparkSession, paths: Sequence[str], files: Sequence[str]) -> DataFrame:
    """Integers of several widths are read as the widest. Raises ManifestError for a column of several other types."""
    try:
        return spark.read.option("mergeSchema", "true").parquet(*paths)
    except (PySparkException, Py4JJavaError):
        pass  # does not say which column of which file it is
    fields: dict[str, T.StructField] = {}
    origins: dict[str, str] = {}
    for file in sorted(files):
        for field in spark.read.parquet(file).schema.fields:
            name = field.name.lower()
            known = fields.setdefault(name, field)
            if known.dataType == field.dataType:
                origins.setdefault(name, file)
            elif isinstance(known.dataType, _INTEGERS) and isinstance(field.dataType, _INTEGERS):
                fields[name] = T.StructField(known.name, T.LongType())
            else:
                types = f"{known.dataType.simpleString()} in {origins[name]}, {field.dataType.simpleString()} in {file}"
                raise ManifestError(
                    f"manifest {', '.join(paths)}: column {field.name} is {types}; write all its files alike"
                )
    return spark.read.schema(T.StructType(list(fields.values()))).parquet(*paths)


def _usable_columns(raw: DataFrame) -> set[str]:
    """The names of the columns that hold anything, of which none has a wrong type."""
    found = {field.name: field.dataType for field in raw.schema.fields}
    if "uri" not in found and "content" not in found:
        raise ManifestError(
            f"column uri is missing (the manifest has {', '.join(found) or 'no columns'}); "
            "make a manifest with python -m jobs.manifest, or rename the column"
        )
    for name, (types, wanted) in _COLUMNS.items():
        if name in found and not isinstance(found[name], types):
            shown = [row[0] for row in raw.where(F.col(name).isNotNull()).select(name).limit(_SHOWN).collect()]
            if shown:
                raise ManifestError(
                    f"column {name} is of type {found[name].simpleString()}, it must be {wanted}; first rows: {shown}"
                )
            del found[name]  # nothing but nulls: Parquet's writers give such a column any type
    return set(found)


def _check_rows(rows: DataFrame) -> int:
    """The number of rows. Raises ManifestError for the first thing that is wrong with any."""
    shown = ["audio_id", "uri", "channels", "start_ms", "end_ms", "audio_track"]
    checks = [
        (~F.col("has_address"), "column uri is null in rows without content"),
        (~F.col("channels").isin("mix", "split"), "column channels must be 'mix' or 'split'"),
        (F.col("start_ms") < 0, "column start_ms is negative"),
        (F.col("audio_track") < 0, "column audio_track is negative"),
        (F.col("end_ms") <= F.col("start_ms"), "column end_ms is not after start_ms"),
    ]
    numbered = rows.select(
        *shown, F.coalesce(*[F.when(wrong, F.lit(index)) for index, (wrong, _) in enumerate(checks)]).alias("check")
    )
    per_id = numbered.groupBy("audio_id").agg(F.count("*").alias("rows"), F.min("check").alias("check"))
    totals = per_id.agg(F.sum("rows").alias("rows"), F.min("check").alias("check"), F.max("rows").alias("most")).first()
    assert totals is not None
    if totals["check"] is not None:
        offending = numbered.where(F.col("check") == totals["check"]).drop("check").limit(_SHOWN).collect()
        raise ManifestError(f"{checks[totals['check']][1]}; first rows: {[row.asDict() for row in offending]}")
    if (totals["most"] or 0) > 1:
        raise _doubled(rows)
    return int(totals["rows"] or 0)


def _doubled(rows: DataFrame) -> ManifestError:
    several = rows.groupBy("audio_id").agg(
        F.count("*").alias("rows"), F.slice(F.collect_list("uri"), 1, 3).alias("uris")
    )
    found = several.where("rows > 1").orderBy("audio_id").limit(_SHOWN).collect()
    listed = "; ".join(f"{row.audio_id} in {row.rows} rows ({', '.join(map(str, row.uris))})" for row in found)
    return ManifestError(
        f"column audio_id is not unique: {listed}; each recording needs an id of its own (by default a hash of its uri)"
    )
