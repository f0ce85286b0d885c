"""A lake that no engine made: each table has a row of each recording, in which all that can hold text names it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

import schemas.tables
from schemas.tables import ALL, CLAIMS, LATER, RUNS, Table, to_batch
from transforms.lake.tables import Tables

DECLARED = [entry for entry in vars(schemas.tables).values() if isinstance(entry, Table)]
OF_RECORDINGS = [table for table in DECLARED if "audio_id" in table.names]


def make(tables: Tables, audio_ids: Iterable[str]) -> Tables:
    tables.create([*ALL, *LATER])
    for table in OF_RECORDINGS:
        add(tables, table, *audio_ids)
    append(tables, RUNS, {"run_id": "r", "status": "failed", "error": f"{said(next(iter(audio_ids)))} cannot be read"})
    return tables


def said(audio_id: str) -> str:
    """The text in all columns."""
    return f"{audio_id}-says"


def add(tables: Tables, table: Table, *audio_ids: str) -> None:
    texts = [field.name for field in table.arrow if pa.types.is_string(field.type)]
    # These hold no text, and name runs in the log.
    others = {name: "r" for name in ("run_id", "take_id", "run_key") if name in table.names}
    others |= {"begun": []} if table is CLAIMS else {}
    rows = [dict.fromkeys(texts, said(audio_id)) | others | {"audio_id": audio_id} for audio_id in audio_ids]
    append(tables, table, *rows)


def append(tables: Tables, table: Table, *rows: dict[str, Any]) -> None:
    tables.append(table, tables.frame(pa.Table.from_batches([to_batch(rows, table.arrow)])))


def files_that_name(root: Path, *names: str) -> Iterator[str]:
    """The files below `root` in which one of these stands, also packed."""
    for path in sorted(path for path in root.rglob("*") if path.is_file()):
        text = path.read_bytes().decode(errors="replace")
        if path.suffix == ".parquet":
            text += str(pq.ParquetFile(path).read().to_pylist())
        if any(name in text for name in names):
            yield str(path.relative_to(root))
