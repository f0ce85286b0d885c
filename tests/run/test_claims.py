"""Who does which recording, and how a run that died, or only seems so, is overtaken."""

from __future__ import annotations

import datetime
import re
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pytest
from pyspark.sql import SparkSession

from schemas.config import MAX_WAVES_AT_ONCE, Config, show_config
from schemas.tables import CHUNKS, CLAIMS, RECORDINGS, RUNS, SEGMENTS, WORDS, to_batch
from transforms.errors import LostClaims
from transforms.lake.tables import Tables
from transforms.run.claims import Claims, Writer, lane_name
from transforms.run.registry import Registry, next_run_id

NOW = datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.UTC)
MINUTES = 10.0
CONFIG = show_config(Config())


@pytest.fixture(scope="module")
def tables(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Tables:
    tables = Tables(spark, str(tmp_path_factory.mktemp("claims")))
    tables.create()
    return tables


class Run:
    """A run that has registered itself."""

    def __init__(self, tables: Tables) -> None:
        self.tables, self.registry = tables, Registry(tables, MINUTES)
        self.run_id = self.registry.register(CONFIG)
        self.claims = Claims(tables, self.registry)

    def seem_dead(self) -> None:
        """No sign of life for a day, and its process is another machine's."""
        self.registry.stop()
        values = {"alive_at": "alive_at - INTERVAL 1 DAY", "driver": "'elsewhere/1/1'"}
        self.tables.update(RUNS, f"run_id = '{self.run_id}'", values)


@pytest.fixture
def runs(tables: Tables) -> Iterator[list[Run]]:
    """Three runs at once, begun one after the other."""
    made = [Run(tables) for _ in range(3)]
    yield made
    for run in made:
        run.registry.end({"status": "ok"})
    tables.delete(CLAIMS, "true")


def test_the_order_of_runs_does_not_hang_on_the_clock() -> None:
    first = next_run_id(NOW, None)
    assert re.fullmatch(r"20260102T030405\.000000Z-[0-9a-f]{6}", first)
    behind = next_run_id(NOW - datetime.timedelta(days=1), first)
    assert behind > first
    assert behind.startswith("20260102T030405.000001Z-")
    later = NOW + datetime.timedelta(seconds=1)
    assert next_run_id(later, behind).startswith("20260102T030406")


def test_runs_register_in_order_and_a_run_that_ended_is_no_other(runs: list[Run]) -> None:
    first, second, third = runs
    assert first.run_id < second.run_id < third.run_id
    assert set(third.registry.living()) == {first.run_id, second.run_id}
    assert first.registry.may_have_published() >= {second.run_id, third.run_id}
    second.registry.end({"status": "failed", "error": "no", "stage_seconds": {"load": 1.5}, "recordings": 3})
    (row,) = second.tables.read(RUNS).where(f"run_id = '{second.run_id}'").collect()
    assert (row.status, row.error, row.stage_seconds, row.recordings) == ("failed", "no", {"load": 1.5}, 3)
    assert row.config == CONFIG
    assert set(third.registry.living()) == {first.run_id}


def test_a_recording_is_one_runs_and_the_others_leave_it(runs: list[Run]) -> None:
    first, second, _ = runs
    assert first.claims.take({"a": None, "b": "shown"}).held == {"a": [], "b": []}
    taken = second.claims.take({"b": "shown", "c": None})
    assert (taken.held, taken.left) == ({"c": []}, {"b": first.run_id})
    first.claims.release(["b"])
    assert second.claims.take({"b": "shown"}).held == {"b": []}
    first.claims.confirm(["a"])
    with pytest.raises(LostClaims, match=r"another run does its recordings.*run\.claim_minutes"):
        first.claims.confirm(["a", "b"])
    with pytest.raises(LostClaims):
        first.claims.release(["a", "b"])


def test_the_claims_of_a_dead_run_are_taken_over_and_what_it_still_writes_is_left_out(runs: list[Run]) -> None:
    dead, heir, second_heir = runs
    dead.claims.take({"d": None, "e": None})
    writer = Writer(dead.run_id, lane_name(0))
    tables, row = dead.tables, {"audio_id": "d", "run_key": "k", "run_id": dead.run_id, "chunk_index": -1}
    chunk = tables.frame(pa.Table.from_batches([to_batch([row], CHUNKS.arrow)]))
    tables.append(CHUNKS, chunk, writer.ticket())
    dead.seem_dead()
    assert heir.claims.take({"d": None}).held == {"d": [dead.run_id]}
    tables.append(CHUNKS, chunk, writer.ticket())
    tables.append(CHUNKS, chunk, Writer(dead.run_id, lane_name(1)).ticket())
    recording = tables.frame(pa.Table.from_batches([to_batch([{"audio_id": "d"}], RECORDINGS.arrow)]))
    tables.append(RECORDINGS, recording, Writer(dead.run_id, "publisher").ticket())
    assert not tables.read(RECORDINGS).where("audio_id = 'd'").count()
    assert tables.read(CHUNKS).where("audio_id = 'd'").count() == 1
    (state,) = tables.read(RUNS).where(f"run_id = '{dead.run_id}'").collect()
    assert (state.status, heir.run_id in state.error) == ("lost", True)
    with pytest.raises(LostClaims):
        dead.claims.release(["d"])
    # Of what the heir does not want it still has the claims, but no commit of it counts any more.
    with pytest.raises(LostClaims, match="gave no sign of life"):
        dead.claims.confirm(["e"])
    heir.seem_dead()
    assert second_heir.claims.take({"d": None}).held == {"d": [dead.run_id, heir.run_id]}


def test_a_run_has_the_lanes_that_its_configuration_says_and_all_if_that_is_not_known(runs: list[Run]) -> None:
    one = runs[0]
    assert one.registry.waves_at_once(one.run_id) == Config().run.waves_at_once < MAX_WAVES_AT_ONCE
    one.tables.update(RUNS, f"run_id = '{one.run_id}'", {"config": "NULL"})
    assert one.registry.waves_at_once(one.run_id) == MAX_WAVES_AT_ONCE
    assert one.registry.waves_at_once("of no run that is known") == MAX_WAVES_AT_ONCE


def test_a_run_that_wakes_up_finds_out_before_it_writes(runs: list[Run], monkeypatch: pytest.MonkeyPatch) -> None:
    late, heir, _ = runs
    late.claims.take({"f": None})
    late.registry.confirm()
    late.seem_dead()
    late.registry._stop.clear()
    heir.claims.take({"f": None})
    late.registry._seen_at -= MINUTES * 60
    with pytest.raises(LostClaims, match=r"gave no sign of life for more than 10 minutes"):
        late.registry.confirm()


def test_a_driver_of_this_machine_that_is_gone_is_dead_at_once(runs: list[Run]) -> None:
    gone, other, _ = runs
    script = "from transforms.run.drivers import driver; print(driver())"
    died = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=120)
    assert gone.run_id in other.registry.living(), "this very process"
    gone.tables.update(RUNS, f"run_id = '{gone.run_id}'", {"driver": f"'{died.stdout.strip()}'"})
    assert gone.run_id not in other.registry.living()


