"""What a user asks of an export, checked before anything starts."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from schemas.config import Config, ConfigError
from transforms.exports import FORMATS
from transforms.stores.fetch import local_path
from transforms.stores.files import check_folder


@dataclass(frozen=True)
class Request:
    """What to export. `out` is a folder or a uri; `where` SQL over recordings, `audio_ids` None for all; `shards` the
    number of files per='shard' divides the recordings among, None for one in 10,000."""

    format: str
    out: str
    per: Literal["recording", "shard"] = "recording"
    shards: int | None = None
    where: str | None = None
    audio_ids: Sequence[str] | None = None
    embed_audio: bool = False


def check(request: Request, config: Config) -> Request:
    """The request with `out` as an absolute path, if it is one. Raises ConfigError if it makes no sense."""
    if request.format not in FORMATS:
        close = difflib.get_close_matches(request.format, FORMATS, n=1)
        hint = f"did you mean '{close[0]}'? " if close else ""
        raise ConfigError(f"unknown format '{request.format}': {hint}known are {', '.join(FORMATS)}")
    chosen = FORMATS[request.format]
    if request.per == "shard" and chosen.shard is None:
        able = ", ".join(name for name, other in FORMATS.items() if other.shard)
        raise ConfigError(f"a file of {request.format} holds one recording; --per shard is for {able}")
    if request.shards is not None and (request.per != "shard" or request.shards < 1):
        raise ConfigError(f"--shards {request.shards}: give a number from 1, together with --per shard")
    if request.embed_audio and not chosen.plays:
        raise ConfigError(f"--embed-audio is for html: a file of {request.format} plays nothing")
    check_folder(request.out, config.fetch)
    folder = local_path(request.out)
    return request if folder is None else replace(request, out=str(folder.absolute()))
