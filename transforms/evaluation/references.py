"""What was really said, brought to the recordings: from their metadata, from a file, or from the tables of another
model.

References are a DataFrame with a row a reference: audio_id (null if no recording has its uri), channel, speaker (both
null for a whole recording), language, reference, reference_words (array of word, start_ms, end_ms in order; null
without times).
"""

from __future__ import annotations

import csv
import os
from pathlib import Path
from typing import Any

import pyarrow as pa
from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from schemas.config import ConfigError
from schemas.tables import RECORDINGS, WORDS
from transforms.lake.languages import language_codes
from transforms.lake.session import first_line
from transforms.lake.tables import Tables
from transforms.stores.fetch import local_path, scheme_of
from transforms.text import lists

METADATA = "metadata.reference"
_PART = ("audio_id", "channel", "speaker")
_COLUMNS = (*_PART, "language", "reference", "reference_words")
_WORDS_TYPE = "array<struct<word:string,start_ms:bigint,end_ms:bigint>>"
_KNOWN = frozenset((*_COLUMNS, "uri", "word", "word_index", "start_ms", "end_ms"))
_WITHOUT_NULL = (".tsv", ".csv")
_SHOWN = 3


def find_references(tables: Tables, texts: str | None, words: str | None, against: str | None) -> tuple[str, DataFrame]:
    """What marks the references in EVALUATIONS, and the references: from the tables `against`, else from the file
    `texts`, else from the metadata; with the times of the file `words`. Raises ConfigError for what cannot be used."""
    if against is not None:
        other = Tables(tables.spark, against)
        other.require()
        return other.root, from_tables(other)
    if texts is not None:
        local = local_path(texts)
        return str(local.resolve()) if local else texts, from_files(tables, texts, words)
    rows = from_metadata(tables)
    return METADATA, rows if words is None else with_words(rows, from_files(tables, None, words))


def from_metadata(tables: Tables) -> DataFrame:
    """The manifest's column `reference`, where transcribing left it."""
    rows = tables.read(RECORDINGS).withColumn("reference", F.col("metadata")["reference"])
    return _references(rows.where(F.col("reference").isNotNull()).select("audio_id", "reference"))


def from_tables(other: Tables) -> DataFrame:
    """The transcripts of another model with their word times; what failed there is no reference."""
    words = other.read(WORDS).groupBy("audio_id", "take_id").agg(_in_order("word_index"))
    rows = other.read(RECORDINGS).where("status <> 'failed'").join(words, ["audio_id", "take_id"], "left")
    return _references(
        rows.select("audio_id", "language", F.coalesce("text", F.lit("")).alias("reference"), "reference_words")
    )


def from_files(tables: Tables, texts: str | None, words: str | None) -> DataFrame:
    """References from TSV, CSV, JSONL or Parquet: `texts` has audio_id or uri, reference, and may have language,
    channel and speaker; `words` has word, start_ms, end_ms instead of the text. Without a text, the words are it,
    joined.

    An empty text says that nothing was said; in TSV and CSV, which know no null, an empty cell does. Languages may be
    spelled in any way; lists are read as jobs.manifest reads its own.
    """
    found = []
    if texts is not None:
        rows = _read(tables, texts, ("reference",))
        if _suffix(texts) in _WITHOUT_NULL:
            rows = rows.fillna("", ["reference"])
        found.append(_references(rows.where(F.col("reference").isNotNull())))
        _check_single(found[0], texts)
    if words is not None:
        rows = _read(tables, words, ("word", "start_ms", "end_ms"))
        order = "word_index" if "word_index" in rows.columns else "start_ms"
        part = [name for name in _PART if name in rows.columns]
        found.append(_references(rows.groupBy(*part).agg(_in_order(order))))
    return found[0] if len(found) == 1 else with_words(found[0], found[1])


def with_words(texts: DataFrame, words: DataFrame) -> DataFrame:
    """`texts` with the times of `words`; what only one of them has is kept."""
    same = [F.col(f"t.{name}").eqNullSafe(F.col(f"w.{name}")) for name in _PART]
    both = texts.alias("t").join(words.alias("w"), same, "full")
    return _references(both.select(*[F.coalesce(f"t.{name}", f"w.{name}").alias(name) for name in _COLUMNS]))


def _references(rows: DataFrame) -> DataFrame:
    """With all of _COLUMNS, in their types; a reference that has only words gets their text."""
    types = {"channel": "int", "reference_words": _WORDS_TYPE}

    def column(name: str) -> Column:
        value = F.col(name) if name in rows.columns else F.lit(None)
        return value.cast(types.get(name, "string")).alias(name)

    full = rows.select(*map(column, _COLUMNS))
    spoken = F.array_join(F.transform("reference_words", lambda word: word["word"]), " ")
    return full.withColumn("reference", F.coalesce("reference", spoken))


