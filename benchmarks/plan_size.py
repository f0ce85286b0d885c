"""What the plan of a large backfill costs the driver:  python -m benchmarks.plan_size --rows 1_000_000

A manifest of so many recordings that nobody has transcribed, planned against empty tables; then all its waves are
taken, without any work. Memory is the driver's Python, at its peak, above what it was once Spark had started.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.common import machine
from schemas.config import Config
from schemas.parts import Parts
from transforms.engines import aligner_specs, recognizer_spec
from transforms.lake.session import session
from transforms.lake.tables import Tables
from transforms.recognition.keys import config_key
from transforms.run.manifest import read_manifest
from transforms.run.plan import make_plan

MEAN_BYTES = 2_000_000
"""Of a recording: some three minutes of MP3."""

WAVE_MS = 36_000_000
"""Ten hours of audio."""


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.plan_size")
    parser.add_argument("--rows", type=int, default=1_000_000)
    options = parser.parse_args()
    config, spark = Config(), session()
    with tempfile.TemporaryDirectory() as folder:
        manifest = Path(folder) / "manifest.parquet"
        write_manifest(manifest, options.rows)
        tables = Tables(spark, f"{folder}/tables")
        tables.create()
        before_mib, began_at = peak_mib(), time.perf_counter()
        key = config_key(config, recognizer_spec(config), aligner_specs(config))
        plan = make_plan(read_manifest(spark, str(manifest), config), tables, key, "no")
        queue = plan.queue(Parts(config.packing.part_minutes))
        planned_s, more_mib = time.perf_counter() - began_at, peak_mib() - before_mib
        waves, units, began_at = 0, 0, time.perf_counter()
        while queue:
            units += len(queue.take(WAVE_MS))
            waves += 1
        wave_ms = (time.perf_counter() - began_at) * 1000 / waves
    assert units == options.rows
    print(f"{machine()}\n\n| pending rows | seconds | MiB of Python | waves | ms of driver a wave |\n|{'---|' * 5}")
    print(f"| {options.rows:,} | {planned_s:.1f} | {more_mib:,.0f} | {waves:,} | {wave_ms:.1f} |")


def write_manifest(path: Path, rows: int) -> None:
    uris = pa.array(f"s3://archive/calls/2026/{row // 1000:05d}/{row:09d}.mp3" for row in range(rows))
    sizes = np.random.default_rng(0).lognormal(np.log(MEAN_BYTES), 1, rows).astype(np.int64)
    pq.write_table(pa.table({"uri": uris, "size_bytes": sizes}), path)


def peak_mib() -> float:
    """The most memory that this process has had so far (Linux)."""
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(status["VmHWM"].split()[0]) / 1024


if __name__ == "__main__":
    main()
