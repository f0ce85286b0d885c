"""Tables of each earlier version are told of, brought up, and read: at length those of 0.1, which knew neither takes nor
claims (tests/lake/earlier/make_0_1.py)."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from pyspark.sql import SparkSession

import transforms.recognition.keys
from schemas.config import ConfigError, RetryConfig
from schemas.tables import ALL, RECORDINGS, WORDS
from schemas.version import TABLES_VERSION
from tests.kit.lake import Lake, engine_config
from transforms.check.command import check
from transforms.exports.export import export
from transforms.exports.request import Request
from transforms.exports.request import check as check_request
from transforms.lake.local_tables import LocalTables
from transforms.lake.views import show_in_session
from transforms.run.republish import republish
from transforms.search.phrases import search

EARLIER = Path(__file__).parent / "earlier"
VERSIONS = sorted({path.stem.partition("_")[2] for path in EARLIER.glob("tables_*.zip")} - {"0_1"})
RETRY_THEN = ("min_audio_ms", "low_confidence")
"""What run_key held of this section."""
DONE = {"short.wav", "parts.wav", "call.wav", "text.mp3", "doubled.wav", "changed.wav"}
LEFT = {"pending.wav", "half.wav"}
"""What a driver had recognized that was killed before it was published."""


def unpacked(spark: SparkSession, folder: Path, version: str = "0_1") -> tuple[Lake, list[dict[str, Any]]]:
    """The tables, and the manifest that they were made from."""
    with zipfile.ZipFile(EARLIER / f"tables_{version}.zip") as archive:
        archive.extractall(folder)
    return Lake(spark, folder), pq.read_table(folder / "manifest.parquet").to_pylist()


@pytest.fixture(scope="module")
def earlier(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Lake:
    return unpacked(spark, tmp_path_factory.mktemp("earlier"))[0]


@pytest.fixture(scope="module", params=["transcribe", "publish"])
def brought_up(
    request: pytest.FixtureRequest, spark: SparkSession, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Lake, list[dict[str, Any]]]:
    lake, manifest = unpacked(spark, tmp_path_factory.mktemp("brought_up"))
    if request.param == "transcribe":
        with pytest.MonkeyPatch.context() as patch:
            # What was recognized and not published is taken up as long as its texts would come out the same.
            patch.setattr(transforms.recognition.keys, "PIPELINE_VERSION", 1)
            patch.setattr(RetryConfig, "model_dump", lambda retry: {name: getattr(retry, name) for name in RETRY_THEN})
            summary = lake.run(manifest)
        assert (summary.failed, summary.skipped) == (0, len(manifest))
        assert not lake.calls(), "all had been recognized"
    else:
        assert republish(spark, engine_config(), str(lake.root)).recordings == len(manifest)
    return lake, manifest


def test_readers_say_which_command_brings_them_up(earlier: Lake) -> None:
    before = earlier.versions()
    local = LocalTables(str(earlier.root))
    for look in (earlier.tables.require, lambda: local.require(RECORDINGS, WORDS)):
        with pytest.raises(ConfigError, match=rf"python -m jobs\.publish --tables {re.escape(str(earlier.root))}"):
            look()
    assert earlier.versions() == before


def test_everything_is_published_once_and_nothing_stale_is_left(
    earlier: Lake, brought_up: tuple[Lake, list[dict[str, Any]]]
) -> None:
    lake, _ = brought_up
    found = lake.by_name("recordings")
    assert set(found) == DONE | LEFT
    assert len(lake.rows("recordings")) == len(found)
    done = check(lake.spark, engine_config(), str(lake.root))
    assert [(one.check.name, one.check.table.name, one.example) for one in done.findings] == []
    assert not lake.rows("claims")
    then = earlier.by_name("recordings")
    for name in DONE:
        # Sentences are found otherwise now, and with them the lines of the text and the turns of two channels.
        assert sorted((found[name]["text"] or "").split()) == sorted((then[name]["text"] or "").split())
        same = then[name].keys() - {"take_id", "folded_text", "text"}
        assert {column: found[name][column] for column in same} == {column: then[name][column] for column in same}
    assert {found[name]["status"] for name in LEFT} == {"ok"}


def test_a_run_over_the_same_manifest_finds_nothing_to_do_and_makes_no_commit(
    brought_up: tuple[Lake, list[dict[str, Any]]],
) -> None:
    lake, manifest = brought_up
    before = lake.versions()
    assert set(before) == {table.name for table in ALL}
    summary = lake.run(manifest)
    assert (summary.run_id, summary.skipped) == (None, len(manifest))
    assert lake.versions() == before


def test_views_search_and_exports_read_them(brought_up: tuple[Lake, list[dict[str, Any]]], tmp_path: Path) -> None:
    lake, manifest = brought_up
    moment = lake.copy(tmp_path / "copy").tables
    assert show_in_session(moment) == []
    assert moment.spark.sql("SELECT * FROM transcripts").count() == len(manifest) - 1
    shown = lake.by_name("recordings")
    words = sorted(
        (row["word_index"], row["word"])
        for row in lake.rows("words")
        if row["audio_id"] == shown["half.wav"]["audio_id"]
    )
    phrase = " ".join(word for _, word in words[:3])
    for tables in (lake.tables, LocalTables(str(lake.root))):
        assert [hit.uri for hit in search(tables, phrase)] == ["calls/half.wav"]
    config = engine_config()
    done = export(lake.tables, config, check_request(Request(format="vtt", out=str(tmp_path / "vtt")), config))
    assert (done.files, done.failed) == (len(manifest) - 1, 1)


def test_there_is_a_lake_of_every_version() -> None:
    assert (EARLIER / f"tables_{TABLES_VERSION.replace('.', '_')}.zip").exists(), "make it: tests/lake/earlier/make.py"


@pytest.mark.parametrize("version", VERSIONS)
def test_tables_of_each_later_version_are_brought_up_and_nothing_is_recognized_anew(
    spark: SparkSession, tmp_path: Path, version: str
) -> None:
    lake, manifest = unpacked(spark, tmp_path, version)
    then, before = lake.by_name("recordings"), lake.versions()
    assert set(then) == {"short.wav", "parts.wav", "call.wav", "text.mp3"}
    summary = lake.run(manifest)
    assert (summary.run_id, summary.skipped) == (None, len(manifest))
    assert not lake.calls()
    now = lake.by_name("recordings")
    assert {name: {column: now[name][column] for column in row} for name, row in then.items()} == then
    assert show_in_session(lake.tables) == []
    done = check(lake.spark, engine_config(), str(lake.root))
    assert [(one.check.name, one.check.table.name, one.example) for one in done.findings] == []
    if version == TABLES_VERSION.replace(".", "_"):
        assert lake.versions() == before
