"""Recordings in S3 are read where they lie, in blocks as decoders ask for them: a part of a long one needs not all.

A read that fails is the file's end to a decoder, which cannot raise through the C code around it. So the failure is
kept, nothing more is read, and `source_of` raises it once decoding has ended: what was cut off is never taken for a
recording.
"""

from __future__ import annotations

import hashlib
import io
import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from schemas.config import FetchConfig
from transforms.errors import MachineError, RecordingError
from transforms.stores.attempts import tried
from transforms.stores.fetch import S3, fetched, open_filesystem, scheme_of
from transforms.stores.reasons import code_of
from transforms.stores.roots import allowed

_BLOCK_BYTES = 2 << 20
_BLOCKS_KEPT = 8
"""Two readings of a recording are at most at work at once, near to each other, beside its header and its end."""
_READ_THROUGH = b"OggS"
"""A file that decoders look through from end to end before they decode (transforms/audio/ogg.py)."""


class Ranged:
    """A recording in S3, in which any number of handles read."""

    def __init__(self, uri: str, first: bytes, config: FetchConfig) -> None:
        """`first`: its first block."""
        self._uri, self._config = uri, config
        self._blocks = OrderedDict({0: first})
        self._lock = threading.Lock()
        self._info = self._asked_info()
        self.size_bytes: int = self._info["size"]
        self.failure: RecordingError | MachineError | None = None
        self._digest, self._digested = hashlib.sha256(first), 1

    def open(self, mode: str = "rb") -> BinaryIO:
        return io.BufferedReader(_Handle(self), 1 << 16)

    def block(self, index: int) -> bytes:
        """All of it, or nothing once a read has failed."""
        with self._lock:
            if self.failure is not None:
                return b""
            if index not in self._blocks:
                try:
                    self._blocks[index] = self._fetched(index)
                except (RecordingError, MachineError) as error:
                    self.failure = error
                    return b""
                self._digest_on()
                if len(self._blocks) > _BLOCKS_KEPT:
                    self._blocks.popitem(last=False)
            self._blocks.move_to_end(index)
            return self._blocks[index]

    @property
    def version(self) -> str:
        """Its address, and what the store says of it as it is now."""
        return f"{self._uri} {sorted(self._info.items(), key=str)}"

    @property
    def content_sha256(self) -> str | None:
        """None unless all of it was read, in order but for its ends."""
        with self._lock:
            whole = self._digested * _BLOCK_BYTES >= self.size_bytes
            return self._digest.hexdigest() if whole else None

    @property
    def waits(self) -> bool:
        """True while a block is on its way."""
        return self._lock.locked()

    def check(self) -> None:
        """Raises RecordingError or MachineError if what was read is not the recording as it is."""
        if self.failure is not None:
            raise self.failure
        if any(self._info.get(name) != value for name, value in self._asked_info().items()):
            raise RecordingError(
                "fetch", "network", f"{self._uri} changed while it was read; the next run tries again", transient=True
            )

    def _digest_on(self) -> None:
        while (block := self._blocks.get(self._digested)) is not None:
            self._digest.update(block)
            self._digested += 1

    def _fetched(self, index: int) -> bytes:
        begin = index * _BLOCK_BYTES
        return _read(self._uri, begin, min(begin + _BLOCK_BYTES, self.size_bytes), self._config)

    def _asked_info(self) -> dict[str, Any]:
        def ask() -> dict[str, Any]:
            filesystem, path = open_filesystem(self._uri, self._config)
            return dict(filesystem.info(path, refresh=True))

        return tried(ask, self._uri, self._config)


class _Handle(io.RawIOBase):
    def __init__(self, recording: Ranged) -> None:
        self._recording, self._at = recording, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = max(0, offset + (0, self._at, self._recording.size_bytes)[whence])
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, target: Any) -> int:
        """As much as fits of the block at hand."""
        view = memoryview(target).cast("B")
        if self._at >= self._recording.size_bytes:
            return 0
        index, inside = divmod(self._at, _BLOCK_BYTES)
        got = self._recording.block(index)[inside : inside + len(view)]
        view[: len(got)] = got
        self._at += len(got)
        return len(got)


Source = Path | io.BytesIO | Ranged


@contextmanager
def source_of(uri: str | None, content: bytes | None, config: FetchConfig) -> Iterator[Source]:
    """As `fetch.fetched`, but from S3 no more is read than is asked for. Raises, at the latest at its end, what reading
    met: whatever was decoded until then is not the recording."""
    if content is not None or uri is None or scheme_of(uri) not in S3:
        with fetched(uri, content, config) as copy:
            yield copy
        return
    first = _read(allowed(uri, config.allowed_roots), 0, _BLOCK_BYTES, config, to_end=True)
    if not first:
        raise RecordingError("fetch", "empty", f"{uri} has 0 bytes; copy the recording again")
    if len(first) < _BLOCK_BYTES:
        yield io.BytesIO(first)
    elif first.startswith(_READ_THROUGH):
        with fetched(uri, None, config) as copy:
            yield copy
    else:
        recording = Ranged(uri, first, config)
        try:
            yield recording
        except RecordingError as error:
            if recording.failure is not None:
                raise recording.failure from error
            if recording.waits:  # not the decoder hangs
                reason = f"{uri}: the store gave too little in all this time; the next run tries again"
                raise RecordingError("fetch", "timeout", reason, transient=True) from error
            raise
        recording.check()


def content_sha256(source: Source) -> str | None:
    """Of a recording's bytes, in hexadecimal digits; None if not all of them can be read, or were so far in S3."""
    if isinstance(source, Ranged):
        return source.content_sha256
    if isinstance(source, io.BytesIO):
        return hashlib.sha256(source.getbuffer()).hexdigest()
    try:
        with source.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:  # decoders read on beyond what is damaged, and tell of it
        return None


def _read(uri: str, begin: int, end: int, config: FetchConfig, *, to_end: bool = False) -> bytes:
    """The bytes [begin, end), tried again where they do not come; with `to_end` as far as the file goes."""
    patience_s = config.read_timeout_s + (end - begin) / config.min_bytes_per_s if config.min_bytes_per_s else None

    def read() -> bytes:
        filesystem, path = open_filesystem(uri, config)
        try:
            got = bytes(filesystem.cat_file(path, start=begin, end=end, timeout=patience_s))
        except OSError as error:
            if to_end and code_of(error) == "InvalidRange":  # of nothing, no byte is the first
                return b""
            raise
        if len(got) != end - begin and not to_end:
            raise ConnectionError(f"{len(got):,} of {end - begin:,} bytes came")
        return got

    return tried(read, uri, config)
