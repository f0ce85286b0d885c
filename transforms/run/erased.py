"""Recordings that were erased on request: known by a hash of their audio_id, and taken up by no run."""

from __future__ import annotations

import hashlib

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from schemas.tables import ERASED
from transforms.lake.tables import Tables


def digest(audio_id: str) -> str:
    """As ERASED has it."""
    return hashlib.sha256(audio_id.encode()).hexdigest()


def erased_among(tables: Tables, rows: DataFrame) -> DataFrame | None:
    """The audio_ids of `rows` that were erased; None where nothing ever was."""
    if not tables.exists(ERASED):
        return None
    return with_digests(rows, tables.read(ERASED)).select("audio_id").distinct()


def with_digests(rows: DataFrame, digests: DataFrame) -> DataFrame:
    """Those of `rows`, which have an audio_id, whose hash is among `digests`."""
    listed = F.broadcast(digests.select("audio_id_sha256"))
    return rows.join(listed, F.sha2("audio_id", 256) == F.col("audio_id_sha256"), "left_semi")
