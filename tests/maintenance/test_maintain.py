"""The work of every night changes no row that anybody needs, takes up only what has changed, and says what it does."""

from __future__ import annotations

import datetime
import os
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

import jobs.maintain
from schemas.tables import CHUNKS, CLAIMS, RECORDINGS, RUNS, WORDS
from tests.kit.finished import Finished
from tests.kit.lake import Lake, engine_config
from transforms.check.command import check
from transforms.lake import upkeep
from transforms.lake.upkeep import live_files
from transforms.maintenance.maintain import Done, maintain

_LONG_AGO = time.time() - 30 * 86_400


@pytest.fixture
def lake(spark: SparkSession, tmp_path: Path) -> Lake:
    lake = Lake(spark, tmp_path)
    lake.tables.create()
    return lake


def maintained(lake: Lake, *steps: str, dry_run: bool = False) -> list[Done]:
    return maintain(lake.spark, engine_config(), str(lake.root), steps, dry_run=dry_run)


def say(lake: Lake, audio_ids: Sequence[str], count: int = 1) -> None:
    rows = [
        {"audio_id": audio_id, "take_id": "t", "word_index": index, "word": f"{audio_id}{index}"}
        for audio_id in audio_ids
        for index in range(count)
    ]
    lake.add(WORDS, rows)


def names(lake: Lake) -> set[str]:
    return {file.name for file in live_files(lake.tables, WORDS)}


def test_chunks_go_that_nothing_shows_and_all_others_stay(lake: Lake) -> None:
    shown = [{"audio_id": audio_id, "run_key": "k2", "run_id": "2"} for audio_id in "abcd"]
    lake.add(RECORDINGS, shown)
    lake.add(RUNS, [{"run_id": "0", "status": "running", "alive_at": datetime.datetime.now(datetime.UTC)}])
    lake.add(CLAIMS, [{"audio_id": "b", "run_id": "1"}, {"audio_id": "c", "run_id": "0"}])
    keys = [
        ("a", "k1", "1"),
        *((audio_id, "k2", "2") for audio_id in "abcd"),  # what is shown
        ("a", "k3", "3"),  # later than what is shown
        ("b", "k1", "1"),  # left by a run that died, for the next one to go on from
        ("c", "k1", "0"),  # a run that lives is at work on it, and began before what is shown
        ("d", "k2", "1"),  # jobs.check knows which of two runs counts
        ("e", "k1", "1"),  # never shown
    ]
    lake.add(CHUNKS, [{"audio_id": a, "run_key": k, "run_id": r, "chunk_index": 0} for a, k, r in keys])
    before = lake.versions()
    (would,) = maintained(lake, "chunks", dry_run=True)
    assert (would.table, would.what) == ("chunks", "1 rows of takes that nothing shows")
    assert lake.versions() == before
    assert maintained(lake, "chunks") == [would]
    assert sorted((row["audio_id"], row["run_key"], row["run_id"]) for row in lake.rows("chunks")) == sorted(keys[1:])
    assert {(row["audio_id"], row["run_id"]) for row in lake.rows("claims")} == {("b", "1"), ("c", "0")}
    assert maintained(lake, "chunks") == []


