from __future__ import annotations

import http.server
import io
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import transforms.stores.fetch
from schemas.config import FetchConfig
from transforms.errors import RecordingError
from transforms.stores.fetch import fetched, is_local, local_path, open_filesystem

_RECORDING = bytes(range(256)) * 2000
_ROOTS = ("/", "http://127.0.0.1", "memory://", "zz9://", "gopher://")
_QUICK = FetchConfig(connect_timeout_s=0.5, read_timeout_s=0.5, attempts=1, allowed_roots=_ROOTS)
_TWICE = _QUICK.model_copy(update={"attempts": 2})


def _bytes(uri: str | None, content: bytes | None = None, config: FetchConfig = _QUICK) -> bytes:
    with fetched(uri, content, config) as source:
        return source.getvalue() if isinstance(source, io.BytesIO) else source.read_bytes()


def _failure(uri: str | None, content: bytes | None = None, config: FetchConfig = _QUICK) -> RecordingError:
    with pytest.raises(RecordingError) as failed:
        _bytes(uri, content, config)
    assert failed.value.stage == "fetch"
    return failed.value


class Server(http.server.ThreadingHTTPServer):
    """Answers by path: /200, /404, …, /hang (no answer), /stop (half the bytes), /stall (half, then nothing), /trickle (a
    few bytes at a time, without end), /empty.
    The path /moody fails until it was asked twice."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.asked: list[str] = []
        self.done = threading.Event()

    def uri(self, path: str) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/{path}"

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that gives up is no news."""


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        path = self.path.strip("/")
        self.server.asked.append(path)
        if path == "hang":
            self.server.done.wait(20)
            return
        status = int(path) if path.isdigit() else 503 if path == "moody" and len(self.server.asked) < 2 else 200
        body = b"" if path == "empty" else _RECORDING
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(
            body[: len(body) // 2] if path in ("stop", "stall") else body[: len(body) * (path != "trickle")]
        )
        while path == "trickle" and not self.server.done.wait(0.1):
            self.wfile.write(b"12345678")
        if path == "stall":
            self.server.done.wait(20)
        self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield server
        server.done.set()
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("name", ["plain.wav", "with space #1 100%.wav", "ünïcode 録音.wav"])
def test_a_local_file_is_found_by_path_and_by_file_uri(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(_RECORDING)
    assert _bytes(str(path)) == _bytes(path.as_uri()) == _RECORDING
    with fetched(str(path), None, _QUICK) as source:
        assert source == path  # not copied
    assert path.exists()


def test_a_home_folder_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert local_path("~/a.wav") == tmp_path / "a.wav"
    assert local_path("s3://bucket/a.wav") is None


def test_paths_of_databricks_are_read_from_its_mounts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transforms.stores.fetch, "_DATABRICKS", tmp_path)
    assert local_path("dbfs:/calls/a.wav") is None
    for folder in ("dbfs/calls", "Volumes/main"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "a #1.wav").write_bytes(_RECORDING)
    assert (
        local_path("dbfs:/calls/a #1.wav") == local_path("dbfs:///calls/a #1.wav") == tmp_path / "dbfs/calls/a #1.wav"
    )
    for uri in ("dbfs:/calls/a #1.wav", "dbfs:/Volumes/main/a #1.wav"):
        assert _bytes(uri) == _RECORDING
    assert _failure("dbfs:/calls/b.wav").kind == "missing"
    assert local_path("/Volumes/main/a.wav") == Path("/Volumes/main/a.wav")


def test_databricks_without_a_mount_is_opened_by_its_scheme(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []

    def url_to_fs(uri: str, **options: object) -> tuple[object, str]:
        opened.append(uri)
        raise FileNotFoundError(uri)

    monkeypatch.setattr("fsspec.core.url_to_fs", url_to_fs)
    with pytest.raises(FileNotFoundError):
        open_filesystem("dbfs:/calls/a.wav", _QUICK)
    assert opened == ["dbfs:///calls/a.wav"]


@pytest.mark.parametrize(
    ("root", "local"),
    [
        ("lakehouse", True),
        ("~/lakehouse", True),
        ("a:b/c", True),
        ("file:/lake house", True),
        ("file:///lake", True),
        ("dbfs:/lake", False),
        ("s3://bucket/lake", False),
    ],
)
def test_a_uri_is_no_local_path(root: str, local: bool) -> None:
    assert is_local(root) == local


def test_file_uris_with_one_slash_are_local() -> None:
    assert local_path("file:/calls/a%20b.wav") == Path("/calls/a b.wav")


def test_content_wins_over_the_uri() -> None:
    assert _bytes("/no/such/file", _RECORDING) == _RECORDING


@pytest.mark.parametrize(
    ("uri", "kind"),
    [
        ("none.wav", "missing"),
        ("none/none.wav", "no_folder"),
        ("file.wav/inside.wav", "missing"),
        ("n" * 300, "missing"),
        ("zero\0byte.wav", "missing"),
        (".", "folder"),
        ("empty.wav", "empty"),
        ("pipe", "unsupported"),
    ],
)
def test_a_local_file_that_cannot_be_read_is_a_lasting_failure(tmp_path: Path, uri: str, kind: str) -> None:
    (tmp_path / "empty.wav").touch()
    (tmp_path / "file.wav").write_bytes(_RECORDING)
    os.mkfifo(tmp_path / "pipe")
    writer = os.open(tmp_path / "pipe", os.O_RDWR | os.O_NONBLOCK)  # so that reading it would fail and not hang
    try:
        failure = _failure(f"{tmp_path}/{uri}")
    finally:
        os.close(writer)
    assert (failure.kind, failure.transient) == (kind, False)
    assert str(tmp_path) in failure.message


def test_the_home_folder_of_nobody_is_missing() -> None:
    assert _failure("~no-such-user-here/a.wav").kind == "no_folder"


def test_neither_uri_nor_bytes_is_a_failure() -> None:
    assert _failure(None).kind == "missing"
    assert _failure(None, b"").kind == "empty"


def test_a_file_without_read_rights_is_forbidden(tmp_path: Path) -> None:
    path = tmp_path / "secret.wav"
    path.write_bytes(_RECORDING)
    path.chmod(0)
    if os.geteuid() == 0:
        assert "forbidden False" in _as_nobody(path)
    else:
        failure = _failure(str(path))
        assert (failure.kind, failure.transient) == ("forbidden", False)


def _as_nobody(path: Path) -> str:
    """What a process of the user nobody makes of a copy of `path`, since root may read anything."""
    script = """
import os, sys
from schemas.config import FetchConfig
from transforms.errors import RecordingError
from transforms.stores.fetch import fetched
os.setgid(65534); os.setuid(65534)
try:
    with fetched(sys.argv[1], None, FetchConfig()):
        print("read")
except RecordingError as error:
    print(error.kind, error.transient)
"""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        Path(folder).chmod(0o755)
        copy = Path(shutil.copy(path, folder))
        copy.chmod(0)
        done = subprocess.run(
            [sys.executable, "-c", script, str(copy)], capture_output=True, text=True, timeout=60, check=False
        )
    if "PermissionError" in done.stderr and "set" in done.stderr:
        pytest.skip("needs the right to become another user")
    return done.stdout + done.stderr


def test_a_download_is_whole_and_leaves_nothing_behind(server: Server) -> None:
    with fetched(server.uri("200"), None, _QUICK) as source:
        assert isinstance(source, Path)
        assert source.read_bytes() == _RECORDING
    assert not source.parent.exists()


@pytest.mark.parametrize(
    ("path", "kind", "transient"),
    [
        ("404", "missing", False),
        ("410", "missing", False),
        ("401", "credentials", True),
        ("403", "forbidden", False),
        ("400", "refused", False),
        ("429", "network", True),
        ("500", "network", True),
        ("503", "network", True),
        ("hang", "timeout", True),
        ("stall", "timeout", True),
        ("trickle", "timeout", True),
        ("stop", "network", True),
        ("empty", "empty", False),
    ],
)
def test_what_a_server_does_decides_whether_another_try_may_help(
    server: Server, path: str, kind: str, transient: bool
) -> None:
    start = time.monotonic()
    failure = _failure(server.uri(path))
    assert (failure.kind, failure.transient) == (kind, transient)
    assert server.uri(path) in failure.message
    assert time.monotonic() - start < 8


def test_a_failure_that_may_pass_is_tried_again_and_one_that_will_not_is_not(server: Server) -> None:
    assert _bytes(server.uri("moody"), config=_TWICE) == _RECORDING
    assert server.asked == ["moody", "moody"]
    _failure(server.uri("404"), config=_TWICE)
    assert server.asked[2:] == ["404"]
    _failure(server.uri("500"), config=_TWICE)
    assert server.asked[3:] == ["500", "500"]


def test_nobody_listening_may_pass() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    failure = _failure(f"http://127.0.0.1:{port}/a.wav")
    assert (failure.kind, failure.transient) == ("network", True)


@pytest.mark.parametrize("uri", ["zz9://bucket/a.wav", "gopher://host/a.wav"])
def test_a_protocol_that_nothing_here_opens_is_named(uri: str) -> None:
    failure = _failure(uri)
    assert (failure.kind, failure.transient) == ("unsupported", False)
    assert uri.partition(":")[0] in failure.message


def test_other_filesystems_are_read_and_their_missing_files_missing() -> None:
    import fsspec

    fsspec.filesystem("memory").pipe_file("/talks/a.wav", _RECORDING)
    assert _bytes("memory://talks/a.wav") == _RECORDING
    assert _failure("memory://talks/b.wav").kind == "missing"
