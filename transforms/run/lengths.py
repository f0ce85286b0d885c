"""How long a recording probably is, before anything was decoded: by its bytes, at the usual rates of speech recordings.
For balancing and admission alone."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

from pyspark.sql import Column
from pyspark.sql import functions as F

_BYTES_PER_S = {
    32_000: (".wav",),
    16_000: (".flac",),
    64_000: (".aif", ".aiff"),
    4_000: (".opus",),
    100_000: (".mp4", ".mkv"),
    200_000: (".mov",),
}
_OTHER_BYTES_PER_S = 12_000
_UNKNOWN_MS = 60_000


def estimated_ms() -> Column:
    """Of a row with uri, size_bytes, start_ms and end_ms."""
    suffix = F.lower(F.regexp_extract("uri", r"(\.\w+)$", 1))
    rate = F.lit(_OTHER_BYTES_PER_S)
    for bytes_per_s, suffixes in _BYTES_PER_S.items():
        rate = F.when(suffix.isin(*suffixes), bytes_per_s).otherwise(rate)
    by_size = F.floor(F.col("size_bytes") * 1000 / rate) - F.col("start_ms")
    by_size = F.when(by_size.isNotNull(), F.greatest(F.lit(1), by_size))  # greatest() passes over nulls
    return F.coalesce(F.col("end_ms") - F.col("start_ms"), by_size, F.lit(_UNKNOWN_MS)).cast("bigint")


def guessed_ms(row: Mapping[str, Any]) -> int:
    """The same without Spark, of a row that may lack any of these."""
    start_ms, size_bytes = row.get("start_ms") or 0, row.get("size_bytes")
    if row.get("end_ms") is not None:
        return int(row["end_ms"] - start_ms)
    if size_bytes is None:
        return _UNKNOWN_MS
    suffix = PurePosixPath(row.get("uri") or "").suffix.lower()
    rate = next((rate for rate, suffixes in _BYTES_PER_S.items() if suffix in suffixes), _OTHER_BYTES_PER_S)
    return max(1, int(size_bytes * 1000 // rate - start_ms))
