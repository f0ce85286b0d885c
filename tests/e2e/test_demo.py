"""The demo: the whole job with the embedded engines on the recordings that the project ships."""

from __future__ import annotations

import csv
import re
from collections import Counter
from pathlib import Path

import jiwer
import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray
from pyspark.sql import SparkSession

import jobs.sql
from benchmarks.common import normal
from schemas.tables import RECORDINGS, SEGMENTS, WORDS
from tests.e2e.checkout import ROOT, copy_project, run
from transforms.lake.tables import Tables
from transforms.lake.views import show_in_session

QUESTION = re.compile(r"```sql\n(.*?)```\n\n```text\n(.*?)```", re.DOTALL)
"""A query of the documentation and the answer below it."""


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The folder that the demo ran in, and what it printed."""
    folder = copy_project(tmp_path_factory.mktemp("demo"))
    done = run(["python", "-m", "jobs.demo"], folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder, done.stdout


def test_the_demo_says_what_was_done_and_what_failed(demo: tuple[Path, str]) -> None:
    printed = demo[1]
    assert "12 recordings, 1 failed" in printed
    assert "times real time" in printed
    assert "decode/corrupt" in printed
    assert "damaged.mp3" in printed
    assert printed.count("jobs.sql") == 3


def test_every_example_reads_as_it_was_spoken(demo: tuple[Path, str], spark: SparkSession) -> None:
    rows = {Path(row.uri).name: row for row in Tables(spark, str(demo[0] / "lakehouse")).read(RECORDINGS).collect()}
    with (ROOT / "examples" / "transcripts.tsv").open(encoding="utf-8", newline="") as file:
        listed = [row for row in csv.DictReader(file, delimiter="\t") if row["language"] == "en" and row["text"]]
    files = Counter(row["file"] for row in listed)
    spoken = [row for row in listed if files[row["file"]] == 1]
    assert len(spoken) >= 8
    for reference in spoken:
        # References spell numbers out and the engine writes digits, hence the wide bound.
        error_rate = jiwer.wer(normal(reference["text"]), normal(rows[reference["file"]].text))
        assert error_rate < 0.3, f"{reference['file']}: {error_rate:.0%}: {rows[reference['file']].text}"
    assert rows["silence.wav"].status == "no_speech"
    assert rows["silence.wav"].text is None
    assert rows["damaged.mp3"].status == "failed"
    japanese = rows["japanese_greeting.mp3"]
    assert (japanese.language, japanese.language_source, japanese.aligner) == ("ja", "detected", "recognizer")
    assert "みなさん" in japanese.text or "皆さん" in japanese.text
    assert rows["meeting_note.flac"].aligner == "sphinx"


def test_words_stand_where_they_are_heard(demo: tuple[Path, str], spark: SparkSession) -> None:
    tables = Tables(spark, str(demo[0] / "lakehouse"))
    ids = {Path(row.uri).name: row.audio_id for row in tables.read(RECORDINGS).collect()}
    words = tables.read(WORDS).collect()
    for name in ("meeting_note.flac", "telephone_8khz.wav", "interview_clip.wav"):
        pauses = _pauses_10ms(*soundfile.read(ROOT / "examples" / "audio" / name))
        middles = np.array([(word.start_ms + word.end_ms) // 20 for word in words if word.audio_id == ids[name]])
        early, at, late = (pauses[np.clip(middles + shift, 0, len(pauses) - 1)].mean() for shift in (-50, 0, 50))
        assert at < 0.05, f"{name}: {at:.0%} of the words lie in pauses"
        assert min(early, late) > 0.1, f"{name}: half a second off would not be seen"
    assert ids["silence.wav"] not in {word.audio_id for word in words}


def _pauses_10ms(sound: NDArray[np.float64], rate: int) -> NDArray[np.bool_]:
    """For each 10 ms whether they are in a pause: 150 ms, longer than a consonant's closure, 30 dB below the loudest."""
    size = rate // 100
    levels = np.sqrt((sound[: len(sound) // size * size].reshape(-1, size) ** 2).mean(axis=1))
    quiet = levels < levels.max() * 10 ** (-30 / 20)
    pauses = np.zeros_like(quiet)
    for start in np.flatnonzero(np.lib.stride_tricks.sliding_window_view(quiet, 15).all(axis=1)):
        pauses[start : start + 15] = True
    return pauses


def test_a_call_is_told_apart_by_channel(demo: tuple[Path, str], spark: SparkSession) -> None:
    tables = Tables(spark, str(demo[0] / "lakehouse"))
    call = tables.read(RECORDINGS).where("uri LIKE '%support_call_stereo%'").first()
    assert call is not None
    segments = tables.read(SEGMENTS).where(f"audio_id = '{call.audio_id}'").orderBy("segment_index").collect()
    assert {(row.speaker, row.channel) for row in segments} == {("channel-0", 0), ("channel-1", 1)}
    assert segments[0].channel == 0, "the agent speaks first"
    words = tables.read(WORDS).where(f"audio_id = '{call.audio_id}'").collect()
    assert all(call.text[word.char_start : word.char_end] == word.word for word in words)


def test_questions_of_the_documentation_have_the_answers_that_it_prints(
    demo: tuple[Path, str], spark: SparkSession, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = QUESTION.findall((ROOT / "docs" / "sql.md").read_text(encoding="utf-8"))
    assert len(asked) >= 12
    assert show_in_session(Tables(spark, str(demo[0] / "lakehouse"))) == []
    for query, printed in asked:
        capsys.readouterr()
        assert jobs.sql.answer(spark, [query]) == 0, query
        assert capsys.readouterr().out.strip() == printed.strip(), query
