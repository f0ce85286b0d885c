"""One row of each key, where a table has more."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from schemas.tables import Table

if TYPE_CHECKING:
    from transforms.lake.tables import Tables


def keep_one(tables: Tables, table: Table, doubled: DataFrame, latest: str) -> None:
    """Of the rows with a key that `doubled` has, leaves one a key: the first by `latest`, an ORDER BY. One commit, so
    that readers never miss the row."""
    key = [F.col(name) for name in table.key]
    there = tables.read(table)
    same = F.expr(" AND ".join(f"t.{name} <=> s.{name}" for name in table.key))
    rows = there.alias("t").join(F.broadcast(doubled.select(*key).alias("s")), same, "left_semi").select("t.*")
    names = rows.columns
    ranked = rows.selectExpr("*", f"row_number() OVER (PARTITION BY {', '.join(table.key)} ORDER BY {latest}) AS rank")
    # A merge looks for rows to delete with the one copy, and inserts the other, which matches nothing.
    kept = ranked.where("rank = 1").select(*names, F.explode(F.array(F.lit(True), F.lit(False))).alias("out"))
    on = " AND ".join(["s.out", *(f"t.{name} <=> s.{name}" for name in table.key)])
    values = ", ".join(f"s.{name}" for name in names)
    insert = f"WHEN NOT MATCHED AND NOT s.out THEN INSERT ({', '.join(names)}) VALUES ({values})"
    tables.merge(table, kept, on, "WHEN MATCHED THEN DELETE", insert)
