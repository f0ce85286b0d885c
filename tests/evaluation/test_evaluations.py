"""References meet transcripts in Spark, and the command tells what it found."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.sql import SparkSession

import jobs.evaluate
from schemas.config import ConfigError
from schemas.tables import EVALUATIONS, RECORDINGS, WORDS
from tests.kit.lake import Lake
from transforms.evaluation.evaluations import Evaluated, current, error_rates, evaluate, group_column
from transforms.evaluation.references import find_references
from transforms.run.registry import Registry

SPOKEN = {
    "a": ("ok", "en", "the quick brown fox", "The quick crown fox."),
    "b": ("ok", "de", "eins zwei drei vier fünf sechs", "Eins, zwei, drei, vier, fünf, sechs!"),
    "failed": ("failed", None, "all of this is lost", None),
    "silent": ("no_speech", None, "", None),
    "call": ("ok", "en", None, "hello there good morning to you"),
    "unheard": ("ok", "en", None, "nobody wrote down this one"),
}
"""By audio_id: status, language, the manifest's reference, and the transcript."""


def transcript(audio_id: str, text: str | None, channels: str = "") -> list[dict[str, Any]]:
    """Rows of words, one each half second, with a confidence of 0.95; `channels` has a digit for each."""
    words, at = [], 0
    for index, word in enumerate((text or "").split()):
        take = {"audio_id": audio_id, "run_key": "k", "take_id": "t"}
        key = {**take, "word_index": index, "word": word, "confidence": 0.95}
        times = {"start_ms": index * 500, "end_ms": index * 500 + 400, "char_start": at, "char_end": at + len(word)}
        words.append({**key, **times, "channel": int(channels[index]) if channels else None})
        at += len(word) + 1
    return words


@pytest.fixture(scope="module")
def lake(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Lake:
    lake = Lake(spark, tmp_path_factory.mktemp("evaluated"))
    lake.tables.create()
    recordings, words = [], []
    for audio_id, (status, language, reference, text) in SPOKEN.items():
        metadata = {"accent": "north" if audio_id in "ab" else "south"} | (
            {} if reference is None else {"reference": reference}
        )
        row = {"audio_id": audio_id, "run_key": "k", "take_id": "t", "uri": f"/calls/{audio_id}.wav"}
        row |= {"status": status, "text": text}
        recordings.append({**row, "language": language, "metadata": list(metadata.items())})
        words += transcript(audio_id, text, "010101" if audio_id == "call" else "")
    lake.add(RECORDINGS, recordings)
    lake.add(WORDS, words)
    return lake


@pytest.fixture(scope="module")
def evaluated(lake: Lake, tmp_path_factory: pytest.TempPathFactory) -> Lake:
    lake = lake.copy(tmp_path_factory.mktemp("copied"))
    source, references = find_references(lake.tables, None, None, None)
    done = evaluate(lake.tables, references, source)
    assert (source, done.rows, done.unknown, done.mixed, done.without) == ("metadata.reference", 4, 0, 0, 2)
    return lake


def found(lake: Lake, source: str = "metadata.reference") -> dict[str, dict[str, Any]]:
    return {row["audio_id"]: row for row in lake.rows("evaluations") if row["reference_source"] == source}


def write(path: Path, text: str) -> str:
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_the_manifests_references_are_compared_with_what_recordings_shows(evaluated: Lake) -> None:
    rows = found(evaluated)
    counts = {key: (row["words"], row["substitutions"], row["deletions"], row["wer"]) for key, row in rows.items()}
    assert counts == {"a": (4, 1, 0, 0.25), "b": (6, 0, 0, 0.0), "failed": (5, 0, 5, 1.0), "silent": (0, 0, 0, None)}
    assert rows["a"]["normalization"].startswith("whisper-english")
    assert (rows["b"]["language"], rows["failed"]["status"], rows["a"]["uri"]) == ("de", "failed", "/calls/a.wav")
    assert [(b["bin"], b["words"], b["right"]) for b in rows["a"]["calibration"]] == [(9, 4, 3)]
    assert rows["a"]["time_errors"] is None


def test_rates_of_several_are_sums_over_sums(evaluated: Lake) -> None:
    rows = current(evaluated.tables, "metadata.reference")
    (total,) = error_rates(rows)
    assert (total["recordings"], total["failed"], total["words"]) == (4, 1, 15)
    assert total["wer"] == 6 / 15  # the mean of the rates would be 0.42
    by_accent = {row["value"]: row["wer"] for row in error_rates(rows, group_column(rows, "metadata.accent"))}
    assert by_accent == {"north": 1 / 10, "south": 1.0}
    with pytest.raises(ConfigError, match=r"metadata\.colour.*language.*metadata\.accent"):
        group_column(rows, "metadata.colour")


def test_evaluating_again_replaces_the_rows_and_only_those_of_the_same_reference(
    evaluated: Lake, tmp_path: Path
) -> None:
    lake = evaluated.copy(tmp_path)
    before = found(lake)
    for text in (
        "audio_id\tchannel\treference\na\t\tthe quick crown\ncall\t0\thello good\n",
        "audio_id\treference\na\tfox\n",
    ):
        source, references = find_references(lake.tables, write(tmp_path / "truth.tsv", text), None, None)
        evaluate(lake.tables, references, source)
    assert list(found(lake, source)) == ["a"]
    assert found(lake, source)["a"]["insertions"] == 3
    assert found(lake) == before
    assert len(lake.rows("evaluations")) == 5


def test_references_come_from_any_list_by_uri_or_audio_id(lake: Lake, tmp_path: Path) -> None:
    rows = [{"uri": "../calls/a.wav", "reference": 'the "quick" brown fox'}, {"uri": "gone.wav", "reference": "x"}]
    rows += [{"uri": "/calls/silent.wav", "reference": ""}]
    (tmp_path / "lists").mkdir()
    rows[0]["uri"] = str(Path("..", *[".."] * (len(tmp_path.parts) - 1), "calls", "a.wav"))
    files = [write(tmp_path / "lists" / "t.jsonl", "".join(json.dumps(row) + "\n" for row in rows))]
    quoted = [",".join('"' + row[name].replace('"', '""') + '"' for name in ("uri", "reference")) for row in rows]
    files.append(write(tmp_path / "lists" / "t.csv", "\n".join(["uri,reference", *quoted]) + "\n"))
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "lists" / "t.parquet")
    files.append(str(tmp_path / "lists" / "t.parquet"))
    files.append(
        write(
            tmp_path / "lists" / "t.tsv",
            "uri\treference\n" + rows[0]["uri"] + "\tthe quick brown fox\ngone.wav\tx\n/calls/silent.wav\t\n",
        )
    )
    for file in files:
        _, references = find_references(lake.tables, file, None, None)
        listed = {row.audio_id: row.reference.replace('"', "") for row in references.collect()}
        assert listed == {"a": "the quick brown fox", "silent": "", None: "x"}, file


