"""What may happen to a driver, and when: it, or one of its processes, is killed or stopped at a random moment."""

from __future__ import annotations

import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.kit import delta_log
from tests.kit.comparison import COMPARED, committed
from tests.kit.driver import Driver, outlived, send

CLAIM_S = 12.0
"""run.claim_minutes of the trials: a driver that is silent for longer loses its claims. Long enough for one that lives on
a busy machine."""
_NOTICE_S = 4.0
"""A driver that goes on after such a silence may ask its engine for so long before it has noticed."""
_WHAT = {
    "driver": 4,  # the Python driver alone: its JVM may live on for a moment
    "java": 1,  # the JVM alone: the Python driver must end by itself
    "all": 3,  # every process, as when the machine is lost
    "worker": 3,  # a Python worker: Spark starts the task again
    "daemon": 1,  # the process that forks the Python workers
    "stopped": 4,  # every process stands still for longer than claims live, then goes on
}
"""With their weights."""


@dataclass(frozen=True)
class Usual:
    """The run that nobody disturbs, with which all trials are compared. `source` is what its `job` is given."""

    source: Path
    contents: Mapping[str, list[str]]
    commits: Mapping[str, int]
    calls: int
    seconds: float


@dataclass
class Fate:
    """What has happened to a driver. `in_flight`: how often a text was read, but not committed, when something
    happened; so often it may be read again."""

    events: list[str] = field(default_factory=list)
    in_flight: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    killed: bool = False
    stopped: bool = False


def disturb(rng: random.Random, driver: Driver, usual: Usual, drivers: int, fate: Fate) -> None:
    """Waits for a random moment and does something random then, and writes it down in `fate`; nothing if `driver`, one
    of `drivers` at work, ends before."""
    what = rng.choices(list(_WHAT), list(_WHAT.values()))[0]
    moment, reached = _random_moment(rng, driver, usual, drivers)
    silence_s = CLAIM_S + rng.uniform(1, 6)
    victims: list[int] = []
    while not victims:
        if driver.ended:
            return
        victims = _victims(what, driver) if reached() else []
        time.sleep(0 if victims else 0.02)
    fate.events.append(f"{what} at {moment}")
    if what == "stopped":
        fate.in_flight.update(_stop(driver, silence_s))
        fate.stopped = True
    elif what in ("worker", "daemon"):
        send(signal.SIGKILL, [rng.choice(victims)])
        fate.in_flight.update(driver.calls().keys() - committed(driver.root))
    else:
        everything = driver.all_processes()
        send(signal.SIGKILL, victims)
        before = committed(driver.root)  # at once: others may take over from now on
        driver.wait()
        if alive := outlived(everything):
            fate.faults.append(f"{len(alive)} processes lived on after their driver was killed")
        fate.in_flight.update(driver.calls().keys() - before)
        fate.killed = True


def _victims(what: str, driver: Driver) -> list[int]:
    return driver.all_processes() if what in ("all", "stopped") else driver.processes()[what]


def _stop(driver: Driver, silence_s: float) -> set[str]:
    """What it had not committed when it was stopped, and what it read before it can have noticed."""
    driver.stop()
    before = committed(driver.root)
    time.sleep(silence_s)
    driver.go_on()
    time.sleep(_NOTICE_S)
    return driver.calls().keys() - before


def _random_moment(rng: random.Random, driver: Driver, usual: Usual, drivers: int) -> tuple[str, Callable[[], bool]]:
    """A moment of the run, spread over what it does rather than over its seconds, of which starting Spark takes
    most."""
    delay_s = rng.uniform(0, 0.6)
    kind = rng.choice(["calls", "calls", "commit", "commit", "commit", "seconds"])
    if kind == "calls":
        count = rng.randint(1, max(1, usual.calls // drivers))
        name, reached = f"call {count}", lambda: driver.calls().total() >= count
    elif kind == "commit":
        table = rng.choice(COMPARED)
        version = driver.versions[table] + rng.randint(1, max(1, usual.commits[table] - 1))
        name, reached = f"{table} commit {version}", lambda: delta_log.version(driver.root, table) >= version
    else:
        second = rng.uniform(0, usual.seconds)
        name, reached = f"{second:.1f} s", lambda: driver.seconds >= second
    return f"{name} + {delay_s:.2f} s", lambda: reached() and time.sleep(delay_s) is None
