"""What the tables have of a file whose content they know, wherever its copy lies; read without Spark."""

from __future__ import annotations

import threading
from typing import Any

import pyarrow as pa
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError, TableNotFoundError

from schemas.parts import are_whole
from schemas.tables import CHUNKS, RECORDINGS, Table
from transforms.lake.paths import delta_path
from transforms.lake.sql import quoted


class Copies:
    """Of the tables below `root`, a path or uri, as they are when they are asked. May be asked from several threads.
    Credentials of a store are those of the environment, as AWS_ACCESS_KEY_ID."""

    def __init__(self, root: str) -> None:
        self._root, self._opened = root, dict[str, DeltaTable]()
        self._lock = threading.Lock()

    def rows(self, content_key: str) -> list[dict[str, Any]] | None:
        """The rows of chunks of a recording that is shown with this content_key and was read whole; None if there is
        none. Raises OSError if the tables cannot be read."""
        try:
            with self._lock:
                wanted = f"content_key = {quoted(content_key)} AND status <> 'failed'"
                shown = self._read(RECORDINGS, wanted, ["audio_id", "run_key", "run_id", "flags", "content_key"])
                whole = [one for one in shown if "incomplete" not in (one["flags"] or ())]
                return self._chunks(max(whole, key=lambda one: one["run_id"])) if whole else None
        except TableNotFoundError:
            return None
        except (DeltaError, ValueError) as error:
            raise OSError(f"the tables in {self._root} cannot be read: {error}") from error

    def _chunks(self, shown: dict[str, Any]) -> list[dict[str, Any]] | None:
        same = " AND ".join(f"{name} = {quoted(shown[name])}" for name in ("audio_id", "run_key"))
        # Mostly one run has made all; of what another had begun before it died, more files are to be looked into.
        for made_by in ("=", "<="):
            rows = self._read(CHUNKS, f"{same} AND run_id {made_by} {quoted(shown['run_id'])}", CHUNKS.names)
            if are_whole({row["part_index"]: row["closing"]["continues"] for row in rows if row["closing"]}):
                return rows
        return None

    def _read(self, table: Table, predicate: str, columns: list[str]) -> list[dict[str, Any]]:
        opened = self._opened.get(table.name)
        if opened is None:
            opened = self._opened[table.name] = DeltaTable(delta_path(self._root, table))
        else:
            opened.update_incremental()
        if not {field.name for field in opened.schema().fields}.issuperset(columns):
            return []  # of an earlier version
        return list(pa.table(opened.scan(columns, predicate)).to_pylist())
