"""Places as Spark's readers and writers take them, and those that read and write Delta without it."""

from __future__ import annotations

import re

from schemas.table import Table
from transforms.stores.fetch import local_path


def spark_uri(place: str) -> str:
    """A local path stays one where Spark's own file system is another."""
    return f"file://{place}" if place.startswith("/") else place


def delta_path(root: str, table: Table) -> str:
    """Of a table below `root`, a path or uri, as deltalake takes it."""
    local = local_path(root)
    place = root.rstrip("/") if local is None else str(local.resolve())
    return f"{place.replace('s3a://', 's3://', 1)}/{table.name}"


def hadoop_path(place: str) -> str:
    """As Spark's readers take a place, in which some characters would be a pattern."""
    return re.sub(r"([\[\]{}*?\\])", r"\\\1", spark_uri(place))
