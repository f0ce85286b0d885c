"""Are these tables what an undisturbed run leaves? Told in sentences, one a fault; without Spark."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from schemas.tables import ALL, Table
from tests.kit import delta_log
from tests.kit.engine import digest

COMPARED = ("chunks", "recordings", "segments", "words", "failures")
"""Tables whose contents do not depend on which run made them."""


def contents(root: Path) -> dict[str, list[str]]:
    return {table: delta_log.contents(root, table) for table in COMPARED}


def differences(root: Path, expected: Mapping[str, Sequence[str]]) -> list[str]:
    """Rows that the tables in `expected` lack or have too many."""
    found = []
    for table, rows in expected.items():
        wanted, there = Counter(rows), Counter(delta_log.contents(root, table))
        missing, extra = wanted - there, there - wanted
        if missing or extra:
            example = next(iter([*extra, *missing]))[:300]
            found.append(f"{table} lacks {missing.total()} rows and has {extra.total()} too many, such as {example}")
    return found


def doubled(root: Path) -> list[str]:
    """Keys that stand twice in a table. Two runs that did the same would differ in their ids alone: those count only
    in keys of tables that are about runs."""
    return [fault for table in ALL for fault in _doubled(root, table)]


def _doubled(root: Path, table: Table) -> list[str]:
    names = [name for name in table.key if name not in delta_log.RUN_COLUMNS or table.name not in COMPARED]
    keys = Counter(tuple(row[name] for name in names) for row in delta_log.rows(root, table.name))
    more = [key for key, count in keys.items() if count > 1]
    return [f"{table.name} has {len(more)} doubled keys, such as {more[0]}"] if more else []


def committed(root: Path) -> set[str]:
    """Digests of the texts in chunks, as the engine of the tests logs them."""
    if delta_log.version(root, "chunks") < 0:
        return set()
    return {digest(row["text"]) for row in delta_log.rows(root, "chunks") if row["text"]}
