"""Where the tables live, and the few ways in which they are written: the only file that knows Delta.

`root` is a path or uri (`./lakehouse`, `s3://bucket/speech`: tables at root/words, …) or a name in a catalog
(`main.speech`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
from delta.tables import DeltaTable
from pyspark.errors import AnalysisException
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import StructField, StructType

from schemas.config import ConfigError
from schemas.tables import ALL, CHUNKS, PASSAGES, Table
from transforms.lake.migration import declared, missing_columns, no_table, of_earlier_version

Take = tuple[str, str]
"""(audio_id, run_key): one recording, transcribed in one way."""

_CATALOG_NAME = re.compile(r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*){0,1}$")
_PROPERTIES = {
    # Readers other than Spark (delta-rs, DuckDB) open the tables as long as these stay off.
    "delta.enableDeletionVectors": "false",
    "delta.columnMapping.mode": "none",
}
_CHANGE_FEED = "delta.enableChangeDataFeed"
"""On, so that jobs after this one can read only what is new. A table where somebody has turned it off stays so."""
_LAYOUT = {
    # Files that a query skips whole, in which a recording's rows are neighbours.
    "spark.databricks.delta.optimize.maxFileSize": str(128 << 20),
    "spark.databricks.io.skipping.mdc.sortWithinFiles": "true",
}


class Tables:
    def __init__(self, spark: SparkSession, root: str) -> None:
        self.spark = spark
        self.in_catalog = bool(_CATALOG_NAME.match(root)) and not Path(root).exists()
        self.root = root if self.in_catalog or "://" in root else str(Path(root).expanduser().resolve())

    def identifier(self, table: Table) -> str:
        """The table's name in SQL."""
        return f"{self.root}.{table.name}" if self.in_catalog else f"delta.`{self._path(table).replace('`', '``')}`"

    def _path(self, table: Table) -> str:
        return f"{self.root.rstrip('/')}/{table.name}"

    def _where(self, table: Table) -> str:
        """The table in messages."""
        return self.identifier(table) if self.in_catalog else self._path(table)

    def create(self, tables: Iterable[Table] = ALL) -> None:
        """Makes those of `tables` that are missing, and adds to those of an earlier version the columns and the
        property that they lack; makes no commit if all are there.

        Raises ConfigError for a table that is not ours.
        """
        if self.in_catalog:
            self.spark.sql(f"CREATE SCHEMA IF NOT EXISTS {self.root}")
        for table in tables:
            if self.exists(table):
                self._migrate(table)
            else:
                self._remove_unfinished(table)
                self._check_free(table)
                self._make(table)

    def upgrade(self) -> None:
        """As `create`, where there must be tables already: raises ConfigError if there are none."""
        if not self.exists(CHUNKS):
            raise no_table(self.root, CHUNKS)
        self.create(self.present())

    def present(self) -> list[Table]:
        """All that every lakehouse has, and of the others those that were made."""
        return [*ALL, *(table for table in (PASSAGES,) if self.exists(table))]

    def require(self, *tables: Table) -> None:
        """For commands that only read: raises ConfigError if one of `tables` (without any: of all) or a column of it is
        missing."""
        if not self.exists(CHUNKS):
            raise no_table(self.root, CHUNKS)
        for table in tables or ALL:
            if not self.exists(table):
                raise no_table(self.root, table, f"add it with: python -m jobs.publish --tables {self.root}")
            if missing := self._missing(table):
                raise of_earlier_version(self.root, table, (".".join(path) for path, _ in missing))

    def _make(self, table: Table) -> None:
        columns = ", ".join(_column((field.name,), field) for field in declared(table).fields)
        properties = ", ".join(f"'{key}' = '{value}'" for key, value in {**_PROPERTIES, _CHANGE_FEED: "true"}.items())
        # SQL, since DeltaTable's own builder takes no name with a catalog in it.
        self.spark.sql(
            f"CREATE TABLE IF NOT EXISTS {self.identifier(table)} ({columns}) USING delta "
            f"COMMENT {literal(table.comment)} TBLPROPERTIES ({properties})"
        )

    def _migrate(self, table: Table) -> None:
        alter = f"ALTER TABLE {self.identifier(table)}"
        if missing := self._missing(table):
            self.spark.sql(f"{alter} ADD COLUMNS ({', '.join(_column(path, field) for path, field in missing)})")
        if _CHANGE_FEED not in {
            row.key for row in self.spark.sql(f"SHOW TBLPROPERTIES {self.identifier(table)}").collect()
        }:
            self.spark.sql(f"{alter} SET TBLPROPERTIES ('{_CHANGE_FEED}' = 'true')")

    def _missing(self, table: Table) -> list[tuple[tuple[str, ...], StructField]]:
        if self.in_catalog:
            try:
                self._delta(table)
            except AnalysisException as error:
                raise ConfigError(
                    f"{self._where(table)} is no Delta table; give another --tables, or rename it and run again"
                ) from error
        return missing_columns(table, self.read(table).schema, self._where(table))

    def _check_free(self, table: Table) -> None:
        """Raises ConfigError if something else lies where the table is to be made."""
        if self.in_catalog:
            return
        filesystem, log = self._log(table)
        folder = log.getParent()
        if filesystem.exists(folder) and (filesystem.isFile(folder) or filesystem.listStatus(folder)):
            raise ConfigError(
                f"{self._where(table)} is no Delta table; give another --tables, or move it away and run again"
            )

    def exists(self, table: Table) -> bool:
        if self.in_catalog:
            return self.spark.catalog.tableExists(self.identifier(table))
        try:
            return DeltaTable.isDeltaTable(self.spark, self._path(table)) and self._has_commit(table)
        except AnalysisException:
            return False

    def _has_commit(self, table: Table) -> bool:
        """False for the log that a kill in the middle of CREATE TABLE leaves behind; Delta takes it for a table."""
        filesystem, log = self._log(table)
        return any(status.getPath().getName()[0].isdigit() for status in filesystem.listStatus(log))

    def _remove_unfinished(self, table: Table) -> None:
        """Removes a log without a commit, which would keep CREATE TABLE from making one."""
        if not self.in_catalog:
            filesystem, log = self._log(table)
            if filesystem.exists(log) and not self._has_commit(table):
                filesystem.delete(log, True)

    def _log(self, table: Table) -> tuple[Any, Any]:
        """Hadoop's file system and path of the table's log."""
        jvm: Any = self.spark._jvm
        log = jvm.org.apache.hadoop.fs.Path(f"{self._path(table)}/_delta_log")
        return log.getFileSystem(self.spark._jsc.hadoopConfiguration()), log

    def read(self, table: Table) -> DataFrame:
        return self.spark.table(self.identifier(table))

    def ask(self, query: str) -> pa.Table:
        return self.spark.sql(query).toArrow()

    def literal(self, value: str) -> str:
        return literal(value)

    def listed(self, takes: Sequence[Take]) -> DataFrame:
        """Rows of audio_id and run_key, to join with."""
        ids, keys = (pa.array(list(column), pa.string()) for column in zip(*takes, strict=True))
        return self.spark.createDataFrame(pa.table({"audio_id": ids, "run_key": keys}))

    def append(self, table: Table, rows: DataFrame) -> None:
        """One commit. `rows` has the table's columns by name; nothing but `create` decides their types."""
        self._shaped(table, rows).write.format("delta").mode("append").insertInto(self.identifier(table))

    def replace(self, table: Table, rows: DataFrame, takes: Sequence[Take]) -> None:
        """Leaves exactly `rows` for the (audio_id, run_key) in `takes`, in one commit; a plain append if the table has
        none of them."""
        audio_ids, run_keys = zip(*takes, strict=True)
        known = f"{_in('audio_id', audio_ids)} AND {_in('run_key', run_keys)}"
        if self.read(table).where(known).limit(1).count():
            writer = self._shaped(table, rows).write.format("delta").mode("overwrite").option("replaceWhere", known)
            writer.saveAsTable(self.identifier(table)) if self.in_catalog else writer.save(self._path(table))
        else:
            self.append(table, rows)

    def upsert(
        self,
        table: Table,
        rows: DataFrame,
        key: Iterable[str],
        update: Mapping[str, str] | None = None,
        only_if: str | None = None,
    ) -> None:
        """Updates the rows with the same key (null equals null), inserts the others; one commit. `update` overrides
        columns, by SQL over t and s."""
        on = " AND ".join(f"t.{name} <=> s.{name}" for name in key)
        values: dict[str, str | Column] = {**{name: f"s.{name}" for name in table.names}, **(update or {})}
        merge = self._delta(table).alias("t").merge(self._shaped(table, rows).alias("s"), on)
        merge.whenMatchedUpdate(condition=only_if, set=values).whenNotMatchedInsertAll().execute()

    def optimize(self, table: Table) -> bool:
        """Merges the small files that waves of work leave, and lays `table` out by recording, so that the rows of one
        are read without the others; what readers see stays the same. One commit; none, and False, if the table is
        empty or the last commit was this one."""
        last = self._delta(table).history(1).collect()[0]
        if last["operation"] == "OPTIMIZE":
            return False
        before = {key: self.spark.conf.get(key, None) for key in _LAYOUT}
        try:
            for key, value in _LAYOUT.items():
                self.spark.conf.set(key, value)
            optimizer = self._delta(table).optimize()
            optimizer.executeZOrderBy("audio_id") if "audio_id" in table.key else optimizer.executeCompaction()
        finally:
            for key, old in before.items():
                self.spark.conf.unset(key) if old is None else self.spark.conf.set(key, old)
        return bool(self._delta(table).history(1).collect()[0]["version"] != last["version"])

    def delete_matching(self, table: Table, others: DataFrame, on: str) -> None:
        """Deletes the rows t of the table for which a row s of `others` fulfils the SQL condition `on`. No commit if
        there are none."""
        target = self.read(table).alias("t")
        if target.join(others.alias("s"), F.expr(on), "left_semi").limit(1).count():
            self._delta(table).alias("t").merge(others.alias("s"), on).whenMatchedDelete().execute()

    def _shaped(self, table: Table, rows: DataFrame) -> DataFrame:
        """With the columns, and the fields of structs, in the table's own order, which another version may have begun:
        an insert binds them by position. Columns of somebody else are null."""
        fields = self.read(table).schema.fields
        return rows.select(table.names).to(StructType([StructField(field.name, field.dataType) for field in fields]))

    def _delta(self, table: Table) -> DeltaTable:
        if self.in_catalog:
            return DeltaTable.forName(self.spark, self.identifier(table))
        return DeltaTable.forPath(self.spark, self._path(table))


def _in(column: str, values: Iterable[str]) -> str:
    return f"{column} IN ({', '.join(map(literal, sorted(set(values))))})"


def _column(path: Sequence[str], field: StructField) -> str:
    """As CREATE TABLE and ALTER TABLE want it."""
    comment = f" COMMENT {literal(field.metadata['comment'])}" if "comment" in field.metadata else ""
    return f"{'.'.join(f'`{name}`' for name in path)} {field.dataType.simpleString()}{comment}"


def literal(value: str) -> str:
    """As a string in Spark's SQL."""
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"
