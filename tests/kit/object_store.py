"""A real S3 server (MinIO) in a process of its own, and a proxy before it that fails as stores do."""

from __future__ import annotations

import http.client
import http.server
import os
import shutil
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.kit.lake import ROOT

HERE = ROOT / ".s3"
"""What `make setup-s3` fetched: the server, and the jars with which Spark reads S3."""
REGION = "eu-central-1"
KEY, SECRET = "lakescribe", "lakescribe-secret"
BUCKET = "calls"
_START_S = 60
_ERROR = """<?xml version="1.0" encoding="UTF-8"?>
<Error><Code>{code}</Code><Message>{message}</Message><RequestId>1</RequestId></Error>"""
_HOP = {"connection", "keep-alive", "transfer-encoding", "te", "trailer", "upgrade", "expect"}
_PIECE_BYTES = 1 << 16


@contextmanager
def minio(folder: Path) -> Iterator[int]:
    """The server's port; its objects lie in `folder`, and are gone with it."""
    port = _free_port()
    environment = {
        **os.environ,
        "MINIO_ROOT_USER": KEY,
        "MINIO_ROOT_PASSWORD": SECRET,
        "MINIO_SITE_REGION": REGION,
        "MINIO_BROWSER": "off",
        "MINIO_UPDATE": "off",
    }
    command = [str(HERE / "minio"), "server", str(folder / "objects"), "--address", f"127.0.0.1:{port}", "--quiet"]
    with (folder / "minio.log").open("w") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    try:
        _wait_for(port, process, folder / "minio.log")
        yield port
    finally:
        process.kill()
        process.wait()
        shutil.rmtree(folder / "objects", ignore_errors=True)


def settings(port: int, folder: Path) -> dict[str, str]:
    """The environment in which fsspec and Spark work on the server at `port`, as docs/object-stores.md tells users."""
    conf = folder / "spark-conf"
    conf.mkdir(parents=True, exist_ok=True)
    lines = {
        "spark.hadoop.fs.s3a.endpoint": f"http://127.0.0.1:{port}",
        "spark.hadoop.fs.s3a.endpoint.region": REGION,
        "spark.hadoop.fs.s3a.path.style.access": "true",
    }
    (conf / "spark-defaults.conf").write_text("".join(f"{key} {value}\n" for key, value in lines.items()))
    return {
        "AWS_ACCESS_KEY_ID": KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_REGION": REGION,
        "AWS_ENDPOINT_URL_S3": f"http://127.0.0.1:{port}",
        "SPARK_CONF_DIR": str(conf),
        "SPARK_DIST_CLASSPATH": f"{HERE / 'jars'}/*",
    }


def in_store(uri: str) -> Path:
    """A folder of a store, as pathlib has those of a disk; what others write is seen at once."""
    from upath import UPath

    return UPath(uri, use_listings_cache=False)


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def _wait_for(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _START_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        try:
            client = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
            client.request("GET", "/minio/health/ready")
            if client.getresponse().status == 200:
                return
        except OSError:
            time.sleep(0.1)
    pytest.fail(f"the S3 server did not start: {log.read_text()[-1000:]}")


@dataclass
class Asked:
    """A request that the proxy was asked: `path` with bucket and query, bytes of the body that it gave back."""

    method: str
    path: str
    at: float
    status: int = 0
    body_bytes: int = 0


@dataclass
class Fault:
    """What happens to the next `times` requests of which `whose` is true. Either an error (`status`, `code`), or of the
    body only the first `cut_bytes` come, or it comes at `bytes_per_s`."""

    times: int
    whose: Callable[[Asked], bool]
    status: int = 0
    code: str = ""
    cut_bytes: int | None = None
    bytes_per_s: int = 0


def reads(name: str) -> Callable[[Asked], bool]:
    """Requests for the content of the object whose key ends so."""
    return lambda asked: asked.method == "GET" and asked.path.partition("?")[0].endswith(name)


@dataclass
class Proxy:
    """Hands on to the server at `behind`, but for its `faults`."""

    behind: int
    port: int = 0
    faults: list[Fault] = field(default_factory=list)
    asked: list[Asked] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def fault(self, asked: Asked) -> Fault | None:
        with self.lock:
            self.asked.append(asked)
            for fault in self.faults:
                if fault.times > 0 and fault.whose(asked):
                    fault.times -= 1
                    return fault
        return None

    def clear(self) -> None:
        with self.lock:
            self.faults.clear()
            self.asked.clear()

    def of(self, name: str) -> list[Asked]:
        """Requests for the content of the object whose key ends so, in order."""
        with self.lock:
            return [asked for asked in self.asked if reads(name)(asked)]


@contextmanager
def proxy(behind: int) -> Iterator[Proxy]:
    told = Proxy(behind)
    with _Server(("127.0.0.1", 0), _Handler) as server:
        server.told, told.port = told, server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield told
        server.shutdown()
        thread.join()


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128
    told: Proxy

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that gives up is no news."""


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def _hand_on(self) -> None:
        told = self.server.told
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        asked = Asked(self.command, self.path, time.monotonic())
        fault = told.fault(asked)
        if fault is not None and fault.status:
            text = _ERROR.format(code=fault.code, message=f"the test says {fault.code}").encode()
            self._answer(asked, fault.status, [("Content-Type", "application/xml")], len(text))
            if self.command != "HEAD":
                self.wfile.write(text)
            return
        behind = http.client.HTTPConnection("127.0.0.1", told.behind)
        behind.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
        for name, value in self.headers.items():  # with the host as it was signed
            if name.lower() not in _HOP:
                behind.putheader(name, value)
        behind.endheaders(body)
        answer = behind.getresponse()
        headers = [
            (name, value) for name, value in answer.getheaders() if name.lower() not in {*_HOP, "content-length"}
        ]
        if self.command == "HEAD":
            self._answer(asked, answer.status, headers, int(answer.headers.get("Content-Length", 0)))
        else:
            self._pass(asked, answer, headers, fault)
        behind.close()

    def _pass(self, asked: Asked, answer: Any, headers: list[tuple[str, str]], fault: Fault | None) -> None:
        known = answer.headers.get("Content-Length")
        content = b"" if known is not None else answer.read()
        self._answer(asked, answer.status, headers, len(content) if known is None else int(known))
        piece_bytes = max(1, fault.bytes_per_s // 10) if fault and fault.bytes_per_s else _PIECE_BYTES
        left = fault.cut_bytes if fault is not None else None
        while piece := (content or answer.read(piece_bytes)):
            content = b""
            self.wfile.write(piece if left is None else piece[:left])
            asked.body_bytes += len(piece)
            if left is not None and (left := left - len(piece)) <= 0:
                self._reset()
                return
            if fault and fault.bytes_per_s:
                time.sleep(0.1)

    def _answer(self, asked: Asked, status: int, headers: list[tuple[str, str]], length: int) -> None:
        asked.status = status
        self.send_response_only(status)
        for name, value in headers:
            self.send_header(name, value)
        if status != 204 and status != 304:
            self.send_header("Content-Length", str(length))
        self.end_headers()

    def _reset(self) -> None:
        """As a connection ends whose other side was lost."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()
        self.close_connection = True

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _hand_on

    def log_message(self, format: str, *args: object) -> None:
        pass
