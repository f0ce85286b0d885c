from __future__ import annotations

import datetime
import random
from typing import Any

import pyarrow as pa
import pytest

from schemas.tables import ALL, CHUNKS, FAILURE, FAILURES, RECORDINGS, SEGMENTS, WORDS, Table, to_batch

_NOW = datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.UTC)
_CHUNK: dict[str, Any] = {
    "audio_id": "a",
    "chunk_index": 3,
    "start_ms": 2**40,
    "text": "naïve 🎤",
    "words": [{"word": "naïve", "char_start": 0, "char_end": 5}],
    "flags": ["truncated"],
    "error": {"stage": "fetch", "kind": "missing", "message": "gone", "transient": False},
    "closing": {"uri": "x", "metadata": [("k", "v")], "flags": []},
    "created_at": _NOW,
}


def test_columns_come_out_in_the_order_of_the_schema_whatever_the_order_of_the_row() -> None:
    """Spark binds Arrow columns by position: swapped ones would not even be noticed."""
    batches = []
    for seed in range(5):
        items = list(_CHUNK.items())
        random.Random(seed).shuffle(items)
        batches.append(to_batch([dict(items)], CHUNKS.arrow))
    assert all(batch.equals(batches[0]) for batch in batches)
    assert batches[0].schema.equals(CHUNKS.arrow)
    assert batches[0].column("start_ms").to_pylist() == [2**40]
    assert batches[0].column("created_at").to_pylist() == [_NOW]


def test_a_missing_key_is_null_and_not_zero() -> None:
    row = to_batch([{"audio_id": "a"}], CHUNKS.arrow).to_pylist()[0]
    assert {name for name, value in row.items() if value is not None} == {"audio_id"}
    word = to_batch([_CHUNK], CHUNKS.arrow).to_pylist()[0]["words"][0]
    assert (word["start_ms"], word["confidence"]) == (None, None)


def test_a_column_that_the_schema_lacks_is_an_error_that_names_it() -> None:
    with pytest.raises(KeyError, match="langage"):
        to_batch([_CHUNK, {"audio_id": "b", "langage": "en"}], CHUNKS.arrow)


def test_a_value_of_a_wrong_type_is_an_error() -> None:
    with pytest.raises((pa.ArrowInvalid, pa.ArrowTypeError)):
        to_batch([{"audio_id": "a", "start_ms": "soon"}], CHUNKS.arrow)


def test_no_rows_are_an_empty_batch_of_the_schema() -> None:
    batch = to_batch([], CHUNKS.arrow)
    assert (batch.num_rows, batch.schema) == (0, CHUNKS.arrow)


@pytest.mark.parametrize("table", ALL, ids=lambda table: table.name)
def test_every_table_says_what_it_and_its_columns_are(table: Table) -> None:
    assert len(set(table.names)) == len(table.names)
    assert set(table.key) <= set(table.names)
    assert all(comment.strip() for _, _, comment in table.columns)
    assert table.comment.endswith(".")


def test_times_are_bigint_milliseconds_in_every_table() -> None:
    times = [
        (table.name, name, data_type)
        for table in ALL
        for name, data_type, _ in [*table.columns, *((f.name, f.type, "") for f in _nested(table))]
        if name.endswith("_ms")
    ]
    assert len(times) > 10
    assert [entry for entry in times if entry[2] != pa.int64()] == []


def test_a_failure_keeps_its_fields_on_the_way_from_chunks_to_failures() -> None:
    assert {field.name for field in FAILURE} <= set(FAILURES.names)


def test_readers_can_join_every_transcript_table_on_recording_and_run_key() -> None:
    for table in (RECORDINGS, SEGMENTS, WORDS, CHUNKS):
        assert {"audio_id", "run_key"} <= set(table.names)


def _nested(table: Table) -> list[pa.Field]:
    found = []
    for _, data_type, _ in table.columns:
        inner = data_type.value_type if pa.types.is_list(data_type) else data_type
        if pa.types.is_struct(inner):
            found += [inner.field(index) for index in range(inner.num_fields)]
    return found
