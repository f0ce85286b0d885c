"""What the files of a recording are called."""

from __future__ import annotations

import base64
import hashlib
import unicodedata
from pathlib import PurePosixPath
from urllib.parse import unquote, urlsplit

_MAX_STEM_BYTES = 120
_HASH_CHARS = 12


def file_stem(audio_id: str, uri: str | None) -> str:
    """As in 'interview_clip-x4k2j7abcdef': the last part of `uri` without its ending, then a hash of `audio_id`.

    Letters and digits of all scripts, '-' and '_' only, in Unicode's composed form and at most 133 bytes: safe on all
    systems. It depends on nothing else, so it stays the same, and recordings with the same name in different folders
    differ; 60 bits of hash make two equal names improbable (4 in 10 million among a million files of one name).
    """
    digest = base64.b32encode(hashlib.sha256(audio_id.encode()).digest()).decode().lower()[:_HASH_CHARS]
    stem = _safe(_last_part(uri)) or "recording"
    return f"{stem}-{digest}"


def _last_part(uri: str | None) -> str:
    if uri is None:
        return ""
    path = unquote(urlsplit(uri).path) if "://" in uri else uri.replace("\\", "/")
    return PurePosixPath(path).stem


def _safe(name: str) -> str:
    kept = "".join(c if c.isalnum() or unicodedata.category(c) in ("Mn", "Mc") or c in "-_" else "_" for c in name)
    short = unicodedata.normalize("NFC", kept).encode()[:_MAX_STEM_BYTES].decode(errors="ignore")
    return short.strip("-_")
