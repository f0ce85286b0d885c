"""The files behind a table: merged where they are small, removed where nobody needs them; and its log, kept short."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import unquote

from pyspark.sql import Row

from schemas.tables import Table
from transforms.errors import MachineError
from transforms.lake import context
from transforms.lake.retries import retried
from transforms.lake.session import settings
from transforms.lake.tables import Tables
from transforms.lake.tickets import Ticket

_FULL_BYTES, _SMALL_BYTES = 128 << 20, 64 << 20
"""What a file holds at most, and below which it is merged with others."""
_LAYOUT = {
    # Files that a query skips whole, in which a recording's rows are neighbours.
    "spark.databricks.delta.optimize.maxFileSize": str(_FULL_BYTES),
    "spark.databricks.delta.optimize.minFileSize": str(_SMALL_BYTES),
    "spark.databricks.io.skipping.mdc.sortWithinFiles": "true",
}
_LISTING_TASKS = "spark.sql.sources.parallelPartitionDiscovery.parallelism"
"""Tasks in which VACUUM lists a table's folder: 10,000 if nobody says otherwise, of which two have one to list."""
_NEW_SHARE = 0.25
_BYTES_ADDED = ("numOutputBytes", "numTargetBytesAdded", "numAddedBytes")
"""What WRITE, MERGE, and UPDATE or DELETE call it in the history."""
_LOG = "_delta_log"

Work = Literal["lay out", "merge"]


@dataclass(frozen=True)
class File:
    """`modified_ms`: since the epoch, by the store's clock."""

    path: Any
    size_bytes: int
    modified_ms: int

    @property
    def name(self) -> str:
        return str(self.path.getName())


def files(tables: Tables, table: Table) -> list[File]:
    """All files of rows below the table's folder: of the table as it is, as it was, of its change data feed, and those
    that nobody came to commit."""
    return _files_below(*tables.folder(table), but=(_LOG, "_signs"))


def live_files(tables: Tables, table: Table) -> list[File]:
    """Those of the table as it is."""
    return _parted(tables, table)[0]


def _parted(tables: Tables, table: Table) -> tuple[list[File], list[File]]:
    """The files of the table as it is, and all others."""
    there = files(tables, table)
    live = {unquote(uri).rpartition("/")[2] for uri in tables.read(table).inputFiles()} if there else set()
    return [file for file in there if file.name in live], [file for file in there if file.name not in live]


def work_to_do(tables: Tables, table: Table, live: list[File]) -> Work | None:
    """`lay out` where a quarter of the table has come since it was laid out last, or never was, as far as its history
    tells: so each row is rewritten a few times in the table's life, however often this is asked. Else `merge` if there
    are small files; only these are read then."""
    if "audio_id" in table.key and live:
        new_bytes = 0
        history = tables.history(table)
        for row in history.select("operation", "operationParameters", "operationMetrics").collect():
            if row.operation == "OPTIMIZE" and "audio_id" in row.operationParameters.get("zOrderBy", ""):
                break
            new_bytes += 0 if row.operation == "OPTIMIZE" else _bytes_added(row.operationMetrics)
        else:
            return "lay out"
        if new_bytes >= _NEW_SHARE * sum(file.size_bytes for file in live):
            return "lay out"
    return "merge" if sum(file.size_bytes < _SMALL_BYTES for file in live) > 1 else None


def lay_out(tables: Tables, table: Table, work: Work) -> None:
    """Merges small files, or lays the whole table out by recording, so that the rows of one are read without the
    others; what readers see stays the same, and other writers may go on."""
    with settings(tables.spark, _LAYOUT):
        order = " ZORDER BY (audio_id)" if work == "lay out" else ""
        retried(lambda: tables.spark.sql(f"OPTIMIZE {tables.identifier(table)}{order}").collect())


def _bytes_added(metrics: Mapping[str, str]) -> int:
    return sum(int(metrics.get(name, 0)) for name in _BYTES_ADDED)


