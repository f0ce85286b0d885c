"""What all WebSockets of live speech have in common: messages in, a session's events out, and the limits."""

from __future__ import annotations

import asyncio
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from typing import Any

import numpy as np
from fastapi import WebSocket, WebSocketDisconnect
from fastapi.concurrency import run_in_threadpool
from numpy.typing import NDArray

from schemas.config import Config
from schemas.table import audio_id_of
from transforms.errors import RecordingError
from transforms.live.asked import ENGINE_LOST, UNAVAILABLE, Refused
from transforms.live.ears import Ears
from transforms.live.keeping import Keeper
from transforms.live.measures import Lag
from transforms.live.service import Service, work_of
from transforms.live.session import Event, Session
from transforms.live.sound import Sound
from transforms.live.voices import Voices
from transforms.logs import tell

_SLOW_READER = 50
"""Events that wait for a client that does not read; while there are more, partial readings are left out."""
_ROOM_AGAIN_S = 0.05
_SLICE_BYTES = 1 << 15
"""What is heard at once: a second or less, so that others of the same thread do not wait for a client's ten minutes."""
_MOST_UNHEARD_BYTES = 1 << 18
_CLOSED_BY_POLICY = 1008
_GOING_AWAY = 1001


GONE = (WebSocketDisconnect, RuntimeError)
"""What Starlette raises where there is nobody any more."""


async def say_why(socket: WebSocket, refused: Refused) -> None:
    """And end it."""
    with suppress(*GONE):
        await socket.send_json({"type": "error", **refused.body})
        await socket.close(_CLOSED_BY_POLICY)


@dataclass(frozen=True)
class Host:
    """What a conversation needs of the server. `draining`: it is about to end."""

    service: Service
    config: Config
    models: Collection[str]
    known: Collection[str] | None
    draining: asyncio.Event
    lag: Lag
    keeper: Keeper | None
    ears: Ears


def live_config(config: Config, silence_ms: int | None, pad_ms: int | None = None) -> Config:
    """With utterances that end after so long a pause; None: after none. `pad_ms`: what is kept before and after."""
    most_ms = config.vad.pad_ms if silence_ms is None else silence_ms // 2
    vad = config.vad.model_copy(update={"pad_ms": min(config.vad.pad_ms if pad_ms is None else pad_ms, most_ms)})
    gap_s = config.serve.max_session_minutes * 60 if silence_ms is None else silence_ms / 1000
    return config.model_copy(update={"vad": vad, "packing": config.packing.model_copy(update={"max_gap_s": gap_s})})


