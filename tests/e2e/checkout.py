"""A copy of the project to run commands in, as a user would, without leaving anything in the real one."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_PARTS = ("jobs", "transforms", "schemas", "conf", "examples", "Makefile", "README.md")


def copy_project(target: Path) -> Path:
    """The sources below `target`, without caches."""
    for part in _PARTS:
        source = ROOT / part
        if source.is_dir():
            shutil.copytree(source, target / part, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, target / part)
    start_quickly(target)
    return target


def start_quickly(folder: Path) -> None:
    """Spark's classes as `make setup` keeps them, for sessions that are started in `folder`."""
    (folder / ".venv").mkdir()
    (folder / ".venv" / "spark.jsa").symlink_to(Path(sys.prefix) / "spark.jsa")


def environment() -> dict[str, str]:
    """Without what this process's own Spark was told."""
    return {key: value for key, value in os.environ.items() if not key.startswith(("PYSPARK_", "SPARK_", "PYTHONPATH"))}


def run(command: list[str], folder: Path, timeout_s: int = 300) -> subprocess.CompletedProcess[str]:
    """`command` in `folder` with this Python first on the PATH, as after `source .venv/bin/activate`."""
    bin_folder = str(Path(sys.executable).parent)
    path = os.pathsep.join([bin_folder, os.environ.get("PATH", "")])
    return subprocess.run(
        command,
        cwd=folder,
        env=environment() | {"PATH": path},
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )
