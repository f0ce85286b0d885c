"""Who does which recording: a run claims those of a wave in the lake before it recognizes them, so that any number of
runs may work on one lake.

A claim is a row of the table claims. It is taken by one MERGE, which Delta commits for one run only. It is let go when
the recording is published; the claim of a run that died is taken over by the next run that wants the recording. What
the dead run may still write, should it wake up, is fenced off: each of its writers (a wave's lane, or the publisher)
marks its commits, and a mark that no number exceeds makes Delta refuse all further ones."""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from schemas.tables import CHUNKS, CLAIMS, FAILURES, RECORDINGS, SEGMENTS, WORDS
from transforms.errors import LostClaims
from transforms.lake.sql import any_of, literal
from transforms.lake.tables import Tables
from transforms.lake.tickets import Ticket
from transforms.run.erased import erased_among
from transforms.run.registry import Registry

PUBLISHED = (SEGMENTS, WORDS, FAILURES, RECORDINGS)
"""The tables that the publisher of a run writes, in this order."""


_LISTED = 2_000
"""So many ids are written into a statement, which reads fewer files than a join."""


class Writer:
    """A writer of one run, which commits one after the other."""

    def __init__(self, run_id: str, name: str) -> None:
        self._name, self._number = writer_name(run_id, name), 0

    def ticket(self) -> Ticket:
        """For the next commit."""
        self._number += 1
        return Ticket(self._name, self._number)


def writer_name(run_id: str, name: str) -> str:
    return f"{run_id}/{name}"


def lane_name(lane: int) -> str:
    """The writer of chunks of the waves in this lane."""
    return f"lane-{lane}"


@dataclass
class Taken:
    """`held`: by audio_id, the runs that had begun the recording and died. `left`: by audio_id, the living run that
    holds the recording. `done`: published by another run since this one made its plan, or erased."""

    held: dict[str, list[str]] = field(default_factory=dict)
    left: dict[str, str] = field(default_factory=dict)
    done: set[str] = field(default_factory=set)


