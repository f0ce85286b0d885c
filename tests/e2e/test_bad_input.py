"""Invariant 5: bad input costs its own row only, and a failure that may pass is tried again by the next run."""

from __future__ import annotations

import csv
import os
import re
import struct
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from tests.e2e.test_pending import pending
from tests.kit.finished import Finished
from tests.kit.lake import ROOT, Lake, cut, file_row, write_clip
from transforms.run.job import RunSummary

HARD_INPUTS = ROOT.parent / "shared" / "data" / "hard_inputs"
REMOTE = {
    "{server}/recording.wav": "ok",
    "{server}/404": "missing",
    "{server}/500": "network",
    "{server}/hang": "timeout",
    "carrier-pigeon://roof/recording.wav": "unsupported",
    "http://localhost/recording.wav": "not_allowed",
}
"""Addresses, with what they should end as."""
QUICK_FETCH = (
    "fetch.connect_timeout_s=1",
    "fetch.read_timeout_s=1",
    "fetch.attempts=1",
    "fetch.allowed_roots=[/, 'http://127.0.0.1', 'carrier-pigeon://']",
)


class Server(ThreadingHTTPServer):
    """Serves `recording` at any address but /404; /500 and /hang do as they are named until they are `mended`."""

    daemon_threads = True
    mended: frozenset[str] = frozenset()

    def __init__(self, recording: bytes) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.recording, self.url = recording, f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        if self.path == "/hang" and self.path not in self.server.mended:
            time.sleep(3)
            return
        status = (
            404 if self.path == "/404" else 500 if self.path == "/500" and self.path not in self.server.mended else 200
        )
        body = self.server.recording if status == 200 else b""
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    do_HEAD = do_GET

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    clip = write_clip(tmp_path_factory.mktemp("server") / "clip.wav", cut(0, 3))
    server = Server(clip.read_bytes())
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def made_by_hand(folder: Path) -> dict[str, tuple[Path, str]]:
    """Bad files, with what they should end as: a status, or the kind of a failure."""
    (folder / "folder.wav").mkdir()
    (folder / "empty.wav").touch()
    (folder / "text.mp3").write_text("This is no recording.\n" * 40)
    (folder / "locked.wav").write_bytes(write_clip(folder / "ok.wav", cut(30, 4)).read_bytes())
    (folder / "locked.wav").chmod(0)
    whole = bytearray((folder / "ok.wav").read_bytes())
    for name, offset, value in (("long_header.wav", 40, 1 << 24), ("wrong_rate.wav", 24, 1_092_676)):
        changed = bytes(whole[:offset]) + struct.pack("<I", value) + bytes(whole[offset + 4 :])
        (folder / name).write_bytes(changed)
    (folder / "cut_off.wav").write_bytes(bytes(whole[: len(whole) // 2]))
    _write_mute_video(folder / "mute.mp4")
    expected = {
        "missing.wav": "missing",
        "folder.wav": "folder",
        "empty.wav": "empty",
        "text.mp3": "corrupt",
        "locked.wav": "forbidden" if os.geteuid() else "ok",  # the superuser may read all
        "long_header.wav": "ok",
        "wrong_rate.wav": "bad_header",
        "cut_off.wav": "ok",
        "mute.mp4": "no_audio",
        "ok.wav": "ok",
    }
    return {name: (folder / name, end) for name, end in expected.items()}


def _write_mute_video(path: Path) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width = stream.height = 32
        stream.pix_fmt = "yuv420p"
        for _ in range(5):
            frame = av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def hard_inputs(folder: Path) -> dict[str, tuple[Path, str]]:
    """Real files, each with the verdict of the list they came with."""
    with (folder.parent / "manifest.tsv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    verdicts = {row["path"]: row["ref_kind"] for row in rows if row["path"].startswith("hard_inputs/")}
    return {f"hard_{Path(path).name}": (folder.parent / path, verdict) for path, verdict in verdicts.items()}


@dataclass(frozen=True)
class BadDay:
    """A lake after one run over all that is bad; `ends` says by uri what each was to end as."""

    lake: Lake
    manifest: list[dict[str, Any]]
    ends: dict[str, str]
    verdicts: dict[str, str]
    summary: RunSummary


@pytest.fixture(scope="module")
def bad_day(finished: Finished, server: Server, tmp_path_factory: pytest.TempPathFactory) -> BadDay:
    folder = tmp_path_factory.mktemp("bad")
    lake, manifest, ends, verdicts = Lake(finished.lake.spark, folder), [], {}, {}
    for path, end in made_by_hand(folder).values():
        manifest.append(file_row(path) if path.exists() else {"uri": str(path)})
        ends[str(path)] = end
    for uri, end in REMOTE.items():
        ends[uri.format(server=server.url)] = end
        manifest.append({"uri": uri.format(server=server.url)})
    manifest.append({"audio_id": "no-bytes", "content": b""})
    if HARD_INPUTS.is_dir():
        for path, verdict in hard_inputs(HARD_INPUTS).values():
            manifest.append(file_row(path))
            verdicts[str(path)] = verdict
    manifest.append(call_row(finished))
    summary = lake.run(manifest, *QUICK_FETCH, raise_on=f"'{last_chunk_of_call(finished)['text'].split()[0]}'")
    return BadDay(lake, manifest, ends, verdicts, summary)


def call_row(finished: Finished) -> dict[str, Any]:
    (row,) = [row for row in finished.manifest if row.get("channels") == "split"]
    return row


def last_chunk_of_call(finished: Finished) -> dict[str, Any]:
    """The engine is made to fail on this one of the call's chunks."""
    call = finished.lake.by_name("recordings")["call.wav"]
    chunks = [row for row in finished.lake.rows("chunks") if row["audio_id"] == call["audio_id"] and row["text"]]
    assert len(chunks) > 1
    return max(chunks, key=lambda row: row["start_ms"])


def test_one_job_over_all_of_it_returns_with_a_row_for_each(bad_day: BadDay) -> None:
    assert bad_day.summary.recordings == len(bad_day.manifest) == len(bad_day.lake.rows("recordings"))
    assert bad_day.summary.failed == len(bad_day.lake.rows("failures")) - 1, "all but the chunk of the call"


def test_each_ends_as_it_should(bad_day: BadDay) -> None:
    status = {row["uri"]: row["status"] for row in bad_day.lake.rows("recordings")}
    kinds = {row["uri"]: row["kind"] for row in bad_day.lake.rows("failures")}
    assert {uri: kinds.get(uri, status[uri]) for uri in bad_day.ends} == bad_day.ends


def test_hard_inputs_decode_to_their_length_or_fail_in_words(bad_day: BadDay) -> None:
    if not bad_day.verdicts:
        pytest.skip(f"needs the recordings in {HARD_INPUTS}, which are no part of the project")
    rows = {row["uri"]: row for row in bad_day.lake.rows("recordings")}
    wrong = {uri: rows[uri] for uri, verdict in bad_day.verdicts.items() if not _fits(rows[uri], verdict)}
    assert len(bad_day.verdicts) > 50
    assert wrong == {}


def _fits(row: dict[str, Any], verdict: str) -> bool:
    if "EXPECT decodes" not in verdict:
        return row["status"] == "failed"
    lengths_ms = [1000 * int(samples) / int(rate) for samples, rate in re.findall(r"=(\d+)@(\d+)", verdict)]
    known = not lengths_ms or min(abs(row["duration_ms"] - length) for length in lengths_ms) < 100
    return row["status"] in ("ok", "no_speech") and known


def test_each_failure_has_a_stage_a_kind_and_a_sentence_that_says_what_to_do(bad_day: BadDay) -> None:
    for row in bad_day.lake.rows("failures"):
        if row["chunk_index"] is not None:
            continue
        assert row["stage"] in ("fetch", "decode"), row
        assert row["kind"], row
        assert " " in row["message"], row
        assert row["attempts"] == 1, row
        name = row["uri"] or "the manifest's content"
        assert name in row["message"], row
        advice = row["message"].rpartition("; ")[2]
        assert advice != row["message"], row
        assert "Error" not in advice, row
    failed = [row for row in bad_day.lake.rows("recordings") if row["status"] == "failed"]
    assert all(row["text"] is None and row["duration_ms"] is None for row in failed)


def test_a_header_that_lies_about_the_length_is_flagged_and_not_believed(bad_day: BadDay) -> None:
    found = bad_day.lake.by_name("recordings")
    assert (found["long_header.wav"]["duration_ms"], found["long_header.wav"]["flags"]) == (4000, ["duration_mismatch"])
    assert found["cut_off.wav"]["duration_ms"] == pytest.approx(2000, abs=10)
    assert found["cut_off.wav"]["flags"] == ["duration_mismatch"]
    assert found["ok.wav"]["flags"] == []


def test_a_chunk_that_fails_is_left_out_of_its_recording_and_told(bad_day: BadDay, finished: Finished) -> None:
    victim, whole = last_chunk_of_call(finished), finished.lake.by_name("recordings")["call.wav"]
    call = bad_day.lake.by_name("recordings")["call.wav"]
    (failure,) = [row for row in bad_day.lake.rows("failures") if row["chunk_index"] is not None]
    assert (call["status"], "incomplete" in call["flags"]) == ("ok", True)
    assert call["word_count"] == whole["word_count"] - len(victim["words"])
    assert (failure["stage"], failure["kind"], failure["transient"]) == ("recognize", "ValueError", False)
    assert (failure["channel"], failure["chunk_index"]) == (victim["channel"], victim["chunk_index"])


def test_only_what_may_pass_is_tried_again_unless_it_is_asked_for(
    bad_day: BadDay, server: Server, tmp_path: Path
) -> None:
    by_itself = {f"{server.url}/hang", f"{server.url}/500"}
    assert {row["uri"] for row in bad_day.lake.rows("failures") if row["transient"]} == by_itself
    names = {Path(uri).name for uri in by_itself}
    assert pending(bad_day.lake, bad_day.manifest, tmp_path) == names
    failed = {Path(row["uri"] or row["audio_id"]).name for row in bad_day.lake.rows("failures")}
    assert pending(bad_day.lake, bad_day.manifest, tmp_path, "failed") == failed > names


def test_success_ends_a_failure_and_another_failure_counts_on(
    bad_day: BadDay, finished: Finished, server: Server, tmp_path: Path
) -> None:
    lake, before = bad_day.lake.copy(tmp_path), bad_day.lake.rows("failures")
    server.mended = frozenset({"/hang"})
    summary = lake.run(bad_day.manifest, *QUICK_FETCH, reprocess="failed")
    assert (summary.recordings, summary.failed) == (len(before), len(before) - 2)
    failures = {row["uri"]: row["attempts"] for row in lake.rows("failures")}
    mended_uris = {f"{server.url}/hang", call_row(finished)["uri"]}
    assert failures == {row["uri"]: 2 for row in before if row["uri"] not in mended_uris}
    assert lake.by_name("recordings")["hang"]["status"] == "ok"
    (mended,) = [row for row in lake.contents("recordings")["recordings"] if "call.wav" in row]
    assert mended in finished.lake.contents("recordings")["recordings"]
