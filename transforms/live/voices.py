"""A session of several channels, each with a speaker of its own: what `session.Session` is for one."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from schemas.config import Config
from transforms.audio.front import Work
from transforms.live.service import Service
from transforms.live.session import Event, Session


class Voices:
    """Each channel is heard and read by itself. Events have their `channel`, and utterances are counted in it; `ended`
    comes once, with the rows of all as the job has them of a recording with its channels split."""

    def __init__(
        self, service: Service, work: Work, config: Config, deliver: Callable[[Event], None], channels: int
    ) -> None:
        self._work, self._deliver = work, deliver
        self._lock = threading.Lock()
        self._rows: dict[int, list[dict[str, Any]]] = {}
        self._sessions = [
            Session(service, replace(work, audio_id=f"{work.audio_id}/{channel}"), config, partial(self._take, channel))
            for channel in range(channels)
        ]

    @property
    def heard_ms(self) -> int:
        return self._sessions[0].heard_ms

    @property
    def is_behind(self) -> bool:
        return any(session.is_behind for session in self._sessions)

    def push(self, samples: NDArray[np.float32]) -> None:
        """`samples`: (samples, channels)."""
        for channel, session in enumerate(self._sessions):
            session.push(np.ascontiguousarray(samples[:, channel]))

    def commit(self) -> None:
        for session in self._sessions:
            session.commit()

    def clear(self) -> None:
        for session in self._sessions:
            session.clear()

    def finish(self) -> None:
        for session in self._sessions:
            session.finish()

    def drop(self) -> None:
        for session in self._sessions:
            session.drop()

    def _take(self, channel: int, event: Event) -> None:
        if event["type"] == "ended":
            with self._lock:
                self._rows[channel] = event["rows"]
                is_last = len(self._rows) == len(self._sessions)
            if is_last:
                self._deliver({"type": "ended", "rows": self._joined()})
        elif event["type"] == "final":
            self._deliver({**event, "channel": channel, "row": self._row(event["row"], channel)})
        else:
            self._deliver({**event, "channel": channel})

    def _row(self, row: dict[str, Any], channel: int) -> dict[str, Any]:
        return row | {"audio_id": self._work.audio_id, "channel": channel}

    def _joined(self) -> list[dict[str, Any]]:
        rows = [self._row(row, channel) for channel, some in sorted(self._rows.items()) for row in some]
        closings = [row for row in rows if row["closing"]]
        parts = [row["closing"] for row in closings]
        closing = parts[0] | {name: sum(part[name] for part in parts) for name in ("chunk_count", "speech_ms")}
        closing["language"] = next((part["language"] for part in parts if part["language"]), None)
        closing["flags"] = sorted({flag for part in parts for flag in part["flags"]})
        return [row for row in rows if not row["closing"]] + [closings[0] | {"channel": None, "closing": closing}]
