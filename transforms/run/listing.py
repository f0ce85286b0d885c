"""Folders, globs, object stores and lists → the rows of a manifest. Needs no Spark."""

from __future__ import annotations

import csv
import datetime
import functools
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from schemas.config import FetchConfig
from transforms.errors import ManifestError, NoRecordings
from transforms.stores.attempts import tried
from transforms.stores.fetch import local_path, open_filesystem, scheme_of
from transforms.text import lists

SUFFIXES = frozenset(
    ".wav .wave .bwf .rf64 .w64 .aif .aiff .aifc .caf .au .snd .voc .sph .nist .sf .ircam .paf .pvf "
    ".mp3 .mpga .mp2 .mp1 .mpa .m2a .m4a .m4b .m4r .aac .adts .latm .loas .ac3 .eac3 .ec3 .ac4 .dts .dtshd .mlp .thd "
    ".flac .alac .ape .wv .tta .tak .shn .ogg .oga .ogx .opus .spx .wma .ra .mka .weba .mpc .aa .aax .aa3 .oma "
    ".amr .awb .3ga .gsm .g722 .g729 .qcp .lbc .dss .lc3 "
    ".mp4 .m4v .mov .qt .3gp .3gpp .3g2 .3gp2 .f4v .f4a .ismv .isma .mkv .mk3d .webm .ogv .ogm .avi .divx .wmv .asf "
    ".flv .rm .rmvb .ts .mts .m2ts .m2t .mpg .mpeg .mpe .vob .dvd .evo .mxf .gxf .dv .dif .dav .nut .wtv".split()
)
"""What counts as a recording when a folder is listed: what people record in and FFmpeg reads, files of sound and of
pictures with sound. A file named by itself is always taken."""
_PARQUET = ".parquet"
_LISTS = lists.SUFFIXES | {_PARQUET}
_TYPES = {
    **dict.fromkeys(("uri", "audio_id", "language", "context", "channels", "etag"), pa.string()),
    **dict.fromkeys(("size_bytes", "start_ms", "end_ms"), pa.int64()),
    "modified_at": pa.timestamp("us", tz="UTC"),
    "content": pa.binary(),
}
"""The columns that a manifest knows (see run.manifest), however a list capitalizes them."""
MANIFEST = pa.schema([(name, _TYPES[name]) for name in ("uri", "size_bytes", "modified_at")])
"""The columns that every listing has."""
_LENGTH = ("uri", "size_bytes", "start_ms", "end_ms")
_TRASH = frozenset({"$RECYCLE.BIN", "System Volume Information", "@eaDir", "__MACOSX", "lost+found"})
"""What systems keep beside the files, besides what they hide with a dot (.Trashes, .git, the ._ files of macOS)."""


def list_recordings(sources: Sequence[str], config: FetchConfig, left_out: Counter[str] | None = None) -> pa.Table:
    """A manifest of everything in `sources`: files, folders (with all below that is not hidden), globs, uris of any
    fsspec filesystem, and lists (CSV, TSV, JSONL, Parquet, or a folder of them as Spark writes it) whose columns travel
    along. In the order of the sources, sorted within each; each uri once.

    Columns: uri, size_bytes, modified_at (UTC), then those of the lists. `left_out` gets, by suffix, how many files of
    folders are no recordings. Raises NoRecordings for a source that yields nothing, and ManifestError for a list that
    would lose rows.
    """
    left_out = Counter() if left_out is None else left_out
    rows: dict[Any, dict[str, Any]] = {}
    for source in sources:
        others: Counter[str] = Counter()
        found = list(_rows_of_list(source) if _is_list(source) else _files(source, config, others))
        left_out += others
        if not found:
            none = f"no recording found ({shown(others)} left out)" if others else "no recording found"
            raise NoRecordings(
                f"{source}: {none}; name a folder, a file, a glob such as '{source.rstrip('/')}/**/*.mp3', "
                "or a list (CSV, TSV, JSONL, Parquet)"
            )
        for number, row in enumerate(found):
            same = (row.get("audio_id"), row.get("uri") or (source, number), row.get("start_ms"), row.get("end_ms"))
            rows.setdefault(same, row)
    names = dict.fromkeys(["uri", "size_bytes", "modified_at", *(name for row in rows.values() for name in row)])
    return pa.table({name: _array(name, [row.get(name) for row in rows.values()]) for name in names})


def shown(left_out: Counter[str]) -> str:
    """As in '12 .txt, 3 .jpg', the most first."""
    return ", ".join(f"{count} {suffix or 'without a suffix'}" for suffix, count in left_out.most_common())


