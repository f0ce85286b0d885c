"""Folders, globs, object stores and lists → the rows of a manifest. Needs no Spark."""

from __future__ import annotations

import csv
import datetime
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pyarrow as pa
import pyarrow.parquet as pq

from schemas.config import FetchConfig
from transforms.errors import ManifestError
from transforms.stores.fetch import local_path, open_filesystem

SUFFIXES = frozenset(
    ".wav .mp3 .flac .m4a .aac .ogg .oga .opus .wma .aif .aiff .aifc .caf .amr .3gp .ac3 .mp2 .mka .mp4 .m4v .mov .mkv "
    ".webm .avi .wmv .flv .ts .mpg .mpeg .sph .au .w64 .gsm .alac .ape .wv .m4b".split()
)
"""What counts as a recording when a folder is listed; a file named by itself is always taken."""
_LISTS = frozenset({".csv", ".tsv", ".jsonl", ".parquet"})


def list_recordings(sources: Sequence[str], config: FetchConfig) -> pa.Table:
    """A manifest of everything in `sources`: files, folders (with all below), globs, uris of any fsspec filesystem, and
    lists (CSV, TSV, JSONL, Parquet) whose columns travel along. In the order of the sources, sorted within each; each
    uri once.

    Columns: uri, size_bytes, modified_at (UTC), then those of the lists. Raises ManifestError for a source that yields
    nothing.
    """
    rows: dict[Any, dict[str, Any]] = {}
    for source in sources:
        found = list(
            _rows_of_list(source) if Path(urlsplit(source).path).suffix.lower() in _LISTS else _files(source, config)
        )
        if not found:
            raise ManifestError(
                f"{source}: no recording found; name a folder, a file, a glob such as '{source.rstrip('/')}/**/*.mp3', "
                "or a list (CSV, TSV, JSONL, Parquet)"
            )
        for number, row in enumerate(found):
            same = (row.get("audio_id"), row.get("uri") or (source, number), row.get("start_ms"), row.get("end_ms"))
            rows.setdefault(same, row)
    names = dict.fromkeys(["uri", "size_bytes", "modified_at", *(name for row in rows.values() for name in row)])
    types = {
        **dict.fromkeys(("uri", "audio_id", "language", "context", "channels"), pa.string()),
        **dict.fromkeys(("size_bytes", "start_ms", "end_ms"), pa.int64()),
        "modified_at": pa.timestamp("us", tz="UTC"),
    }
    return pa.table({name: _array(name, [row.get(name) for row in rows.values()], types.get(name)) for name in names})


def _array(name: str, values: list[Any], data_type: pa.DataType | None) -> pa.Array:
    try:
        if data_type is not None and pa.types.is_integer(data_type):
            values = [int(value) if isinstance(value, str) else value for value in values]
        return pa.array(values, type=data_type)
    except (pa.ArrowInvalid, pa.ArrowTypeError, ValueError) as error:
        raise ManifestError(
            f"column {name}: {error}; its values must be of one type{f' ({data_type})' if data_type else ''}"
        ) from error


def _rows_of_list(source: str) -> Iterator[dict[str, Any]]:
    path = local_path(source)
    if path is None or not path.is_file():
        raise ManifestError(f"list {source}: no such local file; copy it here first")
    try:
        rows = _parsed(path)
    except (ValueError, TypeError, csv.Error, pa.ArrowException) as error:  # bad JSON and bad UTF-8 are ValueErrors
        raise ManifestError(f"list {source} cannot be read: {error}; write it again, in UTF-8") from error
    for number, row in enumerate(rows, start=1):
        if None in row:
            raise ManifestError(f"list {source}: row {number} has more values than columns, quote its commas: {row}")
        if not row.get("uri") and not row.get("content"):
            raise ManifestError(f"list {source}: column uri is missing or empty in row {number}: {row}")
        local = local_path(row["uri"]) if row.get("uri") else None
        if local is not None and not local.is_absolute():
            row["uri"] = str((path.parent / local).resolve())
        yield _with_stat(row)


def _parsed(path: Path) -> list[dict[str, Any]]:
    suffix = path.suffix.lower()
    if suffix == ".parquet":
        return pq.read_table(path).to_pylist()  # type: ignore[no-any-return]
    if suffix == ".jsonl":
        lines = path.read_text(encoding="utf-8").splitlines()
        return [dict(json.loads(line)) for line in lines if line.strip()]
    with path.open(newline="", encoding="utf-8-sig") as file:
        rows = csv.DictReader(file, delimiter="," if suffix == ".csv" else "\t")
        return [{key: value or None for key, value in row.items()} for row in rows]


def _with_stat(row: dict[str, Any]) -> dict[str, Any]:
    local = local_path(row["uri"]) if row.get("uri") else None
    if local is not None and local.is_file():
        stat = local.stat()
        row.setdefault("size_bytes", stat.st_size)
        row.setdefault("modified_at", datetime.datetime.fromtimestamp(stat.st_mtime, datetime.UTC))
    return row


def _files(source: str, config: FetchConfig) -> Iterator[dict[str, Any]]:
    path = local_path(source)
    if path is None:
        yield from _remote_files(source, config)
    elif path.is_dir():
        yield from (
            _with_stat({"uri": str(file.resolve())})
            for file in sorted(path.rglob("*"))
            if _is_recording(file.name) and file.is_file()
        )
    elif path.exists():
        yield _with_stat({"uri": str(path.resolve())})
    elif any(mark in source for mark in "*?["):
        anchor = Path(path.anchor or ".")
        pattern = str(path.relative_to(anchor)) if path.anchor else str(path)
        for file in sorted(anchor.glob(pattern)):
            if file.is_file() and not file.name.startswith("."):
                yield _with_stat({"uri": str(file.resolve())})


def _is_recording(name: str) -> bool:
    return Path(name).suffix.lower() in SUFFIXES and not Path(name).name.startswith(".")


def _remote_files(source: str, config: FetchConfig) -> Iterator[dict[str, Any]]:
    scheme = urlsplit(source).scheme
    if scheme in ("http", "https"):  # no listing there: the address itself is the recording
        yield {"uri": source}
        return
    filesystem, path = open_filesystem(source, config)
    pattern = any(mark in path for mark in "*?[")
    listed = filesystem.glob(path, detail=True) if pattern else filesystem.find(path, detail=True)
    for name, info in sorted(listed.items()):
        if info.get("type") == "file" and (pattern or name == path or _is_recording(name)):
            modified = info.get("LastModified") or info.get("mtime") or info.get("updated") or info.get("last_modified")
            if isinstance(modified, str):
                modified = datetime.datetime.fromisoformat(modified.replace("Z", "+00:00"))
            yield {"uri": filesystem.unstrip_protocol(name), "size_bytes": info.get("size"), "modified_at": modified}
