"""A column that is declared and never filled would not be noticed otherwise: every one has a value somewhere."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

from schemas.tables import ALL, CLAIMS, EVALUATIONS, Table
from tests.e2e.test_bad_input import call_row, last_chunk_of_call
from tests.kit.finished import Finished
from tests.kit.lake import Lake, file_row

EMPTY = {
    "chunks.alternatives": "the tests' engine has one reading; tests/engines/qwen/test_answer.py",
    "chunks.no_speech_probability": "the tests' engine knows none; Whisper does",
    "runs.error": "no run failed here; tests/e2e/test_counts.py",
}
"""Columns without a value here, with the reason."""


@pytest.fixture(scope="module")
def lake(finished: Finished, tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """The rich lake, in which a chunk of the call failed and half a file came later."""
    lake = finished.lake.copy(tmp_path_factory.mktemp("filled"))
    half = lake.folder / "half.wav"
    whole = (finished.audio / "clip_02.wav").read_bytes()
    half.write_bytes(whole[: len(whole) // 2])
    word = last_chunk_of_call(finished)["text"].split()[0]
    lake.run([call_row(finished), file_row(half)], reprocess="all", raise_on=f"'{word}'")
    return lake


@pytest.mark.parametrize(
    "table", [table for table in ALL if table not in (CLAIMS, EVALUATIONS)], ids=lambda table: table.name
)
def test_every_column_has_a_value_somewhere(lake: Lake, table: Table) -> None:
    rows = lake.rows(table.name)
    without = [path for field in table.arrow for path in _without(field, [row[field.name] for row in rows])]
    assert [f"{table.name}.{path}" for path in without] == [name for name in EMPTY if name.startswith(f"{table.name}.")]


def _without(field: pa.Field, values: list[Any], prefix: str = "") -> list[str]:
    """The names of the column, or of fields within, that are null or empty in all `values`."""
    name, kind = f"{prefix}{field.name}", field.type
    found = [value for value in values if value is not None]
    if pa.types.is_list(kind):
        kind, found = kind.value_type, [item for value in found for item in value]
    if not found:
        return [name]
    if not pa.types.is_struct(kind):
        return []
    return [path for inner in kind for path in _without(inner, [value[inner.name] for value in found], f"{name}.")]
