"""A server in this process, for the tests."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import openai
import uvicorn

from schemas.config import Config
from transforms.engines import aligner_specs, recognizer_spec
from transforms.lake.copies import Copies
from transforms.live.app import app
from transforms.live.archive import Archive
from transforms.live.desk import Desk
from transforms.recognition.rows import TaskSpec

MODEL = "deterministic"


@dataclass(frozen=True)
class Served:
    url: str
    desk: Desk
    client: openai.OpenAI


@contextmanager
def serving(config: Config, tables: Path | None = None) -> Iterator[Served]:
    """With a client that tries nothing twice. What `tables` have already is answered from them."""
    spec = TaskSpec(config, recognizer_spec(config), aligner_specs(config), config.engine.name, MODEL, "live")
    archive = None if tables is None else Archive(spec, Copies(str(tables)).rows)
    api = app(spec, [MODEL], threading.Event(), lambda lost: None, archive=archive)
    server = uvicorn.Server(uvicorn.Config(api, port=0, log_config=None, timeout_graceful_shutdown=10))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        wait_until(lambda: server.started and api.state.desk.service.ready)
        port = server.servers[0].sockets[0].getsockname()[1]
        url = f"http://127.0.0.1:{port}"
        with openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as client:
            yield Served(url, api.state.desk, client)
    finally:
        server.should_exit = True
        thread.join()


def wait_until(true, patience_s: float = 30) -> None:  # type: ignore[no-untyped-def]
    waited = threading.Event()
    for _ in range(int(patience_s / 0.02)):
        if true():
            return
        waited.wait(0.02)
    raise AssertionError("it did not come to that")
