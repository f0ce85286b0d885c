"""Search over tables that publishing made: phrases across every border, in any script, with their times."""

from __future__ import annotations

import datetime
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyspark.sql import SparkSession

import jobs.search
from schemas.config import Config, ConfigError, SegmentsConfig
from schemas.tables import CHUNKS, RECORDINGS, WORDS, to_batch
from tests.kit import delta_log
from tests.kit.publishing import publish
from transforms.lake.local_tables import LocalTables
from transforms.lake.tables import Tables
from transforms.maintenance.maintain import maintain
from transforms.search.phrases import SEARCHED, Hit, Readable, find, search
from transforms.text.folding import by_channel, needle

_NOW = datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC)
_CHUNK_MS = 10_000
_SPOKEN: dict[str, list[tuple[str, str, int | None]]] = {
    "english": [
        ("en", "So we saw, I think, quarterly", None),
        ("en", "Revenue. Café Müller? L’homme; don't!", None),
        ("en", "Quarterly revenue, quarterly revenue & 1,000 quarterly revenue", None),
    ],
    "call": [("en", "How are|you", 0), ("en", "Uh-huh. Sure,", 1), ("en", "today? Revenue up.", 0)],
    "chinese": [("zh", "你好，|世", None), ("zh", "界。|你好", None)],
    "japanese": [("ja", "おは|よう|ございます。", None), ("ja", "午前|10時|から", None)],
    "turkish": [("tr", "İstanbul'da ışık, ŞİŞLİ", None)],
    "german": [("de", "Die Straße, die STRASSE: quarterly revenue!", None)],
    "hindi": [("hi", "हिन्दी में बात", None)],
}
"""Chunks of ten seconds, (language, words, channel): '|' parts words that no blank parts; a word starts each second."""


def chunk_rows(audio_id: str, chunks: Sequence[tuple[str, str, int | None]]) -> list[dict[str, Any]]:
    """As recognition leaves them in the table chunks."""
    key = {"audio_id": audio_id, "run_key": "k", "run_id": "1", "part_index": 0, "created_at": _NOW, "flags": []}
    rows = []
    for index, (language, spoken, channel) in enumerate(chunks):
        text, words, start_ms = spoken.replace("|", ""), [], index * _CHUNK_MS
        for count, word in enumerate(spoken.replace("|", " ").split()):
            at = text.index(word, words[-1]["char_end"] if words else 0)
            time_ms = start_ms + count * 1000
            place = {"char_start": at, "char_end": at + len(word), "confidence": 0.5 + count / 100, "estimated": False}
            words.append({"word": word, "start_ms": time_ms, "end_ms": time_ms + 900, **place})
        times = {"start_ms": start_ms, "end_ms": start_ms + _CHUNK_MS}
        about = {"chunk_index": index, "channel": channel, "language": language, "language_source": "given"}
        rows.append({**key, **times, **about, "text": text, "words": words})
    closing = {"uri": f"/archive/{audio_id}.wav", "chunk_count": len(chunks), "continues": False, "flags": []}
    return [*rows, {**key, "chunk_index": -1, "closing": {**closing, "duration_ms": 60_000, "speech_ms": 30_000}}]


