"""Tables of an earlier version get what they lack, once; what is not ours is refused with a sentence."""

from __future__ import annotations

import re
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyspark.sql import SparkSession
from pyspark.sql.types import IntegerType, StructField, StructType

from schemas.config import ConfigError
from schemas.tables import ALL, CHUNKS, FAILURES, RECORDINGS, SEGMENTS, WORDS, to_batch
from schemas.version import TABLES_VERSION
from tests.kit import delta_log
from transforms.lake.creation import properties, set_properties
from transforms.lake.local_tables import LocalTables
from transforms.lake.migration import VERSION_PROPERTY, check_version, declared, missing_columns
from transforms.lake.tables import Tables

WORD = {"word": "ja", "start_ms": 1, "end_ms": 2, "confidence": 0.5, "char_start": 0, "char_end": 2}
CHUNK = {
    "audio_id": "a",
    "run_key": "k",
    "part_index": 0,
    "chunk_index": 0,
    "words": [WORD],
    "closing": {"uri": "u", "metadata": [("k", "v")], "duration_ms": 7, "continues": False, "engine": "e"},
    "run_id": "1",
}


def without(table: Any, *gone: str) -> str:
    """The table's columns in SQL, backwards, without those in `gone` ('closing.engine': a struct's field)."""

    def kept(fields: StructType, path: str) -> list[str]:
        return [f"`{f.name}` {kind(f, path)}" for f in reversed(fields.fields) if path + f.name not in gone]

    def kind(field: StructField, path: str) -> str:
        inner = getattr(field.dataType, "elementType", field.dataType)
        if not isinstance(inner, StructType):
            return field.dataType.simpleString()
        fields = ", ".join(kept(inner, f"{path}{field.name}.")).replace("` ", "`: ")
        return f"array<struct<{fields}>>" if inner is not field.dataType else f"struct<{fields}>"

    return ", ".join(kept(declared(table), ""))


def made_by_hand(tables: Tables, **gone: tuple[str, ...]) -> None:
    """All tables as an earlier version may have made them: other orders, fewer columns, no change data feed."""
    if tables.in_catalog:
        tables.spark.sql(f"CREATE SCHEMA {tables.root}")
    for table in ALL:
        columns = without(table, *gone.get(table.name, ()))
        tables.spark.sql(f"CREATE TABLE {tables.identifier(table)} ({columns}) USING delta")


def commits(tables: Tables) -> list[int]:
    return [tables.spark.sql(f"DESCRIBE HISTORY {tables.identifier(table)}").count() for table in ALL]


def frame(tables: Tables, table: Any, *rows: dict[str, Any]) -> Any:
    return tables.spark.createDataFrame(pa.Table.from_batches([to_batch(rows, table.arrow)]))


