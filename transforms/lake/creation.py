"""Makes the tables, and brings those of an earlier version up to this one. All that is asked of each start of a run: so
it reads names and properties, and rows only where a table is brought up."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from pyspark import inheritable_thread_target
from pyspark.errors import AnalysisException
from pyspark.sql.types import StructField

from schemas.config import ConfigError
from schemas.tables import ALL, CHUNKS, RECORDINGS, Table
from schemas.version import TABLES_VERSION
from transforms.errors import MachineError
from transforms.lake.migration import check_version, declared, missing_columns, no_table
from transforms.lake.properties import VERSION_PROPERTY, of_new, wanted
from transforms.lake.retries import retried
from transforms.lake.sql import literal
from transforms.lake.takes import give_takes

if TYPE_CHECKING:
    from transforms.lake.tables import Tables

_PATIENCE_S = 10
_TRIES = 5
_HAS_TAKES = "lakescribe.takes"
"""On the table recordings: its rows, and those of segments and words, have a take_id."""


def create(tables: Tables, which: Iterable[Table] = ALL) -> None:
    """See Tables.create."""
    which = list(which)
    if tables.in_catalog:
        tables.spark.sql(f"CREATE SCHEMA IF NOT EXISTS {tables.root}")
    # Side by side: most of their time they wait for the driver's small jobs, the store and Java that is cold.
    with ThreadPoolExecutor(len(which) or 1) as pool:
        for made in [pool.submit(inheritable_thread_target(tables.spark)(_create), tables, table) for table in which]:
            made.result()
    if RECORDINGS in which and _HAS_TAKES not in properties(tables, RECORDINGS):
        give_takes(tables)
        set_properties(tables, RECORDINGS, {_HAS_TAKES: "1"})


def _create(tables: Tables, table: Table) -> None:
    for attempt in range(_TRIES):
        if tables.exists(table) or _made_by_another(tables, table):
            _migrate(tables, table)
            return
        _remove_unfinished(tables, table)
        _check_free(tables, table)
        try:
            retried(lambda: _make(tables, table))
        except AnalysisException as error:
            # Another run came before this one, but not to its commit yet.
            if "DELTA_CREATE_TABLE_WITH_NON_EMPTY_LOCATION" not in str(error) or attempt == _TRIES - 1:
                raise
            time.sleep(1)
        else:
            # Delta makes nothing where another run has begun a log in this very moment.
            if tables.exists(table):
                return
    raise MachineError(f"{tables.where(table)} could not be made: others begin to make it and do not end; run again")


def upgrade(tables: Tables) -> None:
    """See Tables.upgrade."""
    if not tables.exists(CHUNKS):
        raise no_table(tables.root, CHUNKS)
    create(tables, tables.present())


def missing_fields(tables: Tables, table: Table) -> list[tuple[tuple[str, ...], StructField]]:
    """What the table lacks of its declared columns, as migration.missing_columns."""
    if tables.in_catalog:
        try:
            tables.version(table)
        except AnalysisException as error:
            raise ConfigError(
                f"{tables.where(table)} is no Delta table; give another --tables, or rename it and run again"
            ) from error
    return missing_columns(table, tables.read(table).schema, tables.where(table))


def properties(tables: Tables, table: Table) -> dict[str, str]:
    """The table's properties."""
    return {row.key: row.value for row in tables.spark.sql(f"SHOW TBLPROPERTIES {tables.identifier(table)}").collect()}


def _make(tables: Tables, table: Table) -> None:
    columns = ", ".join(_column((field.name,), field) for field in declared(table).fields)
    takes = {_HAS_TAKES: "1"} if table is RECORDINGS else {}
    values = {**of_new(table), **takes}
    tables.spark.sql(
        f"CREATE TABLE IF NOT EXISTS {tables.identifier(table)} ({columns}) USING delta "
        f"COMMENT {literal(table.comment)} TBLPROPERTIES ({_listed(values)})"
    )


def _migrate(tables: Tables, table: Table) -> None:
    there = properties(tables, table)
    check_version(there, tables.where(table))
    if missing := missing_fields(tables, table):
        added = ", ".join(_column(path, field) for path, field in missing)
        retried(lambda: tables.spark.sql(f"ALTER TABLE {tables.identifier(table)} ADD COLUMNS ({added})"))
    lacking = {key: value for key, value in wanted(table).items() if key not in there}
    # Last, since it says that the columns are there.
    if there.get(VERSION_PROPERTY) != TABLES_VERSION:
        lacking[VERSION_PROPERTY] = TABLES_VERSION
    if lacking:
        set_properties(tables, table, lacking)


def set_properties(tables: Tables, table: Table, values: Mapping[str, str]) -> None:
    """Sets properties of the table."""
    statement = f"ALTER TABLE {tables.identifier(table)} SET TBLPROPERTIES ({_listed(values)})"
    retried(lambda: tables.spark.sql(statement))


def _listed(values: Mapping[str, str]) -> str:
    return ", ".join(f"{literal(key)} = {literal(value)}" for key, value in values.items())


def _check_free(tables: Tables, table: Table) -> None:
    """Raises ConfigError if something else lies where the table is to be made."""
    if not tables.sees_files:
        return
    filesystem, log = tables.log(table)
    folder = log.getParent()
    if not filesystem.exists(folder):
        return
    others = {status.getPath().getName() for status in filesystem.listStatus(folder)} - {log.getName()}
    if filesystem.isFile(folder) or others:
        raise ConfigError(
            f"{tables.where(table)} is no Delta table; give another --tables, or move it away and run again"
        )


def _made_by_another(tables: Tables, table: Table) -> bool:
    """Where a log has no commit yet, another run may be making the table: true if it comes to its commit."""
    if not tables.sees_files:
        return False
    filesystem, log = tables.log(table)
    for _ in range(_PATIENCE_S * 5):
        if not filesystem.exists(log):
            return False
        if tables.has_commit(table):
            return True
        time.sleep(0.2)
    return False


def _remove_unfinished(tables: Tables, table: Table) -> None:
    """Removes a log without a commit, which would keep CREATE TABLE from making one."""
    if tables.sees_files:
        filesystem, log = tables.log(table)
        if filesystem.exists(log) and not tables.has_commit(table):
            filesystem.delete(log, True)


def _column(path: Sequence[str], field: StructField) -> str:
    """As CREATE TABLE and ALTER TABLE want it."""
    comment = f" COMMENT {literal(field.metadata['comment'])}" if "comment" in field.metadata else ""
    return f"{'.'.join(f'`{name}`' for name in path)} {field.dataType.simpleString()}{comment}"
