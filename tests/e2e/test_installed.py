"""The package as pip installs it: in an environment of its own, used from a folder that is no checkout."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import sysconfig
import tomllib
from pathlib import Path

import pytest

from jobs.__main__ import commands
from schemas.config import load_config, show_config
from schemas.shipped import configurations
from tests.e2e.checkout import ROOT, copy_project, environment
from tests.kit.lake import QUICK_SUBMIT
from transforms.lake.session import missing_jars

pytestmark = pytest.mark.drivers

_BUILD = "from setuptools import build_meta; import sys; build_meta.build_wheel(sys.argv[1])"
"""What pip asks for a wheel, asked without pip, which not every environment has."""


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of programs of an empty environment with the wheel in it, and this one's packages to depend on."""
    folder = tmp_path_factory.mktemp("installed")
    project = copy_project(folder / "project")
    for name in ("pyproject.toml", "LICENSE"):
        shutil.copy(ROOT / name, project)
    _done([sys.executable, "-c", _BUILD, folder], project)
    _done([sys.executable, "-m", "venv", folder / "venv"], folder)
    found = folder / "venv" / "bin"
    _done([found / "python", "-m", "pip", "install", "--no-deps", "--no-index", next(folder.glob("*.whl"))], folder)
    (packages,) = (folder / "venv").glob("lib/python*/site-packages")
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return found


def _done(command: list[str | Path], folder: Path) -> str:
    done = subprocess.run(
        command,
        cwd=folder,
        env=environment() | QUICK_SUBMIT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def test_the_command_lists_all_that_there_are_and_is_not_the_checkout_s(programs: Path, tmp_path: Path) -> None:
    listed = _done([programs / "lakescribe"], tmp_path)
    assert [line.split()[1] for line in listed.splitlines() if line.startswith("  lakescribe ")] == list(commands())
    where = _done([programs / "python", "-c", "import jobs; print(jobs.__file__)"], tmp_path)
    assert Path(where).is_relative_to(programs.parent)


def test_every_package_is_listed_for_the_wheel() -> None:
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]["packages"]
    sources = [path for top in ("jobs", "schemas", "transforms") for path in (ROOT / top).rglob("__init__.py")]
    packages = {".".join(path.relative_to(ROOT).parent.parts) for path in sources}
    assert set(listed) == packages | {"schemas.conf"}


def test_each_configuration_that_comes_with_it_is_found_by_its_name(programs: Path, tmp_path: Path) -> None:
    assert {"local", "gpu"} <= set(configurations())
    script = (
        "import sys; from schemas.config import *; print(*(show_config(load_config(name)) for name in sys.argv[1:]))"
    )
    shown = _done([programs / "python", "-c", script, *configurations()], tmp_path)
    expected = [show_config(load_config(ROOT / "conf" / f"{name}.yaml")) for name in configurations()]
    assert shown == " ".join(expected) + "\n"


def test_a_recording_is_transcribed_and_found(programs: Path, tmp_path: Path, examples: Path) -> None:
    lakescribe = programs / "lakescribe"
    _done([lakescribe, "manifest", examples / "voice_memo.m4a", "--out", "memo.parquet"], tmp_path)
    quick = ("--config", "local", "--set", "engine.options.model=tiny.en", "--set", "aligners=[recognizer]")
    _done([lakescribe, "transcribe", *quick, "--manifest", "memo.parquet", "--tables", "./lake"], tmp_path)
    hit = json.loads(_done([lakescribe, "search", "the", "--tables", "./lake", "--json"], tmp_path).splitlines()[0])
    assert hit["uri"].endswith("voice_memo.m4a")


def test_delta_s_jars_are_fetched_only_where_spark_has_none(tmp_path: Path) -> None:
    (tmp_path / "jars").mkdir()
    assert missing_jars(tmp_path)["spark.jars.packages"].startswith("io.delta:delta-spark_4.1_2.13:")
    (tmp_path / "jars" / "io.delta_delta-spark_4.1_2.13-4.4.0.jar").touch()
    assert missing_jars(tmp_path) == {}
