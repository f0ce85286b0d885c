"""Invariant 7: the same recording gives the same rows whatever batch, partitioning, worker or chunk of another
recording it met."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from schemas.config import Config, load_config
from schemas.tables import CHUNKS, to_batch
from tests.kit.finished import Finished
from tests.kit.lake import Lake
from transforms.audio.front import Work
from transforms.engines import aligner_specs, recognizer_spec
from transforms.recognition.report import TaskReport
from transforms.recognition.rows import WORK, TaskSpec
from transforms.recognition.task import recognize_partition

OTHERWISE = (
    "batching.max_padded_audio_s=5",
    "batching.lookahead_audio_s=5",
    "batching.prefetch_mib=1",
    "batching.front_threads=4",
    "run.task_audio_minutes=0.2",
    "run.wave_audio_hours=0.05",
    "run.waves_at_once=3",
    "audio.block_s=1.7",
)
"""All that is promised to change no result, far from the defaults."""


def test_batches_tasks_waves_and_the_order_of_the_manifest_change_no_row(finished: Finished, tmp_path: Path) -> None:
    lake, manifest = Lake(finished.lake.spark, tmp_path), list(finished.manifest)
    random.Random(7).shuffle(manifest)
    lost = tmp_path / "lost"
    summary = lake.run(manifest, *OTHERWISE, lose_once=lost)
    assert summary.recordings == len(manifest)
    assert lost.exists()
    for table in ("chunks", "recordings", "segments", "words", "failures"):
        assert lake.contents(table) == finished.lake.contents(table), table
    (run,) = lake.rows("runs")
    assert run["retries"] >= 1, "a task whose engine died was started again"
    assert run["batches"] > finished.lake.rows("runs")[0]["batches"]


def chunks_of(works: Sequence[Work], config: Config) -> dict[tuple[Any, ...], dict[str, Any]]:
    """What one task makes of the works, without Spark: rows of chunks by their key."""
    spec = TaskSpec(config, recognizer_spec(config), aligner_specs(config), "engine", "model", "run")
    rows = [{**vars(work), "metadata": []} for work in works]
    reports: list[TaskReport] = []
    batches = recognize_partition([to_batch(rows, WORK)], spec, reports.append)
    found = [row for batch in batches for row in batch.to_pylist()]
    return {
        tuple(row[name] for name in CHUNKS.key): {name: value for name, value in row.items() if name != "created_at"}
        for row in found
    }


def test_whisper_reads_a_recording_alike_in_any_company(data: Path) -> None:
    paths = sorted((data / "librispeech_test_other").glob("*.flac"))[:40:8]
    assert len(paths) == 5
    works = [Work(path.stem, "k", "s", str(path), None, "en", "given", None, "mix", 0, None, {}) for path in paths]
    settings = ("engine.options={model: tiny.en}", "aligners=[recognizer]")
    together = chunks_of(works, load_config(None, settings))
    alone = {
        key: row for work in reversed(works) for key, row in chunks_of([work], load_config(None, settings)).items()
    }
    assert together.keys() == alone.keys()
    for key, row in together.items():
        other = alone[key]
        assert (row["text"], row["language"], row["flags"]) == (other["text"], other["language"], other["flags"])
        assert [(word["start_ms"], word["end_ms"]) for word in row["words"] or ()] == [
            (word["start_ms"], word["end_ms"]) for word in other["words"] or ()
        ]
        for word, other_word in zip(row["words"] or (), other["words"] or (), strict=True):
            # The recognizer reckons in 8 bits, in another order where the batch has another shape.
            assert word["confidence"] == pytest.approx(other_word["confidence"], abs=0.02)
    assert sum(len(row["words"] or ()) for row in together.values()) > 50
