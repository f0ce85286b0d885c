"""Where the tables live, and the few ways in which their rows are written.

`root` is a path or uri (`./lakehouse`, `s3://bucket/speech`: tables at root/words, …) or a name in a catalog
(`main.speech`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyspark.errors import AnalysisException
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import StructField, StructType

from schemas.tables import ALL, CHUNKS, LATER, Table
from transforms.errors import LostClaims
from transforms.lake.context import hadoop_folder, has_context
from transforms.lake.creation import create, missing_fields, properties, upgrade
from transforms.lake.migration import check_version, no_table, of_earlier_version
from transforms.lake.retries import retried
from transforms.lake.session import settings
from transforms.lake.sql import literal
from transforms.lake.tickets import Ticket, as_conf, fenced_off
from transforms.stores.fetch import is_local, local_path

_CATALOG_NAME = re.compile(r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*){0,1}$")
_NO_TABLE = ("PATH_NOT_FOUND", "DELTA_")
_FENCE_TRIES = 20
_FENCED = 2**62
"""No writer comes so far."""


class Tables:
    def __init__(self, spark: SparkSession, root: str) -> None:
        self.spark = spark
        self.in_catalog = bool(_CATALOG_NAME.match(root)) and not Path(root).exists()
        local = local_path(root) if is_local(root) and not self.in_catalog else None
        self.root = root if local is None else str(local.resolve())

    def identifier(self, table: Table) -> str:
        """The table's name in SQL."""
        return f"{self.root}.{table.name}" if self.in_catalog else f"delta.`{self.path(table).replace('`', '``')}`"

    def path(self, table: Table) -> str:
        """Where the table lies, outside a catalog."""
        return f"{self.root.rstrip('/')}/{table.name}"

    def where(self, table: Table) -> str:
        """The table in messages."""
        return self.identifier(table) if self.in_catalog else self.path(table)

    def create(self, tables: Iterable[Table] = ALL) -> None:
        """Makes those of `tables` that are missing, and brings those of an earlier version up to this one; makes no
        commit if all are as they should be. Raises ConfigError for a table that is not ours, or of a later version."""
        create(self, tables)

    def upgrade(self) -> None:
        """As `create`, where there must be tables already: raises ConfigError if there are none."""
        upgrade(self)

    def present(self) -> list[Table]:
        """All that every lakehouse has, and of the others those that were made."""
        return [*ALL, *(table for table in LATER if self.exists(table))]

    def require(self, *tables: Table) -> None:
        """For commands that only read: raises ConfigError if one of `tables` (without any: of all) or a column of it is
        missing, or a later version has made them."""
        if not self.exists(CHUNKS):
            raise no_table(self.root, CHUNKS)
        check_version(properties(self, CHUNKS), self.where(CHUNKS))  # all are brought up together
        for table in tables or ALL:
            if not self.exists(table):
                raise no_table(self.root, table, f"add it with: python -m jobs.publish --tables {self.root}")
            if missing := missing_fields(self, table):
                raise of_earlier_version(self.root, table, (".".join(path) for path, _ in missing))

    def exists(self, table: Table) -> bool:
        if self.in_catalog:
            return self.spark.catalog.tableExists(self.identifier(table))
        if self.sees_files:
            return self.has_commit(table)
        try:
            return bool(self.read(table).columns)
        except AnalysisException as error:
            if (error.getCondition() or "").startswith(_NO_TABLE):
                return False
            raise  # as from a server without Delta

    @property
    def sees_files(self) -> bool:
        """Whether tables are looked for as files, where they lie under a path."""
        return not self.in_catalog and has_context(self.spark)

    def has_commit(self, table: Table) -> bool:
        """False for the log that a kill in the middle of CREATE TABLE leaves behind; Delta takes it for a table."""
        filesystem, log = self.log(table)
        if not filesystem.exists(log):
            return False
        return any(status.getPath().getName()[0].isdigit() for status in filesystem.listStatus(log))

    def version(self, table: Table) -> int:
        """The number of its last commit."""
        return int(self.history(table, 1).collect()[0].version)

    def history(self, table: Table, commits: int | None = None) -> DataFrame:
        """Its commits, the last one first: as many, or all that its log has."""
        return self.spark.sql(
            f"DESCRIBE HISTORY {self.identifier(table)}" + ("" if commits is None else f" LIMIT {commits}")
        )

    def location(self, table: Table) -> str:
        """Where the table lies, in a catalog too."""
        if not self.in_catalog:
            return self.path(table)
        return str(self.spark.sql(f"DESCRIBE DETAIL {self.identifier(table)}").collect()[0].location)

    def folder(self, table: Table) -> tuple[Any, Any]:
        """Hadoop's file system and path of where the table lies."""
        return hadoop_folder(self.spark, self.location(table))

    def log(self, table: Table) -> tuple[Any, Any]:
        """Hadoop's file system and path of the table's log."""
        filesystem, folder = self.folder(table)
        return filesystem, folder.suffix("/_delta_log")

    def read(self, table: Table) -> DataFrame:
        return self.spark.table(self.identifier(table))

    def ask(self, query: str) -> pa.Table:
        return self.spark.sql(query).toArrow()

    def literal(self, value: str) -> str:
        return literal(value)

    def frame(self, rows: pa.Table) -> DataFrame:
        """Rows of the driver's, to join with or to write."""
        return self.spark.createDataFrame(rows)

    def filled(self, table: Table, rows: DataFrame) -> DataFrame:
        """`rows` with null for the columns that they lack."""
        there = set(rows.columns)
        return rows.select(*(name if name in there else F.lit(None).alias(name) for name in table.names))

    def append(self, table: Table, rows: DataFrame, ticket: Ticket | None = None) -> None:
        """One commit, which nobody else's can hinder but a fence: raises LostClaims then. `rows` has the table's
        columns by name; nothing but `create` decides their types."""
        writer = self._shaped(table, rows).write.format("delta").mode("append")
        with fenced_off(ticket):
            writer.options(**(ticket.options if ticket else {})).insertInto(self.identifier(table))

    def fence(self, table: Table, writer: str) -> None:
        """From now on nothing of `writer` is committed to the table; what it is about to commit fails."""
        for _ in range(_FENCE_TRIES):
            try:
                self.append(table, self.read(table).limit(0), Ticket(writer, _FENCED))
                return
            except LostClaims:  # the writer has committed in this very moment, or another run fences it off, too
                continue
        raise RuntimeError(f"{writer} could not be kept from writing to {self.where(table)}; run again")

    def upsert(
        self,
        table: Table,
        rows: DataFrame,
        key: Iterable[str],
        *,
        among: str = "true",
        update: Mapping[str, str] | None = None,
        only_if: str | None = None,
        drop: str | None = None,
        ticket: Ticket | None = None,
    ) -> None:
        """Updates the rows with the same key (null equals null), inserts the others; one commit. `update` overrides
        columns, by SQL over t and s. Only files that may hold rows t with `among`, in SQL, are looked through. Rows t
        with `drop` that have no row s are deleted."""
        on = " AND ".join([*(f"t.{name} <=> s.{name}" for name in key), among])
        values = {name: f"s.{name}" for name in table.names} | dict(update or {})
        clauses = [
            _when("MATCHED", only_if, f"UPDATE {_set(values)}"),
            _when("NOT MATCHED", None, "INSERT *"),
            *([] if drop is None else [_when("NOT MATCHED BY SOURCE", drop, "DELETE")]),
        ]
        with settings(rows.sparkSession, as_conf(ticket)), fenced_off(ticket):
            self.merge(table, self._shaped(table, rows), on, *clauses)

    def merge(self, table: Table, rows: DataFrame, on: str, *clauses: str) -> int:
        """MERGE of rows s into the table t: one commit. Returns how many rows that changed. In SQL, which all that runs
        Delta takes, a Spark Connect server without Delta's plug-ins too."""
        statement = " ".join([f"ON {on}", *clauses]).replace("{", "{{").replace("}", "}}")
        statement = f"MERGE INTO {self.identifier(table)} AS t USING {{rows}} AS s {statement}"
        changed = retried(lambda: rows.sparkSession.sql(statement, rows=rows).collect())
        return sum(int(row.num_affected_rows) for row in changed)  # no row if its ticket was used before

    def update(self, table: Table, rows: str, values: Mapping[str, str]) -> int:
        """Sets columns, by SQL, in the rows of the SQL condition `rows`; one commit, none if there are no such rows.
        Returns their number."""
        return self._changed(f"UPDATE {self.identifier(table)} {_set(values)} WHERE {rows}")

    def delete(self, table: Table, rows: str) -> int:
        """Deletes the rows of the SQL condition `rows`, and returns their number; no commit if there are none."""
        return self._changed(f"DELETE FROM {self.identifier(table)} WHERE {rows}")

    def _changed(self, statement: str) -> int:
        (row,) = retried(lambda: self.spark.sql(statement).collect())
        return int(row.num_affected_rows)

    def delete_matching(self, table: Table, others: DataFrame, on: str) -> int:
        """Deletes the rows t of the table for which a row s of `others` fulfils the SQL condition `on`, and returns
        their number. No commit if there are none."""
        target = self.read(table).alias("t")
        if not target.join(others.alias("s"), F.expr(on), "left_semi").limit(1).count():
            return 0
        return self.merge(table, others, on, _when("MATCHED", None, "DELETE"))

    def _shaped(self, table: Table, rows: DataFrame) -> DataFrame:
        """With the columns, and the fields of structs, in the table's own order, which another version may have begun:
        an insert binds them by position. Columns of somebody else are null."""
        fields = self.read(table).schema.fields
        return rows.select(table.names).to(StructType([StructField(field.name, field.dataType) for field in fields]))


def _set(values: Mapping[str, str]) -> str:
    return "SET " + ", ".join(f"{name} = {value}" for name, value in values.items())


def _when(which: str, condition: str | None, then: str) -> str:
    """A clause of MERGE."""
    return f"WHEN {which}{'' if condition is None else f' AND {condition}'} THEN {then}"
