"""uri or bytes → something that the decoders can open: a local file, or bytes in memory. Remote files are streamed to a
temporary file."""

from __future__ import annotations

import asyncio
import errno
import io
import os
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from schemas.config import FetchConfig
from transforms.errors import RecordingError

Source = Path | io.BytesIO

_EXTRAS = {"s3": "s3", "s3a": "s3", "gs": "gcs", "gcs": "gcs", "abfs": "azure", "abfss": "azure", "az": "azure"}
_FIRST_WAIT_S = 0.5


@contextmanager
def fetched(uri: str | None, content: bytes | None, config: FetchConfig) -> Iterator[Source]:
    """The recording as a local file or as bytes; a temporary copy is gone afterwards. `content` wins over `uri`.

    Raises RecordingError with stage 'fetch'; errors that may pass were tried `config.attempts` times.
    """
    if content is not None:
        if not content:
            raise RecordingError("fetch", "empty", "the manifest's content has 0 bytes; write the recording again")
        yield io.BytesIO(content)
    elif uri is None:
        raise RecordingError("fetch", "missing", "the manifest row has neither uri nor content; give one of them")
    elif (path := local_path(uri)) is not None:
        yield _checked(path)
    else:
        with tempfile.TemporaryDirectory(prefix="lakescribe-") as folder:
            copy = Path(folder) / "recording"
            _download(uri, copy, config)
            yield _checked(copy, uri)


def local_path(uri: str) -> Path | None:
    """The path of a local uri (a plain path, ~ or file://), None for a remote one."""
    scheme, colon, _ = uri.partition("://")
    if not colon:
        try:
            return Path(uri).expanduser()
        except RuntimeError:  # ~nobody: there is no such user, and so no such file
            return Path(uri)
    return Path(unquote(urlsplit(uri).path)) if scheme == "file" else None


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
        raise _explain(error, name) from error
    if size_bytes == 0:
        raise RecordingError("fetch", "empty", f"{name} has 0 bytes; copy the recording again")
    return path


def _download(uri: str, target: Path, config: FetchConfig) -> None:
    for attempt in range(1, config.attempts + 1):
        try:
            filesystem, path = open_filesystem(uri, config)
            filesystem.get_file(path, str(target))
            return
        except (
            Exception
        ) as error:  # what a filesystem raises is its plug-in's choice: all of it is explained, none is dropped
            failure = _explain(error, uri)
            if not failure.transient or attempt == config.attempts:
                raise failure from error
            time.sleep(_FIRST_WAIT_S * 2 ** (attempt - 1))


def open_filesystem(uri: str, config: FetchConfig) -> tuple[Any, str]:
    """fsspec's filesystem for `uri` and the path in it, with the configured timeouts and options."""
    import fsspec

    scheme = urlsplit(uri).scheme
    options = dict(config.storage_options.get(scheme, {}))
    if scheme in ("http", "https"):
        import aiohttp

        timeout = aiohttp.ClientTimeout(total=None, connect=config.connect_timeout_s, sock_read=config.read_timeout_s)
        options.setdefault("client_kwargs", {})["timeout"] = timeout
    elif scheme in ("s3", "s3a"):
        options.setdefault(
            "config_kwargs", {"connect_timeout": config.connect_timeout_s, "read_timeout": config.read_timeout_s}
        )
    filesystem, path = fsspec.core.url_to_fs(uri, **options)
    return filesystem, path


def _explain(error: Exception, name: str) -> RecordingError:
    status = getattr(error, "status", None)
    no_such_name = getattr(error, "errno", None) in (errno.ENOTDIR, errno.ENAMETOOLONG, errno.ELOOP)
    if isinstance(error, FileNotFoundError) or status in (404, 410) or no_such_name:
        return RecordingError(
            "fetch", "missing", f"{name} does not exist; correct the uri or take it out of the manifest"
        )
    if isinstance(error, IsADirectoryError):
        return RecordingError("fetch", "folder", f"{name} is a folder; list its files with python -m jobs.manifest")
    if isinstance(error, PermissionError) or status in (401, 403):
        return RecordingError(
            "fetch", "forbidden", f"no right to read {name}; give the job's user or its credentials access"
        )
    if isinstance(error, ImportError) or (isinstance(error, ValueError) and "rotocol" in str(error)):
        scheme = urlsplit(name).scheme
        extra = _EXTRAS.get(scheme)
        install = (
            f"install it with pip install 'lakescribe[{extra}]' on driver and executors"
            if extra
            else "install the fsspec plug-in for it"
        )
        return RecordingError("fetch", "unsupported", f"{name}: nothing here opens {scheme}:// ({error}); {install}")
    if isinstance(error, TimeoutError | asyncio.TimeoutError):
        return RecordingError(
            "fetch", "timeout", f"{name}: the server did not answer in time; the next run tries again", transient=True
        )
    if status is not None and 400 <= status < 500 and status != 429:
        return RecordingError(
            "fetch", "refused", f"{name}: the server answered {status}; open the address by hand to see why"
        )
    reason = " ".join(str(error).split()) or type(error).__name__
    return RecordingError("fetch", "network", f"{name}: {reason}; the next run tries again", transient=True)