@pytest.fixture(scope="module", params=["folder", "catalog"])
def earlier(request: pytest.FixtureRequest, spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Tables:
    folder = tmp_path_factory.mktemp("earlier")
    tables = Tables(spark, str(folder / "x") if request.param == "folder" else "spark_catalog.earlier_version")
    gone = ("flags", "words.estimated", "words.confidence", "closing.engine", "closing.metadata")
    made_by_hand(tables, chunks=gone, failures=("transient",))
    return tables


def test_what_is_missing_is_added_in_one_commit_a_table_and_then_no_more(earlier: Tables) -> None:
    with pytest.raises(ConfigError, match=r"chunks .*words\.element\.estimated.*jobs\.publish"):
        earlier.require()
    before = dict(zip([table.name for table in ALL], commits(earlier), strict=True))
    earlier.upgrade()
    after = dict(zip([table.name for table in ALL], commits(earlier), strict=True))
    added = {name: after[name] - before[name] for name in after}
    assert added == {table.name: 2 if table in (CHUNKS, FAILURES, RECORDINGS) else 1 for table in ALL}
    for table in ALL:
        schema = earlier.read(table).schema
        assert missing_columns(table, schema, "here") == []
        assert sorted(schema.names) == sorted(table.names) != schema.names
        assert properties(earlier, table)[VERSION_PROPERTY] == TABLES_VERSION
    comments = {field.name: field.metadata.get("comment") for field in earlier.read(CHUNKS).schema.fields}
    assert comments["flags"] == {name: comment for name, _, comment in CHUNKS.columns}["flags"]
    earlier.create()
    earlier.require()
    assert dict(zip([table.name for table in ALL], commits(earlier), strict=True)) == after


def test_every_write_binds_columns_and_fields_of_structs_by_name(earlier: Tables) -> None:
    earlier.upgrade()
    earlier.append(CHUNKS, frame(earlier, CHUNKS, CHUNK))
    (row,) = earlier.read(CHUNKS).collect()
    assert (row.audio_id, row.run_key, row.run_id, row.flags) == ("a", "k", "1", None)
    assert row.words[0].asDict() == {**WORD, "estimated": None}
    closing = row.closing.asDict()
    assert {name: value for name, value in closing.items() if value is not None} == CHUNK["closing"] | {
        "metadata": {"k": "v"}
    }
    segment = {"audio_id": "a", "run_key": "k", "segment_index": 0, "start_ms": 5, "text": "t", "speaker": "s"}
    for text in ("t", "u"):
        earlier.upsert(SEGMENTS, frame(earlier, SEGMENTS, {**segment, "text": text}), SEGMENTS.key)
        (row,) = earlier.read(SEGMENTS).collect()
        assert {n: v for n, v in row.asDict().items() if v is not None} == {**segment, "text": text}
    for status in ("ok", "failed"):
        recording = {"audio_id": "a", "uri": "u", "status": status, "metadata": [("k", "v")]}
        earlier.upsert(RECORDINGS, frame(earlier, RECORDINGS, recording), RECORDINGS.key)
        (row,) = earlier.read(RECORDINGS).collect()
        assert {n: v for n, v in row.asDict().items() if v is not None} == {**recording, "metadata": {"k": "v"}}


def test_columns_of_somebody_else_stay_and_are_left_alone(spark: SparkSession, tmp_path: Path) -> None:
    tables = Tables(spark, str(tmp_path))
    tables.create()
    spark.sql(f"ALTER TABLE {tables.identifier(RECORDINGS)} ADD COLUMNS (team STRING FIRST)")
    spark.sql(f"ALTER TABLE {tables.identifier(WORDS)} SET TBLPROPERTIES ('delta.enableChangeDataFeed' = 'false')")
    versions = [delta_log.version(tmp_path, table.name) for table in ALL]
    tables.create()
    assert [delta_log.version(tmp_path, table.name) for table in ALL] == versions
    tables.append(RECORDINGS, frame(tables, RECORDINGS, {"audio_id": "a", "status": "failed"}))
    spark.sql(f"UPDATE {tables.identifier(RECORDINGS)} SET team = 'north'")
    rows = frame(tables, RECORDINGS, {"audio_id": "a", "status": "ok"}, {"audio_id": "b", "status": "ok"})
    tables.upsert(RECORDINGS, rows, RECORDINGS.key)
    found = {row.audio_id: (row.status, row.team) for row in tables.read(RECORDINGS).collect()}
    assert found == {"a": ("ok", "north"), "b": ("ok", None)}


def test_tables_of_a_later_version_are_refused_before_anything_is_written(spark: SparkSession, tmp_path: Path) -> None:
    tables = Tables(spark, str(tmp_path))
    tables.create()
    assert {properties(tables, table)[VERSION_PROPERTY] for table in ALL} == {TABLES_VERSION}
    tables.require()
    for table in ALL:
        set_properties(tables, table, {VERSION_PROPERTY: "10.1"})
    versions = [delta_log.version(tmp_path, table.name) for table in ALL]
    local = LocalTables(str(tmp_path))
    for command in (tables.create, tables.upgrade, tables.require, lambda: local.require(RECORDINGS)):
        with pytest.raises(
            ConfigError, match=r"is of Lakescribe 10\.1, and this is .* Use Lakescribe 10\.1 or a later one"
        ):
            command()
    assert [delta_log.version(tmp_path, table.name) for table in ALL] == versions


@pytest.mark.parametrize(
    ("mark", "refused"), [(None, False), ("0.1", False), (TABLES_VERSION, False), ("0.10", True), ("1.0", True)]
)
def test_versions_are_compared_as_numbers(mark: str | None, refused: bool) -> None:
    with pytest.raises(ConfigError) if refused else nullcontext():
        check_version({} if mark is None else {VERSION_PROPERTY: mark}, "here")


@pytest.mark.parametrize(
    ("columns", "reason"),
    [
        ("audio_id STRING, duration_ms STRING", "column duration_ms is string, and this version writes bigint"),
        ("audio_id STRING, metadata STRING", "column metadata is string, and this version writes map<string,string>"),
        ("id BIGINT, name STRING", "lacks the key column audio_id"),
        ("audio_id STRING, team STRING NOT NULL", "column team, which must not be null"),
    ],
)
def test_a_table_of_another_kind_is_refused_and_named(
    spark: SparkSession, tmp_path: Path, columns: str, reason: str
) -> None:
    tables = Tables(spark, str(tmp_path))
    spark.sql(f"CREATE TABLE {tables.identifier(RECORDINGS)} ({columns}) USING delta")
    with pytest.raises(ConfigError, match=re.escape(reason)) as error:
        tables.create()
    assert f"{tmp_path}/recordings" in str(error.value)
    assert "give another --tables, or move" in str(error.value)


def test_a_field_of_another_type_inside_a_struct_is_found() -> None:
    schema = declared(CHUNKS)
    schema["words"].dataType.elementType["start_ms"].dataType = IntegerType()
    with pytest.raises(ConfigError, match=r"words\.element\.start_ms is int, and this version writes bigint"):
        missing_columns(CHUNKS, schema, "here")


def test_what_is_no_delta_table_is_never_written_over(spark: SparkSession, tmp_path: Path) -> None:
    (tmp_path / "folder" / "words").mkdir(parents=True)
    (tmp_path / "folder" / "words" / "part-0.parquet").write_bytes(b"somebody's")
    with pytest.raises(ConfigError, match=r"folder/words is no Delta table; give another --tables"):
        Tables(spark, str(tmp_path / "folder")).create()
    spark.sql("CREATE SCHEMA spark_catalog.others")
    spark.sql("CREATE TABLE spark_catalog.others.words (word STRING) USING parquet")
    with pytest.raises(ConfigError, match=r"spark_catalog\.others\.words is no Delta table"):
        Tables(spark, "spark_catalog.others").create()


def test_commands_that_read_say_which_tables_are_missing(spark: SparkSession, tmp_path: Path) -> None:
    tables = Tables(spark, str(tmp_path))
    for look in (tables.require, tables.upgrade):
        with pytest.raises(ConfigError, match=r"has no table chunks; --tables is what jobs\.transcribe wrote to"):
            look()
    assert not list(tmp_path.iterdir())
