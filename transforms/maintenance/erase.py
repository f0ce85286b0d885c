"""Recordings erased with all that is left of them: a person's right. What jobs/erase.py does, as a Python call.

In this order, so that a kill in between is mended by the next call, whatever that is asked for:

1. They are noted in the table erased, by a hash: from then on no run takes them up.
2. They are claimed; what a living run holds is left to it, and what a dead one may still write is fenced off.
3. Their rows go from every table that has an audio_id, their names from the errors in runs, and the sound of live
   sessions from where jobs.serve has put it.
4. Once no other run is at work: the files that had held the rows, the change data feed and the logs go, which have the
   least and the greatest of a file's values. A table begins anew then, as it is.
5. That this is finished is noted, too.
"""

from __future__ import annotations

import datetime
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from functools import reduce

import pyarrow as pa
from pyspark.errors import AnalysisException
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from schemas.config import Config, ConfigError, FetchConfig, show_config
from schemas.tables import CLAIMS, ERASED, FAILURES, LIVE_UTTERANCES, RECORDINGS, RUNS, Table, to_batch
from transforms.lake.session import first_line
from transforms.lake.sql import any_of, literal
from transforms.lake.tables import Tables
from transforms.lake.tickets import Ticket
from transforms.lake.upkeep import remove_history
from transforms.run.claims import Claims, writer_name
from transforms.run.erased import digest, with_digests
from transforms.run.registry import Registry
from transforms.stores.files import remove


@dataclass(frozen=True)
class Erased:
    """`noted`: recordings that are to be erased, those that earlier calls left unfinished among them; `absent` ones of
    these were in no table. `rows` by table. `left`: by audio_id, the living run that holds the recording. `at_work`:
    runs for which the old files have to wait. `files`: how many were removed; None if they wait."""

    noted: int
    absent: int = 0
    rows: dict[str, int] = field(default_factory=dict)
    left: dict[str, str] = field(default_factory=dict)
    at_work: set[str] = field(default_factory=set)
    files: int | None = None


def of_recordings(present: Iterable[Table]) -> list[Table]:
    """The tables with rows of single recordings, those first that readers begin with, and the claims last."""
    named = [table for table in present if "audio_id" in table.names]
    return sorted(named, key=lambda table: (table is CLAIMS, table is not RECORDINGS))


def selected(tables: Tables, where: str) -> list[str]:
    """The audio_ids of the recordings that fulfil an SQL condition. Raises ConfigError if it is none."""
    try:
        return [row.audio_id for row in tables.read(RECORDINGS).where(where).select("audio_id").collect()]
    except AnalysisException as error:
        raise ConfigError(f"--where {where}: {first_line(error)}") from error


def to_go(tables: Tables, audio_ids: Collection[str]) -> Erased:
    """What `erase` would do; writes nothing."""
    digests = {*map(digest, audio_ids)} | _unfinished(tables)
    found = _found(tables, digests)
    rows = {table.name: with_digests(tables.read(table), _frame(tables, digests)).count() for table in _present(tables)}
    return Erased(len(digests), len(digests) - len(found), rows)


def erase(spark: SparkSession, config: Config, root: str, audio_ids: Collection[str]) -> Erased:
    """Erases these recordings, and what earlier calls have left unfinished. Writes nothing if there is nothing to do.

    Raises ConfigError if there are no tables at `root`. Other runs may be at work.
    """
    tables = Tables(spark, root)
    tables.upgrade()
    digests = {*map(digest, audio_ids)}
    new, unfinished = digests - _noted(tables), _unfinished(tables)
    if not new and not unfinished and not _found(tables, digests):
        return Erased(len(digests), len(digests), files=0)
    registry = Registry(tables, config.run.claim_minutes)
    with registry, registry.running(show_config(config, redacted=True)):
        _note(tables, new)
        return _Erasure(tables, registry, config.fetch, digests | unfinished).execute()


def allow_again(tables: Tables, audio_ids: Collection[str]) -> int:
    """Lets runs transcribe these recordings again; returns how many of them had been erased. Raises ConfigError where
    that is not finished yet."""
    digests = {*map(digest, audio_ids)}
    if unfinished := digests & _unfinished(tables):
        raise ConfigError(
            f"{len(unfinished)} of these recordings are not wholly erased yet; finish that first with: "
            f"python -m jobs.erase --tables {tables.root}"
        )
    noted = digests & _noted(tables)
    if noted:
        tables.delete(ERASED, any_of("audio_id_sha256", noted))
    return len(noted)


