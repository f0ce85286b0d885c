"""Where a page's player finds the recording: a link, or the recording itself."""

from __future__ import annotations

import base64
import mimetypes
import os
from pathlib import Path
from urllib.parse import quote, urlsplit

from schemas.config import FetchConfig
from transforms.errors import RecordingError
from transforms.stores.fetch import fetched, local_path

_MIME_TYPES = {
    ".m4a": "audio/mp4",
    ".m4b": "audio/mp4",
    ".opus": "audio/ogg",
    ".flac": "audio/flac",
    ".wav": "audio/wav",
}
"""Where Python's own table has a name that browsers do not know, or none."""
MAX_EMBEDDED_BYTES = 256 << 20
"""Chromium opens data URIs up to 512 MiB; base64 takes a third more than the recording."""


def audio_link(uri: str | None, folder: str) -> str | None:
    """The address of `uri` for a page in `folder`: relative if both are local, so that they may move together; remote
    ones as they are. None without a uri. Encoded for a URL, not for HTML."""
    if uri is None:
        return None
    path, page_folder = local_path(uri), local_path(folder)
    if path is None:
        return quote(uri, safe=":/?#[]@!$&'()*+,;=%~")
    if page_folder is None:
        return path.absolute().as_uri()
    return quote(Path(os.path.relpath(path, page_folder)).as_posix())


def embedded_audio(uri: str, config: FetchConfig) -> str:
    """The recording as a data URI. Raises RecordingError if it cannot be fetched, or is over MAX_EMBEDDED_BYTES."""
    with fetched(uri, None, config) as source:
        assert isinstance(source, Path)
        size_bytes = source.stat().st_size
        if size_bytes > MAX_EMBEDDED_BYTES:
            reason = f"{uri} has {size_bytes >> 20} MiB, too much for a page (at most {MAX_EMBEDDED_BYTES >> 20})"
            raise RecordingError("export", "too_long", f"{reason}; export it without --embed-audio")
        content = base64.b64encode(source.read_bytes()).decode()
    path = urlsplit(uri).path
    mime_type = _MIME_TYPES.get(Path(path).suffix.lower()) or mimetypes.guess_type(path)[0] or "audio/mpeg"
    return f"data:{mime_type};base64,{content}"