def test_a_channels_reference_is_compared_with_that_channel(lake: Lake, tmp_path: Path) -> None:
    lake = lake.copy(tmp_path)
    lines = ["audio_id\tchannel\treference", "call\t0\thello good to", "call\t1\tthere morning you too", "nobody\t0\tx"]
    lines += ["a\t0\tthe quick", "a\t1\tbrown fox", "b\t0\teins"]
    source, references = find_references(lake.tables, write(tmp_path / "t.tsv", "\n".join(lines) + "\n"), None, None)
    done = evaluate(lake.tables, references, source)
    assert (done.rows, done.unknown, done.mixed, done.without) == (3, 1, 2, 3)
    rows = {(row["audio_id"], row["channel"]): row for row in lake.rows("evaluations")}
    assert {key: row["wer"] for key, row in rows.items()} == {("call", 0): 0.0, ("call", 1): 0.25, ("b", 0): 5.0}


def test_other_tables_are_references_with_their_times(lake: Lake, tmp_path: Path) -> None:
    lake, other = lake.copy(tmp_path), Lake(lake.spark, tmp_path / "other")
    other.tables.create()
    row = {"audio_id": "a", "run_key": "k2", "take_id": "t2", "status": "ok", "text": "The quick brown fox"}
    row |= {"language": "en"}
    other.add(RECORDINGS, [row, {"audio_id": "b", "run_key": "k2", "take_id": "t2", "status": "failed"}])
    words = transcript("a", "The quick brown fox")
    other.add(WORDS, [{**word, "run_key": "k2", "take_id": "t2", "start_ms": word["start_ms"] + 20} for word in words])
    source, references = find_references(lake.tables, None, None, str(other.root))
    evaluate(lake.tables, references, source)
    (row,) = lake.rows("evaluations")
    assert (source, row["run_key"], row["wer"], row["timed_words"]) == (str(other.root), "k", 0.25, 4)
    assert [error["start_error_ms"] for error in row["time_errors"]] == [-20, -20, -20]


