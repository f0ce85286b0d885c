"""Arrivals → runs over those that are whole, some hours of audio at a time → done. What jobs/watch.py does, as a Python
call."""

from __future__ import annotations

import datetime
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from pyspark.sql import SparkSession

from schemas.config import Config
from schemas.tables import FAILURES
from transforms.errors import ManifestError
from transforms.lake.paths import hadoop_path
from transforms.lake.sql import literal
from transforms.lake.tables import Tables
from transforms.run.job import RunSummary, transcribe
from transforms.run.lengths import guessed_ms
from transforms.run.listing import MANIFEST, peek
from transforms.watching.arrivals import Arrival, Arrivals, Watched
from transforms.watching.settling import Settling

_REST_S = 600.0
"""Before recordings are tried again that failed in a way that may pass, or that another run holds; twice as long each
time, a day at most."""
_LONGEST_REST_S = 86_400.0
_GONE = datetime.timedelta(days=7)
"""A file that is gone may come back for so long, as when a folder was not mounted for a while."""


@dataclass(frozen=True)
class Admitted:
    """A file that is whole, and its row of a manifest."""

    arrival: Arrival
    row: dict[str, Any]


class Watch:
    """Of `watched`, into the tables at `root`; `tell` gets a sentence for whatever a person may want to know. Once
    `stop` is set, no wave is begun any more; what is not finished then is done by the next start.

    Raises ConfigError before anything has run, and what transforms.run.job.transcribe raises but ManifestError: a
    manifest that cannot be used is told, is in `refused`, and waits until it changes, in nobody's way.
    """

    def __init__(
        self,
        spark: SparkSession,
        config: Config,
        watched: Watched,
        root: str,
        checkpoint: str,
        *,
        batch_hours: float,
        settle_s: float,
        tell: Callable[[str], None],
        stop: threading.Event,
    ) -> None:
        self._spark, self._config, self._tell, self._stop = spark, config, tell, stop
        self._kind, self._batch_ms, self._settle_s = watched.kind, batch_hours * 3.6e6, settle_s
        self._lake = Tables(spark, root)
        self._arrivals = Arrivals(spark, watched, checkpoint, self._lake.root)
        self._settling = Settling(settle_s, config.fetch)
        self._unfinished: set[str] = set()
        self._rests: dict[str, tuple[float, float]] = {}
        self.refused: dict[str, dict[str, Any]] = {}

    def once(self) -> None:
        """Does all that is there and whole. What is new is waited for once, as long as a file must have stood still."""
        self._do_what_is_whole()
        if self._unfinished and not self._stop.wait(self._settle_s):
            self._do_what_is_whole()
        if self._unfinished:
            self._tell(f"{len(self._unfinished)} files are still being written; the next start looks at them again")

    def go_on(self, every_s: float) -> None:
        """Until `stop` is set; looks for new files every `every_s`, and after each batch."""
        while not self._stop.is_set():
            self._do_what_is_whole()
            self._stop.wait(every_s)

    def _do_what_is_whole(self) -> None:
        tried: set[str] = set()
        while not self._stop.is_set():
            self._arrivals.note()
            batch = self._admit(tried)
            if not batch:
                return
            finished = self._transcribe(batch)
            changed = {one.arrival.path for one in batch if not self._settling.is_same(one.arrival, one.row)}
            # One that has changed meanwhile was not whole, and is looked at again.
            tried |= {one.arrival.path for one in batch} - changed
            self._arrivals.done(finished - changed)
            for path in finished - changed:
                self._settling.forget(path)
                self._rests.pop(path, None)

    def _admit(self, tried: set[str]) -> list[Admitted]:
        """What is whole of what waits, until the hours of a batch are full; at least one if there is any."""
        batch: list[Admitted] = []
        gone: list[str] = []
        left_ms = self._batch_ms
        self._unfinished.clear()
        for arrival in self._arrivals.waiting():
            if arrival.path in tried or self._rests.get(arrival.path, (0.0, 0.0))[0] > time.monotonic():
                continue
            row = self._settling.row(arrival)
            if row is None:
                if datetime.datetime.now(datetime.UTC) - arrival.noted_at > _GONE:
                    self._tell(f"{arrival.path} has been gone for a week and is given up")
                    gone.append(arrival.path)
                continue
            if self.refused.get(arrival.path) == row:
                continue
            if not self._settling.is_whole(arrival, row):
                self._unfinished.add(arrival.path)
                continue
            one = Admitted(arrival, row)
            length_ms = self._length_ms(one)
            if length_ms is None:
                continue
            if batch and left_ms < length_ms:
                break
            batch.append(one)
            left_ms -= length_ms
        self._arrivals.done(gone)
        return batch

    def _length_ms(self, one: Admitted) -> int | None:
        """The audio in it, by its bytes; None for a manifest that cannot be read."""
        if self._kind == "recordings":
            return guessed_ms(one.row)
        try:
            return sum(map(guessed_ms, peek(one.row["uri"], self._config.fetch)))
        except ManifestError as error:
            self._refuse(one, error)
            return None

    def _refuse(self, one: Admitted, error: ManifestError) -> None:
        self.refused[one.arrival.path] = one.row
        self._tell(f"{one.arrival.path} is left until it changes: {error}")

    def _transcribe(self, batch: Sequence[Admitted]) -> set[str]:
        """The paths of those that are finished. Manifests that cannot be used together are taken by halves, until the
        one that is at fault is alone."""
        try:
            summary = transcribe(self._spark, self._config, self._manifest(batch), self._lake.root, stop=self._stop)
        except ManifestError as error:
            if len(batch) == 1:
                self._refuse(batch[0], error)
                return set()
            half = len(batch) // 2
            return self._transcribe(batch[:half]) | self._transcribe(batch[half:])
        for sentence in summary.sentences():
            self._tell(sentence)
        if self._stop.is_set():
            return set()
        paths, again = {one.arrival.path for one in batch}, self._to_do_again(batch, summary)
        for path in paths:
            self.refused.pop(path, None)
        for path in again:
            rest_s = min(_LONGEST_REST_S, 2 * self._rests.get(path, (0.0, _REST_S / 2))[1])
            self._rests[path] = time.monotonic() + rest_s, rest_s
        return paths - again

    def _to_do_again(self, batch: Sequence[Admitted], summary: RunSummary) -> set[str]:
        """The paths of those that failed in a way that may pass, or of which another run has some in its hands."""
        failed: set[str] = set()
        if summary.run_id is not None:
            mine = f"run_id = {literal(summary.run_id)} AND transient"
            failed = {row.uri for row in self._lake.read(FAILURES).where(mine).select("uri").distinct().collect()}
        # Which recordings another run holds is not told, nor which manifest a recording came from.
        everything = bool(summary.left) or (bool(failed) and self._kind == "manifests")
        return {one.arrival.path for one in batch if everything or one.row["uri"] in failed}

    def _manifest(self, batch: Sequence[Admitted]) -> pa.Table | list[str]:
        if self._kind == "manifests":
            return [hadoop_path(one.row["uri"]) for one in batch]
        return pa.Table.from_pylist(list({one.row["uri"]: one.row for one in batch}.values()), MANIFEST)
