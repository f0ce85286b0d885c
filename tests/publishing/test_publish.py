from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyspark.sql import SparkSession

from schemas.tables import CHUNKS, RECORDINGS, to_batch
from tests.kit.lake import Lake
from tests.kit.publishing import publish
from transforms.run.claims import PUBLISHED

NOW = datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC)
LOST = {"stage": "recognize", "kind": "ValueError", "message": "no; listen", "transient": False}


def commit(lake: Lake, *rows: dict[str, Any]) -> None:
    lake.tables.append(CHUNKS, lake.spark.createDataFrame(pa.Table.from_batches([to_batch(rows, CHUNKS.arrow)])))


def part(
    audio_id: str,
    run_id: str,
    text: str | None,
    *,
    run_key: str = "k",
    index: int = 0,
    continues: bool = False,
    **changes: Any,
) -> list[dict[str, Any]]:
    """One part: a chunk that says `text` (None: it failed) and the closing row."""
    key = {"audio_id": audio_id, "run_key": run_key, "part_index": index, "run_id": run_id, "created_at": NOW}
    start_ms = index * 1000
    words = (
        [
            {
                "word": text,
                "start_ms": start_ms,
                "end_ms": start_ms + 900,
                "confidence": 0.5,
                "char_start": 0,
                "char_end": len(text),
            }
        ]
        if text
        else None
    )
    chunk = {
        "chunk_index": 0,
        "start_ms": start_ms,
        "end_ms": start_ms + 900,
        "text": text,
        "words": words,
        "language": "en",
        "language_source": "given",
    }
    closing = {"uri": audio_id, "metadata": [], "source_key": "s", "duration_ms": start_ms + 1000, "chunk_count": 1}
    closing |= {"continues": continues, "flags": [], "engine": "e", "model": "m"} | changes
    return [{**key, **chunk, "error": None if text else LOST}, {**key, "chunk_index": -1, "closing": closing}]


@pytest.fixture(scope="module")
def lake(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """After three runs, of which the second did only some of the recordings again."""
    lake = Lake(spark, tmp_path_factory.mktemp("published"))
    tables = lake.tables
    tables.create()
    first = {
        name: part(name, "1", text)
        for name, text in {"c": None, "d": None, "e": "old", "f": "stays", "h": "earlier"}.items()
    }
    half = [*part("b", "1", None, continues=True), *part("g", "1", "half", continues=True)]
    commit(
        lake, *part("a", "1", "first", continues=True), *part("a", "1", "end", index=1), *half, *sum(first.values(), [])
    )
    publish(tables, [(name, "k") for name in "acdef"], "1", run_ids=["1"])
    second = [
        *part("a", "2", "again", continues=True),
        *part("b", "2", "end", index=1),
        *part("c", "2", None),
        *part("d", "2", None),
    ]
    changed = [
        row
        for name, text in {"e": "new", "f": "not asked for", "h": "later"}.items()
        for row in part(name, "2", text, run_key="k2")
    ]
    commit(lake, *second, *changed)
    publish(tables, [("a", "k"), ("b", "k")], "2", run_ids=["2", "1"])
    publish(tables, [("c", "k"), ("d", "k"), ("e", "k2")], "2b", run_ids=["2"])
    commit(lake, *part("c", "3", None), *part("d", "3", "at last"))
    publish(tables, [("c", "k"), ("d", "k")], "3", run_ids=["3"])
    return lake


def text(lake: Lake, audio_id: str) -> str | None:
    (found,) = [row["text"] for row in lake.rows("recordings") if row["audio_id"] == audio_id]
    return found


def test_the_latest_run_of_a_part_counts_and_the_rows_of_the_others_go(lake: Lake) -> None:
    assert text(lake, "a") == "again end"
    words = sorted((row for row in lake.rows("words") if row["audio_id"] == "a"), key=lambda row: row["word_index"])
    assert [row["word"] for row in words] == ["again", "end"]
    chunks = [(row["part_index"], row["run_id"]) for row in lake.rows("chunks") if row["audio_id"] == "a"]
    assert sorted(chunks) == [(0, "1"), (0, "1"), (0, "2"), (0, "2"), (1, "1"), (1, "1")]
    assert {row["run_id"] for row in lake.rows("chunks") if row["audio_id"] == "d"} == {"3"}


def test_a_failure_in_a_part_that_an_earlier_run_made_stays(lake: Lake) -> None:
    (recording,) = [row for row in lake.rows("recordings") if row["audio_id"] == "b"]
    assert (recording["text"], recording["flags"], recording["run_id"]) == ("end", ["incomplete"], "2")
    failures = [row for row in lake.rows("failures") if row["audio_id"] == "b"]
    assert [(row["part_index"], row["chunk_index"], row["run_id"], row["attempts"]) for row in failures] == [
        (0, 0, "1", 1)
    ]


def test_attempts_count_the_runs_that_failed_so_and_success_ends_them(lake: Lake) -> None:
    found = {row["audio_id"]: (row["attempts"], row["run_id"]) for row in lake.rows("failures")}
    assert found == {"b": (1, "1"), "c": (3, "3")}
    assert (text(lake, "c"), text(lake, "d")) == (None, "at last")


def test_stale_words_go_and_only_they(lake: Lake) -> None:
    assert (text(lake, "e"), text(lake, "f")) == ("new", "stays")
    assert not lake.stale()
    assert {row["word"] for row in lake.rows("words")} == {"again", "end", "new", "stays", "at last"}


def test_publishing_again_changes_only_the_take(lake: Lake) -> None:
    before = lake.contents()
    shown = [(row["audio_id"], row["run_key"]) for row in lake.rows("recordings")]
    publish(lake.tables, shown, "again")
    assert lake.contents() == before
    assert {row["take_id"] for table in ("recordings", "segments", "words") for row in lake.rows(table)} == {"again"}


def test_a_writer_that_was_fenced_off_publishes_nothing(lake: Lake, tmp_path: Path) -> None:
    late = lake.copy(tmp_path)
    for table in PUBLISHED:
        late.tables.fence(table, "late")
    before = late.contents(without=frozenset())
    commit(late, *part("new", "9", "late"))
    publish(late.tables, [("new", "k")], "late", run_ids=["9"])
    assert late.contents(without=frozenset()) == before


def test_what_a_dead_take_left_goes_when_the_recording_is_published(lake: Lake, tmp_path: Path) -> None:
    mended = lake.copy(tmp_path)
    commit(mended, *part("new", "8", "first"))
    publish(mended.tables, [("new", "k")], "dead", run_ids=["8"])
    mended.tables.delete(RECORDINGS, "audio_id = 'new'")  # as if it had died before its last commit
    publish(mended.tables, [("new", "k")], "heir", run_ids=["8"], begun=["dead"])
    assert not mended.stale()
    assert [row["word"] for row in mended.rows("words") if row["audio_id"] == "new"] == ["first"]