def test_what_another_run_has_published_meanwhile_is_not_done_again(runs: list[Run]) -> None:
    first, second, _ = runs
    tables = first.tables
    rows = [{"audio_id": "g", "take_id": first.run_id, "run_key": "k"}]
    tables.append(RECORDINGS, tables.frame(pa.Table.from_batches([to_batch(rows, RECORDINGS.arrow)])))
    taken = second.claims.take({"g": None, "h": None})
    assert (taken.done, taken.held) == ({"g"}, {"h": []})
    assert not tables.read(CLAIMS).where("audio_id = 'g'").count()
    assert second.claims.take({"g": first.run_id}).held == {"g": []}, "a plan that knew of it wants it done again"


def test_a_run_that_registers_and_claims_while_another_takes_keeps_what_it_has(
    runs: list[Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As while Delta tries the MERGE of the slow one again."""
    slow, tables = runs[0], runs[0].tables
    upsert, quick = tables.upsert, list[Run]()

    def after_another(*values: Any, **options: Any) -> None:
        if not quick:
            quick.append(Run(Tables(tables.spark, tables.root)))
            quick[0].claims.take({"j": None, "k": None})
            rows = [{"audio_id": "k", "take_id": quick[0].run_id, "run_key": "k"}]
            tables.append(RECORDINGS, tables.frame(pa.Table.from_batches([to_batch(rows, RECORDINGS.arrow)])))
            quick[0].claims.release(["k"])
        upsert(*values, **options)

    monkeypatch.setattr(tables, "upsert", after_another)
    taken = slow.claims.take({"j": None, "k": None, "l": None})
    assert (taken.held, taken.left, taken.done) == ({"l": []}, {"j": quick[0].run_id}, {"k"})
    quick[0].claims.confirm(["j"])
    quick[0].registry.end({"status": "ok"})


def test_of_what_a_dead_run_had_published_only_the_take_that_is_shown_stays(runs: list[Run]) -> None:
    dead, heir, _ = runs
    tables = dead.tables
    dead.claims.take({"i": "old"})
    for table, key in ((RECORDINGS, {}), (SEGMENTS, {"segment_index": 0}), (WORDS, {"word_index": 0})):
        takes = [dead.run_id] if table is RECORDINGS else ["old", dead.run_id]
        rows = [{"audio_id": "i", "take_id": take, "run_key": "k", **key} for take in takes]
        tables.append(table, tables.frame(pa.Table.from_batches([to_batch(rows, table.arrow)])))
    dead.seem_dead()
    assert heir.claims.take({"i": "old"}).done == {"i"}
    for table in (SEGMENTS, WORDS):
        assert [row.take_id for row in tables.read(table).where("audio_id = 'i'").collect()] == [dead.run_id]


def test_many_recordings_are_let_go_at_once(runs: list[Run], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("transforms.run.claims._LISTED", 2)
    first = runs[0]
    ids = [f"m{index}" for index in range(5)]
    first.claims.take(dict.fromkeys(ids))
    first.claims.release(ids[:4])
    assert [row.audio_id for row in first.tables.read(CLAIMS).collect()] == ["m4"]


def test_without_a_known_process_only_signs_of_life_count(tables: Tables) -> None:
    run = Run(tables)
    tables.update(RUNS, f"run_id = '{run.run_id}'", {"driver": "NULL"})
    assert run.run_id in Registry(tables, MINUTES).at_first
    run.registry.end({"status": "ok"})
