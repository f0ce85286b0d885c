"""A person's right: of a recording that is erased, nothing is left in any file, and it does not come back."""

from __future__ import annotations

import datetime
import shutil
from pathlib import Path
from typing import Any

import deltalake
import pytest
from pyspark.sql import SparkSession

import jobs.erase
from schemas.tables import ALL, CLAIMS, ERASED, LATER, RECORDINGS, RUNS, SEGMENTS, WORDS, Table
from tests.e2e.test_readers import Stopped
from tests.kit.finished import Finished
from tests.kit.lake import Lake, engine_config
from tests.maintenance.made import DECLARED, OF_RECORDINGS, add, append, files_that_name, make, said
from transforms.check.command import check
from transforms.lake.tables import Tables
from transforms.maintenance import erase as erasing
from transforms.maintenance.erase import Erased, _Erasure, erase, of_recordings
from transforms.run.claims import Claims
from transforms.run.registry import Registry

GONE, STAYS = "caller-zebra", "caller-okapi"


@pytest.fixture(scope="module")
def made(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    make(Tables(spark, str(folder)), [GONE, STAYS])
    return folder


@pytest.fixture
def tables(made: Path, spark: SparkSession, tmp_path: Path) -> Tables:
    """A copy, to erase in."""
    return Tables(spark, str(shutil.copytree(made, tmp_path / "tables")))


def erased(tables: Tables, *audio_ids: str) -> Erased:
    return erase(tables.spark, engine_config(), tables.root, audio_ids)


def names_of(tables: Tables, table: Table) -> set[str]:
    return {row.audio_id for row in tables.read(table).select("audio_id").collect()}


def versions(tables: Tables) -> list[int]:
    return [tables.version(table) for table in tables.present()]


def command(tables: Tables, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    """Its exit status."""
    monkeypatch.setattr(jobs.erase, "session", lambda verbose: tables.spark)
    try:
        jobs.erase.main(["--tables", tables.root, *arguments])
    except SystemExit as stop:
        return int(stop.code or 0)
    return 0


def test_no_table_can_be_forgotten() -> None:
    assert [*ALL, *LATER] == [table for table in [*ALL, *LATER] if table in DECLARED]
    assert {table.name for table in (*ALL, *LATER)} == {table.name for table in DECLARED}
    order = of_recordings([*ALL, *LATER])
    assert {table.name for table in order} == {table.name for table in OF_RECORDINGS}
    assert (order[0], order[-1]) == (RECORDINGS, CLAIMS)


def test_every_table_loses_its_rows_its_files_and_its_log(spark: SparkSession) -> None:
    """In a catalog; of tables in a folder below."""
    tables = make(Tables(spark, "spark_catalog.erase_test"), [GONE, STAYS])
    root = Path(str(tables.folder(WORDS)[1].toUri().getPath())).parent
    add(tables, WORDS, GONE)
    orphan = next((root / "words").glob("*.parquet"))
    shutil.copy2(orphan, orphan.with_name("part-of-a-commit-that-never-came.parquet"))
    tables.delete(SEGMENTS, "audio_id = 'caller-okapi'")  # by a predicate, which the log keeps, and the feed
    assert [*files_that_name(root, said(STAYS))]
    held = {path.partition("/")[0] for path in files_that_name(root, GONE)}
    assert held == {table.name for table in (*OF_RECORDINGS, RUNS)}
    assert any("_delta_log" in path for path in files_that_name(root, GONE))
    done = erased(tables, GONE)
    assert (done.noted, done.absent, done.left, done.at_work) == (1, 0, {}, set())
    assert done.rows == {table.name: 1 + (table is WORDS) for table in OF_RECORDINGS if table is not CLAIMS}
    assert [*files_that_name(root, GONE)] == []
    for table in OF_RECORDINGS:
        assert names_of(tables, table) == (set() if table is SEGMENTS else {STAYS})
        assert deltalake.DeltaTable(str(root / table.name)).to_pyarrow_table().num_rows == (table is not SEGMENTS)
    (noted,) = tables.read(ERASED).where("finished_at IS NOT NULL").collect()
    assert noted.finished_at >= noted.erased_at
    assert tables.read(RUNS).where("error LIKE 'it named a recording%'").count() == 1
    before = versions(tables)
    assert erased(tables, GONE) == Erased(1, 1, files=0)
    assert versions(tables) == before


def test_what_was_killed_is_finished_by_the_next_call(tables: Tables, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a part of the tables done, and once more with a part of their histories."""
    for where, step in ((_Erasure, "_delete"), (erasing, "remove_history")):
        with monkeypatch.context() as patch:
            patch.setattr(where, step, _stopped_after(3, getattr(where, step)))
            with pytest.raises(Stopped):
                erased(tables, GONE)
    # Noted before all else: nothing brings it back meanwhile.
    with Registry(tables, 5) as registry:
        registry.register("config: none")
        taken = Claims(tables, registry).take({GONE: None})
        assert (taken.held, taken.done) == ({}, {GONE})
        registry.end({"status": "ok"})
    done = erased(tables)
    assert done.noted == 1
    assert done.files
    assert [*files_that_name(Path(tables.root), GONE)] == []
    assert names_of(tables, WORDS) == {STAYS}


def _stopped_after(calls: int, original: Any) -> Any:
    tried = iter(range(calls))

    def step(*arguments: Any) -> int:
        if next(tried, None) is None:
            raise Stopped
        return int(original(*arguments))

    return step


def test_what_a_living_run_holds_waits_and_so_do_the_files(
    tables: Tables, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = datetime.datetime.now(datetime.UTC)
    append(tables, RUNS, {"run_id": "z", "status": "running", "alive_at": now, "driver": "elsewhere/1/1"})
    tables.update(CLAIMS, f"audio_id = '{GONE}'", {"run_id": "'z'"})
    assert command(tables, monkeypatch, "--audio-ids", GONE, STAYS, "unknown") == 1
    said_of_it = capsys.readouterr().err
    assert "1 recordings are in the hands of other runs (z)" in said_of_it
    assert f"finish it with: python -m jobs.erase --tables {tables.root}" in said_of_it
    assert names_of(tables, WORDS) == {GONE}
    assert [*files_that_name(Path(tables.root), said(STAYS))]
    assert command(tables, monkeypatch, "--audio-ids", STAYS, "--allow-again") == 2
    assert "not wholly erased yet" in capsys.readouterr().err
    tables.update(RUNS, "run_id = 'z'", {"status": "'ok'"})
    assert command(tables, monkeypatch) == 0
    assert "3 recordings erased, 2 of them in no table" in capsys.readouterr().err
    assert [*files_that_name(Path(tables.root), GONE, said(STAYS))] == []


def test_the_command_chooses_tells_and_does_nothing_when_it_is_dry(
    tables: Tables, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = versions(tables)
    assert command(tables, monkeypatch, "--where", f"text = '{said(GONE)}'", "--dry-run") == 0
    told = capsys.readouterr()
    assert "words" in told.out and "rows to go" in told.out
    assert "1 recordings would be erased. Not touched: the audio itself" in told.err
    assert command(tables, monkeypatch, "--where", "text = 'never said'") == 2
    assert "no such recording" in capsys.readouterr().err
    assert command(tables, monkeypatch, "--where", "speakr = 'Ann'") == 2
    assert "--where speakr = 'Ann': " in capsys.readouterr().err
    assert command(tables, monkeypatch, "--audio-ids", GONE, "--allow-again") == 0
    assert command(tables, monkeypatch) == 0
    assert versions(tables) == before


def test_an_erased_recording_is_not_transcribed_again_unless_that_is_allowed(
    finished: Finished,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lake, manifest = finished.lake.copy(tmp_path), finished.manifest
    recordings = lake.by_name("recordings")
    mine, failed = recordings["clip_00.wav"], recordings["text.mp3"]
    others = " ".join(row["text"] or "" for row in recordings.values() if row is not mine)
    words = [word for word in mine["text"].split() if word not in others]
    assert len(words) > 3
    names = [*words, *(row[name] for row in (mine, failed) for name in ("audio_id", "uri"))]
    kept = contents(lake, mine["audio_id"], failed["audio_id"])
    where = "metadata['speaker_name'] = 'Ann' OR uri LIKE '%/text.mp3'"
    assert command(lake.tables, monkeypatch, "--where", where) == 0
    assert [*files_that_name(lake.root, *names)] == []
    assert contents(lake) == kept
    assert check(lake.spark, engine_config(), str(lake.root)).findings == []
    for reprocess in ("failed", "all"):
        summary = lake.run([*manifest[:2], manifest[9]], reprocess=reprocess)
        assert (summary.erased, summary.recordings) == (2, reprocess == "all")
    assert command(lake.tables, monkeypatch, "--allow-again", "--audio-ids", mine["audio_id"]) == 0
    summary = lake.run([*manifest[:2], manifest[9]])
    assert (summary.erased, summary.recordings, summary.skipped) == (1, 1, 1)
    (again,) = lake.tables.read(RECORDINGS).where(f"audio_id = '{mine['audio_id']}'").collect()
    assert again.text == mine["text"]


def contents(lake: Lake, *without: str) -> dict[str, list[str]]:
    rows = {table.name: lake.tables.read(table).collect() for table in ALL if table is not RUNS}
    return {name: sorted(str(row) for row in found if row.audio_id not in without) for name, found in rows.items()}
