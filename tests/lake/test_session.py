"""What Spark says goes to a file that is gone afterwards, unless somebody may want to read it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

_STARTED = """
import os, sys
import transforms.lake.session as session
from pyspark.sql import SparkSession
# Spark's own start is not what is looked at.
SparkSession.Builder.getOrCreate = lambda builder: os.system("echo said by Java; echo and as an error >&2")
session.session()
from pathlib import Path
assert len(list(Path(sys.argv[1]).iterdir())) == 1
{}
"""


@pytest.mark.parametrize(("then", "logs"), [("", 0), ("sys.exit(2)", 0), ("raise KeyError('Spark failed')", 1)])
def test_the_log_is_kept_only_if_something_was_raised(tmp_path: Path, then: str, logs: int) -> None:
    command = [sys.executable, "-c", _STARTED.format(then), str(tmp_path)]
    done = subprocess.run(
        command, env={**os.environ, "TMPDIR": str(tmp_path)}, capture_output=True, text=True, check=False
    )
    found = list(tmp_path.iterdir())
    assert len(found) == logs, done.stderr
    assert all(f"what Spark said is in {log}" in done.stderr for log in found)
    assert all(log.read_text() == "said by Java\nand as an error\n" for log in found)
    assert "Java" not in done.stdout + done.stderr
