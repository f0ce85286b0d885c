"""The files of conf/ that a run needs: in a checkout they lie beside this package, in a wheel or a zip inside it."""

from __future__ import annotations

from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path


def conf() -> Traversable:
    """The folder with local.yaml, gpu.yaml, spark-local.conf and spark-gpu.conf."""
    inside = files("schemas") / "conf"
    return inside if inside.is_dir() else Path(__file__).resolve().parents[1] / "conf"


def configurations() -> dict[str, Traversable]:
    """Name → file of each configuration that comes with the project: what `--config` takes beside a path."""
    return {path.name.removesuffix(".yaml"): path for path in conf().iterdir() if path.name.endswith(".yaml")}