class _Erasure:
    """Of recordings that are noted, known by their digests."""

    def __init__(self, tables: Tables, registry: Registry, fetch: FetchConfig, digests: set[str]) -> None:
        self.tables, self.registry, self.fetch, self.digests = tables, registry, fetch, digests
        self.claims = Claims(tables, registry)

    def execute(self) -> Erased:
        found = _found(self.tables, self.digests)
        taken = self.claims.take(dict.fromkeys(found), to_erase=True)
        held = list(taken.held)
        self._unname(held)
        self._remove_sound(held)
        rows = {table.name: self._delete(table, held) for table in _present(self.tables) if table is not CLAIMS}
        self.claims.release(held)
        # In this order: who is not at work yet writes later than this.
        now_ms = int(self.registry.store_time_s() * 1000)
        at_work = self.registry.at_work() | set(taken.left.values())
        files = None if at_work else self._remove_history(now_ms)
        return Erased(len(self.digests), len(self.digests) - len(found), rows, taken.left, at_work, files)

    def _unname(self, audio_ids: Collection[str]) -> None:
        """Errors of runs may name a recording, or where it lies."""
        if not audio_ids:
            return
        ids = self.tables.frame(pa.table({"audio_id": pa.array(list(audio_ids), pa.string())}))
        named = [self.tables.read(table).select("audio_id", "uri") for table in (RECORDINGS, FAILURES)]
        uris = named[0].union(named[1]).join(F.broadcast(ids), "audio_id", "left_semi").where("uri IS NOT NULL")
        names = {*audio_ids} | {row.uri for row in uris.select("uri").distinct().collect()}
        for row in self.tables.read(RUNS).where("error IS NOT NULL").select("run_id", "error").collect():
            if any(name in row.error for name in names):
                values = {"error": "'it named a recording that was erased'"}
                self.tables.update(RUNS, f"run_id = {literal(row.run_id)}", values)

    def _remove_sound(self, audio_ids: Collection[str]) -> None:
        """Of live sessions, which jobs.serve has recorded."""
        if not self.tables.exists(LIVE_UTTERANCES):
            return
        ids = self.tables.frame(pa.table({"audio_id": pa.array(list(audio_ids), pa.string())}))
        said = self.tables.read(LIVE_UTTERANCES).join(F.broadcast(ids), "audio_id", "left_semi")
        for row in said.select("uri").distinct().collect():
            remove(row.uri, self.fetch)

    def _delete(self, table: Table, audio_ids: Collection[str]) -> int:
        ids = self.tables.frame(pa.table({"audio_id": pa.array(list(audio_ids), pa.string())}))
        return self.tables.delete_matching(table, F.broadcast(ids), "t.audio_id = s.audio_id")

    def _remove_history(self, before_ms: int) -> int:
        ticket = Ticket(writer_name(self.registry.run_id, "eraser"), 1)
        touched = [*_present(self.tables), RUNS]
        files = sum(remove_history(self.tables, table, before_ms, ticket) for table in touched)
        rows = f"finished_at IS NULL AND {any_of('audio_id_sha256', self.digests)}"
        self.tables.update(ERASED, rows, {"finished_at": "now()"})
        return files


def _present(tables: Tables) -> list[Table]:
    return of_recordings(tables.present())


def _noted(tables: Tables, rows: str = "true") -> set[str]:
    if not tables.exists(ERASED):
        return set()
    return {row.audio_id_sha256 for row in tables.read(ERASED).where(rows).select("audio_id_sha256").collect()}


def _unfinished(tables: Tables) -> set[str]:
    return _noted(tables, "finished_at IS NULL")


def _note(tables: Tables, digests: set[str]) -> None:
    if digests:
        tables.create([ERASED])
        now = datetime.datetime.now(datetime.UTC)
        rows = [{"audio_id_sha256": one, "erased_at": now} for one in sorted(digests)]
        tables.append(ERASED, tables.frame(pa.Table.from_batches([to_batch(rows, ERASED.arrow)])))


def _found(tables: Tables, digests: Collection[str]) -> list[str]:
    """The audio_ids with these digests of which some table has rows."""
    rows = [tables.read(table).select("audio_id") for table in _present(tables)]
    found = with_digests(reduce(DataFrame.union, rows).distinct(), _frame(tables, digests))
    return sorted(row.audio_id for row in found.collect())


def _frame(tables: Tables, digests: Collection[str]) -> DataFrame:
    return tables.frame(pa.table({"audio_id_sha256": pa.array(sorted(digests), pa.string())}))
