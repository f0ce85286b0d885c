"""Rows appended to a table without Spark, for a server that has few of them at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
from deltalake import DeltaTable, write_deltalake
from deltalake.exceptions import DeltaError, TableNotFoundError

from schemas.config import ConfigError
from schemas.tables import Table, to_batch
from transforms.lake.paths import delta_path
from transforms.lake.properties import of_new


class Appends:
    """To one table below `root`, a path or uri; it is made if it is not there. Credentials of a store are those of the
    environment, as AWS_ACCESS_KEY_ID. Others may write to it at the same time."""

    def __init__(self, root: str, table: Table) -> None:
        """Raises ConfigError if there can be no such table."""
        self._table, self._path = table, delta_path(root, table)
        try:
            names = [field.name for field in self._opened().schema().fields]
        except (DeltaError, OSError) as error:
            raise ConfigError(f"{self._path} cannot be made or read: {error}") from error
        if missing := [name for name in table.names if name not in names]:
            advice = f"bring it up to date with: python -m jobs.publish --tables {root}"
            raise ConfigError(f"{self._path} lacks the columns {', '.join(missing)}; {advice}")

    def append(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """In one commit. Raises OSError if that cannot be done now."""
        data = pa.Table.from_batches([to_batch(rows, self._table.arrow)])
        try:
            write_deltalake(self._path, data, mode="append", schema_mode="merge")
        except DeltaError as error:
            raise OSError(f"{self._path}: {error}") from error

    def _opened(self) -> DeltaTable:
        try:
            return DeltaTable(self._path)
        except TableNotFoundError:
            fields = [
                pa.field(name, data_type, metadata={"comment": comment})
                for name, data_type, comment in self._table.columns
            ]
            about: dict[str, Any] = {"description": self._table.comment, "configuration": of_new(self._table)}
            try:
                return DeltaTable.create(self._path, pa.schema(fields), raise_if_key_not_exists=False, **about)
            except DeltaError:
                return DeltaTable(self._path)  # another server came first, or it cannot be made
