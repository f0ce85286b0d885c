"""A watch that is told to end, or killed, at work: the next start goes on, and the tables are those of a run that nobody
disturbed."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from tests.kit.comparison import committed, contents, differences, doubled
from tests.kit.driver import Driver, send
from tests.kit.lake import Lake, file_row, write_clips

RECORDINGS = 5
SETTINGS = ("run.wave_audio_hours=0.0001", "run.waves_at_once=1", "engine.options.delay_s=0.5")
"""A recording a wave, long enough to be met at work."""


@pytest.fixture
def drivers() -> Iterator[list[Driver]]:
    started: list[Driver] = []
    yield started
    for driver in started:
        if not driver.ended:  # its test has failed
            driver.kill()


@pytest.mark.drivers
def test_a_watch_that_is_ended_and_one_that_is_killed_leave_the_tables_of_one_that_nobody_disturbed(
    spark: SparkSession, tmp_path: Path, drivers: list[Driver]
) -> None:
    folder, root = tmp_path / "arriving", tmp_path / "tables"
    clips = write_clips(folder, RECORDINGS, 4.0)
    for path in clips:
        os.utime(path, (1_700_000_000, 1_700_000_000))
    usual = Lake(spark, tmp_path / "usual")
    usual.run(list(map(file_row, clips)))

    def start(*job: str) -> Driver:
        calls = tmp_path / f"driver_{len(drivers)}.calls"
        drivers.append(Driver.of_tests(folder, root, calls, *SETTINGS, job=("jobs.watch", *job, "--folder")))
        return drivers[-1]

    ended = start("--every", "1s")
    until(lambda: bool(committed(root)), ended)
    send(signal.SIGTERM, [ended.process.pid])
    assert ended.wait() == 0, ended.said()
    assert "stopped; the next start goes on from here" in ended.said()
    done = len(committed(root))
    assert done < RECORDINGS

    killed = start("--every", "1s")
    until(lambda: len(committed(root)) > done, killed)
    killed.kill()
    in_flight = Counter(killed.calls().keys() - committed(root))

    last = start("--once")
    assert last.wait() == 0, last.said()
    assert not differences(root, contents(usual.root))
    assert not doubled(root)
    calls = sum((driver.calls() for driver in drivers), Counter[str]())
    assert not {text for text, count in calls.items() if count > 1 + in_flight[text]}


def until(happened: Callable[[], bool], driver: Driver) -> None:
    while not happened():
        assert not driver.ended, driver.said()
        time.sleep(0.05)
