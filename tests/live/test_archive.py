"""A file whose content the job has transcribed, under the same configuration, is answered from the tables."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

from schemas.tables import RECORDINGS
from tests.kit.finished import Finished
from tests.kit.lake import Lake, cut, engine_config, write_clip
from tests.live.made import Served, serving
from tests.live.test_rest import ask
from transforms.lake.copies import Copies
from transforms.maintenance.erase import erase

KINDS = ("clip_00.wav", "long.wav", "call.wav", "silence.wav")


@pytest.fixture(scope="module")
def served(finished: Finished) -> Iterator[Served]:
    with serving(engine_config(), finished.lake.root) as served:
        yield served


@pytest.fixture
def no_engine(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise AssertionError("the engine was asked")

    monkeypatch.setattr(served.desk.service, "begin", refuse)


def from_tables_s(served: Served) -> float:
    """Audio that was answered from the tables, in seconds."""
    found = re.search(r'audio_seconds_total\{key="",kind="known"\} (\S+)', served.desk.measures.page().decode())
    return float(found[1]) if found else 0.0


def whole(served: Served, path: Path) -> dict[str, Any]:
    split = {"extra_body": {"channels": "split"}} if "call" in path.name else {}
    granularities = ["word", "segment"]
    answer = ask(served, path, response_format="verbose_json", timestamp_granularities=granularities, **split)
    return {name: value for name, value in answer.model_dump().items() if name != "model"}  # made.py has its own name


@pytest.fixture(scope="module")
def anew(finished: Finished) -> dict[str, dict[str, Any]]:
    """What a server without tables answers."""
    with serving(engine_config()) as served:
        return {name: whole(served, finished.audio / name) for name in KINDS}


@pytest.mark.parametrize("name", KINDS)
def test_a_copy_is_answered_as_the_engine_would_without_it(
    name: str, served: Served, anew: dict[str, Any], finished: Finished, tmp_path: Path, no_engine: None
) -> None:
    """Also of one in parts, one with a channel a speaker, and one in which nothing is said."""
    copy = Path(shutil.copy(finished.audio / name, tmp_path / f"copy_of_{name}"))
    before_s = from_tables_s(served)
    assert whole(served, copy) == anew[name]
    assert from_tables_s(served) - before_s == pytest.approx(anew[name]["duration"], abs=0.01)


def test_a_stream_and_subtitles_are_answered_alike(served: Served, finished: Finished, no_engine: None) -> None:
    events = list(ask(served, finished.audio / "long.wav", stream=True))
    assert events[-1].type == "transcript.text.done"
    said = "".join(event.delta for event in events if event.type == "transcript.text.delta")
    assert said == events[-1].text == ask(served, finished.audio / "long.wav").text
    assert ask(served, finished.audio / "clip_01.wav", response_format="srt").startswith("1\n00:00:0")


@pytest.mark.parametrize(
    "asked", [{"language": "de"}, {"prompt": "Names: Ann."}, {"extra_body": {"channels": "split"}}], ids=str
)
def test_what_is_asked_otherwise_is_made_anew(served: Served, finished: Finished, asked: dict[str, Any]) -> None:
    before_s = from_tables_s(served)
    ask(served, finished.audio / "clip_02.wav", **asked)
    assert from_tables_s(served) == before_s


def test_another_file_or_configuration_and_one_that_failed_are_not_known(finished: Finished, tmp_path: Path) -> None:
    other = write_clip(tmp_path / "other.wav", cut(3, 4, 0.5))
    for config, path in (
        (engine_config(), other),
        (engine_config("vad.threshold=0.6"), finished.audio / "clip_02.wav"),
    ):
        with serving(config, finished.lake.root) as served:
            ask(served, path)
            assert from_tables_s(served) == 0
    failed = [row["content_key"] for row in finished.lake.rows("recordings") if row["status"] == "failed"]
    (known,) = filter(None, failed)
    assert Copies(str(finished.lake.root)).rows(known) is None


def test_what_was_erased_is_no_longer_known(spark: SparkSession, finished: Finished, tmp_path: Path) -> None:
    lake: Lake = finished.lake.copy(tmp_path)
    row = next(row for row in lake.rows("recordings") if (row["uri"] or "").endswith("clip_03.wav"))
    copies = Copies(str(lake.root))
    rows = copies.rows(row["content_key"])
    assert rows is not None and {one["audio_id"] for one in rows} == {row["audio_id"]}
    erase(spark, engine_config(), str(lake.root), [row["audio_id"]])
    assert copies.rows(row["content_key"]) is None


def test_tables_that_are_not_there_or_of_an_earlier_version_know_nothing(
    spark: SparkSession, finished: Finished, tmp_path: Path
) -> None:
    assert Copies(str(tmp_path / "none")).rows("0" * 32) is None
    shutil.copytree(finished.lake.root / RECORDINGS.name, tmp_path / "broken" / RECORDINGS.name)
    for file in (tmp_path / "broken" / RECORDINGS.name).rglob("*.parquet"):
        file.unlink()
    key = next(row["content_key"] for row in finished.lake.rows("recordings") if row["content_key"])
    with pytest.raises(OSError, match="cannot be read"):
        Copies(str(tmp_path / "broken")).rows(key)
    rows = spark.createDataFrame([("a", "b")], "audio_id string, run_key string")
    rows.write.format("delta").save(str(tmp_path / "earlier" / RECORDINGS.name))
    assert Copies(str(tmp_path / "earlier")).rows("0" * 32) is None


def test_copies_are_found_by_their_content(finished: Finished) -> None:
    """The one that came as bytes is one of clip_01.wav."""
    rows = finished.lake.rows("recordings")
    alike = [row for row in rows if row["audio_id"] == "as-bytes" or (row["uri"] or "").endswith("clip_01.wav")]
    assert len(alike) == 2
    assert len({row["content_sha256"] for row in alike}) == len({row["content_key"] for row in alike}) == 1
    assert len({row["content_sha256"] for row in rows if row["content_sha256"]}) == len(rows) - 2
