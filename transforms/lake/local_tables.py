"""The tables in a local folder, read by DuckDB: no Java, and an answer before Spark would stand."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote

import duckdb
import pyarrow as pa
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError

from schemas.tables import Table
from transforms.lake.migration import check_key, check_version, no_table, of_earlier_version
from transforms.lake.sql import quoted

_ODD = frozenset("*?[%")
"""In a folder's name DuckDB takes the first three for patterns, and deltalake the last for an escape."""


class LocalTables:
    """Reads as transforms.lake.tables.Tables does; each `require` goes on to the latest commits."""

    def __init__(self, root: str) -> None:
        self.root = str(Path(root).expanduser().resolve())
        self._database = duckdb.connect()
        self._opened: dict[str, DeltaTable] = {}

    @staticmethod
    def can_read(root: str, *tables: Table) -> bool:
        """Whether `root` is a local folder, and none of `tables` there has a feature that only Spark knows, as deletion
        vectors: the project's tables have none unless somebody gave them."""
        folder = Path(root).expanduser()
        if not folder.is_dir() or _ODD & set(str(folder.resolve())):
            return False
        paths = [str(folder / table.name) for table in tables]
        return all(
            DeltaTable(path).protocol().min_reader_version == 1 for path in paths if DeltaTable.is_deltatable(path)
        )

    def identifier(self, table: Table) -> str:
        """The table's name in SQL."""
        return table.name

    def require(self, *tables: Table) -> None:
        """Raises ConfigError if a table or a column is missing, or a later version has made one. In the order given,
        each is as it is now."""
        for table in tables:
            self._open(table)
            check_version(self._opened[table.name].metadata().configuration, f"{self.root}/{table.name}")
            names = [field.name for field in self._opened[table.name].schema().fields]
            check_key(table, names, f"{self.root}/{table.name}")
            if missing := [name for name in table.names if name not in names]:
                raise of_earlier_version(self.root, table, missing)

    def ask(self, query: str) -> pa.Table:
        return self._database.sql(query).to_arrow_table()

    def literal(self, value: str) -> str:
        """As a string in DuckDB's SQL."""
        return quoted(value)

    def _open(self, table: Table) -> None:
        path = f"{self.root}/{table.name}"
        opened = self._opened.get(table.name)
        try:
            if opened is not None:
                before = opened.version()
                opened.update_incremental()
                if opened.version() == before:
                    return
            else:
                opened = self._opened[table.name] = DeltaTable(path)
        except DeltaError as error:
            raise no_table(self.root, table) from error
        files = ", ".join(quoted(unquote(uri)) for uri in opened.file_uris())
        # Files do not have the columns that were added after them, and a new table has no files.
        columns = f"no_{table.name}"
        self._database.register(columns, table.arrow.empty_table())
        rows = f"UNION ALL BY NAME FROM read_parquet([{files}], union_by_name = true)" if files else ""
        self._database.execute(f"CREATE OR REPLACE VIEW {table.name} AS FROM {columns} {rows}")
