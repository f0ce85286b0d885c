"""The server as a process: it serves until it is told to stop, or its engines are lost for good."""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterator
from contextlib import contextmanager, nullcontext

import uvicorn

from transforms.errors import MachineError
from transforms.live.app import app
from transforms.live.archive import Archive
from transforms.live.keeping import Keeper
from transforms.recognition.rows import TaskSpec


class Server(uvicorn.Server):
    """Leaves signals to whoever runs it: uvicorn's own way would close all WebSockets at once."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def serve(
    spec: TaskSpec,
    names: Collection[str],
    address: str,
    port: int,
    stop: threading.Event,
    keeper: Keeper | None,
    archive: Archive | None,
) -> None:
    """`names`: what clients call the model, its own first. Once `stop` is set nothing new is taken, what is at work is
    done, and each session gets its last utterance. `keeper` keeps what sessions say, `archive` knows what was
    transcribed before. Raises MachineError if the engines cannot be had."""
    died = threading.Event()

    def end(lost: bool) -> None:
        if lost:
            died.set()
        server.should_exit = True

    api = app(spec, names, stop, end, keeper, archive)
    # Sound does not shrink by deflating, and each connection would hold what that takes.
    server = Server(uvicorn.Config(api, address, port, log_config=None, access_log=False, ws_per_message_deflate=False))
    with keeper or nullcontext():
        server.run()
    if died.is_set():
        raise MachineError(f"the engine '{spec.engine_name}' cannot be loaded; the reason stands above")
