"""One rich lake, made once a process; what changes tables does so in a copy."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pyspark.sql import SparkSession

from schemas.config import SAMPLE_RATE_HZ
from tests.kit.lake import Lake, cut, file_row, write_clip, write_clips


@dataclass(frozen=True)
class Finished:
    """A lake after one undisturbed run over `manifest`."""

    lake: Lake
    manifest: list[dict[str, Any]]
    audio: Path


def make(spark: SparkSession, folder: Path) -> Finished:
    """Short recordings, one in parts, one with a channel a speaker, one as bytes, a silent one, and two that cannot be
    read."""
    audio = folder / "audio"
    rows = [file_row(path) for path in write_clips(audio, 5, 7.0)]
    rows[0] |= {"speaker_name": "Ann", "score": 3, "tags": ["a", "b"]}
    rows.append(file_row(write_clip(audio / "long.wav", cut(20, 100, 0.9))))
    rows.append(file_row(write_clip(audio / "call.wav", cut(0, 40, 0.8), cut(60, 40, 0.8)), channels="split"))
    rows.append({"audio_id": "as-bytes", "content": (audio / "clip_01.wav").read_bytes()})
    rows.append(file_row(write_clip(audio / "silence.wav", np.zeros(3 * SAMPLE_RATE_HZ, np.float32))))
    (audio / "text.mp3").write_text("This is no recording.")
    rows += [file_row(audio / "text.mp3"), {"uri": str(audio / "missing.wav")}]
    lake = Lake(spark, folder)
    lake.run(rows)
    return Finished(lake, rows, audio)
