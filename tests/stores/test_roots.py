from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from schemas.config import FetchConfig
from transforms.errors import RecordingError
from transforms.stores.fetch import fetched
from transforms.stores.roots import _is_private, allowed

_QUICK = FetchConfig(connect_timeout_s=2, read_timeout_s=2, attempts=2)
_RECORDING = b"RIFF and so on"


class _Server(http.server.ThreadingHTTPServer):
    """Answers with a recording, or with a redirect to what stands after 'to/'."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.asked: list[str] = []
        self.port = self.server_address[1]


class _Handler(http.server.BaseHTTPRequestHandler):
    server: _Server

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        _, _, target = self.path.partition("/to/")
        self.send_response(302 if target else 200)
        if target:
            self.send_header("Location", target)
        self.send_header("Content-Length", "0" if target else str(len(_RECORDING)))
        self.end_headers()
        self.wfile.write(b"" if target else _RECORDING)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def servers() -> Iterator[tuple[_Server, _Server]]:
    with _Server() as one, _Server() as other:
        for server in (one, other):
            threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        yield one, other
        one.shutdown()
        other.shutdown()


def _read(uri: str, *roots: str) -> bytes:
    with fetched(uri, None, _QUICK.model_copy(update={"allowed_roots": roots})) as source:
        assert isinstance(source, Path)
        return source.read_bytes()


def _refusal(uri: str, *roots: str) -> str:
    with pytest.raises(RecordingError) as caught:
        _read(uri, *roots)
    assert (caught.value.stage, caught.value.kind, caught.value.transient) == ("fetch", "not_allowed", False)
    assert uri in caught.value.message
    assert "fetch.allowed_roots" in caught.value.message
    return caught.value.message


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "0x7f000001", "0.0.0.0"])
@pytest.mark.parametrize("roots", [(), ("http://", "/")])
def test_a_private_address_is_not_asked_however_it_is_written(
    servers: tuple[_Server, _Server], host: str, roots: tuple[str, ...]
) -> None:
    assert "private network" in _refusal(f"http://{host}:{servers[0].port}/a.wav", *roots)
    assert servers[0].asked == []


@pytest.mark.parametrize("host", ["2130706433", "127.1", "0", "0177.0.0.1", "[::ffff:127.0.0.1]"])
def test_what_the_client_takes_for_no_address_is_not_asked(servers: tuple[_Server, _Server], host: str) -> None:
    with pytest.raises(RecordingError) as caught:
        _read(f"http://{host}:{servers[0].port}/a.wav")
    assert caught.value.kind in ("missing", "not_allowed")
    assert not caught.value.transient
    assert servers[0].asked == []


def test_a_private_address_is_read_where_a_root_names_its_host(servers: tuple[_Server, _Server]) -> None:
    here = f"http://127.0.0.1:{servers[0].port}"
    for root in ("http://127.0.0.1", here, f"{here}/calls/", f"{here}/calls/a.wav"):
        assert _read(f"{here}/calls/a.wav", "/mnt", root) == _RECORDING
    for root in ("https://127.0.0.1", "http://127.0.0.1:1", f"{here}/call", f"{here}/calls/b"):
        _refusal(f"{here}/calls/a.wav", "/mnt", root)
    assert len(servers[0].asked) == 4


def test_a_redirect_leads_to_no_address_that_could_not_be_named(servers: tuple[_Server, _Server]) -> None:
    one, other = (f"http://127.0.0.1:{server.port}" for server in servers)
    assert _read(f"{one}/to/{one}/a.wav", one) == _RECORDING
    assert _read(f"{one}/to/{other}/a.wav", one, other) == _RECORDING
    servers[1].asked.clear()
    _refusal(f"{one}/to/{other}/a.wav", one)
    assert "redirects" in _refusal(f"{one}/to/{other}/a.wav", one, "http://")  # allowed as a public address only
    _refusal(f"{one}/calls/to/{one}/secret", f"{one}/calls")
    assert servers[1].asked == []
    assert "/secret" not in servers[0].asked


def test_local_files_are_in_a_root_by_where_they_lie(tmp_path: Path) -> None:
    for name in ("calls/a.wav", "calls-2/a.wav", "secret.wav"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(_RECORDING)
    (tmp_path / "calls" / "link.wav").symlink_to(tmp_path / "secret.wav")
    (tmp_path / "by_link").symlink_to(tmp_path / "calls")
    for root in (tmp_path / "calls", tmp_path / "by_link"):
        for uri in (tmp_path / "calls/a.wav", tmp_path / "by_link/a.wav", tmp_path / "calls-2/../calls/a.wav"):
            assert _read(str(uri), str(root)) == _read(uri.as_uri(), root.as_uri()) == _RECORDING
        for name in ("calls/link.wav", "calls-2/a.wav", "calls/../secret.wav", "by_link/../secret.wav"):
            _refusal(str(tmp_path / name), "s3://calls", str(root))
    _refusal(str(tmp_path / "calls" / "a.wav"), "s3://calls", "https://")


@pytest.mark.parametrize(
    ("root", "inside", "outside"),
    [
        ("s3://calls", "s3://calls/a.wav s3a://calls/b/c.wav", "s3://calls-2/a.wav gs://calls/a.wav s3://calls/../x/a"),
        (
            "s3://calls/2024/",
            "s3://calls/2024/a.wav",
            "s3://calls/2024b/a.wav s3://calls/2024/../a s3://calls/b/../2024/a",
        ),
        ("s3://", "s3://any/a.wav", "gs://any/a.wav /s3/a.wav"),
        (
            "https://calls.example/in",
            "https://calls.example/in/a.wav HTTPS://Calls.Example/in/a.wav https://calls.example:443/in/a.wav?x=/../",
            (
                "https://calls.example.org/in/a https://calls.example@evil.org/in/a http://calls.example/in/a "
                "https://calls.example/in/../a https://calls.example/in/%2e%2e/a https://calls.example/in/%2F..%2F../a "
                "https://calls.example/inside https://[bad/in/a"
            ),
        ),
        (
            "http://calls.example:8080",
            "http://calls.example:8080/a",
            "http://calls.example/a http://calls.example:80801/a",
        ),
        ("dbfs:/calls", "dbfs:/calls/a.wav dbfs:///calls/a.wav", "dbfs:/calls-2/a.wav dbfs:/calls/../a.wav"),
        ("zip://", "", "zip://a.wav::file:///etc/x.zip zip://a.wav::s3://calls/x.zip"),
    ],
)
def test_addresses_are_in_a_root_by_their_parts(root: str, inside: str, outside: str) -> None:
    for uri in inside.split():
        assert allowed(uri, ["/mnt", root]) == uri
    for uri in outside.split():
        with pytest.raises(RecordingError, match=r"fetch\.allowed_roots"):
            allowed(uri, ["/mnt", root])


def test_http_within_another_filesystem_is_refused() -> None:
    for uri in ("simplecache::http://169.254.169.254/latest", "zip://a.wav::https://calls.example/x.zip"):
        with pytest.raises(RecordingError, match="stand alone"):
            allowed(uri, [])
        with pytest.raises(RecordingError, match="stand alone"):
            allowed(uri, ["http://169.254.169.254", "https://", "zip://", "simplecache"])


def test_what_is_private() -> None:
    private = (
        "10.1.2.3 172.16.0.1 192.168.1.1 127.0.0.1 169.254.169.254 100.100.100.200 0.0.0.0 224.0.0.1 168.63.129.16 ::1 :: "
        "fe80::1%eth0 fd00:ec2::254 ::ffff:10.0.0.1 64:ff9b::a9fe:a9fe 2002:7f00:1::"
    )
    assert [address for address in private.split() if not _is_private(address)] == []
    public = "1.1.1.1 93.184.215.14 2606:4700:4700::1111 ::ffff:1.1.1.1 64:ff9b::101:101"
    assert [address for address in public.split() if _is_private(address)] == []
