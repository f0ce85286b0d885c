"""Each check is silent on a good lake and tells of one that was broken for it; --repair brings that one back."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from pathlib import Path

import pytest

import jobs.check
from schemas.tables import CHUNKS, CLAIMS, FAILURES, RECORDINGS, RUNS, SEGMENTS, WORDS, Table
from tests.kit.comparison import contents
from tests.kit.finished import Finished
from tests.kit.lake import Lake, engine_config
from transforms.check.command import Checked, check
from transforms.check.look import Look, look
from transforms.check.repair import repair
from transforms.lake.sql import literal
from transforms.run.registry import Registry

Told = dict[tuple[str, str], set[str]]
LONG_AGO = "TIMESTAMP '2000-01-01 00:00:00Z'"
DEAD = {"status": "'running'", "alive_at": LONG_AGO, "driver": "'elsewhere/1/1'"}


def checked(lake: Lake, *, mend: bool = False) -> Checked:
    return check(lake.spark, engine_config(), str(lake.root), mend=mend)


def told(lake: Lake, names: dict[str, str]) -> Told:
    return by_check(look(lake.tables, Registry(lake.tables, 5)), names)


def by_check(seen: Look, names: dict[str, str]) -> Told:
    """By check and table, the names of the recordings (or the ids of runs) that it is about."""
    rows = {(one.check.name, one.check.table.name): seen.rows(one.check).collect() for one in seen.findings}
    return {key: {names.get(row[0], row[0]) for row in found} for key, found in rows.items()}


class Breaker:
    """Breaks single recordings of a lake, by their names."""

    def __init__(self, lake: Lake) -> None:
        self.lake, self.tables = lake, lake.tables
        self.recordings = lake.by_name("recordings")
        self.names = {row["audio_id"]: name for name, row in self.recordings.items()}

    def one(self, name: str, more: str = "true") -> str:
        """A condition."""
        return f"audio_id = {literal(self.recordings[name]['audio_id'])} AND {more}"

    def double(self, table: Table, rows: str, **values: str) -> None:
        """Appends these rows once more, with other `values`."""
        columns = [f"{values[name]} AS {name}" if name in values else name for name in table.names]
        self.tables.append(table, self.tables.read(table).where(rows).selectExpr(*columns))

    def claim(self, name: str, run_id: str, replaces: str | None) -> None:
        audio_id = self.recordings[name]["audio_id"]
        self.lake.add(CLAIMS, [{"audio_id": audio_id, "run_id": run_id, "replaces": replaces, "begun": []}])


def break_transcripts(broken: Breaker) -> Told:
    one, tables = broken.one, broken.tables
    for table in (RECORDINGS, SEGMENTS, WORDS):  # as two drivers of an earlier version at once left it
        broken.double(table, one("clip_00.wav"))
    tables.delete(WORDS, one("clip_01.wav", "word_index = 3"))
    tables.update(WORDS, one("clip_02.wav", "word_index = 3"), {"char_start": "char_start + 1"})
    tables.update(SEGMENTS, one("clip_03.wav", "segment_index = 0"), {"text": "concat(text, '!')"})
    tables.update(WORDS, one("clip_04.wav", "word_index = 3"), {"start_ms": "-1"})
    tables.update(WORDS, one("long.wav", "word_index = 0"), {"segment_index": "1"})
    tables.update(WORDS, one("call.wav", "word_index IN (0, 1)"), {"word_index": "1 - word_index"})
    tables.delete(SEGMENTS, one("as-bytes", "segment_index = 0"))
    tables.delete(FAILURES, one("text.mp3"))
    return {
        ("keys", "recordings"): {"clip_00.wav"},
        ("keys", "segments"): {"clip_00.wav"},
        ("keys", "words"): {"clip_00.wav"},
        ("whole", "words"): {"clip_00.wav", "clip_01.wav"},
        ("whole", "segments"): {"clip_00.wav", "as-bytes"},
        ("whole", "failures"): {"text.mp3"},
        ("text", "words"): {"clip_02.wav"},
        ("text", "segments"): {"clip_03.wav"},
        ("order", "words"): {"clip_00.wav", "call.wav"},
        ("times", "words"): {"clip_00.wav", "clip_04.wav", "call.wav"},
        ("segments", "words"): {"clip_04.wav", "long.wav"},
    }


def break_the_rest(broken: Breaker) -> Told:
    one, tables = broken.one, broken.tables
    run_id = broken.recordings["call.wav"]["run_id"]
    broken.double(FAILURES, one("text.mp3"))
    broken.double(FAILURES, one("missing.wav"), run_key="'old'", stage="'align'")
    broken.double(CHUNKS, one("clip_00.wav"))
    broken.double(CHUNKS, one("clip_01.wav"), run_id="'0'")
    broken.double(WORDS, one("clip_02.wav"), take_id="'old'")
    broken.double(SEGMENTS, one("clip_03.wav"), take_id="'old'")
    # One that died between its last commit and the end of its claim, and one that died before it published.
    tables.update(RUNS, "true", DEAD)
    broken.double(WORDS, one("call.wav"), take_id="'before'")
    broken.claim("call.wav", run_id, "before")
    tables.delete(RECORDINGS, one("long.wav"))
    tables.delete(SEGMENTS, one("long.wav"))
    broken.claim("long.wav", run_id, None)
    broken.double(RUNS, "true", run_id="'0'")
    broken.double(RUNS, "run_id = '0'")
    return {
        ("keys", "failures"): {"text.mp3"},
        ("keys", "chunks"): {"clip_00.wav"},
        ("keys", "runs"): {"0"},
        ("stale", "failures"): {"missing.wav"},
        ("stale", "chunks"): {"clip_01.wav"},
        ("stale", "words"): {"clip_02.wav", "call.wav", "long.wav"},
        ("stale", "segments"): {"clip_03.wav"},
        ("claims", "claims"): {"call.wav", "long.wav"},
        ("runs", "runs"): {"0", run_id},
    }


def test_only_failures_of_alignment_belong_to_a_recording_that_is_unaligned(
    finished: Finished,
    tmp_path: Path,
) -> None:
    broken = Breaker(finished.lake.copy(tmp_path))
    recording = broken.recordings["clip_04.wav"]
    broken.tables.update(RECORDINGS, broken.one("clip_04.wav"), {"flags": "array('unaligned')"})
    values = {"audio_id": literal(recording["audio_id"]), "run_key": literal(recording["run_key"])}
    broken.double(FAILURES, broken.one("text.mp3"), **values, stage="'align'")
    found = told(broken.lake, broken.names)
    assert ("stale", "failures") not in found
    broken.double(FAILURES, broken.one("text.mp3"), **values, stage="'recognize'")
    assert told(broken.lake, broken.names) == found | {("stale", "failures"): {"clip_04.wav"}}


def test_a_good_lake_is_well_and_gets_no_commit(finished: Finished) -> None:
    before = finished.lake.versions()
    assert checked(finished.lake, mend=True) == Checked([], 0)
    assert finished.lake.versions() == before


@pytest.mark.parametrize("spoil", [break_transcripts, break_the_rest])
def test_what_is_wrong_is_told_and_mended(finished: Finished, tmp_path: Path, spoil: Callable[[Breaker], Told]) -> None:
    lake, good = finished.lake.copy(tmp_path), contents(finished.lake.root)
    broken = Breaker(lake)
    expected = spoil(broken)
    before = lake.versions()
    with Registry(lake.tables, 5) as registry:
        seen = look(lake.tables, registry)
        assert by_check(seen, broken.names) == expected
        assert lake.versions() == before, "looking wrote something"
        with registry.running("config: none"):
            repair(lake.tables, registry, engine_config(), seen)
        left = look(lake.tables, registry).findings
    assert [(one.check.name, one.check.table.name, one.example) for one in left] == []
    assert contents(lake.root) == good
    assert not lake.stale()
    assert not lake.rows("claims")
    assert {row["status"] for row in lake.rows("runs")} == {"ok"} | ({"lost"} if spoil is break_the_rest else set())


def test_what_needs_an_engine_is_told_and_left(
    finished: Finished,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A part of the long recording is gone from chunks; another run died over the call when it had done nothing yet."""
    lake = finished.lake.copy(tmp_path)
    broken = Breaker(lake)
    lake.tables.delete(CHUNKS, broken.one("long.wav", "part_index = 1"))
    lake.tables.delete(WORDS, broken.one("long.wav", "word_index = 3"))
    broken.claim("call.wav", "gone", broken.recordings["call.wav"]["take_id"])
    monkeypatch.setattr(jobs.check, "session", lambda verbose: lake.spark)
    for arguments in ([], ["--repair"]):
        with pytest.raises(SystemExit) as exit_:
            jobs.check.main(["--tables", str(lake.root), *arguments])
        assert exit_.value.code == 1
        said = capsys.readouterr().out
        assert "whole   words" in said
        assert "--reprocess all with a manifest of these recordings" in said
    assert [row["run_id"] for row in lake.rows("claims")] == ["gone"]
    before = lake.contents(without=frozenset())
    assert before["recordings"] == finished.lake.contents("recordings", without=frozenset())["recordings"]