class Exchange(ABC):
    """One client's session, from its first message to its last."""

    def __init__(self, socket: WebSocket, host: Host, number: str) -> None:
        self.socket, self.host, self.number = socket, host, number
        self._limits = host.config.serve
        self._loop, self._events = asyncio.get_running_loop(), asyncio.Queue[Event]()
        self._session: Session | Voices | None = None
        self._sound: Sound | None = None
        self._kept = None if host.keeper is None else host.keeper.begin(number)
        self._ear = host.ears.one()
        self._sent_bytes = self._heard_bytes = 0
        self._is_deaf = False
        """Something was wrong with what it heard."""

    @abstractmethod
    async def greet(self) -> None:
        """The first messages."""

    @abstractmethod
    async def obey(self, message: Mapping[str, Any]) -> bool:
        """Does what a message says; True if it was the last one. Raises Refused for what ends the session."""

    @abstractmethod
    def shown(self, event: Event) -> list[dict[str, Any]]:
        """The messages that tell it; of `ended` in a thread."""

    @property
    def kept_as(self) -> str | None:
        """The audio_id of the session's recording; None if it is not kept."""
        return None if self._kept is None else audio_id_of(self._kept.uri)

    @property
    def heard_s(self) -> float:
        return 0.0 if self._session is None else self._session.heard_ms / 1000

    def begin(self, sound: Sound, config: Config, language: str | None, context: str | None, channels: int = 1) -> None:
        work, service = work_of(self.number, None, language, context), self.host.service
        self._sound = sound
        if channels == 1:
            self._session = Session(service, work, config, self._deliver)
        else:
            self._session = Voices(service, work, config, self._deliver, channels)

    @property
    def session(self) -> Session | Voices | None:
        return self._session

    async def push(self, data: bytes) -> None:
        """Sound of a session that has begun. Waits while ears or engines are behind: what the client sends meanwhile
        waits in its own buffers."""
        assert self._session is not None
        assert self._sound is not None
        for first in range(0, len(data), _SLICE_BYTES):
            piece = data[first : first + _SLICE_BYTES]
            self._sent_bytes += len(piece)
            if self._sound.waits:
                await run_in_threadpool(self._take, piece)
            else:
                self._ear(partial(self._take, piece))
            while self._sent_bytes - self._heard_bytes > _MOST_UNHEARD_BYTES or self._session.is_behind:
                await asyncio.sleep(_ROOM_AGAIN_S)

    async def commit(self) -> None:
        """The utterance is over."""
        assert self._session is not None
        await self._in_order(self._session.commit)

    async def clear(self) -> None:
        """The utterance is forgotten."""
        assert self._session is not None
        await self._in_order(self._session.clear)

    async def finish(self) -> None:
        """Nothing more comes."""
        assert self._sound is not None
        if self._sound.waits:
            await run_in_threadpool(self._safely, self._finish)
        else:
            await self._in_order(self._finish)

    async def hold(self) -> Refused | None:
        """Until the client, the session or the server ends. Returns what ended it, if it was not to be."""
        began_at = time.monotonic()
        hears, tells = asyncio.ensure_future(self._hear()), asyncio.ensure_future(self._tell())
        drains = asyncio.ensure_future(self.host.draining.wait())
        try:
            await self.greet()
            await asyncio.wait({hears, tells, drains}, return_when=asyncio.FIRST_COMPLETED)
            if hears.done():
                hears.result()  # raises what ended it before its end
            elif not tells.done():
                hears.cancel()
                await (self.finish() if self._session is not None else asyncio.sleep(0))
            if self._session is not None:
                await tells
            await self.socket.close(_GOING_AWAY if drains.done() else 1000)
        except Refused as refused:
            await say_why(self.socket, refused)
            return refused
        except GONE:
            pass  # as a client may
        finally:
            for one in (hears, tells, drains):
                one.cancel()
            await asyncio.gather(hears, tells, drains, return_exceptions=True)
            self._end(time.monotonic() - began_at)
        return None

    def _end(self, took_s: float) -> None:
        self._ear(self._close)
        tell(f"session {self.number}: {self.heard_s:.1f} s of audio in {took_s:.1f} s", session=self.number)

    def _close(self) -> None:
        if self._session is not None and self._sound is not None:
            self._session.drop()
            self._sound.close()
        if self._kept is not None:
            self._kept.end()

    def _deliver(self, event: Event) -> None:
        self._loop.call_soon_threadsafe(self._put, event)

    def _put(self, event: Event) -> None:
        if event["type"] == "said":
            self.host.lag.said((event.get("channel"), event["utterance"]))
        elif event["type"] == "final":
            self.host.lag.read((event.get("channel"), event["utterance"]))
            if self._kept is not None:
                self._kept.said(event["row"])
        if event["type"] != "partial" or self._events.qsize() < _SLOW_READER:
            self._events.put_nowait(event)

    async def _hear(self) -> None:
        while True:
            try:
                message = await asyncio.wait_for(self.socket.receive(), self._limits.idle_s)
            except TimeoutError:
                raise Refused(f"nothing has come for {self._limits.idle_s:g} s", code="idle") from None
            if message["type"] == "websocket.disconnect":
                raise WebSocketDisconnect(message.get("code", 1005))
            if await self.obey(message):
                return

    async def _in_order(self, act: Callable[[], None]) -> None:
        """After all that was sent before is heard."""
        done = asyncio.Event()

        def run() -> None:
            try:
                self._safely(act)
            finally:
                self._loop.call_soon_threadsafe(done.set)

        self._ear(run)
        await done.wait()

    def _take(self, data: bytes) -> None:
        """Hears what was sent; in a thread."""
        assert self._sound is not None
        try:
            self._safely(partial(self._listen, self._sound.take, data))
        finally:
            self._heard_bytes += len(data)

    def _listen(self, decode: Callable[..., NDArray[np.float32]], *data: bytes) -> None:
        assert self._session is not None
        samples = decode(*data)
        if self._kept is not None:
            self._kept.hear(samples)
        self._session.push(samples)
        if self._session.heard_ms > self._limits.max_session_minutes * 60_000:
            raise Refused(f"a session has {self._limits.max_session_minutes:g} minutes at most", code="too_long")

    def _finish(self) -> None:
        assert self._session is not None
        assert self._sound is not None
        self._listen(self._sound.end)
        self._session.finish()

    def _safely(self, act: Callable[[], None]) -> None:
        """What goes wrong is told to the client, and nothing more is heard then."""
        try:
            if not self._is_deaf:
                act()
        except Refused as refused:
            self._refuse(refused)
        except RecordingError as error:
            self._refuse(Refused(error.message, code=error.kind))
        except Exception:
            self._refuse(Refused("the server failed; see its log", HTTPStatus.INTERNAL_SERVER_ERROR))
            raise

    def _refuse(self, refused: Refused) -> None:
        self._is_deaf = True
        self._deliver({"type": "refused", "refused": refused})

    async def _tell(self) -> None:
        """Sends events until the last one."""
        while True:
            event = await self._events.get()
            if event["type"] == "error":
                raise Refused(event["message"], UNAVAILABLE, code=ENGINE_LOST)
            if event["type"] == "refused":
                raise event["refused"]
            long = event["type"] == "ended"  # all of the session is put together
            for message in await run_in_threadpool(self.shown, event) if long else self.shown(event):
                await self.socket.send_json(message)
            if event["type"] == "partial":
                self.host.lag.told(event["pushed_at"])
            if event["type"] == "ended":
                return
