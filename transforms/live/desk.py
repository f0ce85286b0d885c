"""Takes requests and sessions in, if they may and there is room, and sends what comes of them."""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from collections.abc import Callable, Collection
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from http import HTTPStatus
from pathlib import Path, PurePath
from typing import Any

from fastapi import Request, Response, WebSocket
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse, PlainTextResponse, StreamingResponse
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException
from starlette.types import Receive, Scope, Send

from schemas.config import Config
from transforms.errors import RecordingError
from transforms.live.answers import TranscriptStream, answer
from transforms.live.archive import Archive
from transforms.live.asked import UNAVAILABLE, Asked, Refused, asked
from transforms.live.chat import ChatStream, chat, completion
from transforms.live.ears import Ears
from transforms.live.exchange import Exchange, Host, say_why
from transforms.live.keeping import Keeper
from transforms.live.keys import Asking, Keys
from transforms.live.limits import MOST_BYTES
from transforms.live.measures import Lag, Measures, counted
from transforms.live.reading import Reading, Row
from transforms.live.service import Service, work_of
from transforms.logs import tell
from transforms.stores.roots import allowed

_COPIED_BYTES = 1 << 20
_REALTIME_PROTOCOL = "realtime"


@dataclass(frozen=True)
class Desk:
    """`models`: what clients call the model, its own first; `known`: the languages that it speaks, None for any.
    `folder` holds what was sent while it is at work."""

    service: Service
    config: Config
    models: Collection[str]
    known: Collection[str] | None
    folder: Path
    keys: Keys
    measures: Measures
    ears: Ears
    keeper: Keeper | None = None
    archive: Archive | None = None
    draining: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the server is about to end: what is at work is done first, and sessions are ended."""
    conversations: set[Exchange] = field(default_factory=set)

    async def transcribe(self, request: Request) -> Response:
        """A form with a file."""
        with ExitStack() as held:
            number, done = self._begin(request, held)
            what, name, path = await self._received(request, number, held)
            reading = await self._read(number, path, name, what, held)
            if what.stream:
                return _Events(reading.events(TranscriptStream(what), done), held.pop_all())
            row = await reading.whole(request)
            body = await run_in_threadpool(answer, row, what, name)
            done(row, reading.is_known)
        return PlainTextResponse(body) if isinstance(body, str) else JSONResponse(body)

    async def chat(self, request: Request) -> Response:
        """A chat with a sound in it."""
        with ExitStack() as held:
            number, done = self._begin(request, held)
            try:
                body = json.loads(await request.body())
            except ValueError:
                raise Refused("the body is no JSON", code="invalid_message") from None
            asked_for = await run_in_threadpool(chat, body, self.config, self.models, self.known)
            audio: Path | str
            if isinstance(asked_for.audio, bytes):
                audio, name = self._place(number, held), "the audio"
                await run_in_threadpool(audio.write_bytes, asked_for.audio)
            elif self._may_fetch(asked_for.audio):
                audio = name = asked_for.audio
            else:
                reason = "addresses are not fetched here, but those of serve.addresses; send the audio itself"
                raise Refused(reason, param="messages", code="address_not_allowed")
            reading = await self._read(number, audio, name, asked_for.asked, held)
            if asked_for.asked.stream:
                return _Events(reading.events(ChatStream(asked_for, number), done), held.pop_all())
            row = await reading.whole(request)
            done(row, reading.is_known)
            return JSONResponse(await run_in_threadpool(completion, row, asked_for, number))

    async def converse(self, socket: WebSocket, kind: Callable[[WebSocket, Host, str], Exchange]) -> None:
        offered = [one.strip() for one in socket.headers.get("sec-websocket-protocol", "").split(",")]
        await socket.accept(_REALTIME_PROTOCOL if _REALTIME_PROTOCOL in offered else None)
        with ExitStack() as held:
            try:
                asking = held.enter_context(self.keys.asking(socket.headers))
                held.enter_context(counted(self.measures.sessions))
                self._admit()
                lag = Lag(self.measures)
                host = Host(
                    self.service, self.config, self.models, self.known, self.draining, lag, self.keeper, self.ears
                )
                conversation = kind(socket, host, uuid.uuid4().hex)
            except Refused as refused:
                self.count_refused(refused)
                await say_why(socket, refused)
                return
            self.conversations.add(conversation)
            try:
                if (ended_by := await conversation.hold()) is not None:
                    self.count_refused(ended_by)
            finally:
                self.conversations.remove(conversation)
                asking.audio_s = conversation.heard_s
                self.measures.audio.labels(asking.name, "live").inc(asking.audio_s)

    def count_refused(self, refused: Refused) -> None:
        """For the operator."""
        self.measures.refused.labels(refused.code or refused.status).inc()

    def _may_fetch(self, uri: str) -> bool:
        try:
            return bool(self.config.serve.addresses) and bool(allowed(uri, self.config.serve.addresses))
        except RecordingError:
            return False

    def _begin(self, request: Request, held: ExitStack) -> tuple[str, Callable[[Row, bool], None]]:
        """A number for the request, if it is let in, and what is to be called with the transcript, and whether that was
        known."""
        number, began_at = uuid.uuid4().hex, time.monotonic()
        asking = held.enter_context(self.keys.asking(request.headers))
        held.enter_context(counted(self.measures.requests))
        self._admit()
        if asking.key is not None and asking.key.max_upload_mib is not None:
            request.scope[MOST_BYTES] = asking.key.max_upload_mib << 20
        return number, partial(self._done, number, asking, began_at)

    def _place(self, number: str, held: ExitStack) -> Path:
        path = self.folder / number
        held.callback(path.unlink, missing_ok=True)
        return path

    async def _read(self, number: str, audio: Path | str, name: str, what: Asked, held: ExitStack) -> Reading:
        """`audio`: the file, or its address."""
        work, known = work_of(number, str(audio), what.language, what.context, what.channels), None
        if self.archive is not None and isinstance(audio, Path):
            known = await run_in_threadpool(self.archive.rows, audio, work, what.config)
        reading = Reading(self.service, work, name, what, known)
        held.callback(reading.end)
        return reading

    def _admit(self) -> None:
        """Raises Refused for what would wait for long."""
        service, limits = self.service, self.config.serve
        if self.draining.is_set():
            raise Refused("the server is about to end; ask another", UNAVAILABLE, retry_after_s=limits.retry_after_s)
        if not service.ready:
            raise Refused("the engines are being loaded; try again soon", UNAVAILABLE, retry_after_s=5)
        if service.orders >= limits.max_requests or service.waiting_s > limits.max_waiting_audio_s:
            reason = f"{service.orders} requests are at work, {service.waiting_s:.0f} s of audio wait; try again later"
            raise Refused(reason, HTTPStatus.TOO_MANY_REQUESTS, code="overloaded", retry_after_s=limits.retry_after_s)

    async def _received(self, request: Request, number: str, held: ExitStack) -> tuple[Asked, str, Path]:
        """What is asked, and the file: what it was called, and where it lies until `held` ends."""
        try:
            async with request.form(max_files=1, max_fields=100) as form:
                fields = [(name, value) for name, value in form.multi_items() if isinstance(value, str)]
                what = asked(fields, self.config, self.models, self.known)
                file = form.get("file")
                if not isinstance(file, UploadFile):
                    raise Refused("file is missing", param="file", code="missing_field")
                path = self._place(number, held)
                await run_in_threadpool(_keep, file, path)
                return what, PurePath(file.filename or "").name or "audio", path
        except MultiPartException as error:
            raise Refused(f"the form cannot be read: {error.message}") from None

    def _done(self, number: str, asking: Asking, began_at: float, row: Row, known: bool) -> None:
        """Of a request that was answered; nothing of what was said in it is told."""
        audio_s, took_s = (row["duration_ms"] or 0) / 1000, time.monotonic() - began_at
        asking.audio_s = audio_s
        self.measures.audio.labels(asking.name, "known" if known else "file").inc(audio_s)
        if audio_s and not known:
            self.measures.factor.observe(took_s / audio_s)
        by = {"key": asking.name} if asking.name else {}
        how = ", from the tables" if known else ""
        tell(
            f"request {number}: {audio_s:.1f} s of audio in {took_s:.1f} s{how}",
            request_id=number,
            audio_s=audio_s,
            **by,
        )


class _Events(StreamingResponse):
    """Holds what belongs to it until it is sent, or the client is gone."""

    def __init__(self, events: Any, held: ExitStack) -> None:
        super().__init__(events, media_type="text/event-stream")
        self._held = held

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self._held:
            await super().__call__(scope, receive, send)


def _keep(file: UploadFile, path: Path) -> None:
    with path.open("wb") as kept:
        while data := file.file.read(_COPIED_BYTES):
            kept.write(data)
