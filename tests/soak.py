"""Many kill trials:  python -m tests.soak --trials 50 [--seed 1]

Trial k of seed S has the seed S + k - 1: repeat one that failed with --trials 1 --seed <its seed>. Exits with 1 if any
trial differs.
"""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import tempfile
import time
from pathlib import Path

from tests.kit.kill import run_trial, undisturbed


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="tests.soak", description=__doc__)
    parser.add_argument("--trials", type=int, default=50)
    parser.add_argument("--seed", type=int, help="of the first trial; random without it")
    parser.add_argument("--kills", type=int, default=3, help="most kills in a trial")
    options = parser.parse_args(arguments)
    first = options.seed if options.seed is not None else random.randrange(1_000_000)
    folder, started, failed = Path(tempfile.mkdtemp(prefix="soak-")), time.monotonic(), []
    print(f"seeds {first} to {first + options.trials - 1}, in {folder}", flush=True)
    usual = undisturbed(folder)
    print(f"undisturbed: {usual.calls} chunks in {usual.seconds:.0f} s", flush=True)
    for seed in range(first, first + options.trials):
        trial = run_trial(folder / f"trial_{seed}", usual, seed, options.kills)
        print(trial, flush=True)
        if trial.differences:
            failed.append(seed)
        else:
            shutil.rmtree(folder / f"trial_{seed}")
    minutes = (time.monotonic() - started) / 60
    print(
        f"{options.trials} trials, {len(failed)} with a difference{f' (seeds {failed})' if failed else ''}, {minutes:.0f} minutes"
    )
    if not failed:
        shutil.rmtree(folder)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
