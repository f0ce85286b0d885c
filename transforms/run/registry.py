"""This run among the others on the same lake, of which those live that give a sign of life every few minutes."""

from __future__ import annotations

import datetime
import logging
import re
import threading
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import TracebackType
from typing import Any

import pyarrow as pa
from pyspark import InheritableThread
from pyspark.sql import functions as F

from schemas.config import MAX_WAVES_AT_ONCE
from schemas.tables import RUNS, to_batch
from transforms.errors import LostClaims
from transforms.lake.sql import literal, value
from transforms.lake.tables import Tables
from transforms.logs import tell
from transforms.run.drivers import died_here, driver
from transforms.run.signs import Signs

_RUN_ID = "%Y%m%dT%H%M%S.%fZ"
_ERROR_CHARACTERS = 4000
_SIGNS_A_CLAIM = 4
"""Signs of life in the time after which a run without one is dead."""


class Registry:
    """Enters this run into the table runs when `register` is called, and gives signs of life until `end`."""

    def __init__(self, tables: Tables, claim_minutes: float) -> None:
        self._tables, self._claim_s, self._signs = tables, claim_minutes * 60, Signs(tables)
        self._stop, self._lost = threading.Event(), threading.Event()
        self._thread: threading.Thread | None = None
        self._seen_at = time.monotonic()
        self.run_id = ""
        # In this order, so that a run that registers meanwhile is among the one or the other.
        self._last = self._last_run_id()
        self.at_first = self.living()

    @property
    def sign_s(self) -> float:
        """Seconds between two signs of life."""
        return self._claim_s / _SIGNS_A_CLAIM

    def register(self, config: str) -> str:
        """The id of this run, which sorts behind those of all runs before, whatever the clock says."""
        self.run_id = next_run_id(datetime.datetime.now(datetime.UTC), self._last_run_id())
        now = datetime.datetime.now(datetime.UTC)
        row = {
            "run_id": self.run_id,
            "status": "running",
            "started_at": now,
            "alive_at": now,
            "driver": driver(),
            "config": config,
        }
        self._signs.begin(self.run_id)
        self._tables.append(RUNS, self._tables.frame(pa.Table.from_batches([to_batch([row], RUNS.arrow)])))
        self._seen_at = time.monotonic()
        self._thread = InheritableThread(
            target=self._beat, daemon=True, name="signs of life", session=self._tables.spark
        )
        self._thread.start()
        return self.run_id

    def living(self) -> dict[str, float]:
        """By run_id, the last signs of life of the other runs that are at work, in seconds since the epoch."""
        rows, signs = self._rows("status = 'running'"), self._signs.last()
        return {row.run_id: _alive_s(row, signs) for row in rows if lives(row, signs, self._claim_s)}

    def may_have_published(self) -> set[str]:
        """The other runs that were at work at some time since this object was made."""
        later = self._rows(f"run_id > {literal(self._last or '')}")
        return {*self.at_first, *(row.run_id for row in later)}

    def at_work(self) -> set[str]:
        """The other runs that live, and those that are about to register."""
        known = {row.run_id for row in self._rows("true")} | {self.run_id}
        return {*self.living(), *(self._signs.last().keys() - known)}

    def store_time_s(self) -> float:
        """Now, by the clock of the store that the tables lie in: seconds since the epoch."""
        return self._signs.now_s(self.run_id)

    def sweep_signs(self, older_than_s: float, *, dry_run: bool = False) -> int:
        """Removes the signs of runs that died so long ago, and returns how many there are."""
        living = {*self.living(), self.run_id}
        old = [run_id for run_id, at_s in self._signs.last().items() if time.time() - at_s > older_than_s]
        dead = [run_id for run_id in old if run_id not in living]
        for run_id in dead if not dry_run else ():
            self._signs.withdraw(run_id)
        return len(dead)

    def ended(self, run_id: str) -> bool:
        """True for a run that came to its end by itself: it writes nothing more."""
        return self._status(run_id) in ("ok", "failed")

    def waves_at_once(self, run_id: str) -> int:
        """Of the run's configuration; as many as any can have where that does not say."""
        row = self._tables.read(RUNS).where(f"run_id = {literal(run_id)}").select("config").first()
        found = re.search(r"^  waves_at_once: (\d+)$", row.config or "", re.MULTILINE) if row else None
        return int(found.group(1)) if found else MAX_WAVES_AT_ONCE

    def mark_lost(self, run_id: str) -> None:
        """Another run has died: its claims are taken over."""
        values = {"status": "'lost'", "error": literal(f"no sign of life; taken over by {self.run_id}")}
        self._tables.update(RUNS, f"run_id = {literal(run_id)} AND status = 'running'", values)
        self._signs.withdraw(run_id)

    def confirm(self, ask: bool = False) -> None:
        """Raises LostClaims if another run has taken this one for dead. Asks the table only if told to, or after a
        pause in the signs of life, as when the driver was stopped."""
        paused = not self._stop.is_set() and time.monotonic() - self._seen_at > 2 * self.sign_s
        if self.run_id and (ask or paused):
            self._look()
        if self._lost.is_set():
            raise LostClaims(
                f"run {self.run_id} gave no sign of life for more than {self._claim_s / 60:g} minutes, and another run "
                "has taken over its recordings; what it had published is kept, and nothing more is written. "
                "Nothing is to be done; if this happens often, raise run.claim_minutes"
            )

    def end(self, values: Mapping[str, Any]) -> None:
        """Writes the run's end; `values` are columns of runs. A run that was taken for dead keeps its status."""
        self.stop()
        mine = f"run_id = {literal(self.run_id)} AND status = 'running'"
        self._tables.update(RUNS, mine, {name: value(one) for name, one in values.items()})

    @contextmanager
    def running(self, config: str) -> Iterator[str]:
        """Registers a run that recognizes nothing, gives its run_id, and writes its end, whatever is raised."""
        run_id, started, error = self.register(config), time.monotonic(), None
        try:
            yield run_id
        except BaseException as raised:
            error = raised
            raise
        finally:
            self.end(ending(error, time.monotonic() - started))

    def stop(self) -> None:
        """Ends the signs of life."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
            self._signs.withdraw(self.run_id)

    def __enter__(self) -> Registry:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _last_run_id(self) -> str | None:
        last = self._tables.read(RUNS).agg(F.max("run_id").alias("run_id")).first()
        return last.run_id if last else None

    def _rows(self, condition: str) -> list[Any]:
        rows = self._tables.read(RUNS).where(f"({condition}) AND run_id <> {literal(self.run_id)}")
        return rows.select("run_id", "status", "alive_at", "driver").collect()

    def _status(self, run_id: str) -> str | None:
        row = self._tables.read(RUNS).where(f"run_id = {literal(run_id)}").select("status").first()
        return None if row is None else row.status

    def _beat(self) -> None:
        while not self._stop.wait(self.sign_s):
            try:
                if not self._signs.given(self.run_id):
                    self._look()
                self._signs.give(self.run_id)
                self._seen_at = time.monotonic()
            except Exception as error:  # the next sign may succeed; without any, other runs take over
                tell(f"run {self.run_id} could not give a sign of life: {error}", logging.WARNING)

    def _look(self) -> None:
        if self._status(self.run_id) != "running":
            self._lost.set()
        self._seen_at = time.monotonic()


def lives(row: Any, signs: Mapping[str, float], claim_s: float) -> bool:
    """Whether the run of this row, which has run_id, driver and alive_at, is at work."""
    if died_here(row.driver):
        return False
    # Clocks of two machines may differ: one that is ahead is no sign of life for ever.
    return abs(time.time() - _alive_s(row, signs)) <= claim_s


def ending(error: BaseException | None, wall_s: float) -> dict[str, Any]:
    """The columns of runs that every run's end has."""
    return {
        "status": "ok" if error is None else "failed",
        "error": None if error is None else f"{type(error).__name__}: {error}"[:_ERROR_CHARACTERS],
        "ended_at": datetime.datetime.now(datetime.UTC),
        "wall_seconds": wall_s,
    }


def next_run_id(now: datetime.datetime, last: str | None) -> str:
    """The time, or the microsecond after the last run's where the clock is behind that; and a random ending."""
    if last is not None and re.fullmatch(r"\d{8}T\d{6}\.\d{6}Z-\w+", last):
        before = datetime.datetime.strptime(last.partition("-")[0], _RUN_ID).replace(tzinfo=datetime.UTC)
        now = max(now, before + datetime.timedelta(microseconds=1))
    return f"{now:{_RUN_ID}}-{uuid.uuid4().hex[:6]}"


def _alive_s(row: Any, signs: Mapping[str, float]) -> float:
    return max(float(row.alive_at.timestamp()), signs.get(row.run_id, 0.0))
