"""The routes: OpenAI's for transcription, and those that an operator asks."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
import time
import uuid
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path, PurePath
from typing import Any, Literal

from fastapi import FastAPI, Request, Response, WebSocket
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse, PlainTextResponse, StreamingResponse
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException

from schemas.config import AUTO_PER_CHUNK, Config
from transforms.audio.front import Work
from transforms.engines import languages_of
from transforms.errors import MachineError
from transforms.live.answers import Said, answer, last_events, text_delta, transcript
from transforms.live.asked import ENGINE_LOST, UNAVAILABLE, Asked, Refused, asked
from transforms.live.exchange import CLOSED_BY_POLICY, Exchange, Host
from transforms.live.limits import Body
from transforms.live.realtime import Realtime
from transforms.live.service import Delivery, Order, Peeked, Service, is_last
from transforms.live.socket import Conversation
from transforms.logs import tell
from transforms.recognition.rows import TaskSpec
from transforms.stores.scratch import scratch_folder

_COPIED_BYTES = 1 << 20
_LOOKS_S = 0.1
_OWNER = "lakescribe"


def app(spec: TaskSpec, names: Collection[str], stop: threading.Event, end: Callable[[bool], None]) -> FastAPI:
    """`names`: what clients call the model, its own first. Once `stop` is set all that is at work is done, and `end`
    called with False; with True if the engines are lost for good."""
    models = list(names)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        with scratch_folder() as folder:
            service = Service(spec, lambda: end(True))
            fetch = spec.config.fetch.model_copy(update={"allowed_roots": (str(folder),)})
            config = spec.config.model_copy(update={"fetch": fetch})
            app.state.desk = desk = Desk(service, config, models, languages_of(spec.recognizer), folder)
            drains = asyncio.ensure_future(_drain(desk, stop, end))
            await run_in_threadpool(service.__enter__)
            try:
                yield
            finally:
                drains.cancel()
                await run_in_threadpool(service.__exit__, None, None, None)

    api = FastAPI(title="Lakescribe", lifespan=lifespan)
    api.add_middleware(Body, most_bytes=spec.config.serve.max_upload_mib << 20)
    started_at = int(time.time())

    @api.exception_handler(Refused)
    async def refuse(_: Request, refused: Refused) -> Response:
        after = {} if refused.retry_after_s is None else {"Retry-After": str(refused.retry_after_s)}
        return JSONResponse(refused.body, refused.status, after)

    @api.exception_handler(HTTPException)
    async def no_such_thing(_: Request, error: HTTPException) -> Response:
        return await refuse(_, Refused(str(error.detail), HTTPStatus(error.status_code)))

    @api.exception_handler(Exception)
    async def fail(request: Request, error: Exception) -> Response:
        tell(f"{request.url.path} failed: {type(error).__name__}: {error}", logging.ERROR)
        return JSONResponse(Refused("the server failed; see its log", HTTPStatus.INTERNAL_SERVER_ERROR).body, 500)

    @api.get("/healthz")
    async def healthy() -> Response:
        """200 while requests can be done: 503 while the engines load, and when they are lost."""
        ready = api.state.desk.service.ready and not api.state.desk.draining.is_set()
        return PlainTextResponse("ready\n" if ready else "not ready\n", 200 if ready else UNAVAILABLE)

    @api.get("/v1/models")
    async def list_models() -> dict[str, Any]:
        return {"object": "list", "data": [_model(name, started_at) for name in models]}

    @api.get("/v1/models/{name:path}")
    async def show_model(name: str) -> dict[str, Any]:
        if name not in models:
            raise Refused(f"there is no model {name!r} here", HTTPStatus.NOT_FOUND, code="model_not_found")
        return _model(name, started_at)

    @api.post("/v1/audio/transcriptions")
    async def transcribe(request: Request) -> Response:
        """OpenAI's transcription of a file: fields and answers as its API reference has them."""
        desk: Desk = api.state.desk
        return await desk.transcribe(request)

    @api.websocket("/v1/stream")
    async def stream(socket: WebSocket) -> None:
        """Speech as it is spoken: see transforms.live.socket."""
        await api.state.desk.converse(socket, Conversation)

    @api.websocket("/v1/realtime")
    async def realtime(socket: WebSocket) -> None:
        """The same as OpenAI's Realtime API has it: see transforms.live.realtime."""
        await api.state.desk.converse(socket, Realtime)

    return api


async def _drain(desk: Desk, stop: threading.Event, end: Callable[[bool], None]) -> None:
    while not stop.is_set():
        await asyncio.sleep(_LOOKS_S)
    desk.draining.set()
    while desk.service.orders or desk.conversations:
        await asyncio.sleep(_LOOKS_S)
    end(False)


def _model(name: str, created: int) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": created, "owned_by": _OWNER}