def test_files_are_laid_out_once_and_later_only_small_ones_merged(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    small_bytes = 20_000
    monkeypatch.setattr(upkeep, "_SMALL_BYTES", small_bytes)
    monkeypatch.setitem(upkeep._LAYOUT, "spark.databricks.delta.optimize.minFileSize", str(small_bytes))
    for audio_id in "acb":
        say(lake, audio_id, 3_000)
    rows = lake.contents("words")
    (would,) = maintained(lake, "optimize", dry_run=True)
    assert would.what.startswith("laid out by recording: 3 files, ")
    (done,) = [one for one in maintained(lake, "optimize") if one.table == "words"]
    assert done.what.startswith(f"{would.what} → 1 files, ")
    big = names(lake)
    assert len(big) == 1
    assert maintained(lake, "optimize") == []
    for audio_id in "de":
        say(lake, audio_id)
    (done,) = [one for one in maintained(lake, "optimize") if one.table == "words"]
    assert done.what.startswith("small files merged: 3 files, ")
    assert names(lake) > big, "the large file was written again"
    assert len(names(lake)) == 2
    say(lake, "f", 3_000)
    (done,) = [one for one in maintained(lake, "optimize") if one.table == "words"]
    assert done.what.startswith("laid out by recording: 3 files, ")
    assert len(lake.rows("words")) == 12_002
    assert set(rows["words"]) < set(lake.contents("words")["words"])


def test_old_files_go_when_nobody_may_need_them(lake: Lake) -> None:
    for audio_id in "ab":
        say(lake, audio_id)
    lake.tables.delete(WORDS, "audio_id = 'a'")
    files = set((lake.root / "words").rglob("*.parquet"))
    assert maintained(lake, "vacuum") == [], "they are younger than a week"
    words = lake.tables.identifier(WORDS)
    lake.spark.sql(
        f"ALTER TABLE {words} SET TBLPROPERTIES ('delta.deletedFileRetentionDuration' = 'interval 1 second')"
    )
    time.sleep(1.5)
    (would,) = maintained(lake, "vacuum", dry_run=True)
    assert would.what.startswith(f"removed: {len(files) - 1} files, ")
    assert set((lake.root / "words").rglob("*.parquet")) == files
    assert not lake.rows("runs")
    assert maintained(lake, "vacuum") == [would]
    assert [row["status"] for row in lake.rows("runs")] == ["ok"], "jobs.erase looks for runs at work"
    assert {path.name for path in (lake.root / "words").rglob("*.parquet")} == names(lake)
    assert [row["audio_id"] for row in lake.rows("words")] == ["b"]


def test_logs_get_a_checkpoint_and_dead_signs_go(lake: Lake) -> None:
    say(lake, "ab")
    signs = lake.root / "runs" / "_signs"
    signs.mkdir()
    for run_id in ("old", "new"):
        (signs / run_id).touch()
    os.utime(signs / "old", (_LONG_AGO, _LONG_AGO))
    before = lake.versions()
    would = maintained(lake, "logs", dry_run=True)
    assert Done("logs", "words", "a checkpoint after 2 commits") in would
    assert lake.versions() == before
    assert sorted(path.name for path in signs.iterdir()) == ["new", "old"]
    done = maintained(lake, "logs")
    assert Done("logs", "runs", "removed: 1 signs of life of runs that are dead") in done
    assert [path.name for path in signs.iterdir()] == ["new"]
    assert (lake.root / "words" / "_delta_log" / f"{1:020}.checkpoint.parquet").exists()
    assert maintained(lake, "logs") == []


def test_the_command_says_what_it_would_do_and_then_that_there_is_nothing(
    lake: Lake, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(jobs.maintain, "session", lambda verbose: lake.spark)
    say(lake, "ab")
    jobs.maintain.main(["--tables", str(lake.root), "--steps", "optimize,logs", "--dry-run"])
    out = capsys.readouterr().out
    assert "to do" in out and "laid out by recording: 1 files, 0.0 MiB" in out
    jobs.maintain.main(["--tables", str(lake.root), "--steps", "vacuum"])
    assert "nothing to do" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        jobs.maintain.main(["--tables", str(lake.root), "--steps", "vacum"])
    assert "there is no step 'vacum'" in capsys.readouterr().err


def test_a_run_goes_on_beside_it(finished: Finished, tmp_path: Path) -> None:
    lake = finished.lake.copy(tmp_path)
    before, done, rounds, raised = lake.contents("recordings", "segments", "words"), threading.Event(), 0, []

    def night() -> None:
        nonlocal rounds
        while not done.is_set():
            try:
                maintained(lake)
            except Exception as error:
                raised.append(error)
                return
            rounds += 1

    keeper = threading.Thread(target=night)
    keeper.start()
    try:
        summary = lake.run(finished.manifest[:5], "run.wave_audio_hours=0.005", reprocess="all")
    finally:
        done.set()
        keeper.join()
    assert raised == []
    assert rounds
    assert summary.recordings == 5
    assert lake.contents("recordings", "segments", "words") == before
    assert check(lake.spark, engine_config(), str(lake.root)).findings == []
