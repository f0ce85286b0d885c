from __future__ import annotations

import pyarrow as pa
from pyspark.sql import SparkSession

from transforms.run.lengths import estimated_ms, guessed_ms

ROWS = [
    {"uri": "a.wav", "size_bytes": 320_000},
    {"uri": "dir.mp4/a.FLAC", "size_bytes": 160_000, "start_ms": 4_000},
    {"uri": "a.mp3", "size_bytes": 120_001, "start_ms": 1_000, "end_ms": 3_000},
    {"uri": "without", "size_bytes": 12_000},
    {"uri": "empty.wav", "size_bytes": 0, "start_ms": 5},
    {"uri": "https://example.org/a.mov?x=1"},
    {"uri": None, "size_bytes": None},
]


def test_with_and_without_spark_a_length_is_the_same_guess(spark: SparkSession) -> None:
    schema = pa.schema([("uri", pa.string()), *((name, pa.int64()) for name in ("size_bytes", "start_ms", "end_ms"))])
    rows = pa.Table.from_pylist([{"start_ms": 0} | row for row in ROWS], schema)
    estimated = [row[0] for row in spark.createDataFrame(rows).select(estimated_ms()).collect()]
    assert [guessed_ms(row) for row in ROWS] == estimated
    assert estimated[:4] == [10_000, 6_000, 2_000, 1_000]