def unused(tables: Tables, table: Table) -> list[File]:
    """What VACUUM would remove: files that have been out of the table for `delta.deletedFileRetentionDuration`, and
    those that nobody came to commit in that time."""
    _, others = _parted(tables, table)
    names = {unquote(row.path).rpartition("/")[2] for row in _vacuum(tables, table, " DRY RUN")} if others else set()
    return [file for file in others if file.name in names]


def vacuum(tables: Tables, table: Table) -> None:
    """Removes them, and makes two commits, also where there are none."""
    _vacuum(tables, table)


def _vacuum(tables: Tables, table: Table, more: str = "") -> list[Row]:
    """Without a number of hours: Delta takes no other than the table's own."""
    with settings(tables.spark, {_LISTING_TASKS: str(context.tasks_at_once(tables.spark))}):
        return tables.spark.sql(f"VACUUM {tables.identifier(table)}{more}").collect()


def commits_to_replay(tables: Tables, table: Table) -> int:
    """Commits after the last checkpoint, which every reader of the table has to read one by one."""
    log = _log(tables, table)
    return _last_commit(log) - _last_checkpoint(log)


def write_checkpoint(tables: Tables, table: Table) -> int:
    """Writes one, which makes Delta remove the log before `delta.logRetentionDuration`; returns how many files that
    were."""
    before = {file.name for file in _log(tables, table)}
    _checkpoint(tables, table)
    return len(before - {file.name for file in _log(tables, table)})


def remove_history(tables: Tables, table: Table, before_ms: int, ticket: Ticket) -> int:
    """Leaves nothing but the table as it is now: no older files, nor any that were never committed, no change data, and
    no log that tells of them (it has the least and the greatest of a file's values). Returns the number of files
    removed.

    Whoever wrote to the table before `before_ms`, by the store's clock, must have committed it: what VACUUM with no
    retention would also remove, the files of commits still to come, stays.
    """
    last = _last_commit(_log(tables, table))
    if last < 1 and not files(tables, table):
        return 0  # nothing was ever written to it
    # A commit that tells of no file, to begin the log with.
    tables.append(table, tables.read(table).limit(0), ticket)
    _checkpoint(tables, table)
    log = _log(tables, table)
    if (first := _last_checkpoint(log)) <= last:
        raise MachineError(f"no checkpoint of {tables.where(table)} could be written, so its log stays; run again")
    _, others = _parted(tables, table)
    old = [file for file in others if file.modified_ms <= before_ms]
    old += [file for file in log if _is_before(file, first, before_ms)]
    filesystem, _ = tables.folder(table)
    for file in old:
        filesystem.delete(file.path, False)
    # What this process keeps of the log may lead to files that are gone.
    context.forget_logs(tables.spark)
    return len(old)


def _is_before(file: File, first: int, before_ms: int) -> bool:
    """Files without a number hold parts of checkpoints."""
    number = _number(file.name)
    return 0 <= number < first or (number < 0 and file.modified_ms <= before_ms and not file.name.startswith("_last"))


def _log(tables: Tables, table: Table) -> list[File]:
    return _files_below(*tables.log(table))


def _last_commit(log: list[File]) -> int:
    return max((_number(file.name) for file in log if file.name.endswith(".json")), default=-1)


def _last_checkpoint(log: list[File]) -> int:
    return max((_number(file.name) for file in log if ".checkpoint" in file.name), default=-1)


def _files_below(filesystem: Any, folder: Any, but: Collection[str] = ()) -> list[File]:
    """All files below the folder, but none of its folders of these names."""
    found = []
    # Not listFiles, which on a disk starts a process for each file, to ask who may read it.
    for status in filesystem.listStatus(folder):
        if status.isFile():
            found.append(File(status.getPath(), status.getLen(), status.getModificationTime()))
        elif status.getPath().getName() not in but:
            found += _files_below(filesystem, status.getPath())
    return found


def _number(name: str) -> int:
    """Of the commit that a file of the log is about, also where it was left half written; -1 for other files."""
    digits = name.lstrip(".").partition(".")[0]
    return int(digits) if digits.isdigit() else -1


def _checkpoint(tables: Tables, table: Table) -> None:
    context.write_checkpoint(tables.spark, tables.folder(table)[1])
