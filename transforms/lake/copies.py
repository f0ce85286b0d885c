"""What the tables have of a file whose content they know, wherever its copy lies; read without Spark."""

from __future__ import annotations

import threading
import time
from typing import Any

import numpy as np
import pyarrow as pa
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError, TableNotFoundError

from schemas.parts import are_whole
from schemas.tables import CHUNKS, RECORDINGS, Table
from transforms.lake.paths import delta_path
from transforms.lake.sql import quoted

_LOOKS_S = 5.0
"""Between two looks at which recordings there are."""
_MOST_SHARE = 0.05
"""Of the time that goes into them."""


class Copies:
    """Of the tables below `root`, a path or uri. May be asked from several threads. What has just been published may be
    unknown for some seconds; what is gone is not told. Credentials of a store are those of the environment, as
    AWS_ACCESS_KEY_ID."""

    def __init__(self, root: str) -> None:
        self._root, self._opened = root, dict[str, DeltaTable]()
        self._lock = threading.Lock()
        self._keys = np.empty(0, dtype="S32")
        """The content_keys of all recordings, sorted: most files that are sent are in none, and cost no query."""
        self._keys_version, self._look_at = -1, 0.0

    def rows(self, content_key: str) -> list[dict[str, Any]] | None:
        """The rows of chunks of a recording that is shown with this content_key and was read whole; None if there is
        none. Raises OSError if the tables cannot be read."""
        try:
            if not self._may_have(content_key):
                return None
            wanted = f"content_key = {quoted(content_key)} AND status <> 'failed'"
            shown = self._read(RECORDINGS, ["audio_id", "run_key", "run_id", "flags"], wanted).to_pylist()
            whole = [one for one in shown if "incomplete" not in (one["flags"] or ())]
            return self._chunks(max(whole, key=lambda one: str(one["run_id"]))) if whole else None
        except TableNotFoundError:
            return None
        except (DeltaError, ValueError) as error:
            raise OSError(f"the tables in {self._root} cannot be read: {error}") from error

    def _may_have(self, content_key: str) -> bool:
        with self._lock:
            if (began_at := time.monotonic()) >= self._look_at:
                self._look_at = began_at + _LOOKS_S  # also where there is nothing to be read
                self._look()
                took_s = time.monotonic() - began_at
                self._look_at = began_at + max(_LOOKS_S, took_s / _MOST_SHARE)
            place = np.searchsorted(self._keys, content_key.encode())
            return bool(place < len(self._keys) and self._keys[place] == content_key.encode())

    def _look(self) -> None:
        table = self._now(RECORDINGS)
        if (version := table.version()) == self._keys_version:
            return
        keys: list[str] = []
        if "content_key" in [field.name for field in table.schema().fields]:  # else it is of an earlier version
            keys = self._read(RECORDINGS, ["content_key"], "content_key IS NOT NULL")["content_key"].to_pylist()
        self._keys, self._keys_version = np.sort(np.array(keys, dtype="S32")), version

    def _chunks(self, shown: dict[str, Any]) -> list[dict[str, Any]] | None:
        same = " AND ".join(f"{name} = {quoted(shown[name])}" for name in ("audio_id", "run_key"))
        # Mostly one run has made all; of what another had begun before it died, more files are to be looked into.
        for made_by in ("=", "<="):
            predicate = f"{same} AND run_id {made_by} {quoted(shown['run_id'])}"
            rows = list(self._read(CHUNKS, CHUNKS.names, predicate).to_pylist())
            if are_whole({row["part_index"]: row["closing"]["continues"] for row in rows if row["closing"]}):
                return rows
        return None

    def _read(self, table: Table, columns: list[str], predicate: str) -> pa.Table:
        return pa.table(self._now(table).scan(columns, predicate))

    def _now(self, table: Table) -> DeltaTable:
        """As it is now."""
        opened = self._opened.get(table.name)
        if opened is None:
            opened = self._opened[table.name] = DeltaTable(delta_path(self._root, table))
        else:
            opened.update_incremental()
        return opened
