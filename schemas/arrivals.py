"""What jobs.watch keeps beside its checkpoint: files that have arrived and are not done."""

from __future__ import annotations

from schemas.table import BIGINT, TEXT, TIMESTAMP, Table

ARRIVALS = Table(
    "arrivals",
    "A file that has arrived in the watched folder and is not done: it waits, is still being written, or cannot be "
    "used. The row goes when its recordings are published.",
    ("path",),
    (
        ("path", TEXT, "where the file lies"),
        ("size_bytes", BIGINT, "its size when it was noted; null if it was empty then"),
        ("modified_at", TIMESTAMP, "when it had been changed last when it was noted"),
        ("batch", BIGINT, "0-based batch of the stream that noted it"),
        ("noted_at", TIMESTAMP, "when it was noted"),
    ),
    ("path", "batch"),
)
