"""Invariants 1 and 9, in one place on purpose: a driver that was taken for dead, and what it still commits afterwards."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import transforms.run.job
from schemas.tables import CHUNKS, CLAIMS, RUNS, to_batch
from tests.kit.finished import Finished
from tests.kit.lake import Lake
from transforms.errors import LostClaims
from transforms.lake.tables import Tables
from transforms.lake.tickets import Ticket
from transforms.run.signs import Signs

_SHOWN = ("recordings", "segments", "words", "failures")


def _some(finished: Finished) -> list[dict[str, Any]]:
    return [*finished.manifest[:2], finished.manifest[-1]]


def _look_dead(tables: Tables) -> None:
    """No driver of a process that lives, and no sign of life for years."""
    values = {"driver": "'elsewhere/1/1'", "alive_at": "TIMESTAMP '2000-01-01 00:00:00Z'"}
    tables.update(RUNS, "status = 'running'", values)
    signs = Signs(tables)
    for run_id in signs.last():
        signs.withdraw(run_id)


def test_a_run_that_is_overtaken_before_it_publishes_writes_nothing_more_and_says_so(
    finished: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake, heir = Lake(finished.lake.spark, tmp_path), Lake(finished.lake.spark, tmp_path)
    publish = transforms.run.job._Run._publish
    overtaken: list[Any] = []

    def overtake(run: Any, complete: Any) -> None:
        if complete and not overtaken:
            overtaken.append(run)
            _look_dead(lake.tables)
            summary = heir.run(_some(finished))
            assert (summary.recordings, summary.skipped) == (0, 3)  # recognized by the run that seemed dead
        publish(run, complete)

    monkeypatch.setattr(transforms.run.job._Run, "_publish", overtake)
    with pytest.raises(LostClaims, match=r"another run .* recordings; .*run\.claim_minutes"):
        lake.run(_some(finished))
    _assert_as_in(finished, lake, "chunks", *_SHOWN)
    assert not lake.stale()
    assert not lake.rows("claims")
    assert [row["status"] for row in sorted(lake.rows("runs"), key=lambda row: row["run_id"])] == ["lost", "ok"]
    run_id = overtaken[0].spec.run_id
    chunks = lake.tables.read(CHUNKS)
    lake.tables.append(CHUNKS, chunks, Ticket(f"{run_id}/lane-0", 99))
    _assert_as_in(finished, lake, "chunks")


def test_a_run_that_died_after_its_last_publishing_step_leaves_only_its_claims(
    finished: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake = Lake(finished.lake.spark, tmp_path)

    def die(claims: Any, audio_ids: Any) -> None:
        if audio_ids:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(transforms.run.claims.Claims, "release", die)
        with pytest.raises(KeyboardInterrupt):
            lake.run(_some(finished))
    assert len(lake.rows("claims")) == 3
    before = lake.contents(without=frozenset())
    summary = lake.run(_some(finished)[:2])
    assert (summary.recordings, summary.skipped) == (0, 2), "all is published"
    assert not lake.calls()
    assert len(lake.rows("claims")) == 1
    summary = lake.run(_some(finished), reprocess="failed")
    assert (summary.recordings, summary.failed) == (1, 1)
    assert lake.contents(without=frozenset())["words"] == before["words"]
    assert not lake.rows("claims")


def test_what_another_run_has_ended_of_a_dead_one_since_the_plan_is_not_recognized_again(
    finished: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake = Lake(finished.lake.spark, tmp_path)
    make_plan = transforms.run.job.make_plan

    def then_ended(*values: Any, **options: Any) -> Any:
        """Two recordings have dead claims; both are settled right after this plan was made."""
        plan = make_plan(*values, **options)
        assert plan.table["asked"].to_pylist() == [False, False]
        lake.tables.delete(CLAIMS, "true")
        return plan

    lake.run(_some(finished)[:2])
    claims = [{"audio_id": row["audio_id"], "run_id": row["run_id"], "begun": []} for row in lake.rows("recordings")]
    lake.tables.append(CLAIMS, lake.tables.frame(pa.Table.from_batches([to_batch(claims, CLAIMS.arrow)])))
    before = lake.contents("chunks", without=frozenset())
    monkeypatch.setattr(transforms.run.job, "make_plan", then_ended)
    summary = lake.run(_some(finished)[:2])
    assert (summary.recordings, summary.skipped) == (0, 2)
    assert not lake.calls()
    assert lake.contents("chunks", without=frozenset()) == before
    assert not lake.rows("claims")


def _assert_as_in(finished: Finished, lake: Lake, *tables: str) -> None:
    audio_ids = {row["audio_id"] for row in lake.rows("recordings")}
    for table in tables:
        same = [row for row in finished.lake.contents(table)[table] if any(audio_id in row for audio_id in audio_ids)]
        assert lake.contents(table)[table] == same, table
