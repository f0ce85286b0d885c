"""The work of every night, step by step. What jobs/maintain.py does, as a Python call."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from pyspark.sql import SparkSession

from schemas.config import Config, show_config
from schemas.tables import CHUNKS, RUNS
from transforms.check.checks import Check
from transforms.check.look import look
from transforms.check.repair import repair
from transforms.lake.tables import Tables
from transforms.lake.upkeep import (
    File,
    commits_to_replay,
    lay_out,
    live_files,
    unused,
    vacuum,
    work_to_do,
    write_checkpoint,
)
from transforms.run.registry import Registry

UNSHOWN = Check(
    "unshown",
    CHUNKS,
    """
SELECT c.audio_id, c.run_key, c.run_id FROM chunks c JOIN recordings r ON c.audio_id = r.audio_id
WHERE c.run_key <> r.run_key AND c.run_id < r.run_id AND c.audio_id NOT IN (SELECT audio_id FROM claims)""",
    "rows that nothing is published from any more",
    "delete",
    "jobs.maintain deletes them",
)
"""Chunks of takes that nothing shows: those of a recording by an earlier run than the one that is shown, under another
run_key, while nobody has claimed the recording.

Nobody asks for these again. jobs.publish and jobs.check make recordings from the chunks under the run_key that is
shown. A run takes up only what runs before it have begun, and those stand in the recording's claim: it stays when its
run dies, and goes with the publishing. So what a living run has recognized, and what a dead one has left to go on from,
is claimed. Chunks that are later than what is shown stay in any case, and so do those of recordings of which nothing is
shown."""

_SIGNS_KEPT_S = 7 * 86_400.0


@dataclass(frozen=True)
class Done:
    """What a step has done to a table, or would do, in words."""

    step: str
    table: str
    what: str


def maintain(
    spark: SparkSession, config: Config, root: str, steps: Sequence[str] = (), *, dry_run: bool = False
) -> list[Done]:
    """Does these of STEPS (none: all) in their own order; returns what there was to do, nothing where all is well. May
    work beside other runs, and is one itself if it writes. With `dry_run` nothing is written.

    Raises ConfigError if there are no tables at `root`, or none of this version.
    """
    tables = Tables(spark, root)
    tables.require()
    todo = [step for name, step in STEPS.items() if not steps or name in steps]
    with Registry(tables, config.run.claim_minutes) as registry, ExitStack() as run:
        upkeep = Upkeep(tables, registry, config, dry_run, run)
        return [done for step in todo for done in step(upkeep)]


@dataclass(frozen=True)
class Upkeep:
    tables: Tables
    registry: Registry
    config: Config
    dry_run: bool
    run: ExitStack

    def may_write(self) -> bool:
        """False in a dry run. Else this is a run from now on, so that jobs.erase leaves alone what a merge has written
        and not committed yet."""
        if not self.dry_run and not self.registry.run_id:
            self.run.enter_context(self.registry.running(show_config(self.config, redacted=True)))
        return not self.dry_run

    def chunks(self) -> Iterator[Done]:
        """Deletes what UNSHOWN tells of."""
        found = look(self.tables, self.registry, [UNSHOWN])
        for finding in found.findings:
            if self.may_write():
                repair(self.tables, self.registry, self.config, found)
            yield Done("chunks", CHUNKS.name, f"{finding.rows} rows of takes that nothing shows")

    def optimize(self) -> Iterator[Done]:
        for table in self.tables.present():
            before = live_files(self.tables, table)
            work = work_to_do(self.tables, table, before)
            if work is None:
                continue
            said = "laid out by recording: " if work == "lay out" else "small files merged: "
            said += _sum(before)
            if self.may_write():
                lay_out(self.tables, table, work)
                said += f" → {_sum(live_files(self.tables, table))}"
            yield Done("optimize", table.name, said)

    def vacuum(self) -> Iterator[Done]:
        for table in self.tables.present():
            if old := unused(self.tables, table):
                if self.may_write():
                    vacuum(self.tables, table)
                yield Done("vacuum", table.name, f"removed: {_sum(old)}")

    def logs(self) -> Iterator[Done]:
        for table in self.tables.present():
            # One is what the end of the last call has left in runs.
            if (commits := commits_to_replay(self.tables, table)) > 1:
                said = f"a checkpoint after {commits} commits"
                if self.may_write() and (removed := write_checkpoint(self.tables, table)):
                    said += f"; removed: {removed} files of the log"
                yield Done("logs", table.name, said)
        if signs := self.registry.sweep_signs(_SIGNS_KEPT_S, dry_run=self.dry_run):
            yield Done("logs", RUNS.name, f"removed: {signs} signs of life of runs that are dead")


STEPS: dict[str, Callable[[Upkeep], Iterator[Done]]] = {
    "chunks": Upkeep.chunks,
    "optimize": Upkeep.optimize,
    "vacuum": Upkeep.vacuum,
    "logs": Upkeep.logs,
}
"""In the order in which each makes work for the next."""


def _sum(files: Sequence[File]) -> str:
    return f"{len(files)} files, {sum(file.size_bytes for file in files) / 2**20:.1f} MiB"
