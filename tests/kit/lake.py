"""What the tests that need Spark share: recordings cut from the project's own sample talk, and a lake to transcribe
them into."""

from __future__ import annotations

import datetime
import functools
import os
import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile
import soxr
from numpy.typing import NDArray
from pyspark.sql import SparkSession

from schemas.config import SAMPLE_RATE_HZ, Config, load_config
from schemas.tables import Table, to_batch
from tests.kit import delta_log
from transforms.lake.session import session
from transforms.lake.tables import Tables
from transforms.run.job import RunSummary, transcribe

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples" / "audio"
TALK = EXAMPLES / "long_talk.mp3"
ENGINE = (
    "engine.name=tests.kit.engine:Spec",
    "aligners=[recognizer]",
    "retry.missed_speech_s=60",  # it reads pauses, too
)
"""The deterministic engine with its own word times, as for --set."""
SHORT_PARTS = "packing.part_minutes=0.5"
PUBLIC = ("recordings", "segments", "words", "failures")
QUICK_SPARK = {
    "spark.sql.codegen.wholeStage": "false",
    "spark.sql.codegen.factoryMode": "NO_CODEGEN",
    "spark.sql.adaptive.enabled": "false",
    "spark.sql.shuffle.partitions": "1",
    "spark.databricks.delta.snapshotPartitions": "1",
}
"""Test jobs are over before compiling would pay: that halves their time. Jobs started by spark-submit run as users'
do."""
QUICK_SUBMIT = {
    "JDK_JAVA_OPTIONS": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC",
    "PYSPARK_SUBMIT_ARGS": " ".join(f"--conf {key}={value}" for key, value in QUICK_SPARK.items()) + " pyspark-shell",
}
"""The environment that makes `transforms.lake.session.session` start a quick session."""


def quick_session(warehouse: Path) -> SparkSession:
    """The one session of all tests of this process; `warehouse` gets the tables of its catalog. With the settings that
    ship where the environment says SPARK_SETTINGS=shipped (make test-lake)."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("JDK_JAVA_OPTIONS", QUICK_SUBMIT["JDK_JAVA_OPTIONS"])
        environment.setenv("PYSPARK_SUBMIT_ARGS", f"--conf spark.sql.warehouse.dir={warehouse} pyspark-shell")
        spark = session()
    if os.environ.get("SPARK_SETTINGS") != "shipped":
        for key, value in QUICK_SPARK.items():
            spark.conf.set(key, value)
    return spark


@functools.cache
def talk() -> NDArray[np.float32]:
    """The sample talk: 16 kHz mono."""
    samples, rate_hz = soundfile.read(TALK, dtype="float32")
    return soxr.resample(samples, rate_hz, SAMPLE_RATE_HZ).astype(np.float32)


def cut(start_s: float, length_s: float, gain: float = 1.0) -> NDArray[np.float32]:
    """A stretch of the talk, which begins again where it ends. `gain` makes two cuts of one stretch differ."""
    first, count = int(start_s * SAMPLE_RATE_HZ), int(length_s * SAMPLE_RATE_HZ)
    return np.take(talk(), np.arange(first, first + count), mode="wrap") * np.float32(gain)


def write_clip(path: Path, *channels: NDArray[np.float32]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.stack(channels, axis=1), SAMPLE_RATE_HZ)
    return path


def write_clips(folder: Path, count: int, length_s: float = 6.0) -> list[Path]:
    """Recordings of about `length_s`, no two alike."""
    lengths = [length_s * (0.6 + 0.8 * (index * 7 % count) / count) for index in range(count)]
    starts = np.cumsum([0, *lengths])
    return [
        write_clip(folder / f"clip_{index:02d}.wav", cut(start, length, 1.0 - index / 200))
        for index, (start, length) in enumerate(zip(starts, lengths, strict=False))
    ]


def write_manifest(path: Path, rows: Sequence[dict[str, Any]] | Sequence[Path]) -> Path:
    """Paths become rows with uri, size and modification time, as jobs.manifest would write them."""
    full = [row if isinstance(row, dict) else file_row(row) for row in rows]
    names = dict.fromkeys(name for row in full for name in row)
    pq.write_table(pa.table({name: [row.get(name) for row in full] for name in names}), path)
    return path


def file_row(path: Path, **columns: Any) -> dict[str, Any]:
    stat = path.stat()
    modified_at = datetime.datetime.fromtimestamp(stat.st_mtime, datetime.UTC)
    return {"uri": str(path), "size_bytes": stat.st_size, "modified_at": modified_at, **columns}


def engine_config(*overrides: str, **options: Any) -> Config:
    """The deterministic engine over short parts; `options` are the engine's, `overrides` as for --set."""
    values = [f"engine.options.{name}={value}" for name, value in options.items()]
    return load_config(None, [*ENGINE, SHORT_PARTS, *values, *overrides])


def set_options(*pairs: str) -> list[str]:
    """The arguments of a command that set `pairs`, as `engine_config` does in this process."""
    return [part for pair in pairs for part in ("--set", pair)]


@dataclass
class Lake:
    """Tables in a folder, and the log of what the engine was asked in the last run."""

    spark: SparkSession
    folder: Path
    runs: int = field(default=0, init=False)

    @property
    def root(self) -> Path:
        return self.folder / "tables"

    @property
    def tables(self) -> Tables:
        return Tables(self.spark, str(self.root))

    def copy(self, folder: Path) -> Lake:
        """The same tables in another folder, to go on from there."""
        shutil.copytree(self.root, folder / "tables")
        return Lake(self.spark, folder)

    def run(self, manifest: Sequence[Any], *overrides: str, reprocess: Any = "no", **options: Any) -> RunSummary:
        """Transcribes rows (or paths) in this process."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.runs += 1
        path = write_manifest(self.folder / f"manifest_{self.runs}.parquet", manifest)
        config = engine_config("run.progress_s=60", *overrides, log_path=self.log, **options)
        return transcribe(self.spark, config, str(path), str(self.root), reprocess)

    def add(self, table: Table, rows: Sequence[dict[str, Any]]) -> None:
        """Appends rows that no engine made; what a row lacks is null."""
        batch = to_batch(rows, table.arrow)
        self.tables.append(table, self.spark.createDataFrame(pa.Table.from_batches([batch])))

    @property
    def log(self) -> Path:
        return self.folder / f"calls_{self.runs}.log"

    def calls(self) -> Counter[str]:
        """Digests of the texts that the engine read in the last run."""
        return read_calls(self.log)

    def rows(self, table: str) -> list[dict[str, Any]]:
        return delta_log.rows(self.root, table)

    def by_name(self, table: str) -> dict[str, dict[str, Any]]:
        """Rows of a table with a uri, by the last part of it; by audio_id those without."""
        return {Path(row["uri"] or row["audio_id"]).name: row for row in self.rows(table)}

    def stale(self) -> list[dict[str, Any]]:
        """Words and segments that recordings does not show."""
        shown = {(row["audio_id"], row["take_id"]) for row in self.rows("recordings")}
        below = [*self.rows("words"), *self.rows("segments")]
        return [row for row in below if (row["audio_id"], row["take_id"]) not in shown]

    def versions(self) -> dict[str, int]:
        return {path.name: delta_log.version(self.root, path.name) for path in self.root.iterdir()}

    def contents(self, *tables: str, without: frozenset[str] = delta_log.RUN_COLUMNS) -> dict[str, list[str]]:
        return {table: delta_log.contents(self.root, table, without) for table in tables or PUBLIC}


def read_calls(log: Path) -> Counter[str]:
    return Counter(line.split()[0] for line in log.read_text().splitlines()) if log.exists() else Counter()
