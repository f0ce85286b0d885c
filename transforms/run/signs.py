"""Signs of life of runs: a file each beside the table runs, renewed by the driver itself. As commits to the table they
would need slots, and all of them may be taken by long tasks."""

from __future__ import annotations

import datetime
import logging
from typing import Any

from py4j.protocol import Py4JJavaError
from pyspark.errors import AnalysisException
from pyspark.sql import functions as F

from schemas.tables import RUNS
from transforms.lake.context import hadoop_folder, has_context, inside
from transforms.lake.paths import hadoop_path
from transforms.lake.sql import literal
from transforms.lake.tables import Tables
from transforms.logs import tell

FOLDER = "_signs"
"""Delta leaves alone what begins with an underline."""


class Signs:
    """The time of a run's file is its last sign. Where no file may be written, as in a catalog that hides where its
    tables lie, and over Spark Connect, the sign is `alive_at` in the table."""

    def __init__(self, tables: Tables) -> None:
        self._tables, self._folder = tables, f"{tables.location(RUNS)}/{FOLDER}"
        self._in_files = has_context(tables.spark)
        self._filesystem: Any = None
        if self._in_files:
            self._filesystem, self._path = hadoop_folder(tables.spark, self._folder)

    def begin(self, run_id: str) -> None:
        if not self._in_files:
            return
        try:
            self.give(run_id)
        except Py4JJavaError as error:
            self._in_files = False
            reason = str(error.java_exception).splitlines()[0]
            tell(f"signs of life go to the table runs, since {self._folder} is not written: {reason}", logging.WARNING)

    def give(self, run_id: str) -> None:
        if self._in_files:
            self._write(run_id)
        else:
            now = datetime.datetime.now(datetime.UTC).isoformat(timespec="microseconds")
            mine = f"run_id = {literal(run_id)} AND status = 'running'"
            self._tables.update(RUNS, mine, {"alive_at": f"TIMESTAMP {literal(now)}"})

    def withdraw(self, run_id: str) -> None:
        if self._in_files:
            self._filesystem.delete(self._file(run_id), False)

    def given(self, run_id: str) -> bool:
        """False if the run has begun, and somebody has withdrawn its sign."""
        return not self._in_files or bool(self._filesystem.exists(self._file(run_id)))

    def last(self) -> dict[str, float]:
        """By run_id, when the sign of each was given: seconds since the epoch, by the store's clock."""
        if self._filesystem is None:
            return self._listed_by_spark()
        try:
            files = self._filesystem.listStatus(self._path)
        except Py4JJavaError:  # no run has given any
            return {}
        return {file.getPath().getName(): file.getModificationTime() / 1000 for file in files}

    def now_s(self, run_id: str) -> float:
        """The time by the store's clock, in seconds since the epoch: gives a sign, and asks when that was."""
        self._write(run_id)
        return float(self._filesystem.getFileStatus(self._file(run_id)).getModificationTime()) / 1000

    def _listed_by_spark(self) -> dict[str, float]:
        """The files of runs that have a driver's own Spark."""
        files = self._tables.spark.read.format("binaryFile").load(f"{hadoop_path(self._folder)}/*")
        try:
            signs = files.select("path", F.unix_millis("modificationTime").alias("at_ms")).collect()
        except AnalysisException as error:
            if error.getCondition() != "PATH_NOT_FOUND":
                raise
            return {}
        return {sign.path.rpartition("/")[2]: sign.at_ms / 1000 for sign in signs}

    def _write(self, run_id: str) -> None:
        file = self._filesystem.create(self._file(run_id), True)
        file.write(10)  # Spark lists no empty files
        file.close()

    def _file(self, run_id: str) -> Any:
        return inside(self._tables.spark, self._path, run_id)
