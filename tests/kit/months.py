"""Six weeks of a lake in which all is well: rows of runs and recordings that no engine made."""

from __future__ import annotations

import datetime
from typing import Any

NOW = datetime.datetime.now(datetime.UTC).replace(microsecond=0)
MONDAY = (NOW - datetime.timedelta(days=NOW.weekday())).replace(hour=0, minute=0, second=0)
WEEKS = 6
HOUR_MS = 3_600_000
Rows = list[dict[str, Any]]


def months() -> tuple[Rows, Rows]:
    """Recordings and runs: in each week, the last whole one first, three hours of English and one of German, read by one
    run; and the same an hour ago."""
    recordings: Rows = []
    runs: Rows = []
    times = [NOW - datetime.timedelta(hours=1)]
    times += [MONDAY - datetime.timedelta(days=7 * week + 3) for week in range(WEEKS)]
    for at in times:
        run_id = f"{at:%Y%m%dT%H%M%S}.000000Z-000000"
        for index, language in enumerate(["en", "en", "en", "de"]):
            row = {"audio_id": f"{run_id} {index}", "run_id": run_id, "run_key": "k", "take_id": run_id, "status": "ok"}
            row |= {"language": language, "confidence": 0.9, "duration_ms": 2 * HOUR_MS, "speech_ms": HOUR_MS}
            row |= {"engine": "whisper", "model": "base", "flags": [], "transcribed_at": at, "uri": f"/{index}.wav"}
            recordings.append({**row, "metadata": [("topic", "news")]})
        stages = [("recognize", 90.0), ("wait", 10.0)]
        run = {"run_id": run_id, "status": "ok", "started_at": at, "ended_at": at, "recordings": 100, "failed": 2}
        run |= {"wall_seconds": 720.0, "audio_hours": 8.0, "times_real_time": 40.0, "stage_seconds": stages}
        runs.append(run)
    return recordings, runs
