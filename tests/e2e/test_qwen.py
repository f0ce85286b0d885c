"""The whole job on the engine `qwen`: the project's tiny checkpoints, speech in voices that they never heard."""

from __future__ import annotations

import csv
import statistics
import time
from pathlib import Path
from typing import Any

import jiwer
import numpy as np
import pytest
import soundfile
from pyspark.sql import SparkSession

from schemas.config import load_config
from schemas.tables import RECORDINGS, SEGMENTS, WORDS
from tests.e2e.test_company import chunks_of
from tests.e2e.test_tables_agree import WRONG
from tests.kit import delta_log
from tests.kit.driver import Driver
from tests.kit.lake import PUBLIC, ROOT, Lake, file_row, write_manifest
from transforms.audio.front import Work
from transforms.run.job import transcribe

pytest.importorskip("torch", reason="needs the extra qwen: make setup-qwen")
pytest.importorskip("qwen_asr", reason="needs the extra qwen: make setup-qwen")

SPEECH = ROOT / "examples" / "tiny_qwen" / "speech"
CONFIG = ROOT / "examples" / "tiny_qwen" / "config.yaml"
MODELS = (
    f"engine.options.model={ROOT / 'examples/tiny_qwen/recognizer'}",
    f"aligner_options.qwen.model={ROOT / 'examples/tiny_qwen/aligner'}",
)


