"""Killed at random moments with its tables in a store, the job ends in the same tables. One driver: several at once need
another log store there. More: make test-s3 TRIALS=20"""

from __future__ import annotations

import os
import random
from pathlib import Path

from tests.kit.object_store import BUCKET, Proxy, in_store
from tests.kit.trials import run_trial, undisturbed

TRIALS = int(os.environ.get("TRIALS", "1"))


def test_a_job_killed_over_tables_in_s3_ends_in_the_same_ones(store: Proxy, tmp_path: Path) -> None:
    root = in_store(f"s3a://{BUCKET}/kill")
    usual, first = undisturbed(tmp_path, root), random.randrange(1_000_000)
    for seed in range(first, first + TRIALS):
        trial = run_trial(tmp_path / f"trial_{seed}", usual, seed, tables=root / f"trial_{seed}")
        print(trial)
        assert not trial.differences
