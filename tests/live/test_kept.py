"""What sessions say goes into the lake: what was told at once, the sound for the job, which has the last word."""

from __future__ import annotations

import json
import signal
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest
import soundfile
from pyspark.sql import SparkSession
from websockets.sync.client import connect

from schemas.config import SAMPLE_RATE_HZ, FetchConfig
from schemas.table import audio_id_of
from schemas.tables import LIVE_UTTERANCES
from tests.kit.delta_log import rows
from tests.kit.lake import cut, engine_config
from tests.kit.works import decoded
from tests.live.made import wait_until
from tests.live.test_command import is_ready, running
from tests.live.test_stream import end, of, pcm16, say
from tests.maintenance.made import files_that_name
from transforms.lake.appends import Appends
from transforms.lake.local_tables import LocalTables
from transforms.lake.tables import Tables
from transforms.lake.views import show_in_session, views
from transforms.live.keeping import Keeper
from transforms.maintenance.erase import erase
from transforms.watching.arrivals import Watched
from transforms.watching.watch import Watch


def sounds(folder: Path) -> list[Path]:
    return sorted(folder.glob("live_audio/[0-9]*/*.flac"))


def watch(spark: SparkSession, tables: Path) -> None:
    """As `jobs.watch --once` does."""
    watched = Watched("recordings", str(tables / "live_audio"))
    limits: dict[str, Any] = {"batch_hours": 10.0, "settle_s": 0.0, "stop": threading.Event()}
    config = engine_config("run.progress_s=60")
    Watch(spark, config, watched, str(tables), str(tables / "_watch"), tell=lambda said: None, **limits).once()


def test_a_session_is_in_the_lake_as_it_was_told_until_the_job_has_done_it(spark: SparkSession, tmp_path: Path) -> None:
    folder = tmp_path / "lake"
    samples = np.concatenate([cut(20, 8), np.zeros(2 * SAMPLE_RATE_HZ, np.float32), cut(60, 5)])
    with running("language=en", arguments=["--tables", str(folder)]) as (process, url):
        wait_until(lambda: is_ready(url))
        with connect(f"{url.replace('http', 'ws')}/v1/stream", max_size=None) as socket:
            started = json.loads(socket.recv())
            say(socket, pcm16(samples))
            finals = of("final", end(socket))
        with connect(f"{url.replace('http', 'ws')}/v1/stream", max_size=None) as socket:
            end(socket)  # nothing was said: nothing is kept
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    (sound,) = sounds(folder)
    assert started["audio_id"] == audio_id_of(str(sound))
    assert not list((folder / "live_audio" / ".open").iterdir())
    heard, rate_hz = soundfile.read(sound, dtype="int16")
    assert rate_hz == SAMPLE_RATE_HZ and np.array_equal(heard, np.frombuffer(pcm16(samples), np.int16))
    told = sorted(rows(folder, "live_utterances"), key=lambda row: row["utterance_index"])
    assert [row["text"] for row in told] == [final["text"] for final in finals] and len(told) > 1
    for row, final in zip(told, finals, strict=True):
        assert (row["audio_id"], row["uri"]) == (started["audio_id"], str(sound))
        assert (row["start_ms"], row["end_ms"]) == (round(final["start"] * 1000), round(final["end"] * 1000))
        assert row["confidence"] == final["confidence"]
        assert [word["word"] for word in row["words"]] == [word["word"] for word in final["words"]]
    tables = Tables(spark, str(folder))
    tables.create()
    assert show_in_session(tables) == []
    assert [row.text for row in spark.table("spoken_now").orderBy("start_ms").collect()] == [
        row["text"] for row in told
    ]
    assert spark.table("live_distance").count() == 0
    watch(spark, folder)
    show_in_session(tables)
    assert spark.table("live_now").count() == 0
    (recording,) = rows(folder, "recordings")
    assert (recording["audio_id"], recording["status"]) == (started["audio_id"], "ok")
    assert not any(row.is_live for row in spark.table("spoken_now").collect())
    beside = spark.table("live_distance").orderBy("utterance_index").collect()
    assert [row.live_text for row in beside] == [row["text"] for row in told]
    assert all(row.final_text in recording["text"] and 0 <= row.character_distance < 1 for row in beside)
    duck = duckdb.connect()
    local = LocalTables(str(folder))
    for table in tables.present():
        local.require(table)
        found = local.ask(f"FROM {table.name}")
        duck.register(table.name, found)
    for view in views(tables.present()):
        duck.execute(f"CREATE OR REPLACE TEMPORARY VIEW {view.name} AS {view.query}")
    mine = duck.sql("SELECT final_text, character_distance FROM live_distance ORDER BY utterance_index").fetchall()
    assert mine == [(row.final_text, pytest.approx(row.character_distance)) for row in beside]
    erased = erase(spark, engine_config(), str(folder), [started["audio_id"]])
    assert erased.rows["live_utterances"] == len(told) and erased.at_work == set()
    assert sounds(folder) == []
    assert rows(folder, "live_utterances") == [] == rows(folder, "recordings")
    assert list(files_that_name(folder, finals[0]["text"].split()[0])) == []