def told(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[str, str]:
    capsys.readouterr()
    jobs.evaluate.main([str(argument) for argument in arguments])
    printed = capsys.readouterr()
    return printed.out, printed.err


def test_the_command_prints_rates_times_calibration_and_differences(
    lake: Lake, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    lake = lake.copy(tmp_path)
    living: list[int] = []

    def scored(*arguments: Any, **more: Any) -> Evaluated:
        living.append(len(Registry(lake.tables, 10).living()))
        return evaluate(*arguments, **more)

    monkeypatch.setattr(jobs.evaluate, "evaluate", scored)
    times = "".join(
        f"a\t{word}\t{index * 500 - 30}\t{index * 500 + 480}\n"
        for index, word in enumerate("the quick brown fox".split())
    )
    words = write(tmp_path / "words.tsv", "audio_id\tword\tstart_ms\tend_ms\n" + times)
    out, err = told(capsys, "--tables", lake.root, "--reference-words", words, "--by", "language,metadata.accent")
    lines = {line.split("  ")[1].strip(): line.split() for line in out.splitlines() if line.startswith("  ")}
    assert lines["all"][1:6] == ["4", "1", "15", "40.0%", lines["all"][5]]
    assert lines["language en"][2:6] == ["1", "0", "4", "25.0%"]
    assert lines["metadata.accent north"][4:6] == ["10", "10.0%"]
    assert "Word starts: median 30 ms off, 90 % within 30 ms; 100.0% within 50 ms" in out
    assert "Word ends: median 80 ms off, 90 % within 80 ms; 0.0% within 50 ms, 100.0% within 100 ms" in out
    assert "expected calibration error 0.050" in out
    assert "a.wav: 1 error in 4 words\n  the quick [-brown-] {+crown+} fox" in out
    assert "4 references compared, 2 recordings have no reference" in err
    assert [row["reference_source"] for row in lake.rows("evaluations")] == ["metadata.reference"] * 4
    assert living == [1]  # a run, so that jobs.erase waits for what it has read
    assert [row["status"] for row in lake.rows("runs")] == ["ok"]


def test_what_cannot_be_compared_is_told_in_one_sentence_and_nothing_is_written(
    lake: Lake, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def refused(*arguments: object) -> str:
        capsys.readouterr()
        with pytest.raises(SystemExit) as exit_info:
            jobs.evaluate.main([str(argument) for argument in arguments])
        error = capsys.readouterr().err
        assert (exit_info.value.code, error[:7], error.count("\n")) == (2, "error: ", 1), error
        return error

    here = ("--tables", lake.root)
    mistakes = {
        "audio_id\ttext\na\tx\n": "has no column reference; it has audio_id, text",
        "file\treference\na\tx\n": "has no column audio_id (or uri)",
        "audio_id\treference\na\tx\na\ty\n": "more than one reference for a",
        "audio_id\tchannel\treference\na\tleft\tx\n": "column channel must hold whole numbers, not 'left'",
        "audio_id\treference\nnobody\tx\n": "1 references name other recordings",
    }
    for number, (text, expected) in enumerate(mistakes.items()):
        file = write(tmp_path / f"t{number}.tsv", text)
        assert expected in refused(*here, "--references", file), text
    assert "cannot be read" in refused(*here, "--references", tmp_path / "none.tsv")
    assert "--by colour: no such column; there are language, channel" in refused(*here, "--by", "colour")
    assert "has no table" in refused("--tables", tmp_path / "nowhere")
    assert "has no table" in refused(*here, "--against", tmp_path / "nowhere")
    assert not lake.rows(EVALUATIONS.name)


def test_references_are_read_as_lists_are(lake: Lake, tmp_path: Path) -> None:
    """TSV has no quoting, languages and columns may be spelled in any way, and nothing is lost silently."""
    text = 'audio_id\tReference\tLanguage\na\t"the quick brown fox\ten-US\nb\teins zwei\tGerman\nfailed\tx\t\n'
    for name, content in (("t.tsv", text.encode()), ("utf16.tsv", text.encode("utf-16"))):
        (tmp_path / name).write_bytes(content)
        _, references = find_references(lake.tables, str(tmp_path / name), None, None)
        assert {row.audio_id: (row.reference, row.language) for row in references.collect()} == {
            "a": ('"the quick brown fox', "en"),
            "b": ("eins zwei", "de"),
            "failed": ("x", None),
        }
    pq.write_table(pa.table({"audio_id": ["a"], "reference": ["x"], "LANGUAGE": ["EN"]}), tmp_path / "t.parquet")
    _, references = find_references(lake.tables, str(tmp_path / "t.parquet"), None, None)
    assert [(row.reference, row.language) for row in references.collect()] == [("x", "en")]
    lost = {
        "latin.csv": ("audio_id,reference\na,f\xfcnf\n".encode("latin-1"), "utf-8.*in UTF-8"),
        "lone.csv": (b'audio_id,reference\na,"one\nb,two\n', "end of data"),
        "wide.csv": (b"audio_id,reference\na,one, two\n", "row 1 has more values than columns"),
        "odd.tsv": (b"audio_id\treference\tlanguage\na\tx\txx\n", "no language: 'xx'"),
    }
    for name, (content, reason) in lost.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ConfigError, match=f"{name}.*{reason}"):
            find_references(lake.tables, str(tmp_path / name), None, None)
