"""Files arrive in a folder: each is done once, when it is whole, whatever happens meanwhile."""

from __future__ import annotations

import json
import os
import shutil
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.sql import SparkSession

from schemas.arrivals import ARRIVALS
from schemas.config import ConfigError
from tests.kit.comparison import doubled
from tests.kit.lake import Lake, cut, engine_config, file_row, write_clip, write_manifest
from transforms.errors import MachineError
from transforms.lake.creation import set_properties
from transforms.watching.arrivals import Arrivals, Watched
from transforms.watching.watch import Watch

_LONG_AGO_S = 7200


@dataclass
class Feed:
    """A folder in which recordings (or manifests) arrive, and the lake that they go to."""

    lake: Lake
    folder: Path
    kind: Any = "recordings"
    told: list[str] = field(default_factory=list)
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def checkpoint(self) -> Path:
        return self.lake.folder / "checkpoint"

    def watch(self, *settings: str, **limits: Any) -> Watch:
        config = engine_config("run.progress_s=60", *settings, log_path=self.lake.log, **self.options)
        usual: dict[str, Any] = {"batch_hours": 10.0, "settle_s": 0.0, "stop": threading.Event()}
        watched, root = Watched(self.kind, str(self.folder)), str(self.lake.root)
        limits = usual | limits
        return Watch(self.lake.spark, config, watched, root, str(self.checkpoint), tell=self.told.append, **limits)

    def once(self, **limits: Any) -> Watch:
        """What `jobs.watch --once` does."""
        self.lake.runs += 1
        self.told.clear()
        watch = self.watch(**limits)
        watch.once()
        return watch

    def waiting(self) -> list[str]:
        watched = Watched(self.kind, str(self.folder))
        arrivals = Arrivals(self.lake.spark, watched, str(self.checkpoint), str(self.lake.root))
        return [Path(arrival.path).name for arrival in arrivals.waiting()]

    def status(self) -> dict[str, str]:
        return {name: row["status"] for name, row in self.lake.by_name("recordings").items()}


@pytest.fixture
def feed(spark: SparkSession, tmp_path: Path) -> Feed:
    folder = tmp_path / "in [1] {a}"
    folder.mkdir()
    return Feed(Lake(spark, tmp_path / "lake"), folder)


def clip(path: Path, start_s: float = 0, length_s: float = 3) -> Path:
    return write_clip(path, cut(start_s, length_s))


def aged(path: Path) -> Path:
    then = time.time() - _LONG_AGO_S
    os.utime(path, (then, then))
    return path


def test_what_lies_in_a_folder_is_done_once_and_what_comes_later_by_the_next_start(feed: Feed) -> None:
    names = ("a.wav", "deep/x%20y #1.wav", "10:30.wav")
    for number, name in enumerate(names):
        aged(clip(feed.folder / name, 5 * number))
    (feed.folder / "notes.txt").write_text("This is no recording.")
    (feed.folder / "broken.mp3").write_text("This is none, either.")
    clip(feed.folder / "deep" / ".hidden.wav", 30)
    feed.once()
    assert feed.status() == {"a.wav": "ok", "x%20y #1.wav": "ok", "10:30.wav": "ok", "broken.mp3": "failed"}
    # As a run over a manifest knows them.
    assert {row["uri"] for row in feed.lake.rows("recordings")} == {
        str(feed.folder / name) for name in (*names, "broken.mp3")
    }
    before = feed.lake.versions()
    feed.once()
    assert feed.lake.versions() == before
    assert not feed.told
    feed.lake.run([file_row(feed.folder / name) for name in names])
    assert not feed.lake.calls()
    clip(feed.folder / "new.wav", 40)
    feed.once()
    assert feed.status()["new.wav"] == "ok"
    assert len(feed.lake.calls()) == 1
    shutil.rmtree(feed.checkpoint)  # all arrives once more
    feed.once()
    assert feed.told == ["nothing to do: 5 recordings are up to date"]
    assert not feed.waiting()
    assert not doubled(feed.lake.root)


