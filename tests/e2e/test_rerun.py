"""Invariants 3 and 4: what a second run does with nothing new, with a changed source, and when all is to be done
again."""

from __future__ import annotations

import datetime
from pathlib import Path

from tests.kit.finished import Finished
from tests.kit.lake import cut, file_row, write_clip


def test_with_nothing_new_it_asks_no_engine_and_makes_no_commit(finished: Finished, tmp_path: Path) -> None:
    lake = finished.lake.copy(tmp_path)
    versions = lake.versions()
    again = lake.run(finished.manifest)
    assert (again.run_id, again.skipped) == (None, len(finished.manifest))
    assert not lake.calls()
    assert lake.versions() == versions


def test_a_changed_source_is_transcribed_again_by_itself_and_failures_when_asked_for(
    finished: Finished, tmp_path: Path
) -> None:
    lake = finished.lake.copy(tmp_path)
    before = lake.by_name("recordings")
    replaced = file_row(write_clip(tmp_path / "other.wav", cut(100, 6)), audio_id=before["clip_03.wav"]["audio_id"])
    touched = dict(finished.manifest[2])
    touched["modified_at"] += datetime.timedelta(seconds=1)
    manifest = [*finished.manifest[:2], touched, replaced, *finished.manifest[4:]]
    summary = lake.run(manifest, reprocess="failed")
    after = lake.by_name("recordings")
    assert (summary.recordings, summary.failed, lake.calls().total()) == (4, 2, 2)
    assert after["clip_02.wav"]["text"] == before["clip_02.wav"]["text"]
    assert after["clip_02.wav"]["run_key"] != before["clip_02.wav"]["run_key"]
    assert after["other.wav"]["text"] != before["clip_03.wav"]["text"]
    assert {row["attempts"] for row in lake.rows("failures")} == {2}
    untouched = before.keys() - {"clip_02.wav", "clip_03.wav", "text.mp3", "missing.wav"}
    assert all(after[name] == before[name] for name in untouched)
    assert "clip_03.wav" not in after
    assert not lake.stale()
