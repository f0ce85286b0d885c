"""Files that were sent before: what the lake's tables have of them already."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

from schemas.config import Config
from transforms.audio.front import Work
from transforms.logs import tell
from transforms.recognition.keys import content_key
from transforms.recognition.rows import TaskSpec
from transforms.stores.ranged import content_sha256

Find = Callable[[str], list[dict[str, Any]] | None]
"""The rows of chunks of a recording by its content_key. Raises OSError if the tables cannot be asked."""


class Archive:
    def __init__(self, spec: TaskSpec, find: Find) -> None:
        self._spec, self._find = spec, find

    def rows(self, path: Path, work: Work, config: Config) -> list[dict[str, Any]] | None:
        """What an engine would make of this file for `work` under `config`, as the job has made it of the same content;
        None if it has not, or cannot be asked now: then it is to be made anew."""
        key = content_key(content_sha256(path) or "", work, config, self._spec.recognizer, self._spec.aligners)
        try:
            return self._find(key)
        except OSError as error:
            tell(f"{error}; what was sent is transcribed anew", logging.WARNING)
            return None
