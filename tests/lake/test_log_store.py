"""Commits of several processes to one table on a disk: each version is one's."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from conf.setup.log_store import CONF, build
from transforms.lake.session import log_store

pytestmark = pytest.mark.drivers

VERSIONS = 400
_WRITER = """
import sys, time
from pathlib import Path
from transforms.lake.session import log_store, session

folder, me = Path(sys.argv[1]), sys.argv[2]
spark = session()
store = spark._jvm.{store}(spark._jsc.hadoopConfiguration())
actions = spark._jvm.java.util.ArrayList()
actions.add(me)
(folder / f"ready-{{me}}").touch()
while not (folder / "start").exists():
    time.sleep(0.01)
start = float((folder / "start").read_text())
for version in range({versions}):
    path = spark._jvm.org.apache.hadoop.fs.Path(f"file:{{folder}}/log/{{version:020d}}.json")
    while time.time() < start + 0.01 * version:  # all at the same moment
        pass
    try:
        store.write(path, actions.iterator(), False, spark._jsc.hadoopConfiguration())
        print(version)
    except Exception as error:
        assert "FileAlreadyExists" in str(error), error
"""


def test_of_two_that_write_a_version_one_has_written_it(tmp_path: Path) -> None:
    """By Delta's own store (io.delta.storage.HDFSLogStore) two writers of 3,000 versions wrote 3,001 between them."""
    (tmp_path / "log").mkdir()
    code = _WRITER.format(store=log_store()["spark.delta.logStore.file.impl"], versions=VERSIONS)
    writers = {
        name: subprocess.Popen([sys.executable, "-c", code, str(tmp_path), name], stdout=subprocess.PIPE, text=True)
        for name in ("one", "other")
    }
    while not all((tmp_path / f"ready-{name}").exists() for name in writers):
        assert all(writer.poll() is None for writer in writers.values())
        time.sleep(0.05)
    (tmp_path / "start.new").write_text(str(time.time() + 0.5))
    (tmp_path / "start.new").rename(tmp_path / "start")
    written = {
        name: {int(line) for line in writer.communicate(timeout=120)[0].split()} for name, writer in writers.items()
    }
    holds: dict[str, set[int]] = {name: set() for name in writers}
    for path in (tmp_path / "log").glob("[0-9]*.json"):
        holds[path.read_text().strip()].add(int(path.stem))
    assert written == holds
    assert written["one"] | written["other"] == set(range(VERSIONS))
    assert len(list((tmp_path / "log").iterdir())) == VERSIONS, "what was written on the way is removed"


@pytest.mark.skipif(shutil.which("javac") is None, reason="needs a JDK's javac")
def test_the_jar_is_built_from_the_source_beside_it(tmp_path: Path) -> None:
    if " 17." not in subprocess.run(["javac", "-version"], capture_output=True, text=True, check=True).stdout:
        pytest.skip("another JDK than 17 writes other bytes")
    build(tmp_path / "log-store.jar")
    assert (tmp_path / "log-store.jar").read_bytes() == (CONF / "log-store.jar").read_bytes()
