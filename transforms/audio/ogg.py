"""Ogg files of several recordings, one after the other: "chained", as RFC 3533, section 4, calls them."""

from __future__ import annotations

import io
import mmap
from collections.abc import Iterator
from itertools import pairwise

from transforms.audio.splicing import opened
from transforms.stores.ranged import Source

_FIRST_PAGE = b"OggS\0\2"
"""Capture pattern, version, and the mark of a page that begins a stream."""
_HEADER_BYTES = 27
"""Up to the table of segments, whose length is the last of them."""


def unlike_links(source: Source) -> list[range]:
    """The bytes of each recording in the file; empty unless it is an Ogg file whose recordings begin differently:
    FFmpeg reads on by itself only where codec, rate and channels stay as they are."""
    with opened(source) as file:
        if file.read(len(_FIRST_PAGE)) != _FIRST_PAGE:
            return []
        size = file.seek(0, io.SEEK_END)
        if isinstance(source, io.BytesIO):
            return _unlike(source.getvalue(), size)
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return _unlike(data, size)


def _unlike(data: bytes | mmap.mmap, size: int) -> list[range]:
    begins: list[int] = []
    heads: list[list[bytes]] = []
    after = None
    for at, end in _first_pages(data, size):
        if at != after:  # else one more track of the same recording
            begins.append(at)
            heads.append([])
        heads[-1].append(data[at + _HEADER_BYTES : end])
        after = end
    alike = all(head == heads[0] for head in heads)
    return [] if alike else [range(begin, end) for begin, end in pairwise([*begins, size])]


def _first_pages(data: bytes | mmap.mmap, size: int) -> Iterator[tuple[int, int]]:
    at = data.find(_FIRST_PAGE)
    while 0 <= at < size - _HEADER_BYTES:
        table = at + _HEADER_BYTES
        segments = data[table - 1]
        yield at, table + segments + sum(data[table : table + segments])
        at = data.find(_FIRST_PAGE, table)
