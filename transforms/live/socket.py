"""`/v1/stream`: sound in, words out while they are said, over a WebSocket.

The client sends binary messages of sound, and text messages {"type": "commit"} (the utterance is over) and
{"type": "end"} (nothing more comes). The server sends JSON: see docs/live.md. Times are seconds of the session.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Collection, Mapping
from typing import Any, Literal

from fastapi import WebSocket, WebSocketDisconnect
from fastapi.concurrency import run_in_threadpool

from schemas.config import AUTO_PER_CHUNK, Config
from transforms.audio.front import Work
from transforms.errors import RecordingError
from transforms.live.answers import transcript
from transforms.live.asked import ENGINE_LOST, UNAVAILABLE, Refused, language_of, model_of
from transforms.live.service import Service
from transforms.live.session import Event, Session
from transforms.live.sound import SOUNDS, Sound
from transforms.logs import tell

_FIELDS = frozenset({"model", "language", "prompt", "format", "rate", "silence_ms"})
_RATES_HZ = (8_000, 192_000)
_SLOW_READER = 50
"""Events that wait for a client that does not read; while there are more, partial readings are left out."""
_ROOM_AGAIN_S = 0.05
CLOSED_BY_POLICY = 1008


def live_config(config: Config, silence_ms: int) -> Config:
    """With utterances that end after so long a pause."""
    vad = config.vad.model_copy(update={"pad_ms": min(config.vad.pad_ms, silence_ms // 2)})
    packing = config.packing.model_copy(update={"max_gap_s": silence_ms / 1000})
    return config.model_copy(update={"vad": vad, "packing": packing})


class Conversation:
    """One client's session, from its first message to its last."""

    def __init__(
        self, socket: WebSocket, service: Service, number: str, config: Config, models: Collection[str],
        known: Collection[str] | None,
    ) -> None:  # fmt: skip
        """Raises Refused for what the address asks and cannot be had."""
        query = socket.query_params
        if unknown := sorted(query.keys() - _FIELDS):
            raise Refused(f"there is no field {unknown[0]}", param=unknown[0], code="unknown_field")
        if "model" in query:
            model_of(query["model"], models)
        language = language_of(query.get("language"), config, known)
        form = query.get("format", "pcm16")
        if form not in SOUNDS:
            raise Refused(f"format is {form!r}; it is one of {', '.join(SOUNDS)}", param="format")
        rate_hz = _whole(query.get("rate", "16000"), "rate", *_RATES_HZ)
        silence_ms = _whole(query.get("silence_ms", str(config.serve.silence_ms)), "silence_ms", 100, 60_000)
        self._socket, self._limits, self._number = socket, config.serve, number
        self._config = live_config(config, silence_ms)
        self._sound: Sound = SOUNDS[form](rate_hz)
        self._loop, self._events = asyncio.get_running_loop(), asyncio.Queue[Event]()
        source: Literal["given"] | None = "given" if language not in (None, AUTO_PER_CHUNK) else None
        context = query.get("prompt") or config.context
        work = Work(number, "", "", None, None, language, source, context, "mix", 0, None, {})
        self._session = Session(service, work, self._config, self._deliver)

    def _deliver(self, event: Event) -> None:
        self._loop.call_soon_threadsafe(self._put, event)

    def _put(self, event: Event) -> None:
        if event["type"] != "partial" or self._events.qsize() < _SLOW_READER:
            self._events.put_nowait(event)

    async def hold(self) -> None:
        """Until the client or the session ends."""
        began_at = time.monotonic()
        hears = asyncio.ensure_future(self._hear())
        tells = asyncio.ensure_future(self._tell())
        try:
            await self._socket.send_json({"type": "started", "session": self._number})
            await asyncio.wait({hears, tells}, return_when=asyncio.FIRST_COMPLETED)
            if hears.done():
                hears.result()  # raises what ended it before its end
                await tells
            await self._socket.close()
        except Refused as refused:
            await self._socket.send_json({"type": "error", **refused.body})
            await self._socket.close(CLOSED_BY_POLICY)
        except (WebSocketDisconnect, RuntimeError):
            pass  # the client is gone, as it may
        finally:
            hears.cancel()
            tells.cancel()
            self._session.drop()
            self._sound.close()
            took_s, audio_s = time.monotonic() - began_at, self._session.heard_ms / 1000
            tell(f"session {self._number}: {audio_s:.1f} s of audio in {took_s:.1f} s", session=self._number)

    async def _hear(self) -> None:
        while True:
            try:
                message = await asyncio.wait_for(self._socket.receive(), self._limits.idle_s)
            except TimeoutError:
                raise Refused(f"nothing has come for {self._limits.idle_s:g} s", code="idle") from None
            if message["type"] == "websocket.disconnect":
                raise WebSocketDisconnect(message.get("code", 1005))
            if (data := message.get("bytes")) is not None:
                await self._push(data)
            elif await self._obey(message.get("text") or ""):
                return

    async def _push(self, data: bytes) -> None:
        try:
            samples = await run_in_threadpool(self._sound.take, data)
        except RecordingError as error:
            raise Refused(error.message, code=error.kind) from None
        await run_in_threadpool(self._session.push, samples)
        most_ms = self._limits.max_session_minutes * 60_000
        if self._session.heard_ms > most_ms:
            raise Refused(f"a session has {self._limits.max_session_minutes:g} minutes at most", code="too_long")
        while self._session.is_behind:  # what the client sends meanwhile waits in its own buffers
            await asyncio.sleep(_ROOM_AGAIN_S)

    async def _obey(self, text: str) -> bool:
        """True at the end."""
        try:
            kind = json.loads(text)["type"]
        except (ValueError, TypeError, KeyError):
            kind = None
        if kind == "commit":
            await run_in_threadpool(self._session.commit)
        elif kind == "end":
            try:
                rest = await run_in_threadpool(self._sound.end)
            except RecordingError as error:
                raise Refused(error.message, code=error.kind) from None
            await run_in_threadpool(self._session.push, rest)
            await run_in_threadpool(self._session.finish)
            return True
        else:
            raise Refused('a text message is {"type": "commit"} or {"type": "end"}', code="unknown_message")
        return False

    async def _tell(self) -> None:
        """Sends events until the last one."""
        while True:
            event = await self._events.get()
            await self._socket.send_json(await run_in_threadpool(shown, event, self._config))
            if event["type"] in ("ended", "error"):
                return


