"""WAV files (RIFF, RF64, BW64) whose header does not say where the samples are: the recorder crashed, the program wrote
to a pipe, or forgot a byte. The samples that are there are found, and shown to decoders behind a header that is right.

Chunks after EBU Tech 3306 (RF64) and Microsoft's "Multimedia Programming Interface and Data Specifications 1.0".
"""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass, field
from typing import BinaryIO

from transforms.audio.splicing import Spliced, opened
from transforms.stores.ranged import Source

UNKNOWN_BYTES = 0x7FFF_0000
"""From here on a chunk's length means 'not known': programs that write to a pipe put it there (FFmpeg, SoX)."""
_KNOWN = frozenset(
    b"fmt |fact|data|LIST|bext|cue |smpl|inst|iXML|axml|chna|umid|JUNK|junk|PAD |FLLR|id3 |ID3 |PEAK|ds64|levl|link|"
    b"plst|note|labl|adtl|acid|strc|afsp|cart|minf|elm1|regn|DISP|_PMX|aXML|r64m|qlty|mext|SNDM|slnt|wavl|INFO|"
    b"clm |Fake|DGDA|AFAn|ovwf|elmo".split(b"|")
)
_TAGS = (b"TAG", b"ID3", b"APE", b"LYR", b"3DI")
"""What taggers append to any file."""
_LONGEST_HEADER_CHUNK = 1 << 20


@dataclass
class _Found:
    """`claimed_bytes` of samples after the header, None if it does not know."""

    format: bytes = b""
    data: list[range] = field(default_factory=list)
    claimed_bytes: int | None = 0
    regular: bool = True


@dataclass(frozen=True)
class Mended:
    """`file` is to be read in place of the source. `claimed_ms` is what its own header claims."""

    file: BinaryIO
    claimed_ms: int | None


def mended(source: Source) -> Mended | None:
    """The file with a header that is right; None if its own is, or it is no WAV or has no samples."""
    file = opened(source)
    found = _chunks(file)
    if found is None or found.regular or len(found.format) < 16 or not found.data:
        file.close()
        return None
    size = sum(map(len, found.data))
    bytes_per_s = int.from_bytes(found.format[8:12], "little")
    known = found.claimed_bytes and bytes_per_s
    claimed_ms = (found.claimed_bytes or 0) * 1000 // bytes_per_s if known else None
    return Mended(io.BufferedReader(Spliced(file, [_header(found.format, size), *found.data])), claimed_ms)


def _header(form: bytes, size: int) -> bytes:
    """RF64 where 32 bits do not hold the length."""
    fmt = struct.pack("<4sI", b"fmt ", len(form)) + form + bytes(len(form) % 2)
    if size < UNKNOWN_BYTES:
        riff = struct.pack("<4sI4s", b"RIFF", 4 + len(fmt) + 8 + size, b"WAVE")
        return riff + fmt + struct.pack("<4sI", b"data", size)
    ds64 = struct.pack("<4sIQQQI", b"ds64", 28, 4 + 36 + len(fmt) + 8 + size, size, 0, 0)
    riff = struct.pack("<4sI4s", b"RF64", 0xFFFF_FFFF, b"WAVE") + ds64
    return riff + fmt + struct.pack("<4sI", b"data", 0xFFFF_FFFF)


def _chunks(file: BinaryIO) -> _Found | None:
    """What the file holds, None if it is no WAV."""
    size = file.seek(0, io.SEEK_END)
    file.seek(0)
    start = file.read(12)
    if start[:4] not in (b"RIFF", b"RF64", b"BW64") or start[8:] != b"WAVE":
        return None
    found, at, long_size = _Found(), 12, 0
    while at + 8 <= size:
        file.seek(at)
        name, length = struct.unpack("<4sI", file.read(8))
        begin = at + 8
        if name == b"ds64":
            long_size = int.from_bytes(file.read(16)[8:16], "little")
        elif name == b"fmt " and not found.format:
            found.format = file.read(min(length, _LONGEST_HEADER_CHUNK))
        if name == b"data":
            at = _samples(file, found, begin, long_size if length == 0xFFFF_FFFF else length, size)
        else:
            at, odd = _next(file, begin + length, length % 2, size)
            found.regular = found.regular and not odd
    return found


def _samples(file: BinaryIO, found: _Found, begin: int, length: int, size: int) -> int:
    """Notes the samples from `begin` on, and returns where the next chunk begins."""
    unknown = length == 0 or (length >= UNKNOWN_BYTES and begin + length > size)
    if begin + length > size and not unknown:  # cut off: decoders know that
        end = after = size
    else:
        end = begin if unknown else begin + length
        after, odd = _next(file, end, (end - begin) % 2, size)
        found.regular = found.regular and not odd
        if after < size and not _is_chunk(file, after, size) and (unknown or not _is_blank(file, after)):
            found.regular, end, after = False, size, size
    if found.data and end > begin:
        found.regular = False
    if unknown and end > begin:
        found.claimed_bytes = None
    elif found.claimed_bytes is not None:
        found.claimed_bytes += length
    if end > begin:
        frame = int.from_bytes(found.format[12:14], "little") or 1
        found.data.append(range(begin, end - (end - begin) % frame if not found.regular else end))
    return after


def _next(file: BinaryIO, end: int, odd: int, size: int) -> tuple[int, bool]:
    """Where the chunk after one that ends at `end` begins, and whether the byte is missing that pads an odd one."""
    if odd and not _is_chunk(file, end + 1, size) and _is_chunk(file, end, size):
        return end, True
    return min(end + odd, max(size, end)), False


def _is_chunk(file: BinaryIO, at: int, size: int) -> bool:
    """True at the end of the file, and where something begins that is no sample."""
    if at >= size:
        return True
    file.seek(at)
    head = file.read(8)
    if head[:3] in _TAGS:
        return True
    if len(head) < 8:
        return True
    return head[:4] in _KNOWN or (
        all(32 <= byte < 127 for byte in head[:4]) and at + 8 + int.from_bytes(head[4:], "little") <= size + 1
    )


def _is_blank(file: BinaryIO, at: int) -> bool:
    """True if only zeros follow, as where a recorder asks for its space beforehand."""
    file.seek(at)
    while piece := file.read(1 << 16):
        if piece.strip(b"\0"):
            return False
    return True
