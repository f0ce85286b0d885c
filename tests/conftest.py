"""Where the tests find recordings, the one Spark session, and how hypothesis goes about."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from pyspark.sql import SparkSession

from tests.kit import finished as rich
from tests.kit.lake import quick_session

_ROOT = Path(__file__).parent.parent

# Machines that are busy are slow: that is no fault of the code.
settings.register_profile("lakescribe", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("lakescribe")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_call() -> None:
    """Tests of other things than the engine qwen must find the process as if its package had never been imported (see
    transforms/engines/qwen/network.py); hypothesis refuses to make floats otherwise."""
    if "torch" in sys.modules:
        sys.modules["torch"].set_flush_denormal(False)


@pytest.fixture(scope="session")
def examples() -> Path:
    """The recordings that the project makes itself; always there."""
    return _ROOT / "examples" / "audio"


@pytest.fixture(scope="session")
def data() -> Path:
    """Recordings of others, whose licences keep them out of the project."""
    folder = _ROOT.parent / "shared" / "data"
    if not (folder / "manifest.tsv").exists():
        pytest.skip(f"needs the recordings in {folder}, which are no part of the project")
    return folder


@pytest.fixture(scope="session")
def spark(tmp_path_factory: pytest.TempPathFactory) -> SparkSession:
    return quick_session(tmp_path_factory.mktemp("warehouse"))


@pytest.fixture(scope="session")
def finished(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> rich.Finished:
    """See tests.kit.finished."""
    return rich.make(spark, tmp_path_factory.mktemp("finished"))
