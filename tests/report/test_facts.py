"""What the report finds in the tables, and the command."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

import jobs.report
from schemas.tables import EVALUATIONS, FAILURES, RECORDINGS, RUNS
from tests.kit.lake import Lake
from transforms.report.facts import gather

AT = datetime.datetime(2026, 1, 2, 3, tzinfo=datetime.UTC)
RECORDED = (
    # audio_id, run, status, language, seconds, words, confidence, flags
    ("short", "r1", "ok", "en", 9, 20, 0.95, []),
    ("long", "r1", "ok", "en", 7200, 9000, 0.55, []),
    ("loops", "r2", "ok", "de", 59, 100, 0.8, ["repetition"]),
    ("exact", "r2", "ok", None, 10, 10, 1.0, None),
    ("silent", "r2", "no_speech", None, 30, 0, None, []),
    ("lost", "r2", "failed", None, None, None, None, []),
)
BINS = [{"bin": 9, "words": 10, "right": 8, "confidence_sum": 9.5}]


def run(run_id: str, hour: int, **changes: Any) -> dict[str, Any]:
    values = {
        "run_id": run_id,
        "status": "ok",
        "started_at": AT + datetime.timedelta(hours=hour),
        "wall_seconds": 1800.0,
    }
    values |= {
        "recordings": 3,
        "failed": 0,
        "audio_hours": 2.0,
        "times_real_time": 4.0,
        "second_tries": 2,
        "retries": 1,
    }
    return {**values, "stage_seconds": [("recognize", 30.0), ("wait", 10.0)], **changes}


def evaluation(
    audio_id: str, words: int, substitutions: int, at: datetime.datetime = AT, **changes: Any
) -> dict[str, Any]:
    counts = {"words": words, "substitutions": substitutions, "deletions": 0, "insertions": 0}
    texts = {"characters": words * 5, "character_errors": substitutions, "wer": substitutions / words, "unit": "word"}
    row = {"audio_id": audio_id, "run_key": "k", "reference_source": "truth.tsv", "status": "ok", "language": "en"}
    return {**row, **counts, **texts, "alignment": [], "calibration": BINS, "evaluated_at": at, **changes}


@pytest.fixture(scope="module")
def lake(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Lake:
    lake = Lake(spark, tmp_path_factory.mktemp("reported"))
    lake.tables.create()
    names = ("audio_id", "run_id", "status", "language", "seconds", "word_count", "confidence", "flags")
    rows = [dict(zip(names, row, strict=True)) for row in RECORDED]
    for row in rows:
        seconds = row.pop("seconds")
        row |= {"run_key": "k", "uri": f"/calls/{row['audio_id']}.wav", "metadata": [], "text": "word " * 60}
        row |= {"duration_ms": seconds and seconds * 1000, "speech_ms": seconds and seconds * 500}
    lake.add(RECORDINGS, rows)
    failure = {
        "stage": "decode",
        "kind": "corrupt",
        "run_id": "r2",
        "transient": False,
        "message": "<b>record it again</b>",
    }
    lost = [{**failure, "audio_id": "lost", "chunk_index": index} for index in (0, 1)]
    lake.add(FAILURES, [*lost, {**failure, "audio_id": "gone", "kind": "missing", "transient": True, "run_id": "r1"}])
    lake.add(RUNS, [run("r1", 0), run("r2", 1, status="failed", audio_hours=None, stage_seconds=[("recognize", 5.0)])])
    lake.add(
        EVALUATIONS,
        [evaluation("short", 20, 1), evaluation("long", 100, 9), evaluation("loops", 10, 5, run_key="old")],
    )
    return lake


def test_sums_over_all_runs(lake: Lake) -> None:
    facts = gather(lake.tables)
    totals = {name: facts.totals[name] for name in ("recordings", "ok", "no_speech", "failed", "doubtful", "words")}
    assert totals == {"recordings": 6, "ok": 4, "no_speech": 1, "failed": 1, "doubtful": 2, "words": 9130}
    assert facts.totals["hours"] == pytest.approx((9 + 7200 + 59 + 10 + 30) / 3600)
    weighted = (9 * 0.95 + 7200 * 0.55 + 59 * 0.8 + 10 * 1.0) / (9 + 7200 + 59 + 10)
    assert facts.totals["confidence"] == pytest.approx(weighted)
    assert (facts.work["runs"], facts.work["failed"], facts.work["wall_s"], facts.work["hours"]) == (2, 1, 3600.0, 2.0)
    assert [row["run_id"] for row in facts.runs] == ["r2", "r1"]
    assert facts.stages == {"recognize": 35.0, "wait": 10.0}
    assert [(row["language"], row["recordings"], row["words"]) for row in facts.languages] == [
        ("en", 2, 9020), ("de", 1, 100), (None, 1, 10)
    ]  # fmt: skip
    assert [(row["bin"], row["recordings"]) for row in facts.lengths] == [(0, 1), (1, 1), (2, 2), (6, 1)]
    assert [(row["bin"], row["recordings"]) for row in facts.confidences] == [(5, 1), (8, 1), (9, 2)]
    kinds = [(row["kind"], row["recordings"], row["transient"]) for row in facts.failures]
    assert kinds == [("corrupt", 1, False), ("missing", 1, True)]
    assert [row["audio_id"] for row in facts.listen] == ["long", "loops"]
    assert len(facts.listen[0]["text"]) == 161
    (found,) = facts.evaluations
    assert (found["source"], found["rates"][0]["words"], found["rates"][0]["wer"]) == ("truth.tsv", 120, 10 / 120)
    assert found["calibration_error"] == pytest.approx(0.15)
    assert [row["audio_id"] for row in found["worst"]] == ["long", "short"]


def test_one_run_and_the_page(lake: Lake, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "new" / "report.html"
    jobs.report.main(
        ["--tables", str(lake.root), "--out", str(out), "--run", "r1", "--price-per-gpu-hour", "4", "--gpus", "2"]
    )
    assert "report.html: 2 recordings" in capsys.readouterr().err
    text = out.read_text(encoding="utf-8")
    for said in ("run <code>r1</code>", "decode, missing", ">4.00<", "2.00 an hour of audio", "long.wav"):
        assert said in text, said
    assert "loops.wav" not in text
    assert "&lt;b&gt;record it again" in text


def test_what_cannot_be_reported_is_told_in_one_sentence(
    lake: Lake, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def refused(tables: Path, *arguments: object) -> str:
        capsys.readouterr()
        with pytest.raises(SystemExit) as exit_info:
            jobs.report.main(["--tables", str(tables), *map(str, arguments)])
        error = capsys.readouterr().err
        assert (exit_info.value.code, error[:7], error.count("\n")) == (2, "error: ", 1), error
        return error

    out = tmp_path / "report.html"
    assert "has no run r9; the latest are r2, r1" in refused(lake.root, "--out", out, "--run", "r9")
    assert "has no table" in refused(tmp_path / "nowhere", "--out", out)
    assert "is a folder; name a file in it" in refused(lake.root, "--out", tmp_path)
    Lake(lake.spark, tmp_path / "unused").tables.create()
    assert "has no runs yet" in refused(tmp_path / "unused" / "tables", "--out", out)
    assert not out.exists()
    with pytest.raises(SystemExit):
        jobs.report.main(["--tables", "x", "--out", "y", "--gpus", "0"])
