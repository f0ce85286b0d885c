"""The files that have arrived in a folder and are not done: noted by Structured Streaming, each once, in a Delta table
beside the stream's checkpoint.

Only names, sizes and times are streamed; nothing is opened. The lake itself knows what is done, so that a file which is
noted again costs nothing.
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal
from urllib.parse import unquote

import pyarrow as pa
from py4j.protocol import Py4JJavaError
from pyspark.errors import AnalysisException, StreamingQueryException
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from schemas.arrivals import ARRIVALS
from schemas.config import ConfigError
from transforms.lake.context import hadoop_folder
from transforms.lake.creation import properties, set_properties
from transforms.lake.paths import hadoop_path, spark_uri
from transforms.lake.session import own_session
from transforms.lake.tables import Tables
from transforms.lake.tickets import Ticket
from transforms.run.listing import is_listed
from transforms.stores.fetch import is_local, local_path

Kind = Literal["recordings", "manifests"]
"""What arrives."""

_FILES = {
    "recursiveFileLookup": "true",
    "ignoreMissingFiles": "true",  # one that is gone again must not end the stream
    "maxFileAge": "36500d",  # else a file older than the newest by a week is left out for ever
    "maxFilesPerTrigger": "10000",
}
"""Of Spark's own file source."""
_AUTO_LOADER = {"cloudFiles.format": "binaryFile"}
_SCHEMA = "path string, modificationTime timestamp, length bigint, content binary"
"""Of both sources. The content is never asked for, and so never read."""
_FOR = "lakescribe.watch"
"""Property of the table: what its checkpoint was made for."""
_VERSION = 1
"""Of that, and of what lies in a checkpoint."""
_ANOTHER = "give another --checkpoint, by which what is done is not done again"


@dataclass(frozen=True)
class Watched:
    """`place`: a local folder, or a uri that Spark lists. `source`: `files` (Spark's own) or `cloudFiles` (Auto Loader
    on Databricks), with `options` of it."""

    kind: Kind
    place: str
    source: Literal["files", "cloudFiles"] = "files"
    options: Mapping[str, str] = field(default_factory=dict)

    @property
    def root(self) -> str:
        """The place without what may be written in several ways."""
        local = local_path(self.place) if is_local(self.place) else None
        return self.place.rstrip("/") if local is None else str(local.resolve())


@dataclass(frozen=True)
class Arrival:
    """As ARRIVALS."""

    path: str
    size_bytes: int | None
    modified_at: datetime.datetime | None
    noted_at: datetime.datetime


