from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.sql import SparkSession

from schemas.config import load_config
from transforms.errors import ManifestError
from transforms.run.manifest import read_manifest


def manifest(spark: SparkSession, folder: Path, *overrides: str, **columns: Any) -> list[dict[str, Any]]:
    """The checked rows of a manifest with these columns."""
    pq.write_table(pa.table(columns), folder / "manifest.parquet")
    read = read_manifest(spark, str(folder / "manifest.parquet"), load_config(None, overrides))
    try:
        return [row.asDict() for row in read.rows.collect()]
    finally:
        read.close()


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "no uri": ({"path": ["a.wav"]}, r"column uri is missing \(the manifest has path\)"),
    "uri of a wrong type": ({"uri": [1, 2]}, r"column uri is of type bigint, it must be string; first rows: \[1, 2\]"),
    "a time as text": (
        {"uri": ["a"], "start_ms": ["1"]},
        r"column start_ms is of type string, it must be bigint; .*\['1'\]",
    ),
    "a date as text": (
        {"uri": ["a"], "modified_at": ["2026"]},
        r"column modified_at is of type string, it must be timestamp",
    ),
    "a null uri": (
        {"uri": ["a", None], "audio_id": ["x", "y"]},
        r"column uri is null .* first rows: .*'audio_id': 'y'",
    ),
    "a doubled audio_id": (
        {"uri": ["a", "b", "c"], "audio_id": ["x", "x", "y"]},
        r"column audio_id is not unique: x in 2 rows \((a, b|b, a)\)",
    ),
    "a doubled uri": ({"uri": ["a", "b", "a"]}, r"column audio_id is not unique: \w{32} in 2 rows \(a, a\)"),
    "unknown channels": ({"uri": ["a"], "channels": ["left"]}, r"column channels must be 'mix' or 'split'; .*'left'"),
    "a negative start": ({"uri": ["a"], "start_ms": [-5]}, r"column start_ms is negative; .*-5"),
    "no language": ({"uri": ["a", "b"], "language": ["en-US", "xx"]}, r"column language .* no language: 'xx'; write"),
    "a negative track": ({"uri": ["a"], "audio_track": [-1]}, r"column audio_track is negative; .*-1"),
    "an end before the start": (
        {"uri": ["a"], "start_ms": [9], "end_ms": [9]},
        r"column end_ms is not after start_ms; .*'end_ms': 9",
    ),
}


@pytest.mark.parametrize("fault", REFUSED)
def test_a_manifest_that_cannot_be_used_is_refused_with_the_column_and_its_first_rows(
    spark: SparkSession, tmp_path: Path, fault: str
) -> None:
    columns, message = REFUSED[fault]
    with pytest.raises(ManifestError, match=message):
        manifest(spark, tmp_path, **columns)


