"""The Delta tables: every column with its type and its comment. To add a column, add it to its table and fill it where
the table is written."""

from __future__ import annotations

from schemas.live_tables import LIVE_UTTERANCES
from schemas.made_tables import ALIGNED, CONFIDENCE_BIN, EVALUATIONS, PASSAGES, TIME_ERROR
from schemas.table import Table, rows_of, to_batch
from schemas.transcript_tables import FAILURES, RECORDINGS, SEGMENTS, WORDS
from schemas.work_tables import ALTERNATIVE, CHUNKS, CLAIMS, CLOSING, ERASED, FAILURE, RUNS, WORD

ALL = (CHUNKS, RECORDINGS, SEGMENTS, WORDS, FAILURES, RUNS, CLAIMS, EVALUATIONS)
"""Those that every lakehouse has."""
LATER = (PASSAGES, ERASED, LIVE_UTTERANCES)
"""Those that a command makes when they are needed first."""

__all__ = [
    "ALIGNED",
    "ALL",
    "ALTERNATIVE",
    "CHUNKS",
    "CLAIMS",
    "CLOSING",
    "CONFIDENCE_BIN",
    "ERASED",
    "EVALUATIONS",
    "FAILURE",
    "FAILURES",
    "LATER",
    "LIVE_UTTERANCES",
    "PASSAGES",
    "RECORDINGS",
    "RUNS",
    "SEGMENTS",
    "TIME_ERROR",
    "WORD",
    "WORDS",
    "Table",
    "rows_of",
    "to_batch",
]