def test_what_a_living_run_holds_is_left_to_it(finished: Finished, tmp_path: Path) -> None:
    lake = finished.lake.copy(tmp_path)
    broken = Breaker(lake)
    lake.add(RUNS, [{"run_id": "z", "status": "running", "alive_at": datetime.datetime.now(datetime.UTC)}])
    broken.claim("call.wav", "z", None)
    lake.tables.delete(WORDS, broken.one("call.wav"))
    broken.double(WORDS, broken.one("long.wav"), take_id="'z'")
    done = checked(lake, mend=True)
    assert (done.findings, done.held) == ([], 1)
    assert [row["run_id"] for row in lake.rows("claims")] == ["z"]
    assert not [row for row in lake.rows("words") if row["take_id"] == "z"], "long.wav was nobody's"


def test_a_table_that_cannot_be_read_is_told(
    finished: Finished,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lake = finished.lake.copy(tmp_path)
    for file in (lake.root / "words").glob("*.parquet"):
        file.unlink()
    monkeypatch.setattr(jobs.check, "session", lambda verbose: lake.spark)
    with pytest.raises(SystemExit) as exit_:
        jobs.check.main(["--tables", str(lake.root)])
    assert exit_.value.code == 1
    said = capsys.readouterr().out
    assert "readable  words" in said
    assert "RESTORE TABLE" in said
