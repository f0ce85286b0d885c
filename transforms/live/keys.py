"""Who may ask, and how much: a file of hashed keys, read again when it changes.

```yaml
- name: captions            # in logs and metrics
  sha256: 5e88…             # of the key; `python -m jobs.serve --new-key captions` makes both
  max_at_once: 20           # requests and sessions; without it the server's own limits hold alone
  hours_a_day: 50           # of audio, by UTC days; counted by each server for itself
  max_upload_mib: 100
```
"""

from __future__ import annotations

import datetime
import hashlib
import logging
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from schemas.config import ConfigError
from transforms.live.asked import Refused
from transforms.logs import tell

_PREFIX = "lk-"
_IN_PROTOCOL = "openai-insecure-api-key."
"""How browsers give a key, which cannot set a WebSocket's headers."""


class Key(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    max_at_once: int | None = Field(None, ge=1)
    hours_a_day: float | None = Field(None, gt=0)
    max_upload_mib: int | None = Field(None, ge=1)


@dataclass
class _Use:
    at_once: int = 0
    day: datetime.date | None = None
    hours: float = 0.0

    def today(self) -> float:
        now = datetime.datetime.now(datetime.UTC).date()
        if self.day != now:
            self.day, self.hours = now, 0.0
        return self.hours


@dataclass
class Asking:
    """A request or session that a key has let in; None: there are no keys. `audio_s` is to be set at its end."""

    key: Key | None
    audio_s: float = 0.0

    @property
    def name(self) -> str:
        return self.key.name if self.key is not None else ""


@dataclass
class Keys:
    """Without a `path` everybody may ask. Raises ConfigError for a file that cannot be used."""

    path: Path | None
    _read_at_ns: int = 0
    _known: dict[str, Key] = field(default_factory=dict)
    _uses: dict[str, _Use] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._read()

    @contextmanager
    def asking(self, headers: Mapping[str, str]) -> Iterator[Asking]:
        """Raises Refused for who may not."""
        key = self._key(headers)
        asking = Asking(key)
        use = self._uses.setdefault(asking.name, _Use())
        if key is not None and key.max_at_once is not None and use.at_once >= key.max_at_once:
            reason = f"{key.max_at_once} requests of this key are at work, the most that it may have at once"
            raise Refused(reason, HTTPStatus.TOO_MANY_REQUESTS, code="key_at_once", retry_after_s=1)
        if key is not None and key.hours_a_day is not None and use.today() >= key.hours_a_day:
            reason = f"this key has had its {key.hours_a_day:g} hours of audio today (UTC)"
            raise Refused(reason, HTTPStatus.TOO_MANY_REQUESTS, code="key_hours", retry_after_s=_seconds_of_today())
        use.at_once += 1
        try:
            yield asking
        finally:
            use.at_once -= 1
            use.hours = use.today() + asking.audio_s / 3600

    def _key(self, headers: Mapping[str, str]) -> Key | None:
        if self.path is None:
            return None
        try:
            self._read()
        except ConfigError as error:  # as while somebody writes it: those keys stand that were read last
            tell(str(error), logging.WARNING)
        scheme, _, given = headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            offered = [one.strip() for one in headers.get("sec-websocket-protocol", "").split(",")]
            found = (one.removeprefix(_IN_PROTOCOL) for one in offered if one.startswith(_IN_PROTOCOL))
            given = next(found, "")
        key = self._known.get(digest(given.strip()))
        if key is None:
            reason = "the key is not known here" if given else "a key is needed: Authorization: Bearer …"
            raise Refused(reason, HTTPStatus.UNAUTHORIZED, code="invalid_api_key")
        return key

    def _read(self) -> None:
        if self.path is None:
            return
        try:
            changed_ns = self.path.stat().st_mtime_ns
            if changed_ns == self._read_at_ns:
                return
            keys = [Key.model_validate(row) for row in yaml.safe_load(self.path.read_text("utf-8")) or ()]
        except (OSError, TypeError, yaml.YAMLError, ValidationError) as error:
            reason = " ".join(str(error).split())
            raise ConfigError(f"serve.keys is {self.path}, which is no list of keys: {reason}") from None
        self._known, self._read_at_ns = {key.sha256: key for key in keys}, changed_ns


def digest(key: str) -> str:
    """Of a key of 256 random bits, which nobody guesses: no salt, and no slow hash, is needed."""
    return hashlib.sha256(key.encode()).hexdigest()


def new_key(name: str) -> tuple[str, dict[str, Any]]:
    """A key, and its row for the file."""
    key = _PREFIX + secrets.token_urlsafe(32)
    return key, {"name": name, "sha256": digest(key)}


def _seconds_of_today() -> int:
    now = datetime.datetime.now(datetime.UTC)
    tomorrow = datetime.datetime.combine(now.date() + datetime.timedelta(days=1), datetime.time(), datetime.UTC)
    return int((tomorrow - now).total_seconds()) + 1
