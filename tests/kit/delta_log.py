"""Reads Delta tables without Spark, straight from their log: quick, and a witness of its own. A root may be in a store
(object_store.in_store)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pyarrow.parquet as pq

RUN_COLUMNS = frozenset({"run_id", "take_id", "wave_index", "created_at", "transcribed_at", "at"})
"""What tells which run made a row, and when: it differs where the same was done twice."""


def version(root: Path, table: str) -> int:
    """The number of the table's last commit; -1 without one."""
    return max((int(path.stem) for path in _commits(root, table)), default=-1)


def operations(root: Path, table: str) -> list[str]:
    """What each commit did, in order."""
    lines = [json.loads(line) for path in _commits(root, table) for line in path.read_text().splitlines()]
    return [line["commitInfo"]["operation"] for line in lines if "commitInfo" in line]


def rows(root: Path, table: str, at: int | None = None) -> list[dict[str, Any]]:
    """All rows after commit number `at` (None: the last one), in no order. Files may hold columns that are not the
    table's, of the change data feed, and lack some that came later."""
    live: dict[str, None] = {}
    names: list[str] = []
    for path in _commits(root, table):
        if at is not None and int(path.stem) > at:
            break
        for line in path.read_text().splitlines():
            action = json.loads(line)
            if "add" in action:
                live[action["add"]["path"]] = None
            elif "remove" in action:
                live.pop(action["remove"]["path"], None)
            elif "metaData" in action:
                names = [column["name"] for column in json.loads(action["metaData"]["schemaString"])["fields"]]
    files = [root / table / unquote(name) for name in live]
    read = [row for file in files for row in _read(file)]
    return [{name: row.get(name) for name in names} for row in read]


def _read(file: Path) -> list[dict[str, Any]]:
    with file.open("rb") as content:
        return pq.ParquetFile(content).read().to_pylist(maps_as_pydicts="lossy")


def contents(root: Path, table: str, without: frozenset[str] = RUN_COLUMNS) -> list[str]:
    """All rows, each as text without the columns in `without`, sorted: equal for equal tables."""
    return sorted(text(row, without) for row in rows(root, table))


def text(row: dict[str, Any], without: frozenset[str] = RUN_COLUMNS) -> str:
    """The row without these columns."""
    return json.dumps({name: row[name] for name in sorted(row.keys() - without)}, default=str)


def _commits(root: Path, table: str) -> list[Path]:
    """Delta keeps all of them for a month, so its checkpoints are not needed here."""
    return sorted((root / table / "_delta_log").glob("[0-9]*[0-9].json"))
