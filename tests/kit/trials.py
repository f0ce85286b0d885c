"""Trials: the job by one or several drivers into one lake, disturbed at random, compared with an undisturbed run."""

from __future__ import annotations

import os
import random
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from jobs.status import Status
from schemas.config import SAMPLE_RATE_HZ
from schemas.tables import CLAIMS
from tests.kit import delta_log
from tests.kit.comparison import COMPARED, contents, differences, doubled
from tests.kit.disturbance import CLAIM_S, Fate, Usual, disturb
from tests.kit.driver import TRANSCRIBE, Driver
from tests.kit.lake import cut, file_row, write_clip, write_clips, write_manifest

SETTINGS = (
    "engine.options.delay_s=0.2",
    "run.wave_audio_hours=0.03",
    "run.task_audio_minutes=0.4",
    f"run.claim_minutes={CLAIM_S / 60}",
    "batching.max_padded_audio_s=12",
    "batching.lookahead_audio_s=24",
)
LEFT = "left to other runs"
"""Part of what a driver says of recordings that others hold."""
_LAST_RUNS = 5
_LONG_AGO_S = 1_700_000_000


def write_input(folder: Path) -> list[dict[str, Any]]:
    """Rows of a manifest of a few dozen recordings: short ones, one in parts, one with a channel a speaker, a silent
    one, and broken ones."""
    audio = folder / "audio"
    rows = [file_row(path) for path in write_clips(audio, 30, 5.0)]
    rows.append(file_row(write_clip(audio / "long.wav", cut(20, 75, 0.9))))
    rows.append(file_row(write_clip(audio / "call.wav", cut(0, 9, 0.8), cut(60, 9, 0.8)), channels="split"))
    rows.append(file_row(write_clip(audio / "silence.wav", np.zeros(3 * SAMPLE_RATE_HZ, np.float32))))
    (audio / "text.mp3").write_text("This is no recording.")
    return [*rows, file_row(audio / "text.mp3"), {"uri": str(audio / "missing.wav")}]


@dataclass(frozen=True)
class Undisturbed(Usual):
    rows: list[dict[str, Any]]
    job: Sequence[str]


def undisturbed(folder: Path, tables: Path | None = None, *, watch: bool = False) -> Undisturbed:
    """`tables`: the folder for its tables, where that is another one, as in a store. With `watch` the recordings arrive
    in a folder, and the job is jobs.watch."""
    rows, root = write_input(folder), (tables or folder) / "undisturbed"
    job, source = TRANSCRIBE, write_manifest(folder / "manifest.parquet", rows)
    if watch:
        job, source = ("jobs.watch", "--once", "--folder"), folder / "audio"
        for path in source.iterdir():
            os.utime(path, (_LONG_AGO_S, _LONG_AGO_S))  # so that none seems to be written still
    driver = Driver.of_tests(source, root, folder / "undisturbed.calls", *SETTINGS, job=job)
    assert driver.wait() == 0, driver.said()
    seconds, calls = driver.seconds, driver.calls()
    assert calls and max(calls.values()) == 1, "the undisturbed run recognized a chunk twice"
    commits = {table: delta_log.version(root, table) for table in COMPARED}
    return Undisturbed(source, contents(root), commits, calls.total(), seconds, rows, job)


@dataclass
class Trial:
    """`calls` and `again`: chunks recognized in it, and those of them that had been recognized before."""

    seed: int
    drivers: int
    events: list[str] = field(default_factory=list)
    differences: list[str] = field(default_factory=list)
    calls: int = 0
    again: int = 0
    seconds: float = 0.0

    def __str__(self) -> str:
        verdict = "the same" if not self.differences else "; ".join(self.differences)
        return f"seed {self.seed}: {', '.join(self.events) or 'nothing happened'}: {verdict} ({self.seconds:.0f} s)"