def _in_order(order: str) -> Column:
    listed = F.array_sort(F.collect_list(F.struct(F.col(order).alias("order"), "word", "start_ms", "end_ms")))
    timed = F.transform(listed, lambda word: F.struct(word["word"], word["start_ms"], word["end_ms"]))
    return timed.cast(_WORDS_TYPE).alias("reference_words")


def _read(tables: Tables, path: str, needed: tuple[str, ...]) -> DataFrame:
    """The file's rows with an audio_id, found by uri if it has none. Raises ConfigError for what cannot be used."""
    rows = _open(tables, path)
    missing = [name for name in needed if name not in rows.columns]
    missing += [] if {"audio_id", "uri"} & set(rows.columns) else ["audio_id (or uri)"]
    if missing:
        raise ConfigError(f"{path} has no column {' and no '.join(missing)}; it has {', '.join(rows.columns)}")
    for name in {"channel", "word_index", "start_ms", "end_ms"} & set(rows.columns):
        number = F.col(name).try_cast("bigint")
        if wrong := rows.where(F.col(name).isNotNull() & number.isNull()).limit(1).collect():
            raise ConfigError(f"{path}: column {name} must hold whole numbers, not {wrong[0][name]!r}")
        rows = rows.withColumn(name, number)
    if "language" in rows.columns:
        try:
            rows = rows.withColumn("language", language_codes(rows))
        except ValueError as error:
            raise ConfigError(f"{path}: {error}") from None
    return rows if "audio_id" in rows.columns else _by_uri(tables, rows, path)


def _by_uri(tables: Tables, rows: DataFrame, path: str) -> DataFrame:
    """Relative paths start at the file's folder, as in the lists that jobs.manifest reads."""
    local = local_path(path)
    known = tables.read(RECORDINGS).select("uri", "audio_id")
    if local:
        rows = rows.withColumn("uri", _absolute(str(local.resolve().parent))("uri"))
    asked = known.join(rows.select("uri").distinct(), "uri", "left_semi")
    doubled = asked.groupBy("uri").count().where("count > 1").orderBy("uri").limit(_SHOWN).collect()
    if doubled:
        uris = ", ".join(row.uri for row in doubled)
        raise ConfigError(f"{path}: more than one recording has the uri {uris}; give audio_id instead of uri")
    return rows.join(known, "uri", "left")


def _absolute(folder: str) -> Any:
    # Without annotations, of which Spark would make its own sense.
    return F.udf(
        lambda uri: (
            uri
            if uri is None or scheme_of(uri)
            else os.path.normpath(uri if uri.startswith("/") else f"{folder}/{uri}")
        ),
        "string",
    )


def _open(tables: Tables, path: str) -> DataFrame:
    """All that the file holds, known columns in lower case."""
    suffix = _suffix(path)
    try:
        if suffix not in lists.SUFFIXES:
            rows = tables.spark.read.parquet(path)
            return rows.toDF(*[lists.name_of(name, _KNOWN) for name in rows.columns])
        # Spark's own readers take any bytes for UTF-8, and any quotation mark for the start of a value.
        files = tables.spark.read.format("binaryFile").load(path).select("content").collect()
        found = [row for file in files for row in lists.rows_of(bytes(file.content), suffix, _KNOWN)]
        names = dict.fromkeys(name for row in found for name in row)
        return tables.frame(pa.table({name: [row.get(name) for row in found] for name in names}))
    except (PySparkException, Py4JJavaError) as error:
        raise ConfigError(f"{path} cannot be read: {first_line(error)}; give TSV, CSV, JSONL or Parquet") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} cannot be read: {error}; write it again, in UTF-8") from error
    except (ValueError, TypeError, csv.Error, pa.ArrowException) as error:  # bad JSON is a ValueError
        raise ConfigError(f"{path} cannot be read: {error}") from error


def _suffix(path: str) -> str:
    return Path(path).suffix.lower()


def _check_single(references: DataFrame, path: str) -> None:
    known = references.where(F.col("audio_id").isNotNull())
    doubled = known.groupBy(*_PART).count().where("count > 1").orderBy(*_PART).limit(_SHOWN).collect()
    if doubled:
        raise ConfigError(
            f"{path} has more than one reference for {', '.join(row.audio_id for row in doubled)}; "
            "leave one, or tell them apart by a column channel or speaker"
        )
