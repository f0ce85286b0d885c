"""What the benchmarks share: reading the test speech, running the job, scoring."""

from __future__ import annotations

import csv
import json
import os
import platform
import re
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from pathlib import Path

import jiwer
import pyarrow as pa
import pyarrow.parquet as pq
from pyspark.sql import SparkSession

from schemas.config import Config
from schemas.tables import RECORDINGS, WORDS, to_batch
from tests.kit.works import work_row
from transforms.engines import aligner_specs, recognizer_spec
from transforms.lake.tables import Tables
from transforms.recognition.rows import WORK, TaskSpec
from transforms.recognition.task import recognize_partition
from transforms.run.job import RunSummary, transcribe

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@dataclass(frozen=True)
class Clip:
    """A recording with its reference; `words` are (word, start_s, end_s) where somebody timed them."""

    path: Path
    duration_s: float
    text: str
    words: tuple[tuple[str, float, float], ...]


@dataclass(frozen=True)
class Transcript:
    text: str
    words: tuple[tuple[str, int | None, int | None], ...]
    """(word, start_ms, end_ms)"""


def clips(data: Path, *folders: str) -> list[Clip]:
    """The clips in `folders` of the test speech, in the order of its manifest."""
    with (data / "manifest.tsv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    return [
        Clip(data / row["path"], float(row["duration_s"] or 0), row["reference_text"], _timed(row["reference_words"]))
        for row in rows
        if row["path"].split("/")[0] in folders and float(row["duration_s"] or 0) and not row["path"].endswith(".raw")
    ]


def _timed(text: str) -> tuple[tuple[str, float, float], ...]:
    words = json.loads(text) if text else []
    return tuple((w["word"], w["start"], w["end"]) if isinstance(w, dict) else tuple(w) for w in words)


def run_job(spark: SparkSession, paths: Iterable[Path], config: Config) -> tuple[dict[Path, Transcript], RunSummary]:
    """The whole job over `paths` into tables in a temporary folder; what its tables say, by path."""
    with tempfile.TemporaryDirectory() as folder:
        manifest = Path(folder) / "manifest.parquet"
        listed = [path.resolve() for path in paths]
        sizes = [path.stat().st_size for path in listed]
        pq.write_table(pa.table({"uri": list(map(str, listed)), "size_bytes": sizes}), manifest)
        summary = transcribe(spark, config, str(manifest), f"{folder}/tables")
        tables = Tables(spark, f"{folder}/tables")
        rows = tables.read(RECORDINGS).select("audio_id", "uri", "text").collect()
        words: dict[str, list[tuple[str, int | None, int | None]]] = {row.audio_id: [] for row in rows}
        for row in tables.read(WORDS).orderBy("audio_id", "word_index").collect():
            words[row.audio_id].append((row.word, row.start_ms, row.end_ms))
    return {Path(row.uri): Transcript(row.text or "", tuple(words[row.audio_id])) for row in rows}, summary


def bare_task(paths: Iterable[Path], config: Config) -> None:
    """The paths as one task of the job does them, in this process and without Spark; its rows are thrown away."""
    recognizer = recognizer_spec(config)
    spec = TaskSpec(config, recognizer, aligner_specs(config), config.engine.name, str(recognizer.key["model"]), "run")
    rows = [work_row(path, audio_id=str(index), language=config.language) for index, path in enumerate(paths)]
    for _ in recognize_partition([to_batch(rows, WORK)], spec, lambda report: None):
        pass


def normal(text: str) -> str:
    """Lower case, no punctuation but apostrophes: enough for read English, and the same for all sides."""
    return " ".join(re.findall(r"[\w']+", text.lower().replace("’", "'")))


def word_error_rate(references: Sequence[str], hypotheses: Sequence[str]) -> float:
    """Errors over reference words, all clips together."""
    return float(jiwer.wer(list(map(normal, references)), list(map(normal, hypotheses))))


def start_errors_ms(clip: Clip, transcript: Transcript) -> list[float]:
    """Start time in `transcript` minus the reference's, of each word that both have, matched by text in order."""
    ours = [(normal(word), start_ms) for word, start_ms, _ in transcript.words]
    theirs = [normal(word) for word, _, _ in clip.words]
    matcher = SequenceMatcher(None, theirs, [word for word, _ in ours], autojunk=False)
    errors = []
    for block in matcher.get_matching_blocks():
        for offset in range(block.size):
            start_ms = ours[block.b + offset][1]
            if start_ms is not None:
                errors.append(start_ms - 1000 * clip.words[block.a + offset][1])
    return errors


def machine() -> str:
    return f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, {time.strftime('%Y-%m-%d')}"
