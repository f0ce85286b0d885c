"""`python -m jobs`: which commands there are, told without importing them."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

from jobs.__main__ import commands

_ROOT = Path(__file__).parent.parent
_START_EACH = """
import contextlib, io, json, runpy, sys
folder, names = sys.argv[1], json.loads(sys.argv[2])
for name in names:
    for module in [module for module in sys.modules if module.partition(".")[0] in ("jobs", "transforms", "schemas")]:
        del sys.modules[module]
    sys.path[0] = folder  # as Python does for a file that it is given
    sys.argv = [f"{folder}/{name}.py", "--help"]
    with contextlib.redirect_stdout(io.StringIO()) as said, contextlib.suppress(SystemExit):
        runpy.run_path(sys.argv[0], run_name="__main__")
    print(said.getvalue().split()[1])
"""
"""Starts jobs by their files, in one process, since Spark's package takes a second to import."""


def _run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "jobs", *arguments]
    return subprocess.run(command, cwd=_ROOT, capture_output=True, text=True, check=False, timeout=120)


def test_every_command_is_listed_with_what_it_does() -> None:
    done = _run()
    assert done.returncode == 0
    listed = [line.split(maxsplit=3)[2:] for line in done.stdout.splitlines() if "-m jobs." in line]
    modules = {path.stem for path in (_ROOT / "jobs").glob("*.py")} - {"__init__", "__main__", "cli", "jobs", "status"}
    assert {name for name, _ in listed} == {f"jobs.{module}" for module in modules}
    assert all(line for _, line in listed)


def test_a_command_can_be_run_by_its_name() -> None:
    done = _run("manifest", "--help")
    assert done.returncode == 0
    assert "--out" in done.stdout


def test_an_unknown_command_is_told_with_those_that_there_are() -> None:
    done = _run("transscribe")
    assert done.returncode == 2
    assert "no command transscribe" in done.stderr
    assert "jobs.transcribe" in done.stderr


@pytest.mark.parametrize("name", sorted(commands()))
def test_every_command_helps_with_an_example(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        importlib.import_module(f"jobs.{name}").main(["--help"])
    assert exit_.value.code == 0
    assert f"python -m jobs.{name} " in " ".join(capsys.readouterr().out.split())


def test_every_command_starts_by_its_file_from_anywhere_as_spark_submit_does(tmp_path: Path) -> None:
    names = sorted(commands())
    asked = [sys.executable, "-c", _START_EACH, str(_ROOT / "jobs"), json.dumps(names)]
    done = subprocess.run(asked, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [f"jobs.{name}" for name in names]
