"""Invariants 3 and 4: what the next run would do with a finished lake. Only the plan is made: no engine, no commit."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

from tests.kit.finished import Finished
from tests.kit.lake import Lake, cut, engine_config, file_row, write_clip, write_manifest
from transforms.engines import aligner_specs, recognizer_spec
from transforms.recognition.keys import config_key
from transforms.run.manifest import read_manifest
from transforms.run.plan import make_plan

CHANGES = (
    "engine.options.voice=b",
    "vad.threshold=0.6",
    "packing.max_chunk_s=20",
    "aligners=[]",
    "retry.low_confidence=0.1",
    "language=de",
    "context=Fjord",
    "audio.channels=split",
)


def pending(
    lake: Lake, manifest: list[dict[str, Any]], folder: Path, reprocess: Any = "no", *overrides: str
) -> set[str]:
    """Names of the recordings that would be done."""
    config = engine_config(*overrides)
    path = write_manifest(folder / "manifest.parquet", manifest)
    rows = read_manifest(lake.spark, str(path), config)
    key = config_key(config, recognizer_spec(config), aligner_specs(config))
    plan = make_plan(rows, lake.tables, key, reprocess)
    names = {row.audio_id: Path(row.uri or row.audio_id).name for row in rows.rows.select("audio_id", "uri").collect()}
    rows.close()
    assert plan.skipped == len(names) - plan.table.num_rows
    return {names[audio_id] for audio_id in plan.table["audio_id"].to_pylist()}


def everything(finished: Finished) -> set[str]:
    return set(finished.lake.by_name("recordings"))


def test_a_new_recording_is_pending_and_no_other(finished: Finished, tmp_path: Path) -> None:
    new = write_clip(tmp_path / "new.wav", cut(0, 3))
    assert pending(finished.lake, [*finished.manifest, file_row(new)], tmp_path) == {"new.wav"}


def test_a_source_that_changed_is_pending(finished: Finished, tmp_path: Path) -> None:
    rows = [dict(row) for row in finished.manifest]
    rows[0]["modified_at"] += datetime.timedelta(seconds=1)
    rows[1]["size_bytes"] += 2
    rows[2]["language"] = "de"
    rows[3]["start_ms"] = 500
    rows[4]["context"] = "Fjord"
    ids = {name: row["audio_id"] for name, row in finished.lake.by_name("recordings").items()}
    rows[3]["audio_id"] = ids["clip_03.wav"]  # a stretch of a file is a recording of its own, unless it is named
    assert pending(finished.lake, rows, tmp_path) == {f"clip_0{index}.wav" for index in range(5)}


def test_other_columns_of_the_manifest_may_change_freely(finished: Finished, tmp_path: Path) -> None:
    assert not pending(finished.lake, [{**row, "speaker_name": "Bob"} for row in finished.manifest], tmp_path)


def test_the_time_zone_of_the_session_makes_no_source_look_changed(finished: Finished, tmp_path: Path) -> None:
    zone = finished.lake.spark.conf.get("spark.sql.session.timeZone")
    finished.lake.spark.conf.set("spark.sql.session.timeZone", "Asia/Tokyo")
    try:
        assert not pending(finished.lake, finished.manifest, tmp_path)
    finally:
        finished.lake.spark.conf.set("spark.sql.session.timeZone", zone)


def test_a_changed_configuration_waits_until_it_is_asked_for(finished: Finished, tmp_path: Path) -> None:
    for change in CHANGES:
        assert not pending(finished.lake, finished.manifest, tmp_path, "no", change), change
    assert pending(finished.lake, finished.manifest, tmp_path, "changed", CHANGES[0]) == everything(finished)


def test_each_setting_that_can_change_a_text_changes_the_key() -> None:
    keys = set()
    for change in ((), *((change,) for change in CHANGES)):
        config = engine_config(*change)
        keys.add(config_key(config, recognizer_spec(config), aligner_specs(config)))
    assert len(keys) == 1 + len(CHANGES)


def test_what_changes_no_chunk_is_no_changed_configuration(finished: Finished, tmp_path: Path) -> None:
    harmless = (
        "segments.max_chars=40",
        "batching.max_padded_audio_s=60",
        "run.wave_audio_hours=1",
        "fetch.attempts=1",
        "audio.block_s=10",
    )
    assert not pending(finished.lake, finished.manifest, tmp_path, "changed", *harmless)


def test_failed_and_all_are_done_again_when_asked_for(finished: Finished, tmp_path: Path) -> None:
    assert pending(finished.lake, finished.manifest, tmp_path, "failed") == {"text.mp3", "missing.wav"}
    assert pending(finished.lake, finished.manifest, tmp_path, "all") == everything(finished)