def is_listed(name: str, *, manifests: bool = False) -> bool:
    """Would a folder's listing have the file of this name, given from the folder on? With `manifests`: is it one?"""
    suffix = Path(name).suffix.lower()
    return suffix in ({_PARQUET} if manifests else SUFFIXES) and not any(map(_is_hidden, name.split("/")))


def look_at(
    path: str, config: FetchConfig, known: tuple[int | None, datetime.datetime | None] | None = None
) -> dict[str, Any] | None:
    """The row that a listing has of one file (MANIFEST); None if it is not there. If its size and time of change are
    `known`, the store is not asked for them."""
    if known is None or None in known:
        return next(_files(path, config, Counter()), None)
    filesystem, name = open_filesystem(path, config)
    return {"uri": filesystem.unstrip_protocol(name), "size_bytes": known[0], "modified_at": known[1]}


def peek(path: str, config: FetchConfig) -> list[dict[str, Any]]:
    """Of a manifest's rows (Parquet, anywhere) what tells how long they are: uri, size_bytes, start_ms, end_ms. Raises
    ManifestError for what is no Parquet file, as one that is not whole."""
    try:
        with _opened(path, config) as file:
            manifest = pq.ParquetFile(file)
            wanted = {name: lists.name_of(name, _TYPES) for name in manifest.schema_arrow.names}
            wanted = {name: known for name, known in wanted.items() if known in _LENGTH}
            rows = manifest.read(columns=list(wanted)).to_pylist()
    except (pa.ArrowException, OSError, ValueError) as error:
        raise ManifestError(f"manifest {path} cannot be read: {error}; write it again") from error
    return [{wanted[name]: value for name, value in row.items()} for row in rows]


def _opened(path: str, config: FetchConfig) -> Any:
    local = local_path(path)
    if local is not None:
        return local.open("rb")
    filesystem, name = open_filesystem(path, config)
    return filesystem.open(name, "rb")


def _array(name: str, values: list[Any]) -> pa.Array:
    data_type = _TYPES.get(name)
    try:
        if data_type is not None and pa.types.is_integer(data_type):
            values = [_whole(value) for value in values]
        elif data_type is not None and pa.types.is_timestamp(data_type):
            values = [_instant(value) for value in values]
        return pa.array(values, type=data_type)
    except (pa.ArrowInvalid, pa.ArrowTypeError, ValueError) as error:
        raise ManifestError(
            f"column {name}: {error}; its values must be of one type{f' ({data_type})' if data_type else ''}"
        ) from error


def _whole(value: Any) -> int | None:
    """Of an integer, however it is written: spreadsheets and pandas make 1000.0 of it where a column has gaps."""
    if value is None or value != value or (isinstance(value, str) and not value.strip()):
        return None
    if isinstance(value, int) or (isinstance(value, str) and value.strip().lstrip("+-").isdigit()):
        return int(value)
    if not float(value).is_integer():
        raise ValueError(f"{value!r} is no whole number")
    return int(float(value))


def _instant(value: Any) -> datetime.datetime | None:
    """Of a time as such or in ISO 8601, which is in UTC unless it says otherwise."""
    if value is None or isinstance(value, datetime.datetime):
        time = value
    elif isinstance(value, str):
        time = datetime.datetime.fromisoformat(value.strip()) if value.strip() else None
    else:
        raise ValueError(f"{value!r} is no time; write it as in 2026-01-31T12:00:00Z")
    return time.replace(tzinfo=datetime.UTC) if time is not None and time.tzinfo is None else time


def _is_list(source: str) -> bool:
    path = local_path(source)
    if path is not None and path.is_dir():
        return path.suffix.lower() in _LISTS or (path / "_SUCCESS").exists() or any(path.glob("part-*.parquet"))
    name = urlsplit(source).path if scheme_of(source) in ("http", "https") else source
    return Path(name).suffix.lower() in _LISTS


def _rows_of_list(source: str) -> Iterator[dict[str, Any]]:
    path = local_path(source)
    if path is None or not path.exists():
        raise ManifestError(f"list {source}: no such local file; copy it here first")
    try:
        rows = _parsed(path)
    except (ValueError, TypeError, csv.Error, pa.ArrowException) as error:  # bad JSON and bad UTF-8 are ValueErrors
        advice = "; write it again, in UTF-8" if isinstance(error, UnicodeDecodeError) else ""
        raise ManifestError(f"list {source} cannot be read: {error}{advice}") from error
    for number, row in enumerate(rows, start=1):
        if not row.get("uri") and not row.get("content"):
            raise ManifestError(f"list {source}: column uri is missing or empty in row {number}: {row}")
        local = local_path(row["uri"]) if row.get("uri") else None
        if local is not None and not local.is_absolute():
            row["uri"] = str((path.parent / local).resolve())
        yield _with_stat(row)