@pytest.fixture(scope="module")
def archive(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Tables:
    tables = Tables(spark, str(tmp_path_factory.mktemp("archive") / "tables"))
    tables.create()
    rows = [row for audio_id, chunks in _SPOKEN.items() for row in chunk_rows(audio_id, chunks)]
    tables.append(CHUNKS, spark.createDataFrame(pa.Table.from_batches([to_batch(rows, CHUNKS.arrow)])))
    publish(tables, [(audio_id, "k") for audio_id in _SPOKEN], "take", SegmentsConfig(max_chars=20))
    stale = [{"audio_id": "german", "take_id": "old", "word_index": 0, "word": "stale", "start_ms": 1, "end_ms": 2}]
    tables.append(WORDS, spark.createDataFrame(pa.Table.from_batches([to_batch(stale, WORDS.arrow)])))
    return tables


@pytest.fixture(params=["Spark", "DuckDB"])
def reader(request: pytest.FixtureRequest, archive: Tables) -> Readable:
    return archive if request.param == "Spark" else LocalTables(archive.root)


def places(hits: Sequence[Hit]) -> list[tuple[str, int | None]]:
    return [(hit.audio_id, hit.start_ms) for hit in hits]


def test_a_phrase_is_found_across_chunks_segments_and_punctuation_in_order(reader: Readable) -> None:
    hits = search(reader, "QUARTERLY revenue", context=2)
    assert places(hits) == [
        ("english", 5_000),
        ("english", 20_000),
        ("english", 22_000),
        ("english", 26_000),
        ("german", 4_000),
    ]
    first = hits[0]
    assert (first.before, first.phrase, first.after) == ("I think,", "quarterly Revenue.", "Café Müller?")
    assert (first.end_ms, first.word_index, first.uri) == (10_900, 5, "/archive/english.wav")
    assert first.confidence == pytest.approx((0.55 + 0.50) / 2)
    segments = {
        row["segment_index"]
        for row in delta_log.rows(Path(reader.root), "words")
        if row["word_index"] in (5, 6) and row["audio_id"] == "english"
    }
    assert len(segments) == 2
    assert search(reader, "quarterly revenue", context=0)[0].before == ""
    assert search(reader, "die straße")[0].before == "", "the words of an older transcript are not among these"


@pytest.mark.parametrize(
    ("phrase", "expected"),
    [
        ("cafe muller l'homme", [("english", 11_000)]),
        ("CAFÉ, Mu\u0308ller!", [("english", 11_000)]),
        ("homme", [("english", 13_000)]),
        ("don’t", [("english", 14_000)]),
        ("1000", [("english", 25_000)]),
        ("1.000 quarterly", [("english", 25_000)]),
        ("evenue", []),
        ("你好世界", [("chinese", 0)]),
        ("你好", [("chinese", 0), ("chinese", 11_000)]),
        ("界你", [("chinese", 10_000)]),
        ("はようござ", [("japanese", 0)]),
        ("ございます午前10時", [("japanese", 2_000)]),
        ("か", [("japanese", 12_000)]),
        ("が", []),
        ("istanbul", [("turkish", 0)]),
        ("İSTANBUL", [("turkish", 0)]),
        ("IŞIK şişli", [("turkish", 1_000)]),
        ("strasse die straße", [("german", 1_000)]),
        ("हिन्दी में", [("hindi", 0)]),
        ("हिनदी", []),
        ("stale", []),
    ],
)
def test_case_accents_and_script_make_no_difference(
    archive: Tables, phrase: str, expected: list[tuple[str, int]]
) -> None:
    """As in `search`, on the tables' rows: the folded text says in which recordings, their words say when."""
    rows = {name: delta_log.rows(Path(archive.root), name) for name in ("recordings", "words")}
    sought, found = needle(phrase), []
    for recording in sorted(rows["recordings"], key=lambda row: row["audio_id"]):
        words = [row for row in rows["words"] if all(row[name] == recording[name] for name in ("audio_id", "run_key"))]
        spans = [
            (recording["audio_id"], spoken[first]["start_ms"])
            for spoken in by_channel(sorted(words, key=lambda row: row["word_index"]))
            for first, _ in find([row["word"] for row in spoken], sought)
        ]
        assert (sought in recording["folded_text"]) == bool(spans)
        found += spans
    assert found == expected


def test_a_phrase_is_one_voice_s_whoever_speaks_in_between(reader: Readable) -> None:
    (hit,) = search(reader, "are you today")
    assert (hit.audio_id, hit.channel, hit.speaker, hit.start_ms, hit.end_ms) == ("call", 0, "channel-0", 1_000, 20_900)
    assert (hit.before, hit.phrase, hit.after) == ("How", "are you today?", "Revenue up.")
    assert search(reader, "you uh-huh") == []


def test_limit_and_language_choose_hits(reader: Readable) -> None:
    every = places(search(reader, "revenue"))
    assert [audio_id for audio_id, _ in every] == ["call", *["english"] * 4, "german"]
    for limit in (1, 2, 4, 6):
        assert places(search(reader, "revenue", limit=limit)) == every[:limit]
    assert places(search(reader, "revenue", language="de")) == [("german", 5_000)]
    assert search(reader, "revenue", language="xx") == []


@pytest.mark.parametrize("nothing", ["", "   ", "?!…", "🎻", "\u0301"])
def test_a_search_for_nothing_is_refused(archive: Tables, nothing: str) -> None:
    with pytest.raises(ConfigError, match="neither letter nor digit"):
        search(archive, nothing)


def test_a_search_for_ten_thousand_characters_finds_nothing(reader: Readable) -> None:
    assert search(reader, "quarterly revenue " * 600) == []
    assert search(reader, "%_'\\ \" ` ${x} quarterly", limit=10**6) == []
    assert search(reader, "quarterly", language="' OR 1 = 1 --") == []


def test_words_without_a_time_are_found_and_have_none(archive: Tables, tmp_path: Path) -> None:
    tables = copied(archive, tmp_path)
    tables.spark.sql(f"UPDATE {tables.identifier(WORDS)} SET start_ms = NULL, end_ms = NULL WHERE word = 'you'")
    for reader in (tables, LocalTables(tables.root)):
        (hit,) = search(reader, "you today")
        assert (hit.start_ms, hit.end_ms) == (20_000, 20_900)
        (hit,) = search(reader, "you")
        assert (hit.start_ms, hit.end_ms, hit.phrase) == (None, None, "you")


def test_a_recording_of_no_known_language_is_found(archive: Tables, tmp_path: Path) -> None:
    tables = copied(archive, tmp_path)
    tables.spark.sql(f"UPDATE {tables.identifier(RECORDINGS)} SET language = NULL WHERE audio_id = 'call'")
    for reader in (tables, LocalTables(tables.root)):
        assert len(search(reader, "are you today")) == 1
        assert search(reader, "are you today", language="en") == []


@pytest.mark.parametrize("name", ["a b", "l'été", "50%", "a%20b", "[1]", "x*"])
def test_any_name_of_a_folder_will_do(
    archive: Tables, tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    tables = copied(archive, tmp_path / name)
    assert LocalTables.can_read(tables.root, *SEARCHED) == (name not in ("50%", "a%20b", "[1]", "x*"))
    assert len(run(capsys, "revenue", "--tables", tables.root)[1].splitlines()) == 6 + 3


def test_tables_without_rows_have_no_hit_and_later_they_do(archive: Tables, tmp_path: Path) -> None:
    tables = Tables(archive.spark, str(tmp_path))
    tables.create()
    reader = LocalTables(tables.root)
    assert search(tables, "revenue") == search(reader, "revenue") == []
    for table in SEARCHED:
        tables.append(table, archive.read(table))
    assert search(reader, "revenue") == search(archive, "revenue")


def test_what_only_spark_can_read_is_left_to_it(
    archive: Tables, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tables = copied(archive, tmp_path)
    name = tables.identifier(WORDS)
    tables.spark.sql(f"ALTER TABLE {name} SET TBLPROPERTIES ('delta.enableDeletionVectors' = 'true')")
    tables.spark.sql(f"DELETE FROM {name} WHERE audio_id = 'english' AND word_index > 20")
    assert not LocalTables.can_read(tables.root, *SEARCHED)
    status, out, _ = run(capsys, "are you today", "--tables", tables.root)
    assert (status, out) == (0, "/archive/call.wav\n  00:01.000  0.51  channel-0: How [are you today?] Revenue up.\n")


def copied(archive: Tables, folder: Path) -> Tables:
    shutil.copytree(archive.root, folder / "tables")
    return Tables(archive.spark, str(folder / "tables"))


def rewritten(tables: Tables, name: str, *columns: str) -> None:
    path = f"{tables.root}/{name}"
    rows = tables.spark.read.format("delta").load(path).selectExpr(*columns)
    rows.write.format("delta").mode("overwrite").option("overwriteSchema", "true").save(path)


def test_tables_of_an_older_version_are_told_and_so_is_the_remedy(archive: Tables, tmp_path: Path) -> None:
    tables = copied(archive, tmp_path)
    names = [name for name in RECORDINGS.names if name != "folded_text"]
    empty = "CASE WHEN audio_id <> 'hindi' THEN folded_text END AS folded_text"
    rewritten(tables, "recordings", *names, empty)
    for reader in (tables, LocalTables(tables.root)):
        with pytest.raises(ConfigError, match=r"recordings of an earlier version, without folded_text.*jobs\.publish"):
            search(reader, "revenue")
    publish(tables, [("hindi", "k")], "again")
    assert len(search(tables, "revenue")) == 6
    tables.spark.sql(f"ALTER TABLE {tables.identifier(WORDS)} ADD COLUMNS (somebody_s STRING)")
    assert len(search(LocalTables(tables.root), "revenue")) == 6
    rewritten(tables, "recordings", *names)
    tables.upgrade()
    for reader in (tables, LocalTables(tables.root)):
        with pytest.raises(ConfigError, match=r"recordings of an earlier version, without folded_text.*jobs\.publish"):
            search(reader, "revenue")
    rewritten(tables, "recordings", *names)
    for reader in (tables, LocalTables(tables.root)):
        with pytest.raises(ConfigError, match=r"of an earlier version, without folded_text.*jobs\.publish"):
            search(reader, "revenue")


def test_laid_out_tables_are_found_the_same_by_readers_that_were_open_before(archive: Tables, tmp_path: Path) -> None:
    tables = copied(archive, tmp_path)
    root = Path(tables.root)
    before = {name: delta_log.contents(root, name) for name in ("words", "segments", "recordings")}
    opened_before = LocalTables(tables.root)
    assert len(search(opened_before, "revenue")) == 6
    done = maintain(tables.spark, Config(), tables.root, ["optimize"])
    assert {"chunks", "recordings", "segments", "words"} <= {one.table for one in done}
    assert {name: delta_log.contents(root, name) for name in before} == before
    detail = tables.spark.sql(f"DESCRIBE DETAIL {tables.identifier(WORDS)}").collect()[0]
    assert (detail.numFiles, detail.minReaderVersion) == (1, 1)
    assert search(opened_before, "revenue") == search(tables, "revenue") == search(archive, "revenue")
    tables.spark.sql(f"DELETE FROM {tables.identifier(RECORDINGS)} WHERE audio_id = 'english'")
    assert len(search(opened_before, "revenue")) == 2


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    """Exit status, standard output and standard error of the command."""
    capsys.readouterr()
    status: Any = 0
    try:
        jobs.search.main([str(argument) for argument in arguments])
    except SystemExit as stop:
        status = stop.code
    return status, *capsys.readouterr()


def test_the_command_shows_recording_second_and_words(archive: Tables, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = run(capsys, "you today", "--tables", archive.root)
    assert (status, err) == (0, "")
    assert out == "/archive/call.wav\n  00:02.000  0.51  channel-0: How are [you today?] Revenue up.\n"
    status, out, err = run(
        capsys, "revenue", "--tables", archive.root, "--limit", 2, "--context", 1, "--language", "en"
    )
    assert out.splitlines() == [
        "/archive/call.wav",
        "  00:21.000  0.51  channel-0: today? [Revenue] up.",
        "/archive/english.wav",
        "  00:10.000  0.50  quarterly [Revenue.] Café",
    ]
    assert "first 2 places" in err
    status, out, err = run(capsys, "界。", "--tables", archive.root, "--json")
    (hit,) = map(json.loads, out.splitlines())
    assert (hit["audio_id"], hit["start_ms"], hit["before"], hit["phrase"], hit["after"]) == (
        "chinese",
        10_000,
        "你好，世",
        "界。",
        "你好",
    )
    assert run(capsys, "nowhere", "--tables", archive.root) == (0, "", "said nowhere\n")


def test_the_command_tells_mistakes_in_one_sentence(
    archive: Tables, spark: SparkSession, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    foreign = tmp_path / "foreign"
    for name in ("chunks", "recordings", "segments", "words", "failures", "runs"):
        spark.range(1).write.format("delta").save(str(foreign / name))
    for mistake, reason in {
        ("?!", archive.root): "neither letter nor digit",
        ("a", tmp_path / "nothing"): "has no table chunks",
        ("a", foreign): "is no table recordings of Lakescribe",
    }.items():
        status, out, err = run(capsys, mistake[0], "--tables", mistake[1])
        assert (status, out) == (2, "")
        assert reason in err
        assert err.startswith("error: ")
        assert err.count("\n") == 1
    assert run(capsys, "a", "--tables", archive.root, "--limit", 0)[0] == 2


@pytest.mark.parametrize(
    ("at_ms", "shown"), [(0, "00:00.000"), (61_002, "01:01.002"), (3_723_450, "1:02:03.450"), (None, "--:--.---")]
)
def test_a_time_reads_as_players_show_it(at_ms: int | None, shown: str) -> None:
    assert jobs.search.at(at_ms) == shown
