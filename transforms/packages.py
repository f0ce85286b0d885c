"""Packages that only some users need."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.util import find_spec

from schemas.config import ConfigError


def require_packages(what: str, packages: Iterable[str], install: str) -> None:
    """Raises ConfigError, with what `install` is for pip, if one of the top-level `packages` is not there. Before
    anything has run: packages are found and not imported. `what` needs them, and begins the message."""
    if missing := [package for package in packages if find_spec(package) is None]:
        raise ConfigError(f"{what} needs {' and '.join(missing)}: pip install {install}")