@dataclass(frozen=True)
class Desk:
    """Takes requests in, and sends what comes of them."""

    service: Service
    config: Config
    models: Collection[str]
    known: Collection[str] | None
    folder: Path
    draining: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the server is about to end: what is at work is done first, and sessions are ended."""
    conversations: set[Exchange] = field(default_factory=set)

    async def transcribe(self, request: Request) -> Response:
        self._admit()
        number, began_at = uuid.uuid4().hex, time.monotonic()
        try:
            async with request.form(max_files=1, max_fields=100) as form:
                fields = [(name, value) for name, value in form.multi_items() if isinstance(value, str)]
                what = asked(fields, self.config, self.models, self.known)
                file = form.get("file")
                if not isinstance(file, UploadFile):
                    raise Refused("file is missing", param="file", code="missing_field")
                name = PurePath(file.filename or "").name or "audio"
                path = await run_in_threadpool(self._keep, file, number)
        except MultiPartException as error:
            raise Refused(f"the form cannot be read: {error.message}") from None
        work = Reading(self.service, number, path, name, what)
        if what.stream:
            return StreamingResponse(work.events(), media_type="text/event-stream")
        try:
            row = await work.whole(request)
            body = await run_in_threadpool(answer, row, what, name)
        finally:
            work.end()
        _tell(number, row, time.monotonic() - began_at)
        if isinstance(body, str):
            return PlainTextResponse(body)
        return JSONResponse(body)

    async def converse(self, socket: WebSocket, kind: Callable[[WebSocket, Host, str], Exchange]) -> None:
        await socket.accept()
        try:
            self._admit()
            host = Host(self.service, self.config, self.models, self.known, self.draining)
            conversation = kind(socket, host, uuid.uuid4().hex)
        except Refused as refused:
            await socket.send_json({"type": "error", **refused.body})
            await socket.close(CLOSED_BY_POLICY)
            return
        self.conversations.add(conversation)
        try:
            await conversation.hold()
        finally:
            self.conversations.remove(conversation)

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

    def _keep(self, file: UploadFile, number: str) -> Path:
        path = self.folder / number
        with path.open("wb") as kept:
            while data := file.file.read(_COPIED_BYTES):
                kept.write(data)
        return path


class Reading:
    """A recording at work for one request."""

    def __init__(self, service: Service, number: str, path: Path, name: str, what: Asked) -> None:
        self._path, self._name, self._asked = path, name, what
        self._service = service
        self._loop, self._queue = asyncio.get_running_loop(), asyncio.Queue[Delivery]()
        source: Literal["given"] | None = "given" if what.language not in (None, AUTO_PER_CHUNK) else None
        work = Work(number, "", "", str(path), None, what.language, source, what.context, what.channels, 0, None, {})
        self._order: Order = service.begin(work, what.config, self._deliver)

    def _deliver(self, delivery: Delivery) -> None:
        self._loop.call_soon_threadsafe(self._queue.put_nowait, delivery)

    def end(self) -> None:
        """The client has all, or is gone."""
        self._service.withdraw(self._order)
        self._path.unlink(missing_ok=True)

    async def _rows(self) -> AsyncIterator[dict[str, Any]]:
        while True:
            row = await self._queue.get()
            assert not isinstance(row, Peeked)
            if isinstance(row, MachineError):
                raise Refused(str(row), UNAVAILABLE, code=ENGINE_LOST, retry_after_s=5)
            yield row
            if is_last(row):
                return

    async def whole(self, request: Request) -> dict[str, Any]:
        """The transcript; none of it is made any more once the client is gone."""
        rows = asyncio.ensure_future(self._all())
        gone = asyncio.ensure_future(_gone(request))
        done, pending = await asyncio.wait({rows, gone}, return_when=asyncio.FIRST_COMPLETED)
        for one in pending:
            one.cancel()
        if rows not in done:
            raise Refused("the client is gone", HTTPStatus.BAD_REQUEST)
        return await self._transcript(await rows)

    async def _all(self) -> list[dict[str, Any]]:
        return [row async for row in self._rows()]

    async def _transcript(self, rows: list[dict[str, Any]]) -> dict[str, Any]:
        row = await run_in_threadpool(transcript, rows, self._asked.config)
        if row["status"] == "failed":
            failure = row["failures"][0]
            message = failure["message"].replace(str(self._path), self._name)
            status = HTTPStatus.BAD_REQUEST if failure["stage"] in ("fetch", "decode") else UNAVAILABLE
            raise Refused(message, status, param="file", code=failure["kind"])
        return row

    async def events(self) -> AsyncIterator[str]:
        """Server-sent events: text as it is read, then all of it; in diarized_json segments, then the text."""
        began_at = time.monotonic()
        try:
            said, rows = Said(), list[dict[str, Any]]()
            by_speaker = self._asked.form == "diarized_json"
            async for row in self._rows():
                rows.append(row)
                for delta in said.take(row) if not by_speaker else ():
                    yield _event(text_delta(delta, self._asked))
            row = await self._transcript(rows)
            for event in await run_in_threadpool(last_events, row, said, self._asked):
                yield _event(event)
            yield "data: [DONE]\n\n"
            _tell(self._order.work.audio_id, row, time.monotonic() - began_at)
        except Refused as refused:
            yield f"event: error\n{_event(refused.body)}"
        finally:
            self.end()


async def _gone(request: Request) -> None:
    """Returns when the client has closed its connection."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _event(body: Mapping[str, Any]) -> str:
    return f"data: {json.dumps(body, ensure_ascii=False)}\n\n"


def _tell(number: str, row: Mapping[str, Any], took_s: float) -> None:
    """Of a request that was answered; nothing of what was said in it."""
    audio_s = (row["duration_ms"] or 0) / 1000
    tell(f"request {number}: {audio_s:.1f} s of audio in {took_s:.1f} s", request_id=number, audio_s=audio_s)
