"""Search by meaning: a real model over real tables."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyspark.sql import SparkSession

import jobs.embed
import jobs.search
import jobs.sql
from schemas.config import ConfigError
from schemas.tables import PASSAGES, RECORDINGS, SEGMENTS, to_batch
from tests.kit import delta_log
from tests.kit.lake import Lake
from transforms import packages
from transforms.search.embedder import EMBEDDED
from transforms.search.meaning import embed, nearest, passages

pytest.importorskip("sentence_transformers", reason="needs the extra meaning: make setup-meaning")

SPOKEN = {
    "harbour": ["The storm closed the harbour on Friday.", "No boat left, and the last ferry was cancelled."],
    "kitchen": ["Chop two onions and a clove of garlic.", "Fry them in butter until they are brown."],
    "invoice": ["Your bill is due at the end of the month.", "You can pay by card or by bank transfer."],
}
QUESTIONS = {
    "ships could not sail because of bad weather": "harbour",
    "how to cook": "kitchen",
    "when do I have to give you the money": "invoice",
}


def segment(index: int, text: str, **others: Any) -> dict[str, Any]:
    times = {"start_ms": index * 4_000, "end_ms": index * 4_000 + 3_000}
    return {"segment_index": index, "text": text, "speaker": None, "channel": None} | times | others


def add(lake: Lake, audio_id: str, texts: list[str], run_key: str = "k", language: str = "en") -> None:
    key = {"audio_id": audio_id, "take_id": f"take of {run_key}", "run_key": run_key}
    lake.add(SEGMENTS, [key | segment(index, text) for index, text in enumerate(texts)])
    about = {"status": "ok", "uri": f"/radio/{audio_id}.wav", "language": language, "text": " ".join(texts)}
    rows = pa.Table.from_batches([to_batch([key | about], RECORDINGS.arrow)])
    lake.tables.upsert(RECORDINGS, lake.tables.spark.createDataFrame(rows), ["audio_id"])


@pytest.fixture(scope="module")
def lake(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Lake:
    lake = Lake(spark, tmp_path_factory.mktemp("meaning"))
    lake.tables.create()
    for audio_id, texts in SPOKEN.items():
        add(lake, audio_id, texts)
    lake.add(RECORDINGS, [{"audio_id": "silence", "run_key": "k", "status": "no_speech", "text": ""}])
    with pytest.raises(ConfigError, match=r"has no passages by .*python -m jobs\.embed"):
        nearest(lake.tables, "how to cook", EMBEDDED)
    assert embed(lake.tables, EMBEDDED) == len(SPOKEN)
    return lake


@pytest.mark.parametrize(("question", "audio_id"), QUESTIONS.items())
def test_a_question_finds_what_means_it_in_other_words(lake: Lake, question: str, audio_id: str) -> None:
    found = nearest(lake.tables, question, EMBEDDED, limit=2)
    assert found[0].audio_id == audio_id
    assert found[0].text == " ".join(SPOKEN[audio_id])
    assert (found[0].start_ms, found[0].end_ms, found[0].uri) == (0, 7_000, f"/radio/{audio_id}.wav")
    assert 1 > found[0].similarity > 0.3 > found[1].similarity


def test_the_same_words_are_at_one(lake: Lake) -> None:
    found = nearest(lake.tables, " ".join(SPOKEN["kitchen"]), EMBEDDED)
    assert [len(found), found[0].audio_id] == [3, "kitchen"]
    assert found[0].similarity == pytest.approx(1, abs=1e-5)


def test_language_chooses_and_an_empty_question_is_refused(lake: Lake) -> None:
    assert nearest(lake.tables, "how to cook", EMBEDDED, language="de") == []
    with pytest.raises(ConfigError, match="question is empty"):
        nearest(lake.tables, "  ", EMBEDDED)


def test_only_what_is_new_is_read_and_what_was_replaced_goes(lake: Lake, tmp_path: Path) -> None:
    changed = lake.copy(tmp_path)
    version = delta_log.version(changed.root, "passages")
    assert embed(changed.tables, EMBEDDED) == 0
    assert delta_log.version(changed.root, "passages") == version
    add(changed, "harbour", SPOKEN["invoice"], run_key="other")
    (found,) = nearest(changed.tables, "boats", EMBEDDED, limit=1)
    assert found.audio_id != "harbour"
    assert embed(changed.tables, EMBEDDED) == 1
    rows = delta_log.rows(changed.root, "passages")
    assert {row["audio_id"]: (row["run_key"], row["text"]) for row in rows} == {
        "harbour": ("other", " ".join(SPOKEN["invoice"])),
        "kitchen": ("k", " ".join(SPOKEN["kitchen"])),
        "invoice": ("k", " ".join(SPOKEN["invoice"])),
    }
    assert len(rows) == len(SPOKEN)


def test_vectors_of_another_model_are_not_compared_but_replaced(lake: Lake, tmp_path: Path) -> None:
    other = lake.copy(tmp_path)
    other.spark.sql(f"UPDATE {other.tables.identifier(PASSAGES)} SET model = 'of another'")
    with pytest.raises(ConfigError, match="has no passages by"):
        nearest(other.tables, "boats", EMBEDDED)
    assert embed(other.tables, EMBEDDED) == len(SPOKEN)
    assert [row["model"] for row in delta_log.rows(other.root, "passages")] == [f"{EMBEDDED}@0.1.0"] * len(SPOKEN)


def test_passages_are_of_one_voice_of_fifty_words_and_without_a_long_pause() -> None:
    def texts(*segments: dict[str, Any]) -> list[str]:
        return [passage["text"] for passage in passages(segments)]

    assert texts() == []
    assert texts(segment(0, "One."), segment(1, "Two.")) == ["One. Two."]
    assert texts(segment(0, "你好。"), segment(1, "世界。")) == ["你好。世界。"]
    assert texts(segment(0, "A."), segment(9, "B.")) == ["A.", "B."]
    assert texts(segment(0, "A.", speaker="x"), segment(1, "B.", speaker="y")) == ["A.", "B."]
    call = [segment(i, text, channel=i % 2) for i, text in enumerate(("Hi.", "Hello.", "How are you?", "Fine."))]
    assert texts(*call) == ["Hi. How are you?", "Hello. Fine."]
    long = [segment(i, f"{'word ' * 11}{i}") for i in range(20)]
    made = list(passages(long))
    assert " ".join(passage["text"] for passage in made) == " ".join(one["text"] for one in long)
    assert all(40 < len(passage["text"].split()) <= 60 for passage in made)
    assert [made[0]["start_ms"], made[-1]["end_ms"]] == [0, 79_000]
    alone = segment(0, "word " * 100)
    assert texts(alone, segment(1, "More.")) == [alone["text"], "More."]


def run(capsys: pytest.CaptureFixture[str], main: Any, *arguments: object) -> tuple[int, str, str]:
    capsys.readouterr()
    status: Any = 0
    try:
        main([str(argument) for argument in arguments])
    except SystemExit as stop:
        status = stop.code
    return status, *capsys.readouterr()


def test_the_commands(lake: Lake, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    root = lake.root
    assert run(capsys, jobs.embed.main, "--tables", root) == (
        0,
        "",
        f"{root}: passages of 0 more transcripts by {EMBEDDED}\n",
    )
    assert [row["status"] for row in lake.rows("runs")] == ["ok"]  # a run, so that jobs.erase waits for it
    status, out, err = run(capsys, jobs.search.main, "cooking", "--meaning", "--tables", root, "--limit", 1)
    name, line = out.splitlines()
    assert (status, name, err) == (0, "/radio/kitchen.wav", "")
    assert line.startswith("  00:00.000  0.") and line.endswith(" ".join(SPOKEN["kitchen"]))
    _, out, _ = run(capsys, jobs.search.main, "cooking", "--meaning", "--tables", root, "--json")
    assert json.loads(out.splitlines()[0])["audio_id"] == "kitchen"
    _, out, _ = run(capsys, jobs.sql.main, "--tables", root, "SELECT count(*), min(size(vector)) FROM passages")
    assert "|       3|              384|" in out
    status, _, err = run(capsys, jobs.search.main, "x", "--meaning", "--tables", root, "--model", "./nowhere")
    assert (status, err) == (2, "error: there is no model folder ./nowhere\n")
    status, _, err = run(capsys, jobs.embed.main, "--tables", root, "--model", root)
    assert status == 2 and err.startswith(f"error: the model {root} cannot be loaded: ")
    monkeypatch.setattr(packages, "find_spec", lambda name: None)
    status, _, err = run(capsys, jobs.search.main, "x", "--meaning", "--tables", root)
    assert (status, err.count("\n")) == (2, 1)
    assert "search by meaning needs sentence_transformers" in err and "make setup-meaning" in err
