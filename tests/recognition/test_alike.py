"""Failures alike, one after another, stop the run before it has marked all the rest."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.config import Config
from schemas.tables import to_batch
from tests.kit.reader import Reader, read
from tests.kit.works import heard, work, work_row
from transforms.engines import Hypothesis, Utterance
from transforms.errors import MachineError, RecordingError
from transforms.recognition.alike import Streak, alike_condition, outcome
from transforms.recognition.report import TaskReport
from transforms.recognition.rows import TaskSpec
from transforms.recognition.task import recognize_partition
from transforms.run.plan import WORK

_ENDS = {
    "ok": None,
    "corrupt": RecordingError("decode", "corrupt", "is no audio"),
    "missing": RecordingError("fetch", "missing", "is not there"),
    "timeout": RecordingError("fetch", "timeout", "no answer", transient=True),
    "forbidden": RecordingError("fetch", "forbidden", "no right"),
    "broken": RecordingError("recognize", "OSError", "the recognizer failed"),
}


def _total(names: Sequence[str]) -> Streak:
    return sum((outcome(_ENDS[name]) for name in names), Streak())


@pytest.mark.parametrize(
    ("names", "stage", "count"),
    [
        ("", None, 0),
        ("ok timeout forbidden", "fetch", 2),
        ("timeout timeout ok", None, 0),
        ("forbidden corrupt", None, 0),
        ("missing missing missing", None, 0),
        ("broken broken timeout", "fetch", 1),
        ("timeout broken broken broken", "recognize", 3),
    ],
)
def test_a_streak_is_what_failed_alike_up_to_the_end(names: str, stage: str | None, count: int) -> None:
    streak = _total(names.split())
    assert (streak.stage, streak.count) == (stage, count)


@given(st.lists(st.sampled_from(sorted(_ENDS)), max_size=12), st.integers(0, 12), st.integers(0, 12))
def test_streaks_of_tasks_add_up_to_that_of_all(names: list[str], first: int, second: int) -> None:
    first, second = sorted((first, second))
    parts = [_total(names[:first]), _total(names[first:second]), _total(names[second:])]
    assert parts[0] + parts[1] + parts[2] == parts[0] + (parts[1] + parts[2]) == _total(names)


def test_the_sentence_says_what_to_do() -> None:
    streak = _total(["forbidden"] * 3)
    streak.check(4)
    streak.check(0)
    with pytest.raises(MachineError, match=r"^3 recordings in a row failed at fetch.*no right.*run\.alike_failures=0$"):
        streak.check(3)


def test_the_condition_in_sql_is_that_of_the_streak() -> None:
    for end in filter(None, _ENDS.values()):
        counted = outcome(end).count == 1
        row = f"SELECT '{end.stage}' AS stage, '{end.kind}' AS kind"
        if end.stage in ("fetch", "recognize"):
            found = duckdb.sql(f"SELECT * FROM ({row}) WHERE {alike_condition(end.stage)}").fetchall()
            assert bool(found) == counted


def _run(rows: list[dict[str, Any]], run_id: str, engine: Any, limit: int = 4) -> tuple[int, TaskReport]:
    config = Config.model_validate({"run": {"alike_failures": limit}, "packing": {"max_chunk_s": 6}})
    spec = TaskSpec(config, engine, (("recognizer", None),), "tests", "model-1", run_id)
    reports: list[TaskReport] = []
    found = list(recognize_partition([to_batch(rows, WORK)] if rows else [], spec, reports.append))
    return sum(batch.num_rows for batch in found), reports[0]


def _rows(kind: str, count: int, folder: Path) -> list[dict[str, Any]]:
    """Recordings that end so."""
    text = folder / "text.mp3"
    text.write_bytes(b"no audio " * 100)
    uri = {"no_folder": folder / "unmounted" / "a.wav", "missing": folder / "a.wav", "corrupt": text}[kind]
    return [work_row(uri, audio_id=f"{kind}-{index}") for index in range(count)]


@pytest.mark.parametrize("kind", ["corrupt", "missing"])
def test_what_is_the_recordings_own_never_stops_a_run(tmp_path: Path, kind: str) -> None:
    count, report = _run(_rows(kind, 30, tmp_path), f"run-{kind}", Reader(number=20))
    assert (count, report.failed, report.alike.count) == (30, 30, 0)


def test_a_store_that_is_not_there_stops_the_run(tmp_path: Path) -> None:
    rows = _rows("no_folder", 4, tmp_path)
    count, report = _run(rows[:3], "run-a", Reader(number=21))
    assert (count, report.alike.stage, report.alike.count) == (3, "fetch", 3)
    with pytest.raises(MachineError, match="mount that on every machine"):
        _run(rows, "run-b", Reader(number=21))
    assert _run(rows, "run-c", Reader(number=21), limit=0)[0] == 4


def test_a_streak_goes_on_in_the_next_task_of_a_process_and_ends_with_the_run(tmp_path: Path) -> None:
    rows = _rows("no_folder", 3, tmp_path)
    _run(rows, "run-d", Reader(number=22))
    _run(rows, "run-e", Reader(number=22))
    with pytest.raises(MachineError):
        _run(rows[:1], "run-e", Reader(number=22))


class Broken(Reader):
    """Fails for every utterance."""

    def recognize(self, utterances: Sequence[Utterance]) -> list[Hypothesis]:
        raise OSError("the model's server is gone")


def test_a_recognizer_that_reads_nothing_any_more_stops_the_run(examples: Path) -> None:
    rows = [work_row(examples / "voice_memo.m4a", audio_id=str(index)) for index in range(4)]
    with pytest.raises(MachineError, match=r"in the recognizer, .*the model's server is gone"):
        _run(rows, "run-f", Broken(number=23))


def test_a_recording_of_which_a_chunk_was_read_breaks_the_streak(examples: Path) -> None:
    path = examples / "voice_memo.m4a"
    chunks, _ = heard(work(path), Config.model_validate({"packing": {"max_chunk_s": 6}}))
    assert len(chunks) > 1
    rows = [work_row(path, audio_id=str(index)) for index in range(5)]
    _, report = _run(rows, "run-g", Reader(number=24, bad=read(chunks[-1].samples)))
    assert report.alike.count == 0