def run_trial(
    folder: Path, usual: Undisturbed, seed: int, drivers: int = 1, most_events: int = 2, tables: Path | None = None
) -> Trial:
    """Starts `drivers` at random moments over manifests that overlap; up to `most_events` things happen to each, and
    one that was killed is started again. Then undisturbed runs over everything, until one leaves nothing to others: its
    tables must be the usual ones."""
    started, trial = time.monotonic(), Trial(seed, drivers)
    folder.mkdir(parents=True)
    root = (tables or folder) / "tables"
    lives = [_Life(folder, root, usual, random.Random(f"{seed} {index}"), index, drivers) for index in range(drivers)]
    with ThreadPoolExecutor(drivers, thread_name_prefix="driver") as pool:
        list(pool.map(lambda life: life.live(life.rng.randint(int(drivers == 1), most_events)), lives))
    last = _Life(folder, root, usual, random.Random(), drivers, 1)
    last.finish()
    calls, in_flight = Counter[str](), Counter[str]()
    for life in [*lives, last]:
        trial.events += life.events
        trial.differences += life.faults
        calls, in_flight = calls + life.calls, in_flight + life.in_flight
    trial.calls, trial.again = calls.total(), calls.total() - len(calls)
    if unpaid := [text for text, count in calls.items() if count > 1 + in_flight[text]]:
        trial.differences.append(f"{len(unpaid)} chunks were recognized again that were not in flight: {unpaid[:3]}")
    trial.differences += differences(root, usual.contents) + doubled(root)
    if claims := delta_log.rows(root, CLAIMS.name):
        trial.differences.append(f"{len(claims)} claims are left over, such as {claims[0]}")
    trial.seconds = time.monotonic() - started
    return trial


class _Life:
    """Of driver number `index`, and of those that are started in its place after it was killed."""

    def __init__(
        self, folder: Path, root: Path, usual: Undisturbed, rng: random.Random, index: int, drivers: int
    ) -> None:
        self.folder, self.root, self.usual = folder, root, usual
        self.rng, self.index, self.drivers = rng, index, drivers
        self.runs = 0
        self.events: list[str] = []
        self.faults: list[str] = []
        self.calls, self.in_flight = Counter[str](), Counter[str]()

    def live(self, events: int) -> None:
        """Until `events` things have happened, or nothing is left to do."""
        source = self.usual.source
        if self.drivers > 1:
            rows = self.rng.sample(self.usual.rows, self.rng.randint(len(self.usual.rows) // 2, len(self.usual.rows)))
            source = write_manifest(self.folder / f"manifest_{self.index}.parquet", rows)
            time.sleep(self.rng.uniform(0, self.usual.seconds))
        goes_on = True
        while goes_on:
            driver, fate = self._start(source), Fate()
            while events and not driver.ended:
                disturb(self.rng, driver, self.usual, self.drivers, fate)
                events -= 1
            self._end(driver, fate)
            goes_on = fate.killed and events > 0

    def finish(self) -> None:
        """Runs over everything that nobody disturbs, until one leaves nothing to others."""
        for _ in range(_LAST_RUNS):
            time.sleep(CLAIM_S)
            driver = self._start(self.usual.source)
            self._end(driver, Fate())
            if LEFT not in driver.said():
                return
        self.faults.append(f"{_LAST_RUNS} runs after all others had ended still left recordings to them")

    def _start(self, source: Path) -> Driver:
        self.runs += 1
        calls = self.folder / f"driver_{self.index}_{self.runs}.calls"
        return Driver.of_tests(source, self.root, calls, *SETTINGS, job=self.usual.job)

    def _end(self, driver: Driver, fate: Fate) -> None:
        status, said = driver.wait(), driver.said()
        gave_way = status == Status.HELD and (LEFT in said or (fate.stopped and "error: " in said))
        if status and not fate.killed and not gave_way:
            self.faults.append(f"driver {self.index} ended with {status}: {said[-600:]}")
        self.events += [f"driver {self.index} {event}" for event in fate.events]
        self.faults += fate.faults
        self.calls += driver.calls()
        self.in_flight += fate.in_flight
