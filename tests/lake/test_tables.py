from __future__ import annotations

import shutil
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyspark.sql import DataFrame, SparkSession

from schemas.tables import ALL, FAILURES, RECORDINGS, SEGMENTS, Table, to_batch
from transforms.lake import creation
from transforms.lake.sql import any_of
from transforms.lake.tables import Tables
from transforms.lake.tickets import Ticket


@pytest.fixture(scope="module", params=["folder", "catalog"])
def tables(request: pytest.FixtureRequest, spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Tables:
    """In a folder whose name needs quoting, and as names in the session's catalog."""
    folder = tmp_path_factory.mktemp("it's a `lake`")
    tables = Tables(spark, str(folder / "ö x") if request.param == "folder" else "spark_catalog.lakescribe_test")
    assert tables.in_catalog == (request.param == "catalog")
    tables.create()
    return tables


def test_a_table_whose_making_was_killed_is_made_anew(spark: SparkSession, tmp_path: Path) -> None:
    """Found by the kill trials: Delta takes the empty log for a table that exists, and cannot read it."""
    (tmp_path / FAILURES.name / "_delta_log" / "_staged_commits").mkdir(parents=True)
    tables = Tables(spark, str(tmp_path))
    assert not tables.exists(FAILURES)
    tables.create()
    assert tables.exists(FAILURES)
    assert tables.read(FAILURES).count() == 0


def test_a_table_that_another_run_begins_to_make_at_the_same_moment_is_waited_for(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """CREATE TABLE IF NOT EXISTS does nothing where a log has been begun."""
    another, tables = Tables(spark, str(tmp_path / "another")), Tables(spark, str(tmp_path / "tables"))
    another.create([FAILURES])
    log, begun = Path(tables.path(FAILURES)) / "_delta_log", Path(another.path(FAILURES)) / "_delta_log"
    make = creation._make

    def beside_another(tables: Tables, table: Table) -> None:
        log.mkdir(parents=True)
        threading.Timer(1.0, shutil.copytree, (begun, log), {"dirs_exist_ok": True}).start()
        make(tables, table)

    with monkeypatch.context() as patch:
        patch.setattr(creation, "_make", beside_another)
        tables.create([FAILURES])
    assert tables.read(FAILURES).count() == 0
    assert commits(tables, [FAILURES]) == 1


def segments(tables: Tables, *keys: tuple[str, str, int], text: str = "t") -> DataFrame:
    rows = [{"audio_id": a, "take_id": k, "segment_index": i, "text": text} for a, k, i in keys]
    return tables.spark.createDataFrame(pa.Table.from_batches([to_batch(rows, SEGMENTS.arrow)]))


def shown(tables: Tables) -> list[tuple[Any, ...]]:
    return sorted((row.audio_id, row.take_id, row.segment_index, row.text) for row in tables.read(SEGMENTS).collect())


def commits(tables: Tables, which: Iterable[Table] = ALL) -> int:
    return sum(tables.history(table).count() for table in which)


def test_creating_again_makes_no_commit_and_the_schema_is_the_declared_one(tables: Tables) -> None:
    before = commits(tables)
    tables.create()
    assert commits(tables) == before == len(ALL)
    for table in ALL:
        assert tables.exists(table)
        fields = tables.read(table).schema.fields
        assert [field.name for field in fields] == table.names
        assert all(field.metadata["comment"] for field in fields)
        detail = tables.spark.sql(f"DESCRIBE DETAIL {tables.identifier(table)}").collect()[0]
        # Reader version 1: all readers of Delta open it; the feed asks something of writers only.
        assert (detail.description, detail.minReaderVersion, detail.minWriterVersion) == (table.comment, 1, 7)
        assert set(detail.tableFeatures) == {"appendOnly", "invariants", "changeDataFeed"}


def test_update_and_delete_tell_how_many_rows_and_commit_only_if_there_are_any(tables: Tables) -> None:
    tables.append(SEGMENTS, segments(tables, ("a'b", "1", 0), ("a'b", "1", 1), ("a'b", "2", 0), ("c\\", "1", 0)))
    odd = any_of("audio_id", ["a'b", "c\\"])
    assert tables.update(SEGMENTS, f"{odd} AND take_id = '1'", {"text": "'u'"}) == 3
    assert tables.delete(SEGMENTS, any_of("audio_id", ["a'b"]) + " AND take_id = '1'") == 2
    assert shown(tables) == [("a'b", "2", 0, "t"), ("c\\", "1", 0, "u")]
    before = commits(tables)
    assert tables.delete(SEGMENTS, any_of("audio_id", [])) == tables.delete(SEGMENTS, "audio_id = 'none'") == 0
    assert tables.update(SEGMENTS, "audio_id = 'none'", {"text": "'u'"}) == 0
    assert commits(tables) == before
    tables.delete(SEGMENTS, odd)


def test_a_ticket_lets_a_write_happen_once(tables: Tables) -> None:
    for writer, number in (("w", 1), ("w", 1), ("w", 2), ("other", 1)):
        tables.append(SEGMENTS, segments(tables, (writer, "1", number)), Ticket(writer, number))
    assert [row[::2] for row in shown(tables)] == [("other", 1), ("w", 1), ("w", 2)]
    rows = segments(tables, ("w", "1", 2), text="merged")
    for number in (2, 3):
        tables.upsert(SEGMENTS, rows, SEGMENTS.key, ticket=Ticket("w", number))
        found = {row[2]: row[3] for row in shown(tables) if row[0] == "w"}
        assert found == {1: "t", 2: "merged" if number == 3 else "t"}
    assert tables.spark.conf.get("spark.databricks.delta.write.txnAppId", None) is None


def test_a_fence_shuts_one_writer_out(tables: Tables) -> None:
    tables.fence(SEGMENTS, "w")
    for writer in ("w", "other"):
        tables.append(SEGMENTS, segments(tables, ("fenced", writer, 0)), Ticket(writer, 9))
        tables.upsert(SEGMENTS, segments(tables, ("fenced", writer, 1)), SEGMENTS.key, ticket=Ticket(writer, 10))
    assert [row[1:3] for row in shown(tables) if row[0] == "fenced"] == [("other", 0), ("other", 1)]


def test_a_wave_is_one_file_however_many_tasks_wrote_it(tables: Tables) -> None:
    rows = segments(tables, *((f"s{index}", "many", index) for index in range(20))).repartition(10)
    tables.append(SEGMENTS, rows)
    written = tables.read(SEGMENTS).where("take_id = 'many'")
    assert written.select("_metadata.file_name").distinct().count() == 1


def test_files_that_hold_nothing_of_a_take_are_not_read(tables: Tables) -> None:
    for take in ("x1", "x2", "x3"):
        tables.append(SEGMENTS, segments(tables, ("skipping", take, 0)))
    assert len(tables.read(SEGMENTS).where("take_id = 'x2'").inputFiles()) == 1


def test_upsert_updates_by_key_where_null_equals_null_and_inserts_the_rest(tables: Tables) -> None:
    def failures(*rows: tuple[str, str, str]) -> DataFrame:
        full = [{"audio_id": a, "stage": "fetch", "run_id": r, "message": m, "attempts": 1} for a, r, m in rows]
        return tables.spark.createDataFrame(pa.Table.from_batches([to_batch(full, FAILURES.arrow)]))

    counted = {"update": {"attempts": "t.attempts + 1"}, "only_if": "t.run_id <> s.run_id"}
    tables.upsert(FAILURES, failures(("a", "1", "old"), ("b", "1", "old")), FAILURES.key, **counted)
    tables.upsert(
        FAILURES, failures(("a", "2", "new"), ("b", "1", "same run"), ("c", "2", "new")), FAILURES.key, **counted
    )
    found = {row.audio_id: (row.run_id, row.message, row.attempts) for row in tables.read(FAILURES).collect()}
    assert found == {"a": ("2", "new", 2), "b": ("1", "old", 1), "c": ("2", "new", 1)}


def test_delete_matching_deletes_what_matches_and_commits_only_then(tables: Tables) -> None:
    tables.append(SEGMENTS, segments(tables, ("d", "1", 0), ("d", "2", 0), ("e", "1", 0)))
    keep = tables.spark.createDataFrame([("d", "2"), ("e", "1")], "audio_id string, take_id string")
    condition = "t.audio_id = s.audio_id AND t.take_id <> s.take_id"
    assert tables.delete_matching(SEGMENTS, keep, condition) == 1
    assert [row[:2] for row in shown(tables) if row[0] in "de"] == [("d", "2"), ("e", "1")]
    before = commits(tables)
    assert tables.delete_matching(SEGMENTS, keep, condition) == 0
    assert commits(tables) == before


def test_an_append_binds_columns_by_name(tables: Tables) -> None:
    rows = [{"audio_id": "named", "uri": "u", "status": "ok", "text": "t"}]
    batch = to_batch(rows, RECORDINGS.arrow)
    backwards = pa.Table.from_batches([batch]).select(RECORDINGS.names[::-1])
    tables.append(RECORDINGS, tables.spark.createDataFrame(backwards))
    (row,) = tables.read(RECORDINGS).where("audio_id = 'named'").collect()
    assert (row.uri, row.status, row.text, row.language) == ("u", "ok", "t", None)


@pytest.mark.parametrize(
    ("root", "in_catalog"),
    [
        ("main.speech", True),
        ("speech", True),
        ("./lakehouse", False),
        ("/data/speech", False),
        ("s3://bucket/speech", False),
        ("~/speech", False),
    ],
)
def test_paths_and_names_in_a_catalog_are_told_apart(spark: SparkSession, root: str, in_catalog: bool) -> None:
    assert Tables(spark, root).in_catalog == in_catalog


def test_a_folder_that_exists_is_a_path_whatever_its_name(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("lakehouse").mkdir()
    tables = Tables(spark, "lakehouse")
    assert tables.root == str(tmp_path.resolve() / "lakehouse")
