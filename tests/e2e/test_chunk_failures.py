"""A chunk that the engine cannot do costs its own text only, and is done when asked for."""

from __future__ import annotations

from pathlib import Path

from tests.e2e.conftest import Finished
from tests.lake import Lake


def test_a_chunk_that_fails_is_left_out_told_and_done_again_when_asked_for(finished: Finished, tmp_path: Path) -> None:
    lake, call = Lake(finished.lake.spark, tmp_path), [finished.manifest[6]]
    whole = finished.lake.by_name("recordings")["call.wav"]
    of_call = [row for row in finished.lake.rows("chunks") if row["audio_id"] == whole["audio_id"] and row["text"]]
    victim = max(of_call, key=lambda row: row["start_ms"])
    assert len(of_call) > 1
    lake.run(call, raise_on=f"'{victim['text'].split()[0]}'")
    (recording,), (failure,) = lake.rows("recordings"), lake.rows("failures")
    assert recording["status"] == "ok"
    assert "incomplete" in recording["flags"]
    assert recording["word_count"] == whole["word_count"] - len(victim["words"])
    assert (failure["stage"], failure["kind"], failure["transient"]) == ("recognize", "ValueError", False)
    assert (failure["channel"], failure["chunk_index"]) == (victim["channel"], victim["chunk_index"])
    assert lake.run(call).run_id is None, "it would fail again: not tried without being asked"
    lake.run(call, reprocess="failed")
    assert not lake.rows("failures")
    (mended,) = lake.contents("recordings")["recordings"]
    assert mended in finished.lake.contents("recordings")["recordings"]
