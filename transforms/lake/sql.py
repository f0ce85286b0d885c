"""Values in SQL; but for `quoted`, in Spark's."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Mapping
from typing import Any


def literal(value: str) -> str:
    """A string."""
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def quoted(value: str) -> str:
    """A string in standard SQL, as DuckDB and DataFusion read it."""
    return "'" + value.replace("'", "''") + "'"


def any_of(column: str, values: Iterable[str]) -> str:
    """A condition: the column is one of `values`; false without any."""
    listed = ", ".join(map(literal, sorted(set(values))))
    return f"{column} IN ({listed})" if listed else "false"


def value(one: Any) -> str:
    """None, a text, a number, a time, or a map of them."""
    if one is None:
        return "NULL"
    if isinstance(one, str):
        return literal(one)
    if isinstance(one, datetime.datetime):
        return f"TIMESTAMP {literal(one.isoformat())}"
    if isinstance(one, Mapping):
        return f"map({', '.join(value(part) for pair in one.items() for part in pair)})"
    return str(one) if isinstance(one, int) else f"CAST({literal(repr(float(one)))} AS DOUBLE)"
