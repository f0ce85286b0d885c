"""Invariant 8: N in, N out. What answers for too few fails the task, with both counts in the error; the run is
accounted for."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.test_company import chunks_of
from tests.kit.finished import Finished
from tests.kit.lake import Lake, cut, engine_config, write_clip
from transforms.audio.front import Work


def test_an_engine_that_returns_too_few_fails_the_run_with_both_counts(finished: Finished, tmp_path: Path) -> None:
    lake = finished.lake.copy(tmp_path)
    before = lake.contents()
    with pytest.raises(Exception, match=r"was given (\d+) items and returned (\d+)"):
        lake.run(finished.manifest[:2], reprocess="all", short_by=1)
    assert lake.contents() == before
    failed = max(lake.rows("runs"), key=lambda run: run["run_id"])
    assert (failed["status"], failed["recordings"], failed["audio_hours"]) == ("failed", 0, 0.0)
    assert "items and returned" in failed["error"]


def test_chunks_are_cut_so_short_that_the_aligner_takes_them(finished: Finished, tmp_path: Path) -> None:
    lake, clip = Lake(finished.lake.spark, tmp_path), write_clip(tmp_path / "long.wav", cut(20, 30))
    lake.run([clip], "aligners=['tests.kit.engine:BriefAligner']")
    chunks = [chunk for chunk in lake.rows("chunks") if chunk["text"]]  # and one that says where the recording ends
    assert len(chunks) > 7 and all(0 < chunk["end_ms"] - chunk["start_ms"] <= 4_000 for chunk in chunks)
    assert {chunk["aligner"] for chunk in chunks} == {"tests.kit.engine:BriefAligner"}
    (row,) = lake.rows("recordings")
    assert "unaligned" not in row["flags"]
    assert all(word["end_ms"] is not None for word in lake.rows("words"))
    (run,) = lake.rows("runs")
    assert "max_chunk_s: 4.0" in run["config"]


def test_an_aligner_that_answers_for_too_few_fails_the_task_with_both_counts(finished: Finished) -> None:
    config = engine_config("aligners=['tests.kit.engine:ForgetfulAligner', recognizer]")
    path = finished.audio / "clip_00.wav"
    work = Work("a", "k", "s", str(path), None, None, None, None, "mix", 0, None, {})
    with pytest.raises(RuntimeError, match=r"was given 1 items and returned 0"):
        chunks_of([work], config)
