"""Hashes of all that can change what is read in a recording: the same hash, the same transcript."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Mapping
from typing import Any

from schemas.config import AUTO_PER_CHUNK, Config
from transforms.audio.front import Work
from transforms.engines import AlignerSpec, EngineSpec

PIPELINE_VERSION = 3
"""Part of both: to be raised when a change of this code changes texts or times."""

Aligners = tuple[tuple[str, AlignerSpec | None], ...]


def config_key(config: Config, recognizer: EngineSpec, aligners: Aligners) -> str:
    """A hash of all in the configuration that can change a chunk: not of segments (publish re-derives them), batching,
    fetching or waves."""
    defaults = [config.language, config.context, config.audio.channels]
    return _hash({**_engines(recognizer, aligners), **_sections(config), "defaults": defaults})


def content_key(content_sha256: str, work: Work, config: Config, recognizer: EngineSpec, aligners: Aligners) -> str:
    """The same of the file's own bytes and what is asked of them, wherever it lies and whoever asks."""
    given = work.language_source == "given" or work.language == AUTO_PER_CHUNK
    asked = [work.language if given else None, work.context, work.channels]
    place = [work.start_ms, work.end_ms, work.audio_track]
    parts = {**_engines_once(recognizer, aligners), **_sections(config)}
    return _hash({**parts, "content": content_sha256, "asked": asked, "place": place})


def _engines(recognizer: EngineSpec, aligners: Aligners) -> dict[str, Any]:
    return {
        "pipeline": PIPELINE_VERSION,
        "engine": dict(recognizer.key),
        "aligners": [[name, None if spec is None else dict(spec.key)] for name, spec in aligners],
    }


_engines_once = functools.cache(_engines)
"""A spec may have to look into its model's files, or ask a hub; a process loads a model once, too."""


def _sections(config: Config) -> dict[str, Any]:
    return {name: getattr(config, name).model_dump() for name in ("vad", "packing", "retry")}


def _hash(parts: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:32]
