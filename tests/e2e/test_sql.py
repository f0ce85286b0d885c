"""The views and jobs.sql on the rich lake: in a session, in a catalog, and without Spark."""

from __future__ import annotations

import io
import os
import re
import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest
from deltalake import DeltaTable
from pyspark.sql import SparkSession

import jobs.sql
from schemas.config import ConfigError
from schemas.flags import FLAGS
from schemas.tables import ALL, RECORDINGS, SEGMENTS, WORDS
from tests.kit.finished import Finished
from tests.kit.lake import Lake
from transforms.lake.tables import Tables
from transforms.lake.views import keep_in_catalog, show_in_session, split_statements, views
from transforms.text.scripts import CHARACTER_LANGUAGES, UNSPACED_LANGUAGES

Ask = Callable[[str], list[dict[str, Any]]]


@pytest.fixture(scope="module")
def lake(finished: Finished, tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """The rich lake, in which somebody must look at a call."""
    lake = finished.lake.copy(tmp_path_factory.mktemp("sql"))
    call = lake.by_name("recordings")["call.wav"]["audio_id"]
    for table, change in {
        RECORDINGS: "flags = array('low_confidence', 'damaged')",
        SEGMENTS: "confidence = CASE segment_index WHEN 3 THEN 0.2 ELSE 0.6 END",
        WORDS: "confidence = 0.49, start_ms = CASE WHEN segment_index = 3 THEN NULL ELSE start_ms END",
    }.items():
        lake.spark.sql(f"UPDATE {lake.tables.identifier(table)} SET {change} WHERE audio_id = '{call}'")
    return lake


@pytest.fixture
def session_ask(lake: Lake) -> Ask:
    assert show_in_session(lake.tables) == []
    return lambda query: [row.asDict() for row in lake.spark.sql(query).collect()]


@pytest.fixture(scope="module")
def duckdb_ask(lake: Lake) -> Iterator[Ask]:
    """DuckDB reads Delta's files through deltalake, and runs the statements of the file as they stand."""
    with duckdb.connect() as connection:
        for table in ALL:
            connection.register(table.name, DeltaTable(lake.root / table.name).to_pyarrow_dataset())
        connection.execute((Path(jobs.sql.__file__).parents[1] / "schemas" / "views.sql").read_text(encoding="utf-8"))
        yield lambda query: connection.sql(query).to_arrow_table().to_pylist(maps_as_pydicts="lossy")


@pytest.fixture(params=["session_ask", "duckdb_ask"])
def ask(request: pytest.FixtureRequest) -> Ask:
    """The same questions to Spark and to DuckDB."""
    return request.getfixturevalue(request.param)


def test_every_statement_of_the_file_is_a_view_with_its_comment() -> None:
    text = (Path(jobs.sql.__file__).parents[1] / "schemas" / "views.sql").read_text(encoding="utf-8")
    assert len(views()) == text.count(" VIEW ") == len({view.name for view in views()}) >= 9
    assert all(view.comment and "--" not in view.comment and "CREATE" not in view.comment for view in views())


def test_every_view_can_be_asked(ask: Ask) -> None:
    assert all(ask(f"SELECT * FROM {view.name} LIMIT 1") for view in views())


def test_transcripts_and_words_are_those_of_the_tables(ask: Ask, lake: Lake) -> None:
    recordings = {row["audio_id"]: row for row in lake.rows("recordings")}
    found = {row["audio_id"]: row for row in ask("SELECT * FROM transcripts")}
    assert {key: row["text"] for key, row in found.items()} == {
        key: row["text"] for key, row in recordings.items() if row["status"] == "ok"
    }
    assert {row["file"] for row in found.values()} >= {"clip_00.wav", "call.wav", None}
    assert found[lake.by_name("recordings")["long.wav"]["audio_id"]]["minutes"] == pytest.approx(100 / 60)
    words = Counter(row["audio_id"] for row in ask("SELECT audio_id FROM spoken_words"))
    assert words == {key: row["word_count"] for key, row in recordings.items() if row["word_count"]}
    assert ask("SELECT count(*) AS n FROM spoken_words WHERE metadata['speaker_name'] = 'Ann'")[0]["n"] > 5
    assert len(ask("SELECT * FROM spoken_segments")) == len(lake.rows("segments"))


def test_a_phrase_is_found_across_segments_within_one_voice(ask: Ask, lake: Lake) -> None:
    call = lake.by_name("recordings")["call.wav"]["audio_id"]
    words = [row for row in lake.rows("words") if row["audio_id"] == call and row["channel"] == 1]
    words.sort(key=lambda row: row["word_index"])
    first = next(k for k in range(len(words)) if words[k]["segment_index"] != words[k + 2]["segment_index"])
    phrase = " ".join(row["word"] for row in words[first : first + 3]).lower().translate(str.maketrans("", "", ",.?"))
    phrase = phrase if lake.by_name("recordings")["call.wav"]["language"] == "en" else phrase.replace(" ", "")
    (found,) = ask(f"SELECT * FROM phrases WHERE phrase LIKE '{phrase.replace(chr(39), chr(39) * 2)}%'")
    assert (found["audio_id"], found["word_index"]) == (call, words[first]["word_index"])
    assert (found["start_ms"], found["channel"]) == (words[first]["start_ms"], 1)


def test_the_review_queue_holds_what_is_doubtful(ask: Ask, lake: Lake) -> None:
    call = lake.by_name("recordings")["call.wav"]["audio_id"]
    inside = [row for row in lake.rows("words") if row["audio_id"] == call and row["segment_index"] == 3]
    (found,) = ask("SELECT * FROM review_queue WHERE file = 'call.wav'")
    assert (found["segment_index"], found["flags"]) == (3, ["low_confidence", "damaged"])
    assert found["doubtful_words"] == found["untimed_words"] == len(inside) > 0
    expected = {(row["audio_id"], row["segment_index"]) for row in lake.rows("segments") if row["confidence"] < 0.6}
    assert {(row["audio_id"], row["segment_index"]) for row in ask("SELECT * FROM review_queue")} == expected


def test_failures_and_flags_come_with_advice(ask: Ask) -> None:
    failures = {row["file"]: row for row in ask("SELECT * FROM open_failures")}
    assert set(failures) == {"text.mp3", "missing.wav"}
    assert all("--reprocess failed" in row["advice"] and row["status"] == "failed" for row in failures.values())
    assert all(row["whole_part"] and not row["transient"] for row in failures.values())
    flagged = {row["flag"]: row for row in ask("SELECT * FROM flagged_recordings")}
    assert {"low_confidence", "damaged"} <= set(flagged)
    assert (flagged["damaged"]["file"], "fetch" in flagged["damaged"]["advice"]) == ("call.wav", True)


def test_every_flag_has_its_advice() -> None:
    query = next(view.query for view in views() if view.name == "flagged_recordings")
    told = re.findall(r"^  \('(\w+)', '(.*)'\),?$", query, re.MULTILINE)
    assert told == [(name, flag.advice.replace("'", "''")) for name, flag in FLAGS.items()]


def test_the_view_of_phrases_knows_the_languages_without_blanks() -> None:
    query = next(view.query for view in views() if view.name == "phrases")
    (listed,) = re.findall(r"language IN \(([^)]*)\)", query)
    assert set(re.findall(r"\w+", listed)) == CHARACTER_LANGUAGES | UNSPACED_LANGUAGES


def test_runs_and_languages_add_up(ask: Ask, lake: Lake) -> None:
    (run,) = ask("SELECT * FROM run_speed")
    assert run["wall_hours"] * run["times_real_time"] == pytest.approx(run["audio_hours"])
    languages = ask("SELECT * FROM languages")
    recordings = [row for row in lake.rows("recordings") if row["status"] == "ok"]
    assert sum(row["recordings"] for row in languages) == len(recordings)
    assert sum(row["audio_hours"] for row in languages) == pytest.approx(
        sum(row["duration_ms"] for row in recordings) / 3.6e6
    )
    assert all(0.4 <= row["confidence"] <= 1 and row["words_per_minute"] > 10 for row in languages)


def test_a_reader_sees_the_transcript_that_recordings_shows_and_no_other(finished: Finished, tmp_path: Path) -> None:
    """Words of another take, as an interrupted publish leaves them, are in the table and not in the views."""
    lake = finished.lake.copy(tmp_path)
    tables, before = lake.tables, Counter(row["audio_id"] for row in lake.rows("words"))
    for name in ("words", "segments"):
        path = tables.root + "/" + name
        stale = tables.spark.read.format("delta").load(path)
        columns = ["'other' AS take_id" if column == "take_id" else column for column in stale.columns]
        stale.selectExpr(*columns).write.format("delta").mode("append").save(path)
    show_in_session(tables)
    count = "SELECT audio_id, count(*) AS n FROM {} GROUP BY audio_id"
    for view in ("spoken_words", "phrases"):
        assert {row.audio_id: row.n for row in tables.spark.sql(count.format(view)).collect()} == before


def test_a_catalog_keeps_the_views_and_making_them_again_changes_nothing(spark: SparkSession) -> None:
    tables = Tables(spark, "spark_catalog.lakescribe_views")
    tables.create()
    for _ in range(2):
        jobs.sql.main(["--tables", tables.root, "--create-views"])
    assert spark.catalog.currentDatabase() == "default"
    kept = {row.viewName for row in spark.sql(f"SHOW VIEWS IN {tables.root}").collect() if not row.isTemporary}
    assert kept == {view.name for view in views()}
    for view in views():
        assert spark.sql(f"SELECT * FROM {tables.root}.{view.name}").count() == 0
    (comment,) = spark.sql(f"DESCRIBE EXTENDED {tables.root}.languages").where("col_name = 'Comment'").collect()
    assert comment.data_type.startswith("A language: how much of it there is")
    assert all(spark.sql(f"DESCRIBE HISTORY {tables.identifier(table)}").count() == 1 for table in ALL)


def test_a_path_keeps_no_views(finished: Finished) -> None:
    with pytest.raises(ConfigError, match="only a catalog keeps views"):
        keep_in_catalog(finished.lake.tables)


def test_tables_of_an_older_version_have_the_views_they_can_have(finished: Finished, tmp_path: Path) -> None:
    lake = finished.lake.copy(tmp_path)
    path = str(lake.root / "runs")
    old = lake.spark.read.format("delta").load(path).drop("batch_fill")
    old.write.format("delta").mode("overwrite").option("overwriteSchema", "true").save(path)
    (sentence,) = show_in_session(lake.tables)
    assert "no view run_speed" in sentence
    assert "jobs.publish" in sentence


def asked(finished: Finished, *query: str) -> int:
    """The exit status."""
    try:
        jobs.sql.main(["--tables", str(finished.lake.root), *query])
    except SystemExit as stop:
        return int(stop.code or 0)
    return 0


def test_a_query_prints_its_rows_or_a_sentence(finished: Finished, capsys: pytest.CaptureFixture[str]) -> None:
    assert asked(finished, "SELECT count(*) AS n FROM recordings; SELECT 'x;y' AS two;") == 0
    printed = capsys.readouterr()
    assert f"| {len(finished.manifest)}|" in printed.out
    assert "|x;y|" in printed.out
    for wrong, reason in {
        "SELECT nothing FROM words": "`nothing` cannot be resolved",
        "SELEC 1": "Syntax error",
        "SELECT 1/0": "Division by zero",
        "": "Syntax error",
        "SELECT 'open": "error: ",
    }.items():
        assert asked(finished, wrong) == 2, wrong
        error = capsys.readouterr().err
        assert reason in error, error
        assert error.startswith("error: ")
        assert error.count("\n") == 1, error


def test_a_file_of_statements_is_answered_to_its_end_and_errors_are_told(
    finished: Finished, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    script = "-- one; comment\nSELECT\n  'first'\n;\nSELECT wrong; SELECT 'second';\n\nSELECT 'last'"
    monkeypatch.setattr("sys.stdin", io.StringIO(script))
    assert asked(finished) == 2
    printed = capsys.readouterr()
    assert [word for word in ("first", "second", "last") if word in printed.out] == ["first", "second", "last"]
    assert printed.err.count("error: ") == 1
    monkeypatch.setattr("sys.stdin", io.StringIO("SELECT 'said';\n\\q\nSELECT 'unsaid';\n"))
    assert asked(finished) == 0
    assert "unsaid" not in capsys.readouterr().out


def test_control_c_gives_up_the_question_and_no_more(
    spark: SparkSession, capsys: pytest.CaptureFixture[str], request: pytest.FixtureRequest
) -> None:
    handler = signal.getsignal(signal.SIGINT)
    request.addfinalizer(lambda: signal.signal(signal.SIGINT, handler))
    endless = "SELECT sum(a.id * b.id) FROM range(10000000) a CROSS JOIN range(10000000) b"
    pressed = threading.Timer(3, os.kill, (os.getpid(), signal.SIGINT))
    pressed.start()
    assert jobs.sql.answer(spark, [endless, "SELECT 'after'"]) == 1
    printed = capsys.readouterr()
    assert (printed.err, "after" in printed.out) == ("given up\n", True)
    assert not spark.sparkContext.statusTracker().getActiveJobsIds()


@pytest.mark.parametrize(
    ("text", "statements", "rest"),
    [
        ("a; b;\nc", ["a", "b"], "\nc"),
        ("a ';' \"x;\" `;` -- ;\n /* ; */ b; ", ["a ';' \"x;\" `;` -- ;\n /* ; */ b"], " "),
        ("'it''s; \\'so;';", ["'it''s; \\'so;'"], ""),
        ("';", [], "';"),
        ("-- only;\n; ;", [], ""),
        ("/* open ;", [], "/* open ;"),
        ("", [], ""),
    ],
)
def test_only_a_semicolon_outside_strings_and_comments_ends_a_statement(
    text: str, statements: list[str], rest: str
) -> None:
    assert split_statements(text) == (statements, rest)
