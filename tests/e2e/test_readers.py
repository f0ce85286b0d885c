"""Invariants 2 and 4: a reader sees the old transcript or the new one, whole, wherever publishing stops; nothing stale
stays."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.kit import delta_log
from tests.kit.finished import Finished
from transforms.lake.tables import Tables

STEPS = (
    ("append", "segments"),
    ("append", "words"),
    ("upsert", "failures"),
    ("upsert", "recordings"),
    ("delete", "segments"),
    ("delete", "words"),
    ("delete", "claims"),
)
"""Where publishing is stopped, in its order: before each of its commits."""


class Stopped(BaseException):
    """As abrupt as a kill: nothing in the job may catch it and go on."""


@contextmanager
def stopped_before(method: str, table_name: str) -> Iterator[None]:
    original: Callable[..., Any] = getattr(Tables, method)

    def stop(tables: Tables, table: Any, *rest: Any, **named: Any) -> Any:
        if table.name == table_name:
            raise Stopped(f"before {method} of {table_name}")
        return original(tables, table, *rest, **named)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Tables, method, stop)
        yield


def incomplete(root: Path) -> list[str]:
    """Recordings whose segments or words, joined on audio_id and take_id, are not all there. Versions are pinned before
    anything is read, as Spark does when it resolves a query."""
    pinned = {table: delta_log.version(root, table) for table in ("recordings", "segments", "words")}
    rows = {table: delta_log.rows(root, table, at) for table, at in pinned.items()}
    words = Counter((row["audio_id"], row["take_id"]) for row in rows["words"])
    shown: dict[tuple[str, str], list[str]] = {}
    for row in sorted(rows["segments"], key=lambda row: row["segment_index"]):
        shown.setdefault((row["audio_id"], row["take_id"]), []).append(row["text"])
    return [
        row["uri"]
        for row in rows["recordings"]
        for key in [(row["audio_id"], row["take_id"])]
        if words[key] != (row["word_count"] or 0)
        or _squeezed("".join(shown.get(key, []))) != _squeezed(row["text"] or "")
    ]


def _squeezed(text: str) -> str:
    return "".join(text.split())


def test_publishing_that_stops_between_any_two_commits_leaves_every_recording_whole(
    finished: Finished, tmp_path: Path
) -> None:
    lake, manifest = finished.lake.copy(tmp_path), [*finished.manifest[:3], finished.manifest[-1]]
    old = {row["run_key"] for row in lake.rows("recordings")}
    with stopped_before(*STEPS[0]), pytest.raises(Stopped):
        lake.run(manifest, voice="b", reprocess="changed")
    assert not incomplete(lake.root)
    takes = {(row["audio_id"], row["run_key"]) for row in lake.rows("chunks") if row["run_key"] not in old}
    assert len(takes) == len(manifest)
    for step in STEPS[1:]:
        with stopped_before(*step), pytest.raises(Stopped):
            lake.run(manifest, voice="b")
        assert not lake.calls(), "what was recognized is not recognized again"
        assert not incomplete(lake.root), step
        if step == ("delete", "segments"):
            assert lake.stale(), "stopped before the stale words were deleted"
    assert takes <= {(row["audio_id"], row["run_key"]) for row in lake.rows("recordings")}, "not flipped"
    lake.run(manifest, voice="b")
    assert not lake.calls()
    assert not lake.stale()
    assert not lake.rows("claims")
    assert not incomplete(lake.root)
    versions = lake.versions()
    assert lake.run(manifest, voice="b").run_id is None
    assert lake.versions() == versions


def test_a_reader_never_meets_half_a_recording_while_all_is_done_again(finished: Finished, tmp_path: Path) -> None:
    lake, manifest = finished.lake.copy(tmp_path), [*finished.manifest[:5], finished.manifest[-1]]
    before = lake.contents("chunks", "recordings", "segments", "words")
    halves: list[str] = []
    looks, done = 0, threading.Event()

    def read() -> None:
        nonlocal looks
        while not done.is_set():
            halves.extend(incomplete(lake.root))
            looks += 1
            time.sleep(0.02)

    reader = threading.Thread(target=read)
    reader.start()
    try:
        summary = lake.run(manifest, "run.wave_audio_hours=0.02", reprocess="all")
    finally:
        done.set()
        reader.join()
    assert looks > 20
    assert halves == []
    assert (summary.recordings, lake.calls().total()) == (6, 5)
    assert lake.contents("chunks", "recordings", "segments", "words") == before
    assert [row["run_id"] for row in lake.rows("recordings")].count(summary.run_id) == 6
