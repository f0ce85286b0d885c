"""Many trials:  python -m tests.soak --trials 50 [--drivers 3 | --watch] [--seed 1] [--tables s3a://…]

Drivers are killed or stopped at random, alone or two or more at once in one lake, and the tables compared with those of
an undisturbed run. Trial k of seed S has the seed S + k - 1: repeat one that failed with --trials 1 --seed <its seed>.
Exits with 1 if any trial differs.
"""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import tempfile
import time
from pathlib import Path

from tests.kit.object_store import in_store
from tests.kit.trials import Trial, run_trial, undisturbed


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="tests.soak", description=__doc__)
    parser.add_argument("--trials", type=int, default=50)
    parser.add_argument("--drivers", type=int, default=1, help="most at once; from two on, no trial has only one")
    parser.add_argument("--seed", type=int, help="of the first trial; random without it")
    parser.add_argument("--events", type=int, default=3, help="most kills and stops of a driver")
    parser.add_argument("--tables", help="a folder of a store for the tables, where the environment leads; else local")
    parser.add_argument("--watch", action="store_true", help="jobs.watch over a folder, one at a time")
    options = parser.parse_args(arguments)
    if options.watch and options.drivers > 1:
        parser.error("--watch: of a folder and its checkpoint there is one watch at a time")
    tables = None if options.tables is None else in_store(options.tables)
    first = options.seed if options.seed is not None else random.randrange(1_000_000)
    folder, started, trials = Path(tempfile.mkdtemp(prefix="soak-")), time.monotonic(), list[Trial]()
    print(f"seeds {first} to {first + options.trials - 1}, in {folder}", flush=True)
    usual = undisturbed(folder, tables, watch=options.watch)
    print(f"undisturbed: {usual.calls} chunks in {usual.seconds:.0f} s", flush=True)
    for seed in range(first, first + options.trials):
        drivers = random.Random(seed).randint(min(2, options.drivers), options.drivers)
        beside = None if tables is None else tables / f"trial_{seed}"
        trial = run_trial(folder / f"trial_{seed}", usual, seed, drivers, options.events, beside)
        print(trial, flush=True)
        trials.append(trial)
        if not trial.differences:
            shutil.rmtree(folder / f"trial_{seed}")
    print(totals(trials, (time.monotonic() - started) / 60))
    failed = any(trial.differences for trial in trials)
    if not failed:
        shutil.rmtree(folder)
    return int(failed)


def totals(trials: list[Trial], minutes: float) -> str:
    failed = [trial.seed for trial in trials if trial.differences]
    events = [event for trial in trials for event in trial.events]
    stops = sum("stopped at" in event for event in events)
    return (
        f"{len(trials)} trials of {sum(trial.drivers for trial in trials)} drivers, {len(events) - stops} kills, "
        f"{stops} stops, {sum(trial.calls for trial in trials)} chunks recognized, "
        f"{sum(trial.again for trial in trials)} of them again: {len(failed)} trials with a difference"
        f"{f' (seeds {failed})' if failed else ''}, {minutes:.0f} minutes"
    )


if __name__ == "__main__":
    sys.exit(main())