def listed(name: str) -> list[dict[str, str]]:
    with (SPEECH / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t"))


def rows_of(lake: Lake, table: str, uri: str) -> list[dict[str, Any]]:
    audio_id = lake.by_name("recordings")[uri]["audio_id"]
    return [row for row in lake.rows(table) if row["audio_id"] == audio_id]


def run(lake: Lake, manifest: list[dict[str, Any]], *settings: str) -> Any:
    lake.folder.mkdir(parents=True, exist_ok=True)
    path = write_manifest(lake.folder / "manifest.parquet", manifest)
    config = load_config(CONFIG, [*MODELS, "run.progress_s=60", *settings])
    return transcribe(lake.spark, config, str(path), str(lake.root))


@pytest.fixture(scope="module")
def manifest() -> list[dict[str, Any]]:
    return [file_row(SPEECH / row["uri"]) for row in listed("recordings.tsv")]


@pytest.fixture(scope="module")
def lake(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory, manifest: list[dict[str, Any]]) -> Lake:
    """All of the tiny speech, its languages detected."""
    made = Lake(spark, tmp_path_factory.mktemp("qwen"))
    summary = run(made, manifest)
    assert (summary.recordings, summary.failed) == (len(manifest), 0)
    return made


def test_texts_and_languages_are_right(lake: Lake) -> None:
    found = lake.by_name("recordings")
    spoken = [row for row in listed("recordings.tsv") if row["reference"]]
    assert jiwer.wer([row["reference"] for row in spoken], [found[row["uri"]]["text"] or "" for row in spoken]) <= 0.06
    exact = [row for row in spoken if found[row["uri"]]["text"] == row["reference"]]
    assert len(exact) >= 0.8 * len(spoken)
    assert {row["uri"]: found[row["uri"]]["language"] for row in spoken} == {
        row["uri"]: row["language"] for row in spoken
    }
    for row in listed("recordings.tsv"):
        if not row["reference"]:
            assert (found[row["uri"]]["status"], found[row["uri"]]["text"]) == ("no_speech", None)


def test_words_are_timed_by_the_forced_aligner(lake: Lake) -> None:
    errors = []
    for row in listed("recordings.tsv"):
        truth = [word for word in listed("words.tsv") if word["uri"] == row["uri"]]
        words = sorted(rows_of(lake, "words", row["uri"]), key=lambda word: word["word_index"])
        if [word["word"] for word in words] == row["reference"].split():
            errors += [abs(a["start_ms"] - int(b["start_ms"])) for a, b in zip(words, truth, strict=True)]
        assert all(0 < word["confidence"] <= 1 for word in words)
    assert len(errors) > 30
    assert statistics.median(errors) <= 60
    assert {row["aligner"] for row in lake.rows("recordings") if row["text"]} == {"qwen"}


def test_a_minute_is_cut_at_its_pauses_and_joined_with_spaces(lake: Lake) -> None:
    minute = lake.by_name("recordings")["a_minute.flac"]
    reference = next(row["reference"] for row in listed("recordings.tsv") if row["uri"] == "a_minute.flac")
    chunks = [row for row in rows_of(lake, "chunks", "a_minute.flac") if not row["closing"]]
    assert len(chunks) > 5
    assert jiwer.wer(reference, minute["text"]) <= 0.1
    assert "  " not in minute["text"]
    assert not set(minute["flags"]) & {"repetition", "truncated", "unaligned"}


@pytest.mark.parametrize("fault", WRONG)
def test_text_words_and_segments_agree(lake: Lake, fault: str) -> None:
    names = {table.name: lake.tables.identifier(table) for table in (RECORDINGS, SEGMENTS, WORDS)}
    assert [row.asDict() for row in lake.spark.sql(WRONG[fault].format(**names)).limit(3).collect()] == []


def test_a_rerun_with_nothing_new_commits_nothing(lake: Lake, manifest: list[dict[str, Any]]) -> None:
    before = lake.versions()
    summary = run(lake, manifest)
    assert (summary.run_id, summary.skipped) == (None, len(manifest))
    assert lake.versions() == before


def test_company_and_the_wish_for_times_change_no_text(manifest: list[dict[str, Any]]) -> None:
    """The numbers 4 and 5 of the package's faults: cut points that depend on timestamps, features on the batch."""
    works = [
        Work(Path(row["uri"]).stem, "k", "s", row["uri"], None, None, None, None, "mix", 0, None, {})
        for row in manifest
    ]
    together = chunks_of(works, load_config(CONFIG, MODELS))
    alone = {
        key: row
        for work in reversed(works)
        for key, row in chunks_of([work], load_config(CONFIG, [*MODELS, "aligners=[]"])).items()
    }
    assert together.keys() == alone.keys()
    for key, row in together.items():
        other = alone[key]
        assert [row[name] for name in ("text", "language", "start_ms", "end_ms")] == [
            other[name] for name in ("text", "language", "start_ms", "end_ms")
        ]
        assert [word["char_start"] for word in row["words"] or ()] == [
            word["char_start"] for word in other["words"] or ()
        ]
        for word, untimed in zip(row["words"] or (), other["words"] or (), strict=True):
            assert word["confidence"] == pytest.approx(untimed["confidence"], abs=1e-3)
            assert untimed["start_ms"] is None
        assert not other["text"] or "unaligned" in other["flags"]


def test_each_chunk_may_have_a_language_of_its_own(spark: SparkSession, tmp_path: Path) -> None:
    parts = [soundfile.read(SPEECH / name, dtype="float32")[0] for name in ("dog_and_cat.flac", "garten.flac")]
    soundfile.write(tmp_path / "both.wav", np.concatenate([parts[0], np.zeros(24_000, np.float32), parts[1]]), 16_000)
    lake = Lake(spark, tmp_path)
    run(lake, [file_row(tmp_path / "both.wav")], "language=auto-per-chunk")
    segments = sorted(lake.rows("segments"), key=lambda row: row["segment_index"])
    assert [row["language"] for row in segments] == ["en", "de"]
    (recording,) = lake.rows("recordings")
    assert recording["language_source"] == "detected"


def test_a_language_that_the_model_does_not_know_is_a_row_that_says_which_it_knows(
    spark: SparkSession, tmp_path: Path
) -> None:
    lake = Lake(spark, tmp_path)
    rows = [file_row(SPEECH / "garten.flac", language="sw"), file_row(SPEECH / "dog_and_cat.flac", language=None)]
    summary = run(lake, rows)
    assert (summary.recordings, summary.failed) == (2, 1)
    (failure,) = lake.rows("failures")
    assert (failure["stage"], failure["kind"]) == ("recognize", "language")
    assert "in the language 'sw', which the engine does not know" in failure["message"]
    assert "de, el, en" in failure["message"]
    assert lake.by_name("recordings")["dog_and_cat.flac"]["status"] == "ok"


@pytest.mark.drivers
def test_killed_in_the_middle_it_ends_in_the_same_tables(
    lake: Lake, manifest: list[dict[str, Any]], tmp_path: Path
) -> None:
    path = write_manifest(tmp_path / "manifest.parquet", manifest)
    settings = ("--config", str(CONFIG), *(part for model in MODELS for part in ("--set", model)))
    settings += ("--set", "run.wave_audio_hours=0.008", "--set", "run.waves_at_once=1")
    job = Driver(path, tmp_path / "tables", tmp_path / "calls_0.log", settings)
    deadline = time.monotonic() + 300
    while delta_log.version(job.root, "chunks") < 1 and not job.ended:
        assert time.monotonic() < deadline
        time.sleep(0.2)
    assert not job.ended, job.said()[-3000:]
    job.kill()
    committed = delta_log.version(job.root, "chunks")
    again = Driver(path, tmp_path / "tables", tmp_path / "calls_1.log", settings)
    assert again.wait() == 0, again.said()[-3000:]
    assert delta_log.version(job.root, "chunks") > committed
    noisy = delta_log.RUN_COLUMNS | {"confidence"}  # the last digits depend on the batch
    for table in PUBLIC:
        undisturbed = delta_log.contents(lake.root, table, noisy)
        assert delta_log.contents(tmp_path / "tables", table, noisy) == undisturbed, table
