"""What a run has done, as its row of the table runs."""

from __future__ import annotations

import importlib.metadata
import platform
from typing import Any

from pyspark.sql import DataFrame

from transforms.lake.sql import literal
from transforms.recognition.report import TaskReport
from transforms.run.registry import ending

_PACKAGES = (
    "lakescribe",
    "pyspark",
    "delta-spark",
    "pyarrow",
    "faster-whisper",
    "ctranslate2",
    "pocketsphinx",
    "onnxruntime",
    "soundfile",
    "av",
)


def run_figures(
    recordings: DataFrame, run_id: str, report: TaskReport, wall_s: float, error: BaseException | None
) -> dict[str, Any]:
    """Columns of runs; those of the recordings that this run recognized are counted in the table."""
    totals = (
        recordings.where(f"run_id = {literal(run_id)}")
        .selectExpr(
            "count(*) n", "count_if(status = 'failed') failed", "sum(duration_ms) audio_ms", "sum(speech_ms) speech_ms"
        )
        .first()
    )
    assert totals is not None
    audio_s = (totals.audio_ms or 0) / 1000
    return {
        **ending(error, wall_s),
        "recordings": totals.n,
        "failed": totals.failed,
        "audio_hours": audio_s / 3600,
        "speech_hours": (totals.speech_ms or 0) / 3.6e6,
        "times_real_time": audio_s / wall_s,
        "stage_seconds": dict(sorted(report.seconds.items())),
        "batches": report.batches,
        "batch_fill": report.batch_audio_s / report.padded_audio_s if report.padded_audio_s else None,
        "second_tries": report.second_tries,
        "retries": report.retries,
        "versions": dict(sorted(_versions().items())),
    }


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
