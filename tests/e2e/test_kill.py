"""Invariant 1: killed at random moments and started again, the job ends in the same tables, and no committed chunk is paid for twice.

`python -m tests.soak --trials 50` does the same many times.
"""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.kit.trials import Undisturbed, run_trial, undisturbed


@pytest.fixture(scope="module")
def usual(tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    """What a run that nobody kills leaves."""
    return undisturbed(tmp_path_factory.mktemp("kill"))


@pytest.mark.drivers
def test_a_killed_job_ends_in_the_same_tables(usual: Undisturbed, tmp_path: Path) -> None:
    """One trial, each time another; `make soak` has as many as one likes."""
    seed = random.randrange(1_000_000)
    print(f"repeat with: python -m tests.soak --trials 1 --seed {seed}")
    assert not run_trial(tmp_path / "trial", usual, seed).differences
