"""Values in Spark's SQL."""

from __future__ import annotations

from collections.abc import Iterable


def literal(value: str) -> str:
    """A string."""
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def any_of(column: str, values: Iterable[str]) -> str:
    """A condition: the column is one of `values`; false without any."""
    listed = ", ".join(map(literal, sorted(set(values))))
    return f"{column} IN ({listed})" if listed else "false"
