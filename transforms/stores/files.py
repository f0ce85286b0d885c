"""Files written whole or not at all, in a folder or an object store."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

from schemas.config import ConfigError, FetchConfig
from transforms.errors import MachineError, RecordingError
from transforms.stores.attempts import tried
from transforms.stores.fetch import local_path, open_filesystem, scheme_of
from transforms.stores.scratch import scratch_folder

_ATOMIC_PUT = frozenset({"s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "memory"})
"""Stores in which an object is there only once all of it is; the others get a temporary name first."""


def appears_whole(uri: str) -> bool:
    """True where nobody sees a file that is still being written."""
    return scheme_of(uri) in _ATOMIC_PUT


def write_whole(folder: str, name: str, parts: Iterable[str | bytes], config: FetchConfig) -> int:
    """Writes `parts` one after the other as the file `name` in `folder` (a path or uri), text in UTF-8, and returns its
    bytes. Replaces a file of that name in one step; whatever is raised on the way, no part of the new one is left.
    """
    local = local_path(folder)
    if local is not None:
        local.mkdir(parents=True, exist_ok=True)
        return _write_local(local / name, parts)
    with scratch_folder() as scratch:
        copy = scratch / "file"
        size_bytes = _write_local(copy, parts)
        _put(copy, folder.rstrip("/"), name, config)
    return size_bytes


def folder_and_name(out: str) -> tuple[str, str]:
    """What `write_whole` wants of a file's path or uri."""
    local = local_path(out)
    if local is not None:
        return str(local.parent), local.name
    folder, _, name = out.rpartition("/")
    return folder, name


def _write_local(path: Path, parts: Iterable[str | bytes]) -> int:
    temporary = path.with_name(f".{uuid.uuid4().hex}.tmp")
    try:
        with temporary.open("xb") as file:
            size_bytes = sum(file.write(part.encode() if isinstance(part, str) else part) for part in parts)
            file.flush()
            os.fsync(file.fileno())  # some file systems tell only now that they are full
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    return size_bytes


def remove(uri: str, config: FetchConfig) -> None:
    """Removes a file; one that is not there is as well."""
    local = local_path(uri)
    if local is not None:
        local.unlink(missing_ok=True)
        return
    filesystem, path = open_filesystem(uri, config)
    with suppress(FileNotFoundError):
        filesystem.rm_file(path)


def check_folder(folder: str, config: FetchConfig, option: str = "--out") -> None:
    """Raises ConfigError, which names `option`, if `folder` cannot be one, or if nothing here opens such a uri."""
    local = local_path(folder)
    if local is not None:
        there = next(place for place in (local, *local.absolute().parents) if place.exists())
        if not there.is_dir():
            raise ConfigError(f"{option} {folder}: {there} is a file; give a folder")
        if not os.access(there, os.W_OK):
            raise ConfigError(f"{option} {folder}: {there} must not be written to; give another place")
        return
    try:
        open_filesystem(folder, config)
    except (ImportError, ValueError) as error:
        scheme = urlsplit(folder).scheme
        reason = f"{option} {folder}: nothing here opens {scheme}:// ({error})"
        raise ConfigError(f"{reason}; install the fsspec plug-in for it on driver and executors") from error


def _put(copy: Path, folder: str, name: str, config: FetchConfig) -> None:
    """Raises OSError for whatever the store has against it."""
    try:
        tried(lambda: _put_whole(copy, folder, name, config), f"{folder}/{name}", config)
    except (RecordingError, MachineError) as error:
        raise OSError(str(error)) from error


def _put_whole(copy: Path, folder: str, name: str, config: FetchConfig) -> None:
    filesystem, root = open_filesystem(folder, config)
    if appears_whole(folder):
        filesystem.put_file(str(copy), f"{root}/{name}")
        return
    filesystem.makedirs(root, exist_ok=True)
    temporary = f"{root}/.{uuid.uuid4().hex}.tmp"
    try:
        filesystem.put_file(str(copy), temporary)
        filesystem.mv(temporary, f"{root}/{name}")
    except BaseException:
        if filesystem.exists(temporary):
            filesystem.rm_file(temporary)
        raise
