"""The properties of the project's Delta tables. Knows no Spark: a live server makes a table, too."""

from __future__ import annotations

from schemas.tables import CHUNKS, Table
from schemas.version import TABLES_VERSION

VERSION_PROPERTY = "lakescribe.version"
"""Of each table: the version that made it, or brought it up. Those of 0.1 have none."""
_FIXED = {
    # Readers other than Spark (delta-rs, DuckDB) open the tables as long as these stay off.
    "delta.enableDeletionVectors": "false",
    "delta.columnMapping.mode": "none",
}
_WANTED = {
    # So that jobs after this one can read only what is new.
    "delta.enableChangeDataFeed": "true",
    # What Ticket leaves in the log.
    "delta.setTransactionRetentionDuration": "interval 30 days",
}


def of_new(table: Table) -> dict[str, str]:
    """What a table begins with."""
    return {**_FIXED, **wanted(table), VERSION_PROPERTY: TABLES_VERSION}


def wanted(table: Table) -> dict[str, str]:
    """Set where nobody has: a table where somebody has turned one off stays so."""
    # What is derived is one file a wave, not one a task. Not chunks: the shuffle that this takes is lost with its
    # executor, and the engine would be asked again for what other tasks had done.
    one_file = {} if table is CHUNKS else {"delta.autoOptimize.optimizeWrite": "true"}
    return {**_WANTED, **one_file, "delta.dataSkippingStatsColumns": ",".join(table.stats)}
