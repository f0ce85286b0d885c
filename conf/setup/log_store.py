"""Builds conf/log-store.jar from conf/log_store/LinkedLogStore.java: `make log-store`, by a JDK 17. The same source gives the
same bytes."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import pyspark

CONF = Path(__file__).resolve().parents[1]
_SOURCE = CONF / "log_store" / "LinkedLogStore.java"
_CLASS = "lakescribe/LinkedLogStore.class"


def build(jar: Path) -> None:
    """Raises CalledProcessError where the source is wrong or Delta's jars are absent, FileNotFoundError without javac."""
    jars = Path(pyspark.__file__).parent / "jars"
    with tempfile.TemporaryDirectory() as scratch:
        on = os.pathsep.join(map(str, [*jars.glob("*delta-storage*"), *jars.glob("hadoop-client-api*")]))
        subprocess.run(["javac", "--release", "17", "-cp", on, "-d", scratch, str(_SOURCE)], check=True)
        with zipfile.ZipFile(jar, "w") as archive:  # ZipInfo's own date: the same each time
            archive.writestr(zipfile.ZipInfo(_CLASS), (Path(scratch) / _CLASS).read_bytes())


if __name__ == "__main__":
    build(CONF / "log-store.jar")
    print(f"built {CONF / 'log-store.jar'}", file=sys.stderr)
