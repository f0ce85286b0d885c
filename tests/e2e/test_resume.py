"""Invariant 1, in one place on purpose: a run that ends between two waves is taken up in the middle of a recording."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import transforms.run.job
from tests.kit.engine import digest
from tests.kit.finished import Finished
from tests.kit.lake import Lake


def test_a_recording_in_parts_is_taken_up_where_its_last_run_stopped(
    finished: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake = Lake(finished.lake.spark, tmp_path)
    manifest = [row for row in finished.manifest if str(row.get("uri")).endswith(("long.wav", "clip_00.wav"))]

    def stop_after_a_wave(run: Any, asked: Any, wave: Any) -> None:
        raise KeyboardInterrupt("stopped by hand")

    with monkeypatch.context() as patch:
        patch.setattr(transforms.run.job._Run, "_after", stop_after_a_wave)
        with pytest.raises(KeyboardInterrupt):
            lake.run(manifest)
    assert not lake.rows("recordings")
    (run,) = lake.rows("runs")
    assert (run["status"], run["error"]) == ("failed", "KeyboardInterrupt: stopped by hand")
    committed = {digest(row["text"]) for row in lake.rows("chunks") if row["text"]}
    assert {row["part_index"] for row in lake.rows("chunks")} == {0}
    assert set(lake.calls()) >= committed
    assert len(lake.rows("claims")) == 2

    summary = lake.run(manifest)
    assert (summary.recordings, summary.skipped) == (1, 1)  # the clip was recognized before, and only published now
    assert not committed & set(lake.calls())
    assert not lake.rows("claims")
    audio_ids = {row["audio_id"] for row in lake.rows("recordings")}
    for table in ("chunks", "recordings", "segments", "words"):
        same = [row for row in finished.lake.contents(table)[table] if any(audio_id in row for audio_id in audio_ids)]
        assert lake.contents(table)[table] == same, table
    assert {row["part_index"] for row in lake.rows("chunks")} >= {0, 1, 2}
