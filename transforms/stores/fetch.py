"""uri or bytes → a local file, or bytes in memory. Remote files are streamed to a temporary file."""

from __future__ import annotations

import io
import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from schemas.config import FetchConfig
from transforms.errors import RecordingError
from transforms.stores.attempts import tried
from transforms.stores.reasons import explain
from transforms.stores.roots import allowed, http_options
from transforms.stores.scratch import scratch_folder

S3 = frozenset({"s3", "s3a"})

_DATABRICKS = Path("/")
"""Where its machines mount dbfs and Volumes."""


@contextmanager
def fetched(uri: str | None, content: bytes | None, config: FetchConfig) -> Iterator[Path | io.BytesIO]:
    """The recording as a local file or as bytes; a temporary copy is gone afterwards. `content` wins over `uri`.

    Raises RecordingError with stage 'fetch'; errors that may pass were tried `config.attempts` times. Raises
    MachineError if this machine can fetch nothing: its disk is full.
    """
    if content is not None:
        if not content:
            raise RecordingError("fetch", "empty", "the manifest's content has 0 bytes; write the recording again")
        yield io.BytesIO(content)
    elif uri is None:
        raise RecordingError("fetch", "missing", "the manifest row has neither uri nor content; give one of them")
    elif (path := local_path(allowed(uri, config.allowed_roots))) is not None:
        yield _checked(path)
    else:
        with scratch_folder() as folder:
            copy = folder / "recording"
            _download(uri, copy, config)
            yield _checked(copy, uri)


def scheme_of(uri: str) -> str | None:
    """'s3' of s3://bucket/a.wav, None for a plain path. Of those with one slash, as Hadoop and Databricks write them,
    only 'file:/…' and 'dbfs:/…' are uris: other names may hold a colon."""
    scheme, slashes, _ = uri.partition("://")
    if slashes:
        return scheme
    return next((known for known in ("file", "dbfs") if uri.startswith(f"{known}:/")), None)


def is_local(root: str) -> bool:
    """True for a path of this machine (plain, ~, file:), False for a uri. dbfs: is one although `local_path` knows its
    mount: what writes tables there (Spark) does that better by the uri."""
    return scheme_of(root) in (None, "file")


def local_path(uri: str) -> Path | None:
    """The path of a local uri (a plain path, ~ or file:), None for a remote one. dbfs: is local where it is mounted."""
    scheme = scheme_of(uri)
    if scheme is None:
        try:
            return Path(uri).expanduser()
        except RuntimeError:  # ~nobody: there is no such user, and so no such file
            return Path(uri)
    if scheme == "dbfs":
        return _on_mount(_path_on_dbfs(uri))
    return Path(unquote(_path_of_file(uri))) if scheme == "file" else None


def spelled(uri: str, config: FetchConfig) -> str:
    """As the listing of its folder names it."""
    local = local_path(uri)
    if local is not None:
        return str(local.resolve())
    filesystem, name = open_filesystem(uri, config)
    return str(filesystem.unstrip_protocol(name))


def _path_of_file(uri: str) -> str:
    """Of file:/a, file:///a and file://host/a. What looks like a query or a fragment is part of the name."""
    path = uri.removeprefix("file:")
    return "/" + path[2:].partition("/")[2] if path.startswith("//") else path


def _path_on_dbfs(uri: str) -> str:
    return "/" + uri.removeprefix("dbfs:").lstrip("/")


def _on_mount(path: str) -> Path | None:
    """A path of DBFS in this machine's file system; volumes are mounted under their own name."""
    if path.startswith("/Volumes/"):
        return _DATABRICKS / path[1:] if (_DATABRICKS / "Volumes").is_dir() else None
    return _DATABRICKS / "dbfs" / path[1:] if (_DATABRICKS / "dbfs").is_dir() else None


def _checked(path: Path, uri: str | None = None) -> Path:
    name = uri or str(path)
    try:
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):  # to open a pipe would wait for its writer for ever
            raise RecordingError("fetch", "unsupported", f"{name} is a pipe or a device; copy its content to a file")
        with path.open("rb") as file:
            size_bytes = os.fstat(file.fileno()).st_size
    except ValueError as error:  # a zero byte in the name
        raise RecordingError("fetch", "missing", f"{name!r} is no file name ({error}); correct the uri") from error
    except OSError as error:
        if isinstance(error, FileNotFoundError) and not path.parent.exists():
            reason = f"{name} does not exist, nor does its folder; mount that on every machine, or correct the uri"
            raise RecordingError("fetch", "no_folder", reason) from error
        raise explain(error, name) from error
    if size_bytes == 0:
        raise RecordingError("fetch", "empty", f"{name} has 0 bytes; copy the recording again")
    return path


def _download(uri: str, target: Path, config: FetchConfig) -> None:
    def download() -> None:
        filesystem, path = open_filesystem(uri, config)
        pace = _pace(config)
        filesystem.get_file(path, str(target), callback=pace)
        if pace.size not in (None, target.stat().st_size):
            raise ConnectionError(f"{target.stat().st_size:,} of {pace.size:,} bytes came")

    tried(download, uri, config)


def _pace(config: FetchConfig) -> Any:
    """fsspec's callback that is told of each piece: it raises TimeoutError once they trickle."""
    from fsspec.callbacks import Callback

    class Pace(Callback):  # type: ignore[misc]  # fsspec has no types
        def __init__(self) -> None:
            super().__init__()
            self._began, self._bytes = time.monotonic(), 0

        def relative_update(self, inc: int = 1) -> None:
            self._bytes += inc
            late_s = time.monotonic() - self._began - config.read_timeout_s
            if self._bytes < late_s * config.min_bytes_per_s:
                raise TimeoutError(f"{self._bytes:,} bytes in {late_s + config.read_timeout_s:.0f} s")

    return Pace()


def open_filesystem(uri: str, config: FetchConfig) -> tuple[Any, str]:
    """fsspec's filesystem for `uri` and the path in it, with the configured timeouts and options. Those of HTTP and S3
    try nothing again by themselves: that is for attempts.tried."""
    import fsspec

    scheme = scheme_of(uri) or ""
    if scheme == "dbfs":
        uri = f"dbfs://{_path_on_dbfs(uri)}"  # fsspec takes one slash for a path
    options = dict(config.storage_options.get(scheme, {}))
    if scheme in ("http", "https"):
        import aiohttp

        timeout = aiohttp.ClientTimeout(total=None, connect=config.connect_timeout_s, sock_read=config.read_timeout_s)
        options.setdefault("client_kwargs", {})["timeout"] = timeout
        options |= http_options(uri, config.allowed_roots)
    elif scheme in S3:
        ours = {
            "connect_timeout": config.connect_timeout_s,
            "read_timeout": config.read_timeout_s,
            "retries": {"total_max_attempts": 1, "mode": "standard"},
        }
        options["config_kwargs"] = ours | options.get("config_kwargs", {})
    filesystem, path = fsspec.core.url_to_fs(uri, **options)
    if scheme in S3:
        filesystem.retries = 1
    return filesystem, path