def _parsed(path: Path) -> list[dict[str, Any]]:
    if not path.is_dir():
        return _parsed_file(path)
    parts = [part for part in sorted(path.rglob("*")) if part.is_file() and not part.name.startswith(("_", "."))]
    kinds = {part.suffix.lower() for part in parts}
    if kinds <= lists.SUFFIXES:
        return [row for part in parts for row in _parsed_file(part)]
    if kinds != {_PARQUET}:
        raise ValueError(f"its files are of several kinds ({', '.join(sorted(kinds))})")
    read = functools.partial(ds.dataset, path, format="parquet", partitioning="hive")
    dataset = read()
    # Of the parts' schemas pyarrow would take the first, and lose the columns that it has not.
    schemas = [dataset.schema, *(part.physical_schema for part in dataset.get_fragments())]
    whole = pa.unify_schemas(schemas, promote_options="permissive")
    return [lists.renamed(row, _TYPES) for row in read(schema=whole).to_table().to_pylist()]


def _parsed_file(path: Path) -> list[dict[str, Any]]:
    if path.suffix.lower() == _PARQUET:
        rows = pq.ParquetFile(path).read().to_pylist()
        return [lists.renamed(row, _TYPES) for row in rows]
    return lists.rows_of(path.read_bytes(), path.suffix.lower(), _TYPES)


def _with_stat(row: dict[str, Any]) -> dict[str, Any]:
    local = local_path(row["uri"]) if row.get("uri") else None
    if local is not None and local.is_file():
        stat = local.stat()
        row.setdefault("size_bytes", stat.st_size)
        row.setdefault("modified_at", datetime.datetime.fromtimestamp(stat.st_mtime, datetime.UTC))
    return row


def _files(source: str, config: FetchConfig, left_out: Counter[str]) -> Iterator[dict[str, Any]]:
    path = local_path(source)
    if path is None:
        yield from _remote_files(source, config, left_out)
    elif path.is_dir():
        for file in _below(path):
            if _is_recording(file.name, left_out):
                yield _with_stat({"uri": str(file.resolve())})
    elif path.exists():
        yield _with_stat({"uri": str(path.resolve())})
    elif any(mark in source for mark in "*?["):
        anchor = Path(path.anchor or ".")
        pattern = path.relative_to(anchor) if path.anchor else path
        for file in sorted(anchor.glob(str(pattern))):
            named = {part for part in pattern.parts if part.startswith(".")}
            if file.is_file() and not any(map(_is_hidden, {*file.relative_to(anchor).parts} - named)):
                yield _with_stat({"uri": str(file.resolve())})


def _below(folder: Path) -> list[Path]:
    """The files in `folder` and below that nothing hides, sorted."""
    found = []
    for parent, folders, names in os.walk(folder, onerror=_refuse):
        folders[:] = [name for name in folders if not _is_hidden(name)]
        found += [Path(parent, name) for name in names if not _is_hidden(name)]
    return sorted(file for file in found if file.is_file())


def _refuse(error: OSError) -> None:
    raise ManifestError(f"folder {error.filename} cannot be listed: {error.strerror}; give the right to read it")


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name in _TRASH


def _is_recording(name: str, left_out: Counter[str]) -> bool:
    suffix = Path(name).suffix.lower()
    if suffix not in SUFFIXES:
        left_out[suffix] += 1
    return suffix in SUFFIXES


def _remote_files(source: str, config: FetchConfig, left_out: Counter[str]) -> Iterator[dict[str, Any]]:
    if scheme_of(source) in ("http", "https"):  # no listing there: the address itself is the recording
        yield {"uri": source}
        return

    def ask() -> tuple[Any, str, bool, dict[str, Any]]:
        filesystem, path = open_filesystem(source, config)
        pattern = any(mark in path for mark in "*?[") and not filesystem.isfile(path)
        listed = filesystem.glob(path, detail=True) if pattern else filesystem.find(path, detail=True)
        return filesystem, path, pattern, listed

    filesystem, path, pattern, listed = tried(ask, source, config)
    for name, info in sorted(listed.items()):
        if info.get("type") != "file" or any(map(_is_hidden, name.removeprefix(path).split("/"))):
            continue
        if pattern or name == path or _is_recording(name, left_out):
            modified = info.get("LastModified") or info.get("mtime") or info.get("updated") or info.get("last_modified")
            if isinstance(modified, str):
                modified = datetime.datetime.fromisoformat(modified.replace("Z", "+00:00"))
            yield {"uri": filesystem.unstrip_protocol(name), "size_bytes": info.get("size"), "modified_at": modified}