class Claims:
    """The claims of the run that `registry` has registered. For use from several threads."""

    def __init__(self, tables: Tables, registry: Registry) -> None:
        self._tables, self._registry = tables, registry
        self._lock = threading.Lock()
        self._fenced: set[str] = set()

    def take(self, wanted: Mapping[str, str | None], *, to_erase: bool = False) -> Taken:
        """Claims recordings, given by audio_id with the take that is shown of each (None: none). Those that were erased
        are claimed only `to_erase` what is left of them."""
        with self._lock:
            self._registry.confirm()
            mine = self._registry.run_id
            # In this order: a run registers before it claims, so a holder that is not at work is dead. One that comes
            # between, as while Delta tries the MERGE again, is among neither.
            holders = {row.run_id for row in self._tables.read(CLAIMS).select("run_id").distinct().collect()} - {mine}
            dead = holders - self._registry.living().keys() if holders else set()
            rows = self._rows(wanted)
            # Those that are in this run's hands already stay as they are.
            self._tables.upsert(
                CLAIMS,
                rows,
                CLAIMS.key,
                update={"begun": "array_append(t.begun, t.run_id)"},
                only_if=any_of("t.run_id", dead),
            )
            found = self._tables.read(CLAIMS).join(F.broadcast(rows.select("audio_id")), "audio_id", "left_semi")
            taken = Taken()
            for row in found.select("audio_id", "run_id", "begun").collect():
                if row.run_id == mine:
                    taken.held[row.audio_id] = list(row.begun)
                else:
                    taken.left[row.audio_id] = row.run_id
            self.fence({run_id for begun in taken.held.values() for run_id in begun})
            if to_erase:
                return taken
            self._leave_erased(taken)
            return self._without_done(taken, wanted)

    def held(self, audio_ids: Collection[str]) -> set[str]:
        """Those of the recordings that any run holds, dead ones too."""
        claims = self._tables.read(CLAIMS).join(self._ids(audio_ids), "audio_id", "left_semi")
        return {row.audio_id for row in claims.select("audio_id").collect()}

    def release(self, audio_ids: Collection[str]) -> None:
        """Lets go of recordings that are published. Raises LostClaims if not all of them were this run's until now:
        then the writes before were committed by nobody, and another run does those recordings."""
        if not audio_ids:
            return
        if len(audio_ids) <= _LISTED:
            released = self._tables.delete(CLAIMS, f"{self._mine} AND {any_of('audio_id', audio_ids)}")
        else:
            mine = self._ids(audio_ids).withColumn("run_id", F.lit(self._registry.run_id))
            same = "t.audio_id = s.audio_id AND t.run_id = s.run_id"
            released = self._tables.delete_matching(CLAIMS, mine, same)
        if released != len(audio_ids):
            self._raise_lost()

    def confirm(self, audio_ids: Collection[str]) -> None:
        """Raises LostClaims if not all of these are this run's, or another run has taken this one for dead."""
        self._registry.confirm(ask=True)
        mine = self._tables.read(CLAIMS).where(self._mine).join(self._ids(audio_ids), "audio_id", "left_semi")
        if mine.count() != len(audio_ids):
            self._raise_lost()

    @property
    def _mine(self) -> str:
        return f"run_id = {literal(self._registry.run_id)}"

    def _ids(self, audio_ids: Iterable[str]) -> DataFrame:
        return F.broadcast(self._tables.frame(pa.table({"audio_id": pa.array(list(audio_ids), pa.string())})))

    def _raise_lost(self) -> None:
        raise LostClaims(
            f"run {self._registry.run_id} was taken for dead, and another run does its recordings; what it had "
            "published is kept. Nothing is to be done; if this happens often, raise run.claim_minutes"
        )

    def _rows(self, wanted: Mapping[str, str | None]) -> DataFrame:
        ids = pa.array(list(wanted), pa.string())
        rows = self._tables.frame(pa.table({"audio_id": ids, "replaces": pa.array(list(wanted.values()), pa.string())}))
        return rows.select(
            "audio_id",
            F.lit(self._registry.run_id).alias("run_id"),
            "replaces",
            F.array().cast("array<string>").alias("begun"),
            F.now().alias("claimed_at"),
        )

    def fence(self, dead: Collection[str]) -> None:
        """Nothing of these runs, which gave no sign of life, is committed from now on; marks them as lost."""
        for run_id in sorted({*dead} - self._fenced):
            if not self._registry.ended(run_id):
                # First, so that one whose commit is left out by a fence finds out why.
                self._registry.mark_lost(run_id)
                for lane in range(self._registry.waves_at_once(run_id)):
                    self._tables.fence(CHUNKS, writer_name(run_id, lane_name(lane)))
                for table in PUBLISHED:
                    self._tables.fence(table, writer_name(run_id, "publisher"))
            self._fenced.add(run_id)

    def _leave_erased(self, taken: Taken) -> None:
        """Whoever erases first notes it, then looks who holds the recordings; here it is the other way round: so one of
        the two sees the other."""
        erased = erased_among(self._tables, self._ids(taken.held)) if taken.held else None
        if erased is not None and (gone := {row.audio_id for row in erased.collect()}):
            self.release(gone)
            taken.held = {audio_id: begun for audio_id, begun in taken.held.items() if audio_id not in gone}
            taken.done |= gone

    def _without_done(self, taken: Taken, wanted: Mapping[str, str | None]) -> Taken:
        """Other runs may have published some of them since the plan was made, or just before they were fenced off."""
        others = self._registry.may_have_published().union(*taken.held.values())
        if not others or not taken.held:
            return taken
        shown = self._tables.read(RECORDINGS).where(any_of("take_id", others)).select("audio_id", "take_id")
        published = shown.join(self._ids(taken.held), "audio_id", "left_semi").collect()
        # What the plan knows of is to be done again.
        done = {row.audio_id: row.take_id for row in published if row.take_id != wanted[row.audio_id]}
        self.tidy(done, taken.held)
        self.release(done.keys())
        for audio_id in done:
            del taken.held[audio_id]
        taken.done |= done.keys()
        return taken

    def tidy(self, shown: Mapping[str, str], begun: Mapping[str, list[str]]) -> None:
        """Of recordings (audio_id: the take that is shown) that dead runs had `begun`, nothing but that take stays."""
        untidy = {audio_id for audio_id in shown if begun.get(audio_id)}
        for take_id in {shown[audio_id] for audio_id in untidy}:
            of_take = any_of("audio_id", (audio_id for audio_id in untidy if shown[audio_id] == take_id))
            for table in (SEGMENTS, WORDS):
                self._tables.delete(table, f"{of_take} AND take_id <> {literal(take_id)}")
        if untidy:
            self._delete_made_again(untidy, begun)

    def _delete_made_again(self, audio_ids: Collection[str], begun: Mapping[str, list[str]]) -> None:
        """Of parts that these runs have made again, the rows of chunks by runs before them."""
        runs = [begun[audio_id] for audio_id in audio_ids]
        ids = pa.table({"audio_id": pa.array(audio_ids, pa.string()), "run_ids": pa.array(runs, pa.list_(pa.string()))})
        keys = self._tables.read(RECORDINGS).select("audio_id", "run_key", "take_id")
        listed = keys.join(F.broadcast(self._tables.frame(ids)), "audio_id").where("array_contains(run_ids, take_id)")
        same = "t.audio_id = s.audio_id AND t.run_key = s.run_key"
        self._tables.delete_matching(CHUNKS, listed, f"{same} AND NOT array_contains(s.run_ids, t.run_id)")
