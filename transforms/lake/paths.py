"""Places as Spark's readers and writers take them."""

from __future__ import annotations

import re


def spark_uri(place: str) -> str:
    """A local path stays one where Spark's own file system is another."""
    return f"file://{place}" if place.startswith("/") else place


def hadoop_path(place: str) -> str:
    """As Spark's readers take a place, in which some characters would be a pattern."""
    return re.sub(r"([\[\]{}*?\\])", r"\\\1", spark_uri(place))
