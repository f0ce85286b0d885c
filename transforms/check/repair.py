"""Mends what `look` has found, from chunks and without an engine: under a registered run, with claims like any other,
so that it may work beside runs that live. What those hold is left to them."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from schemas.config import Config
from schemas.tables import CHUNKS, CLAIMS, EVALUATIONS, FAILURES, PASSAGES, RECORDINGS, RUNS, Table
from transforms.check.checks import Check, Mend
from transforms.check.look import Look, look
from transforms.lake.session import limit_arrow_batches, own_session
from transforms.lake.sql import any_of
from transforms.lake.tables import Tables
from transforms.lake.unique import keep_one
from transforms.publishing.publish import TAKES, Publisher
from transforms.run.claims import Claims, Writer
from transforms.run.registry import Registry
from transforms.run.republish import unfinished

_LATEST = {
    RECORDINGS: "run_id DESC, transcribed_at DESC",
    CHUNKS: "created_at DESC",
    FAILURES: "at DESC",
    RUNS: "status = 'running', alive_at DESC",
    CLAIMS: "run_id DESC",
    EVALUATIONS: "evaluated_at DESC",
    PASSAGES: "take_id",
}
"""Which row of several with one key stays."""
_SAME = ["audio_id", "take_id", "run_key", "part_index", "run_id"]
"""What rows to delete have in common, of the columns that the check gives."""
_LISTED = 2_000


@dataclass(frozen=True)
class Repaired:
    """`published` recordings were made again from chunks. `left` ones were taken up by a living run in the meantime."""

    published: int
    left: int


def repair(tables: Tables, registry: Registry, config: Config, found: Look) -> Repaired:
    """To be called by a run that `registry` has registered."""
    limit_arrow_batches(tables.spark)
    return _Repair(tables, registry, config, found).execute()


class _Repair:
    def __init__(self, tables: Tables, registry: Registry, config: Config, found: Look) -> None:
        self.tables, self.registry, self.config, self.now = tables, registry, config, found
        self.claims = Claims(tables, registry)

    def execute(self) -> Repaired:
        dead = self._rows("mark", RUNS)
        if dead is not None:
            # What they were about to write must not follow what is mended now: so it is looked at once more.
            self.claims.fence({row.run_id for row in dead.collect()})
            self.now = look(self.tables, self.registry)
        for table in (RUNS, CLAIMS):
            if (doubled := self._rows("keep one", table)) is not None:
                keep_one(self.tables, table, doubled, _LATEST[table])
        faulty = self._ids("publish") | self._ids("keep one", RECORDINGS)
        shown = self._shown()
        ready, over = self._left_behind(shown)
        wanted = faulty | self._ids("keep one") | self._ids("delete") | ready.keys() | over
        taken = self.claims.take({audio_id: _take_id(shown, audio_id) for audio_id in wanted})
        held = taken.held.keys()
        self.claims.confirm(held)
        self._keep_one_of(held)
        self._delete(held)
        again = (faulty & held & shown.keys()) - ready.keys() - self._ids("none")
        takes = [ready[audio_id] for audio_id in sorted(ready.keys() & held)]
        takes += [_again(shown[audio_id], taken.held[audio_id]) for audio_id in sorted(again)]
        self._publish(takes)
        # Of the others that runs had begun, a part is still to be recognized.
        open_ = {audio_id for audio_id in held if taken.held[audio_id]} - over - ready.keys()
        self.claims.release(held - open_)
        return Repaired(len(takes), len(taken.left))

    def _rows(self, mend: Mend, table: Table) -> DataFrame | None:
        """The keys that are to be mended so in this table."""
        found = [self.now.rows(check) for check in self._to_be(mend, table)]
        return found[0] if found else None

    def _to_be(self, mend: Mend, *tables: Table) -> list[Check]:
        """What has found something that is to be mended so, in all tables if none are given."""
        checks = [finding.check for finding in self.now.findings]
        return [check for check in checks if check.mend == mend and (check.table in tables or not tables)]

    def _ids(self, mend: Mend, *tables: Table) -> set[str]:
        """The recordings that this is about."""
        checks = [check for check in self._to_be(mend, *tables) if check.table is not RUNS]
        return {
            row.audio_id for check in checks for row in self.now.rows(check).select("audio_id").distinct().collect()
        }

    def _shown(self) -> dict[str, Any]:
        """What recordings shows of all that is faulty or claimed: rows with run_key and take_id."""
        faulty = [self.now.rows(finding.check) for finding in self.now.findings if finding.check.table is not RUNS]
        ids = self.now.moment.spark.table("claims").select("audio_id")
        for rows in faulty:
            ids = ids.union(rows.select("audio_id"))
        rows = self.now.moment.spark.table("recordings").join(ids, "audio_id", "left_semi")
        found = rows.select("audio_id", "run_key", "take_id", "run_id", "transcribed_at")
        return {row.audio_id: row for row in found.orderBy("run_id", "transcribed_at").collect()}

    def _left_behind(self, shown: dict[str, Any]) -> tuple[dict[str, dict[str, Any]], set[str]]:
        """What runs that are over have claimed: takes that are whole in chunks, by audio_id; and the recordings that
        were published and not let go."""
        rows = self._rows("claim", CLAIMS)
        replaces = {} if rows is None else {row.audio_id: row.replaces for row in rows.collect()}
        over = {audio_id for audio_id, take_id in replaces.items() if _take_id(shown, audio_id) != take_id}
        whole = unfinished(self.tables, self.registry).to_pylist() if replaces.keys() - over else []
        ready = {take["audio_id"]: take for take in whole if take["audio_id"] in replaces.keys() - over}
        return ready, over

    def _keep_one_of(self, held: Collection[str]) -> None:
        for check in self._to_be("keep one"):
            if check.table not in (RUNS, CLAIMS):
                keep_one(self.tables, check.table, self._only(self.now.rows(check), held), _LATEST[check.table])

    def _delete(self, held: Collection[str]) -> None:
        """Before anything is published again, which may write rows with these keys."""
        for check in self._to_be("delete"):
            rows = self._only(self.now.rows(check), held)
            same = [name for name in _SAME if name in rows.columns]
            rows = rows.select(same).distinct()
            self.tables.delete_matching(check.table, rows, " AND ".join(f"t.{name} <=> s.{name}" for name in same))

    def _only(self, rows: DataFrame, audio_ids: Collection[str]) -> DataFrame:
        ids = self.now.moment.frame(pa.table({"audio_id": pa.array(list(audio_ids), pa.string())}))
        return rows.join(F.broadcast(ids), "audio_id", "left_semi")

    def _publish(self, takes: list[dict[str, Any]]) -> None:
        published = Tables(own_session(self.tables.spark), self.tables.root)
        ticket = Writer(self.registry.run_id, "publisher").ticket
        publisher = Publisher(published, self.config.segments, self.registry.run_id, ticket, self.claims.confirm)
        chunks = published.read(CHUNKS)
        if len(takes) <= _LISTED:
            chunks = chunks.where(any_of("audio_id", (take["audio_id"] for take in takes)))
        publisher.publish(pa.Table.from_pylist(takes, TAKES), chunks)


def _take_id(shown: dict[str, Any], audio_id: str) -> str | None:
    return shown[audio_id].take_id if audio_id in shown else None


def _again(shown: Any, begun: list[str]) -> dict[str, Any]:
    """The take that makes what is shown once more, whichever run recognized it."""
    take = {"audio_id": shown.audio_id, "run_key": shown.run_key, "replaces": shown.take_id}
    return {**take, "run_ids": None, "begun": begun, "made_again": False}
