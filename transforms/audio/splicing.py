"""A recording's bytes, and pieces of them as one file."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any, BinaryIO

from transforms.stores.ranged import Source


def opened(source: Source) -> BinaryIO:
    """A handle of its own: where it stands is nobody else's concern."""
    return io.BytesIO(source.getvalue()) if isinstance(source, io.BytesIO) else source.open("rb")


class Spliced(io.RawIOBase):
    """Bytes, and ranges of a file, as one file to read."""

    def __init__(self, file: BinaryIO, pieces: Sequence[bytes | range]) -> None:
        self._file, self._pieces = file, pieces
        self._size = sum(map(len, pieces))
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = max(0, offset + (0, self._at, self._size)[whence])
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, target: Any) -> int:
        """As much as fits, unless the end is near."""
        view, filled, begin = memoryview(target).cast("B"), 0, 0
        for piece in self._pieces:
            inside = self._at - begin
            begin += len(piece)
            if filled == len(view) or not 0 <= inside < len(piece):
                continue
            wanted = min(len(view) - filled, len(piece) - inside)
            if isinstance(piece, range):
                self._file.seek(piece.start + inside)
                got = self._file.read(wanted)
            else:
                got = piece[inside : inside + wanted]
            view[filled : filled + len(got)] = got
            filled += len(got)
            self._at += len(got)
            if len(got) < wanted:
                break
        return filled

    def close(self) -> None:
        self._file.close()
        super().close()