def test_a_server_that_is_killed_loses_the_last_moments_at_most(tmp_path: Path) -> None:
    folder = tmp_path / "lake"
    with running("language=en", arguments=["--tables", str(folder)]) as (process, url):
        wait_until(lambda: is_ready(url))
        with connect(f"{url.replace('http', 'ws')}/v1/stream", max_size=None) as socket:
            say(socket, pcm16(np.concatenate([cut(20, 4), np.zeros(2 * SAMPLE_RATE_HZ, np.float32), cut(30, 4)])))
            while json.loads(socket.recv())["type"] != "final":
                pass
            wait_until(lambda: len(rows(folder, "live_utterances")) > 0)
            process.kill()
            process.wait()
    assert sounds(folder) == []
    with running("language=en", arguments=["--tables", str(folder)]) as (process, url):
        wait_until(lambda: sounds(folder) != [])
    (sound,) = sounds(folder)
    (heard,), _ = decoded(sound)  # the file does not say how long it is
    assert 9 * SAMPLE_RATE_HZ <= len(heard) <= 10 * SAMPLE_RATE_HZ
    assert rows(folder, "live_utterances")[0]["uri"] == str(sound)


class Lake:
    """Takes rows, or has no room."""

    def __init__(self) -> None:
        self.rows: list[Mapping[str, Any]] = []
        self.full = True

    def append(self, rows: Sequence[Mapping[str, Any]]) -> None:
        if self.full:
            raise OSError("no room")
        self.rows += rows


def said(number: int) -> dict[str, Any]:
    row = dict.fromkeys(("channel", "start_ms", "end_ms", "text", "language", "words", "flags"))
    return {**row, "chunk_index": number}


def test_what_cannot_be_written_waits_and_is_told_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("transforms.live.keeping._EVERY_S", 0.05)
    lake, failures = Lake(), list[int]()
    with Keeper(str(tmp_path / "out"), tmp_path / "spool", FetchConfig(), {"engine": "e"}, lake.append) as keeper:
        keeper.on_failure = lambda: failures.append(1)
        kept = keeper.begin("a")
        kept.said(said(0))
        wait_until(lambda: len(failures) == 1)
        kept.said(said(1))
        threading.Event().wait(0.3)
        lake.full = False
        wait_until(lambda: len(lake.rows) == 2)
    assert [(row["utterance_index"], row["engine"]) for row in lake.rows] == [(0, "e"), (1, "e")]
    assert failures == [1]
    assert caplog.text.count("utterances wait to be written: OSError: no room") == 1


def test_sound_that_cannot_be_kept_ends_no_session(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "spool").write_text("a file in its way")
    with Keeper(str(tmp_path / "out"), tmp_path / "spool", FetchConfig(), {}, Lake().append) as keeper:
        kept = keeper.begin("a")
        for _ in range(3):
            kept.hear(cut(20, 1))
        kept.end()
    assert caplog.text.count("is not kept from here on") == 1


def test_sound_goes_to_a_store_once_its_session_is_over(tmp_path: Path) -> None:
    import fsspec

    store = fsspec.filesystem("memory")
    with Keeper("memory://calls", tmp_path, FetchConfig(), {}, Lake().append) as keeper:
        kept = keeper.begin("a")
        for _ in range(2):
            kept.hear(np.stack([cut(20, 2), cut(30, 2)], axis=1))
        kept.end()
    (name,) = store.glob("/calls/*/*.flac")
    with store.open(name) as file:
        heard, _ = soundfile.read(file, dtype="float32")
    assert heard.shape == (4 * SAMPLE_RATE_HZ, 2)
    assert np.allclose(heard[: 2 * SAMPLE_RATE_HZ], np.stack([cut(20, 2), cut(30, 2)], axis=1), atol=1e-4)
    assert kept.uri.endswith(name)
    assert store.size(name) > 10_000 and list(tmp_path.iterdir()) == []


def test_servers_that_begin_at_once_write_to_one_table(tmp_path: Path) -> None:
    made: list[Appends] = []
    starts = [threading.Thread(target=lambda: made.append(Appends(str(tmp_path), LIVE_UTTERANCES))) for _ in range(6)]
    for thread in starts:
        thread.start()
    for thread in starts:
        thread.join()
    assert len(made) == 6
    writes = [
        threading.Thread(target=one.append, args=([{"audio_id": f"{number}"}],)) for number, one in enumerate(made)
    ]
    for thread in writes:
        thread.start()
    for thread in writes:
        thread.join()
    assert sorted(row["audio_id"] for row in rows(tmp_path, "live_utterances")) == list("012345")


def test_nothing_ends_the_keeper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a file that another server has just brought away, nor rows that are refused for another reason."""
    monkeypatch.setattr("transforms.live.keeping._EVERY_S", 0.05)
    spool, taken = tmp_path / "spool", list[Any]()
    spool.mkdir()
    (spool / "2026-01-01_gone.flac").symlink_to(tmp_path / "nowhere")

    def append(rows: Sequence[Mapping[str, Any]]) -> None:
        taken.extend(rows)
        if len(taken) == 1:
            raise ValueError("not today")

    with Keeper(str(tmp_path / "out"), spool, FetchConfig(), {}, append) as keeper:
        kept = keeper.begin("a")
        kept.said(said(0))
        wait_until(lambda: len(taken) == 2)
        kept.hear(cut(20, 1))
        kept.end()
        wait_until(lambda: len(list((tmp_path / "out").glob("*/*.flac"))) == 1)
