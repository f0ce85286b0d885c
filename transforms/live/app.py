"""The routes: OpenAI's for transcription, and those that an operator asks."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from http import HTTPStatus
from importlib.resources import files
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request, Response, WebSocket
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import HTMLResponse, JSONResponse, PlainTextResponse
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.exceptions import HTTPException

from transforms.engines import languages_of
from transforms.live.archive import Archive
from transforms.live.asked import UNAVAILABLE, Refused
from transforms.live.desk import Desk
from transforms.live.ears import Ears
from transforms.live.keeping import Keeper
from transforms.live.keys import Keys
from transforms.live.limits import Body
from transforms.live.measures import Measures
from transforms.live.realtime import Realtime
from transforms.live.service import Service
from transforms.live.socket import Conversation
from transforms.logs import tell
from transforms.recognition.rows import TaskSpec
from transforms.stores.scratch import scratch_folder

_LOOKS_S = 0.1
_OWNER = "lakescribe"
_OWN_ONLY = {"Content-Security-Policy": "default-src 'self'; media-src blob:; frame-ancestors 'none'"}
"""The page takes nothing from elsewhere."""
_PAGE = {
    "base.css": ("transforms.exports", "page.css", "text/css"),
    "live.css": ("transforms.live", "page/live.css", "text/css"),
    "live.js": ("transforms.live", "page/live.js", "text/javascript"),
    "microphone.js": ("transforms.live", "page/microphone.js", "text/javascript"),
}


def app(
    spec: TaskSpec,
    names: Collection[str],
    stop: threading.Event,
    end: Callable[[bool], None],
    keeper: Keeper | None = None,
    archive: Archive | None = None,
) -> FastAPI:
    """`names`: what clients call the model, its own first. Once `stop` is set all that is at work is done, and `end`
    called with False; with True if the engines are lost for good. `keeper` keeps what sessions say, `archive` knows
    what was transcribed before. Raises ConfigError for a file of keys that cannot be used."""
    models = list(names)
    keys = Keys(None if spec.config.serve.keys is None else Path(spec.config.serve.keys))

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        with scratch_folder() as folder, Ears() as ears:
            service = Service(spec, lambda: end(True))
            fetch = spec.config.fetch.model_copy(update={"allowed_roots": (str(folder), *spec.config.serve.addresses)})
            config = spec.config.model_copy(update={"fetch": fetch})
            known, measures = languages_of(spec.recognizer), Measures(service)
            app.state.desk = desk = Desk(service, config, models, known, folder, keys, measures, ears, keeper, archive)
            if keeper is not None:
                keeper.on_failure = measures.not_kept.inc
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
        api.state.desk.count_refused(refused)
        after = {} if refused.retry_after_s is None else {"Retry-After": str(refused.retry_after_s)}
        return JSONResponse(refused.body, refused.status, after)

    @api.exception_handler(HTTPException)
    async def no_such_thing(_: Request, error: HTTPException) -> Response:
        return await refuse(_, Refused(str(error.detail), HTTPStatus(error.status_code)))

    @api.exception_handler(Exception)
    async def fail(request: Request, error: Exception) -> Response:
        tell(f"{request.url.path} failed: {type(error).__name__}: {error}", logging.ERROR)
        return JSONResponse(Refused("the server failed; see its log", HTTPStatus.INTERNAL_SERVER_ERROR).body, 500)

    @api.get("/", include_in_schema=False)
    async def page() -> Response:
        """Speak, or drop a file."""
        return HTMLResponse(files("transforms.live").joinpath("page/index.html").read_bytes(), headers=_OWN_ONLY)

    @api.get("/favicon.ico", include_in_schema=False)
    async def no_icon() -> Response:
        return Response(status_code=HTTPStatus.NO_CONTENT)

    @api.get("/page/{name}", include_in_schema=False)
    async def page_part(name: str) -> Response:
        if name not in _PAGE:
            raise Refused("there is no such page", HTTPStatus.NOT_FOUND)
        package, path, kind = _PAGE[name]
        return Response(files(package).joinpath(path).read_bytes(), media_type=kind)

    @api.get("/healthz")
    async def healthy() -> Response:
        """200 while requests can be done: 503 while the engines load, and when they are lost."""
        ready = api.state.desk.service.ready and not api.state.desk.draining.is_set()
        return PlainTextResponse("ready\n" if ready else "not ready\n", 200 if ready else UNAVAILABLE)

    @api.get("/metrics")
    async def metrics() -> Response:
        """For Prometheus."""
        return Response(api.state.desk.measures.page(), media_type=CONTENT_TYPE_LATEST)

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

    @api.post("/v1/chat/completions")
    async def chat(request: Request) -> Response:
        """A chat with audio in it, as Qwen3-ASR's own server takes it."""
        desk: Desk = api.state.desk
        return await desk.chat(request)

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
