"""What a Delta table is declared by, and rows as Arrow batches of it.

Times are BIGINT milliseconds on the file's own time line. A value that is not known is null, never 0 and never ''.
Types are Arrow's, since that is what the Python workers emit; Spark's are derived from them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

TEXT, INT, BIGINT, DOUBLE, BOOLEAN = pa.string(), pa.int32(), pa.int64(), pa.float64(), pa.bool_()
TIMESTAMP = pa.timestamp("us", tz="UTC")
FLAG_LIST = pa.list_(TEXT)


@dataclass(frozen=True)
class Table:
    """`key` identifies a row; `columns` are (name, Arrow type, comment) in order; files keep statistics of the columns
    `stats`, by which a query leaves out those that hold nothing for it."""

    name: str
    comment: str
    key: tuple[str, ...]
    columns: tuple[tuple[str, pa.DataType, str], ...]
    stats: tuple[str, ...]

    @property
    def arrow(self) -> pa.Schema:
        return pa.schema([pa.field(name, data_type) for name, data_type, _ in self.columns])

    @property
    def names(self) -> list[str]:
        return [name for name, _, _ in self.columns]


def to_batch(rows: Iterable[Mapping[str, Any]], schema: pa.Schema) -> pa.RecordBatch:
    """Rows as one Arrow batch with exactly `schema`'s columns in its order (Spark binds Arrow columns by position); a
    missing key is null.

    Raises KeyError for a row with a key that the schema lacks.
    """
    rows = list(rows)
    for row in rows:
        if unknown := row.keys() - set(schema.names):
            raise KeyError(f"row has columns {sorted(unknown)} that the schema {schema.names} lacks")
    return pa.RecordBatch.from_arrays(
        [pa.array([row.get(field.name) for row in rows], type=field.type) for field in schema], schema=schema
    )


def rows_of(batches: Iterable[pa.RecordBatch]) -> Iterator[dict[str, Any]]:
    """One row at a time: as Python's objects the words of a whole batch would take many times its room."""
    for batch in batches:
        for index in range(batch.num_rows):
            yield from batch.slice(index, 1).to_pylist()


def audio_id_of(uri: str) -> str:
    """Of a recording whose manifest gives none (transforms.run.manifest does the same in SQL)."""
    return hashlib.sha256(uri.encode()).hexdigest()[:32]


# Columns that several tables have.
AUDIO_ID = ("audio_id", TEXT, "the recording: the manifest's audio_id, else a hash of its uri")
RUN_KEY = (
    "run_key",
    TEXT,
    "hash of all that can change the text: engine, model, VAD, packing, aligners, and the source",
)
RUN_ID = ("run_id", TEXT, "the run of the job that made this row; a later run's sorts behind it")
TAKE_ID = (
    "take_id",
    TEXT,
    "the take: this recording as one run published it; recordings, segments and words join on audio_id and take_id",
)
CHANNEL = ("channel", INT, "0-based audio channel if the channels were transcribed apart; null for their mix")
SPEAKER = ("speaker", TEXT, "who speaks: 'channel-0', … if the channels were transcribed apart, else null")
LANGUAGE = ("language", TEXT, "ISO 639 code: en, zh, yue, …")
CONFIDENCE = ("confidence", DOUBLE, "0 to 1: mean probability of the words' tokens, weighted by the words' duration")
