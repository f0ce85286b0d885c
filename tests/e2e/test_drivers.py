"""Invariant 9: drivers at once on one lake, one stopped or killed among them, leave the tables of one.

`python -m tests.soak --drivers 3 --trials 30` does the same at random moments.
"""

from __future__ import annotations

import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from jobs.status import Status
from tests.kit import delta_log
from tests.kit.comparison import differences, doubled
from tests.kit.disturbance import CLAIM_S
from tests.kit.driver import Driver, send
from tests.kit.lake import PUBLIC, write_clips, write_manifest
from tests.kit.trials import LEFT, SETTINGS

pytestmark = pytest.mark.drivers

RECORDINGS = 16
SEVERAL_WAVES = "run.wave_audio_hours=0.005"
ONE_WAVE = "run.wave_audio_hours=1"
"""Whoever comes first claims everything."""
NOBODY_DIES = "run.claim_minutes=5"
"""However busy the machine is."""


@dataclass
class Fleet:
    """Drivers over one manifest, each with its log."""

    manifest: Path
    folder: Path
    drivers: list[Driver] = field(default_factory=list)

    def start(self, root: Path, *settings: str) -> Driver:
        calls = self.folder / f"driver_{len(self.drivers)}.calls"
        self.drivers.append(Driver.of_tests(self.manifest, root, calls, *SETTINGS, *settings))
        return self.drivers[-1]


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    folder = tmp_path_factory.mktemp("drivers")
    fleet = Fleet(write_manifest(folder / "manifest.parquet", write_clips(folder / "audio", RECORDINGS, 5.0)), folder)
    yield fleet
    for driver in fleet.drivers:
        if not driver.ended:  # its test has failed
            driver.kill()


@pytest.fixture(scope="module")
def pair(fleet: Fleet) -> tuple[Path, list[Driver]]:
    """What two drivers left that were started together, and they themselves."""
    root = fleet.folder / "pair"
    drivers = [fleet.start(root, SEVERAL_WAVES, NOBODY_DIES) for _ in range(2)]
    for driver in drivers:
        assert driver.wait() == 0, driver.said()
    return root, drivers


def test_two_drivers_at_once_do_the_work_of_one(pair: tuple[Path, list[Driver]]) -> None:
    root, (one, other) = pair
    recordings = delta_log.rows(root, "recordings")
    assert [row["status"] for row in recordings] == ["ok"] * RECORDINGS
    words = Counter(row["audio_id"] for row in delta_log.rows(root, "words"))
    assert words == {row["audio_id"]: row["word_count"] for row in recordings}
    assert not doubled(root)
    assert set((one.calls() + other.calls()).values()) == {1}, "a chunk was recognized by both"


def test_a_driver_that_stood_still_for_too_long_gives_way(fleet: Fleet, pair: tuple[Path, list[Driver]]) -> None:
    root = fleet.folder / "stopped"
    sleeper = fleet.start(root, ONE_WAVE, "engine.options.delay_s=2")
    until(lambda: bool(sleeper.calls()), sleeper)
    sleeper.stop()
    time.sleep(CLAIM_S)
    heir = fleet.start(root)
    assert heir.wait() == 0, heir.said()
    assert LEFT not in heir.said()
    assert_shows_what(pair, root)
    sleeper.go_on()
    assert sleeper.wait() == Status.HELD, sleeper.said()
    assert "error: " in sleeper.said()
    assert_shows_what(pair, root)


def test_what_a_killed_driver_of_this_machine_held_is_taken_over_at_once(
    fleet: Fleet, pair: tuple[Path, list[Driver]]
) -> None:
    root = fleet.folder / "killed"
    first = fleet.start(root, ONE_WAVE, NOBODY_DIES, "engine.options.delay_s=8")
    until(lambda: bool(first.calls()), first)
    first.kill()
    assert not delta_log.rows(root, "recordings")
    heir = fleet.start(root, NOBODY_DIES)  # its process is gone: the claims need not expire
    assert heir.wait() == 0, heir.said()
    assert LEFT not in heir.said()
    assert_shows_what(pair, root)


def test_a_driver_whose_java_is_killed_ends_with_a_sentence(fleet: Fleet, tmp_path: Path) -> None:
    driver = fleet.start(tmp_path / "tables", ONE_WAVE)
    until(lambda: bool(delta_log.version(driver.root, "claims") > 0), driver)
    send(signal.SIGKILL, driver.processes()["java"])
    assert driver.wait() == Status.MACHINE, driver.said()
    assert "error: Spark's Java process has ended under the job" in driver.said()
    assert "what Spark said is in" in driver.said()
    assert "Traceback" not in driver.said()


def assert_shows_what(pair: tuple[Path, list[Driver]], root: Path) -> None:
    """Readers see in `root` what they see in the tables of the pair."""
    assert not differences(root, {table: delta_log.contents(pair[0], table) for table in PUBLIC})


def until(reached: Callable[[], bool], *alive: Driver) -> None:
    """Waits for a moment before which none of `alive` may end."""
    deadline = time.monotonic() + 120
    while not reached():
        assert time.monotonic() < deadline
        for driver in alive:
            assert not driver.ended, driver.said()
        time.sleep(0.05)