def test_a_file_that_is_still_being_written_waits_even_if_it_was_empty_when_it_was_first_seen(feed: Feed) -> None:
    whole = clip(feed.lake.folder / "whole.wav", 0, 6).read_bytes()
    growing, empty = feed.folder / "growing.wav", feed.folder / "empty.wav"
    growing.write_bytes(whole[: len(whole) // 2])
    empty.touch()
    aged(clip(feed.folder / "done.wav", 20))
    pause = Pause(lambda: growing.write_bytes(whole[: len(whole) * 3 // 4]))
    feed.once(settle_s=1000, stop=pause)
    assert feed.status() == {"done.wav": "ok"}
    assert "2 files are still being written" in feed.told[-1]
    growing.write_bytes(whole)
    empty.write_bytes(clip(feed.lake.folder / "other.wav", 50, 4).read_bytes())
    feed.once()
    assert feed.status() == {"done.wav": "ok", "growing.wav": "ok", "empty.wav": "ok"}
    assert feed.lake.by_name("recordings")["growing.wav"]["duration_ms"] == 6000
    assert not feed.waiting()


class Pause(threading.Event):
    """The `stop` of a watch, which does not wait; something happens instead."""

    def __init__(self, happens: Callable[[], Any]) -> None:
        super().__init__()
        self._happens = happens

    def wait(self, timeout: float | None = None) -> bool:
        self._happens()
        return self.is_set()


def test_a_file_that_changes_while_it_is_transcribed_is_done_again_and_shown_once(feed: Feed) -> None:
    path = aged(clip(feed.folder / "a.wav", 0, 3))
    longer = clip(feed.lake.folder / "longer.wav", 0, 5).read_bytes()
    watch = feed.watch(settle_s=0.0)
    transcribe = watch._transcribe

    def meanwhile(batch: Any) -> Any:
        finished = transcribe(batch)
        if path.stat().st_size != len(longer):
            path.write_bytes(longer)
        return finished

    watch._transcribe = meanwhile  # type: ignore[method-assign]
    watch.once()
    assert [sentence.split(": ")[1].split(" (")[0] for sentence in feed.told] == ["1 recordings", "1 recordings"]
    assert [row["duration_ms"] for row in feed.lake.rows("recordings")] == [5000]
    assert not feed.waiting()


def test_hours_of_audio_are_admitted_and_not_files(feed: Feed) -> None:
    for number, length_s in enumerate((2, 2, 2, 6)):
        aged(clip(feed.folder / f"{number}.wav", 4 * number, length_s))
    feed.once(batch_hours=7 / 3600)
    assert [sentence.split(": ")[1].split(" (")[0] for sentence in feed.told] == ["3 recordings", "1 recordings"]


def test_a_folder_that_fills_while_it_is_listed_is_done_whole_and_nothing_twice(feed: Feed) -> None:
    clips = [aged(clip(feed.lake.folder / "made" / f"{number:02d}.wav", 3 * number, 2)) for number in range(12)]
    filled = threading.Event()

    def fill() -> None:
        for path in clips:
            target = feed.folder / path.stem[0] / path.name
            target.parent.mkdir(exist_ok=True)
            shutil.copy2(path, target)
            time.sleep(0.15)
        filled.set()

    thread = threading.Thread(target=fill)
    thread.start()
    while not filled.is_set():
        feed.once()
    thread.join()
    feed.once()
    assert feed.status() == {path.name: "ok" for path in clips}
    assert not feed.waiting()
    assert not doubled(feed.lake.root)


def test_a_batch_that_was_noted_before_a_crash_is_not_noted_again(feed: Feed) -> None:
    for number in range(3):
        aged(clip(feed.folder / f"{number}.wav", 4 * number, 2))
    feed.watch()._arrivals.note()
    for name in ("commits/0", "commits/.0.crc"):  # as if it had been killed before the stream knew that it was noted
        (feed.checkpoint / "stream" / name).unlink()
    (feed.folder / "3.wav").touch()
    arrivals = feed.watch()._arrivals
    arrivals.note()
    rows = arrivals._tables.read(ARRIVALS).collect()
    assert sorted(Path(row.path).name for row in rows) == ["0.wav", "1.wav", "2.wav", "3.wav"]


def test_a_store_or_machine_at_fault_ends_it_and_the_next_start_goes_on(feed: Feed) -> None:
    for number in range(4):
        aged(clip(feed.folder / f"{number}.wav", 4 * number, 2))
    broken = feed.lake.folder / "broken"
    broken.parent.mkdir(exist_ok=True)
    broken.touch()
    feed.options = {"broken_while": broken}
    with pytest.raises(Exception, match="in a row failed") as raised:
        feed.watch("run.alike_failures=2").once()
    assert isinstance(raised.value, MachineError) or "MachineError" in str(raised.value)
    assert len(feed.waiting()) == 4
    broken.unlink()
    feed.once()
    assert set(feed.status().values()) == {"ok"}
    assert not feed.waiting()


def test_manifests_are_done_when_they_are_whole_and_a_broken_one_is_in_nobodys_way(feed: Feed) -> None:
    feed.kind, audio = "manifests", feed.lake.folder / "audio"
    clips = [clip(audio / f"{number}.wav", 4 * number, 2) for number in range(4)]
    whole = write_manifest(feed.lake.folder / "whole.parquet", clips[2:]).read_bytes()
    half = feed.folder / "half.parquet"
    half.write_bytes(whole[: len(whole) // 2])
    write_manifest(feed.folder / "first.parquet", clips[:2])
    write_manifest(feed.folder / "again.parquet", [*map(file_row, clips[:2])])
    pq.write_table(pa.table({"path": ["a.wav"]}), feed.folder / "no_uri.parquet")
    watch = feed.once()
    assert feed.status() == {"0.wav": "ok", "1.wav": "ok"}
    assert max(feed.lake.calls().values()) == 1
    assert sorted(Path(path).name for path in watch.refused) == ["half.parquet", "no_uri.parquet"]
    assert any("half.parquet is left until it changes: manifest " in sentence for sentence in feed.told)
    assert any("column uri is missing" in sentence for sentence in feed.told)
    assert sorted(feed.waiting()) == ["half.parquet", "no_uri.parquet"]
    half.write_bytes(whole)
    watch = feed.once()
    assert set(feed.status()) == {"0.wav", "1.wav", "2.wav", "3.wav"}
    assert feed.waiting() == ["no_uri.parquet"]
    assert not doubled(feed.lake.root)


def test_what_may_pass_by_itself_rests_and_is_tried_again(feed: Feed) -> None:
    feed.kind, nobody = "manifests", "http://127.0.0.1:9"
    write_manifest(feed.folder / "far.parquet", [{"uri": f"{nobody}/a.wav"}])
    watch = feed.watch("fetch.attempts=1", f"fetch.allowed_roots=['{nobody}']")
    for _ in range(2):
        watch.once()
    (failure,) = feed.lake.rows("failures")
    assert (failure["kind"], failure["transient"], failure["attempts"]) == ("network", True, 1)
    assert feed.waiting() == ["far.parquet"]
    watch._rests = {path: (0.0, rest_s) for path, (_, rest_s) in watch._rests.items()}
    watch.once()
    assert [row["attempts"] for row in feed.lake.rows("failures")] == [2]
    assert [rest_s for _, rest_s in watch._rests.values()] == [1200]


def test_a_checkpoint_that_was_made_for_something_else_is_refused(feed: Feed, tmp_path: Path) -> None:
    feed.watch()
    (tmp_path / "other").mkdir()
    with pytest.raises(ConfigError, match=r"made for place .*in \[1\] \{a\}, not for place .*other; give another"):
        Feed(feed.lake, tmp_path / "other").watch()
    with pytest.raises(ConfigError, match="made for kind recordings, not for kind manifests"):
        Feed(feed.lake, feed.folder, "manifests").watch()
    with pytest.raises(ConfigError, match="no folder; make it"):
        Feed(feed.lake, tmp_path / "nowhere").watch()
    with pytest.raises(ConfigError, match="give them places apart"):
        Feed(feed.lake, tmp_path, "manifests").watch()
    arrivals = feed.watch()._arrivals
    arrivals.note()
    later = json.dumps({"version": 2, "kind": "recordings", "place": str(feed.folder), "tables": str(feed.lake.root)})
    set_properties(arrivals._tables, ARRIVALS, {"lakescribe.watch": later})
    with pytest.raises(ConfigError, match="made for version 2, not for version 1; give another"):
        feed.watch()
    shutil.rmtree(feed.checkpoint / "arrivals")
    with pytest.raises(ConfigError, match="has lost its table arrivals"):
        feed.watch()


def test_it_goes_on_until_it_is_stopped_and_begins_no_wave_then(feed: Feed) -> None:
    stop = threading.Event()
    aged(clip(feed.folder / "first.wav", 0, 2))
    watch = feed.watch(stop=stop)
    thread = threading.Thread(target=watch.go_on, args=(0.2,))
    thread.start()
    try:
        wait_for(lambda: feed.lake.root.exists() and "first.wav" in feed.status())
        aged(clip(feed.folder / "second.wav", 4, 2))
        wait_for(lambda: "second.wav" in feed.status())
    finally:
        stop.set()
        thread.join(60)
    assert not thread.is_alive()
    aged(clip(feed.folder / "third.wav", 8, 2))
    feed.watch(stop=stop).go_on(0.2)
    assert "third.wav" not in feed.status()
    assert not feed.lake.rows("claims")


def wait_for(happened: Callable[[], bool], patience_s: float = 60) -> None:
    deadline = time.monotonic() + patience_s
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.2)