class Arrivals:
    """Those of `watched` at `checkpoint` (a path or uri), for the tables at `lake`. Raises ConfigError for a checkpoint
    that was made for anything else, and for a place that is no folder."""

    def __init__(self, spark: SparkSession, watched: Watched, checkpoint: str, lake: str) -> None:
        local = local_path(checkpoint) if is_local(checkpoint) else None
        self.checkpoint = checkpoint.rstrip("/") if local is None else str(local.resolve())
        self._watched, self._stream = watched, f"{self.checkpoint}/stream"
        self._tables = Tables(spark, self.checkpoint)
        # Its own session: one task lists what would be thousands by the files' sizes, which nobody reads.
        self._session = own_session(spark)
        self._session.conf.set("spark.sql.files.maxPartitionBytes", str(1 << 60))
        self._error: BaseException | None = None
        _check_place(watched, self.checkpoint, lake)
        self._check_checkpoint(lake)

    def _check_checkpoint(self, lake: str) -> None:
        made_for = {"version": _VERSION, "kind": self._watched.kind, "place": self._watched.root, "tables": lake}
        if not self._tables.exists(ARRIVALS) and self._streamed():
            raise ConfigError(f"checkpoint {self.checkpoint} has lost its table {ARRIVALS.name}; {_ANOTHER}")
        self._tables.create([ARRIVALS])
        found = properties(self._tables, ARRIVALS).get(_FOR)
        if found is None:
            set_properties(self._tables, ARRIVALS, {_FOR: json.dumps(made_for)})
            return
        was_for = json.loads(found)
        if differing := [name for name in made_for if was_for.get(name) != made_for[name]]:
            was, wanted = (
                ", ".join(f"{name} {values.get(name)}" for name in differing) for values in (was_for, made_for)
            )
            raise ConfigError(f"checkpoint {self.checkpoint} was made for {was}, not for {wanted}; {_ANOTHER}")

    def _streamed(self) -> bool:
        filesystem, path = hadoop_folder(self._session, spark_uri(self._stream))
        return bool(filesystem.exists(path))

    def note(self) -> None:
        """Notes all that has arrived until now and was not noted before."""
        is_files = self._watched.source == "files"
        reader = self._session.readStream.format("binaryFile" if is_files else self._watched.source)
        reader = reader.options(**(_FILES if is_files else _AUTO_LOADER)).options(**self._watched.options)
        self._error = None
        try:
            files = (reader.schema(_SCHEMA) if is_files else reader).load(
                hadoop_path(self._watched.root) if is_files else self._watched.place
            )
            size, time = F.col("length").alias("size_bytes"), F.col("modificationTime").alias("modified_at")
            names = files.select("path", size, time)
            writer = names.writeStream.foreachBatch(self._append).option("checkpointLocation", spark_uri(self._stream))
            writer.trigger(availableNow=True).start().awaitTermination()
        except (AnalysisException, StreamingQueryException, Py4JJavaError) as error:
            raise self._error or _explained(error, self._watched.root, self.checkpoint) from error

    def _append(self, batch: DataFrame, number: int) -> None:
        """Notes a batch of the stream; no second time if it is a batch that was noted before a crash."""
        try:
            rows = {_plain(row["path"]): row for row in batch.toArrow().to_pylist()}
            if self._watched.source == "files":
                rows = {_plain(path): {} for path in self._listed(number)} | rows
            now = datetime.datetime.now(datetime.UTC)
            noted = [
                row | {"path": path, "batch": number, "noted_at": now}
                for path, row in sorted(rows.items())
                if is_listed(path.removeprefix(self._watched.root), manifests=self._watched.kind == "manifests")
            ]
            if noted:
                frame = self._tables.frame(pa.Table.from_pylist(noted, ARRIVALS.arrow))
                self._tables.append(ARRIVALS, frame, Ticket("stream", number + 1))
        except BaseException as error:
            self._error = error  # Spark would tell of it in its own words
            raise

    def _listed(self, number: int) -> Iterator[str]:
        """The files of the batch by the log of Spark's file source. Its rows say nothing of those that are empty yet,
        and no later batch would."""
        first, last = (self._log_offset(number - 1) if number else -1) + 1, self._log_offset(number)
        names = [f"{entry}{suffix}" for entry in range(first, last + 1) for suffix in ("", ".compact")]
        for line in self._lines("sources/0", *names):
            if line.startswith("{"):  # after the version of the log
                entry = json.loads(line)
                if first <= entry["batchId"] <= last:
                    yield unquote(entry["path"])

    def _log_offset(self, number: int) -> int:
        return int(json.loads(self._lines("offsets", str(number))[-1])["logOffset"])

    def _lines(self, folder: str, *names: str) -> list[str]:
        """Of those of these files of Spark's checkpoint that are there."""
        pattern = f"{hadoop_path(self._stream)}/{folder}/{{{','.join(names)}}}"
        return [row.value for row in self._session.read.text(pattern).collect()]

    def waiting(self) -> list[Arrival]:
        """What is not done, the first noted first; each path once."""
        rows = self._tables.read(ARRIVALS).orderBy("batch", "path").drop("batch").toArrow().to_pylist()
        return list({row["path"]: Arrival(**row) for row in rows}.values())

    def done(self, paths: Collection[str]) -> None:
        """These wait no longer."""
        if paths:
            listed = self._tables.frame(pa.table({"path": pa.array(list(paths), pa.string())}))
            self._tables.delete_matching(ARRIVALS, listed, "t.path = s.path")


def _plain(path: str) -> str:
    """A local path without its scheme, as people write it; Spark does not quote what it holds."""
    return f"/{path.removeprefix('file:').lstrip('/')}" if path.startswith("file:") else path


def _check_place(watched: Watched, checkpoint: str, lake: str) -> None:
    place = Path(watched.root)
    if is_local(watched.root) and not place.is_dir():
        raise ConfigError(f"{watched.place} is no folder; make it, or give another")
    for inner in (checkpoint, lake):
        if watched.kind == "manifests" and f"{inner}/".startswith(f"{watched.root}/"):
            raise ConfigError(f"{inner} lies in the folder of manifests {watched.place}; give them places apart")


def _explained(error: Exception, place: str, checkpoint: str) -> Exception:
    if "PATH_NOT_FOUND" in str(error):
        return ConfigError(f"{place} is no folder; make it, or give another")
    if "ConcurrentModification" in str(error) or "CONCURRENT_STREAM" in str(error):
        return ConfigError(f"another jobs.watch is at work with the checkpoint {checkpoint}; end it, or give another")
    return error
