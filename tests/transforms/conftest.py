from __future__ import annotations

import pytest
from pyspark.sql import SparkSession

from tests.lake import quick_session


@pytest.fixture(scope="session")
def spark(tmp_path_factory: pytest.TempPathFactory) -> SparkSession:
    return quick_session(tmp_path_factory.mktemp("warehouse"))
