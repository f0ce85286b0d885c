"""An Airflow for the tests: its database in SQLite, no server, and spark-submit of the project's own environment. All of it
must be in the environment before Airflow is imported."""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DAG_FILE = ROOT / "jobs" / "dags" / "transcribe_daily.py"
PROJECT_BIN = ROOT / ".venv" / "bin"
HOME = Path(tempfile.mkdtemp(prefix="lakescribe-airflow-"))
CONNECTION = {"conn_type": "spark", "host": "local[2,4]", "extra": {"deploy-mode": "client"}}

os.environ |= {
    "AIRFLOW_HOME": str(HOME),
    "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
    "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
    "AIRFLOW__CORE__DAGS_FOLDER": str(HOME / "dags"),
    "AIRFLOW_CONN_SPARK_DEFAULT": json.dumps(CONNECTION),
    "PATH": os.pathsep.join([str(PROJECT_BIN), os.environ["PATH"]]),
}


@pytest.fixture(scope="session", autouse=True)
def _airflow() -> Iterator[None]:
    """Its DAGs are the project's, copied as docs/airflow.md says, and the one that this page shows."""
    (HOME / "dags").mkdir()
    shutil.copy(DAG_FILE, HOME / "dags")
    (example,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "airflow.md").read_text("utf-8"), re.DOTALL)
    (HOME / "dags" / "follow.py").write_text(example)
    from airflow.utils.db import upgradedb

    upgradedb()
    _parse()
    yield
    shutil.rmtree(HOME)


def _parse() -> None:
    """What Airflow's DAG processor does."""
    from airflow.dag_processing.bundles.manager import DagBundlesManager
    from airflow.dag_processing.dagbag import BundleDagBag, sync_bag_to_db

    bundles = DagBundlesManager()
    bundles.sync_bundles_to_db()
    for bundle in bundles.get_all_dag_bundles():
        bundle.initialize()
        bag = BundleDagBag(bundle.path, bundle_path=bundle.path, bundle_name=bundle.name)
        sync_bag_to_db(bag, bundle.name, bundle.version)