def test_what_is_no_parquet_file_is_refused_in_words(spark: SparkSession, tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text("uri\na.wav\n")
    for name in ("missing.parquet", "list.csv"):
        with pytest.raises(
            ManifestError, match=rf"^manifest .*{name} cannot be read: [^\n]*; give --manifest a Parquet file[^\n]*$"
        ):
            read_manifest(spark, str(tmp_path / name), load_config(None))


def test_defaults_come_from_the_configuration_and_the_row_wins(spark: SparkSession, tmp_path: Path) -> None:
    settings = ("language=de", "context=Fjord", "audio.channels=split")
    columns = {"uri": ["a", "b"], "language": [None, "en"], "channels": [None, "mix"], "context": pa.nulls(2)}
    first, second = sorted(manifest(spark, tmp_path, *settings, **columns), key=lambda row: row["uri"])
    assert (first["language"], first["channels"], first["context"]) == ("de", "split", "Fjord")
    assert (second["language"], second["channels"], second["context"]) == ("en", "mix", "Fjord")
    assert (first["start_ms"], first["end_ms"], first["language_source"]) == (0, None, "given")
    (plain,) = manifest(spark, tmp_path, uri=["a"])
    assert (plain["language"], plain["language_source"], plain["channels"]) == (None, None, "mix")
    assert plain["source_key"] != second["source_key"]


def test_ids_are_the_same_for_the_same_uri_and_stretch(spark: SparkSession, tmp_path: Path) -> None:
    columns = {"uri": ["a", "a", "a", "b"], "start_ms": [0, 0, 500, 0], "end_ms": [None, 500, None, None]}
    once = {
        (row["uri"], row["start_ms"], row["end_ms"]): row["audio_id"] for row in manifest(spark, tmp_path, **columns)
    }
    assert len(set(once.values())) == 4
    (alone,) = manifest(spark, tmp_path, uri=["a"])
    assert alone["audio_id"] == once["a", 0, None]


def test_other_columns_become_metadata_whatever_their_names_and_types(spark: SparkSession, tmp_path: Path) -> None:
    (row,) = manifest(
        spark,
        tmp_path,
        uri=["a"],
        **{
            "Customer No.": [7],
            "`odd` name": ["x"],
            "tags": [["a", "b"]],
            "gone": pa.nulls(1, pa.string()),
            "paid": [True],
        },
    )
    assert row["metadata"] == {"Customer No.": "7", "`odd` name": "x", "tags": '["a","b"]', "paid": "true"}


def test_a_time_of_change_counts_to_the_microsecond(spark: SparkSession, tmp_path: Path) -> None:
    at = datetime.datetime(2026, 1, 2, 3, 4, 5, 678901)
    later = at + datetime.timedelta(microseconds=1)
    for data_type in (pa.timestamp("us"), pa.timestamp("us", tz="UTC")):
        times = pa.array([at, at, later, None], data_type)
        rows = manifest(spark, tmp_path, uri=["a"] * 4, audio_id=["x", "y", "z", "none"], modified_at=times)
        keys = {row["audio_id"]: row["source_key"] for row in rows}
        assert keys["x"] == keys["y"]
        assert len(set(keys.values())) == 3
    with pytest.raises(ManifestError, match="microseconds"):
        manifest(spark, tmp_path, uri=["a"], modified_at=pa.array([at], pa.timestamp("ns")))


def test_content_needs_no_uri_and_its_hash_tells_whether_it_changed(spark: SparkSession, tmp_path: Path) -> None:
    columns = {"content": [b"one", b"two"], "audio_id": ["x", "y"]}
    rows = {row["audio_id"]: row for row in manifest(spark, tmp_path, **columns)}
    read = read_manifest(spark, str(tmp_path / "manifest.parquet"), load_config(None))
    assert {row.audio_id: bytes(row.content) for row in read.contents.collect()} == {"x": b"one", "y": b"two"}
    read.close()
    changed = {row["audio_id"]: row for row in manifest(spark, tmp_path, **columns | {"content": [b"one", b"2"]})}
    assert changed["x"]["source_key"] == rows["x"]["source_key"]
    assert changed["y"]["source_key"] != rows["y"]["source_key"]


def test_languages_mean_what_they_say_however_they_are_spelled(spark: SparkSession, tmp_path: Path) -> None:
    spelled = ["EN", "en-US", "English", "eng", "en", "", "und", None, "nb", "auto-per-chunk"]
    uris = [f"{number}.wav" for number in range(len(spelled))]
    rows = manifest(spark, tmp_path, uri=uris, language=spelled, audio_id=uris)
    languages = {row["uri"]: row["language"] for row in rows}
    assert [languages[uri] for uri in uris] == ["en"] * 5 + [None] * 3 + ["no", "auto-per-chunk"]
    (plain,) = manifest(spark, tmp_path, uri=["0.wav"], audio_id=["0.wav"])
    (british,) = manifest(spark, tmp_path, uri=["0.wav"], audio_id=["0.wav"], language=["en-GB"])
    (english,) = manifest(spark, tmp_path, uri=["0.wav"], audio_id=["0.wav"], language=["en"])
    (empty,) = manifest(spark, tmp_path, uri=["0.wav"], audio_id=["0.wav"], language=[""])
    assert british["source_key"] == english["source_key"] == english["earlier_source_keys"][0]
    assert empty["source_key"] == plain["source_key"] != english["source_key"]
    # What was done before languages got their normal codes was known by the spelling.
    assert british["earlier_source_keys"][0] != english["source_key"]


def test_columns_are_found_however_they_are_capitalized(spark: SparkSession, tmp_path: Path) -> None:
    columns = {"URI": ["a"], "Language": ["de"], "Start_ms": [5], "Agent": ["Ann"]}
    (row,) = manifest(spark, tmp_path, **columns)
    assert (row["uri"], row["language"], row["start_ms"], row["metadata"]) == ("a", "de", 5, {"Agent": "Ann"})
    with pytest.raises(ManifestError, match=r"cannot be read: .*language"):
        manifest(spark, tmp_path, uri=["a"], language=["de"], Language=["en"])


def test_the_files_of_a_folder_are_merged_or_refused_by_name(spark: SparkSession, tmp_path: Path) -> None:
    folder = tmp_path / "manifest.parquet"
    folder.mkdir()

    def read(*parts: dict[str, Any]) -> list[tuple[Any, ...]]:
        for number, part in enumerate(parts):
            pq.write_table(pa.table(part), folder / f"part-{number}.parquet")
        found = read_manifest(spark, str(folder), load_config(None))
        try:
            rows = [(row.uri, row.language, row.start_ms, row.metadata) for row in found.rows.collect()]
            return sorted(rows, key=lambda row: row[0])
        finally:
            found.close()

    first = {"uri": ["a"], "start_ms": pa.array([1], pa.int32())}
    other = {"agent": ["Ann"], "uri": ["b"], "start_ms": pa.array([2], pa.int64()), "language": ["de"]}
    assert read(first, other) == [("a", None, 1, {}), ("b", "de", 2, {"agent": "Ann"})]
    with pytest.raises(
        ManifestError, match=r"column start_ms is int in .*part-0\.parquet, string in .*part-1\.parquet"
    ):
        read(first, {"uri": ["b"], "start_ms": ["2"]})
