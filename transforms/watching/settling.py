"""Is a file whole, or still being written?"""

from __future__ import annotations

import datetime
import time
from typing import Any

from schemas.config import FetchConfig
from transforms.run.listing import look_at
from transforms.stores.files import appears_whole
from transforms.watching.arrivals import Arrival

_LONG_AGO = datetime.timedelta(hours=1)
"""What was changed longer ago is whole at the first look: the clocks of two machines do not differ by so much."""


class Settling:
    """What each file looked like, and since when. Knows nothing of earlier processes: files wait anew in each."""

    def __init__(self, settle_s: float, config: FetchConfig) -> None:
        self._settle_s, self._config = settle_s, config
        self._long_ago = max(_LONG_AGO, datetime.timedelta(seconds=settle_s))
        self._seen: dict[str, tuple[Any, float]] = {}

    def row(self, arrival: Arrival) -> dict[str, Any] | None:
        """The arrival as a row of a manifest (uri, size_bytes, modified_at), as it is now; None if it is gone. Of
        stores in which files appear whole nothing is asked but what was noted."""
        noted = (arrival.size_bytes, arrival.modified_at) if appears_whole(arrival.path) else None
        return look_at(arrival.path, self._config, noted)

    def is_whole(self, arrival: Arrival, row: dict[str, Any]) -> bool:
        """True where files appear whole, and if size and time of change have stood still for long enough. One that is
        empty has not begun: it is waited for until that time is an hour old."""
        if appears_whole(arrival.path):
            return True
        now, state = time.monotonic(), _state(row)
        seen, since = self._seen.get(arrival.path, (None, now))
        if seen != state:
            since = now
            self._seen[arrival.path] = state, since
        changed_at = row["modified_at"]
        if changed_at is not None and datetime.datetime.now(datetime.UTC) - changed_at > self._long_ago:
            return True
        return bool(row["size_bytes"]) and now - since >= self._settle_s

    def is_same(self, arrival: Arrival, row: dict[str, Any]) -> bool:
        """True if the file still is what `row` says; one that is gone is."""
        now = self.row(arrival)
        return now is None or _state(now) == _state(row)

    def forget(self, path: str) -> None:
        self._seen.pop(path, None)


def _state(row: dict[str, Any]) -> tuple[Any, Any]:
    return row["size_bytes"], row["modified_at"]