def shown(event: Event, config: Config) -> dict[str, Any]:
    """As it is sent."""
    if event["type"] == "final":
        return {"type": "final", "utterance": event["utterance"], **_utterance(event["row"])}
    if event["type"] == "ended":
        whole = transcript(event["rows"], config)
        return {
            "type": "ended",
            "text": whole["text"] or "",
            "language": whole["language"],
            "duration": _seconds(whole["duration_ms"]),
            "flags": whole["flags"],
        }
    if event["type"] == "error":
        return {"type": "error", **Refused(event["message"], UNAVAILABLE, code=ENGINE_LOST).body}
    times = {name: _seconds(value) for name, value in event.items() if name.endswith("_ms")}
    others = {name: value for name, value in event.items() if name not in times}
    return others | {name.removesuffix("_ms"): value for name, value in times.items()}


def _utterance(row: Mapping[str, Any]) -> dict[str, Any]:
    words = row["words"] or []
    known = [word["confidence"] for word in words if word["confidence"] is not None]
    return {
        "start": _seconds(row["start_ms"]),
        "end": _seconds(row["end_ms"]),
        "text": row["text"] or "",
        "language": row["language"],
        "confidence": sum(known) / len(known) if known else None,
        "words": [
            {
                "word": word["word"],
                "start": _seconds(word["start_ms"]),
                "end": _seconds(word["end_ms"]),
                "confidence": word["confidence"],
            }
            for word in words
        ],
        "flags": row["flags"] or [],
        "error": row["error"]["message"] if row["error"] else None,
    }


def _seconds(ms: int | None) -> float | None:
    return None if ms is None else ms / 1000


def _whole(text: str, param: str, least: int, most: int) -> int:
    if not text.isdigit() or not least <= int(text) <= most:
        raise Refused(f"{param} is {text!r}; it is a whole number from {least} to {most}", param=param)
    return int(text)
