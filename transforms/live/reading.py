"""A file that was sent → its transcript, whole or as it is read."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from http import HTTPStatus
from typing import Any

from fastapi import Request
from fastapi.concurrency import run_in_threadpool

from transforms.audio.front import Work
from transforms.errors import MachineError
from transforms.live.answers import Said, Stream, transcript
from transforms.live.asked import ENGINE_LOST, UNAVAILABLE, Asked, Refused
from transforms.live.service import Delivery, Order, Peeked, Service

Row = dict[str, Any]


class Reading:
    """A recording at work for one request."""

    def __init__(self, service: Service, work: Work, name: str, what: Asked, known: list[Row] | None) -> None:
        """`name` is what the client calls it, in place of its uri; `known` are its rows, if they are there already."""
        self._uri, self._name, self._asked = work.name, name, what
        self._service, self.is_known = service, known is not None
        self._loop, self._queue = asyncio.get_running_loop(), asyncio.Queue[Delivery]()
        self._order: Order | None = None
        if known is None:
            self._order = service.begin(work, what.config, self._deliver)
        else:
            for row in (*known, None):
                self._queue.put_nowait(row)

    def _deliver(self, delivery: Delivery) -> None:
        self._loop.call_soon_threadsafe(self._queue.put_nowait, delivery)

    def end(self) -> None:
        """The client has all, or is gone."""
        if self._order is not None:
            self._service.withdraw(self._order)

    async def _rows(self) -> AsyncIterator[Row]:
        while True:
            row = await self._queue.get()
            assert not isinstance(row, Peeked)
            if isinstance(row, MachineError):
                raise Refused(str(row), UNAVAILABLE, code=ENGINE_LOST, retry_after_s=5)
            if row is None:
                return
            yield row

    async def whole(self, request: Request) -> Row:
        """The transcript; none of it is made any more once the client is gone."""
        rows = asyncio.ensure_future(self._all())
        gone = asyncio.ensure_future(_gone(request))
        done, pending = await asyncio.wait({rows, gone}, return_when=asyncio.FIRST_COMPLETED)
        for one in pending:
            one.cancel()
        if rows not in done:
            raise Refused("the client is gone", HTTPStatus.BAD_REQUEST)
        return await self._transcript(await rows)

    async def _all(self) -> list[Row]:
        return [row async for row in self._rows()]

    async def _transcript(self, rows: list[Row]) -> Row:
        row = await run_in_threadpool(transcript, rows, self._asked.config)
        if row["status"] == "failed":
            failure = row["failures"][0]
            message = failure["message"].replace(self._uri, self._name)
            status = HTTPStatus.BAD_REQUEST if failure["stage"] in ("fetch", "decode") else UNAVAILABLE
            raise Refused(message, status, param="file", code=failure["kind"])
        return row

    async def events(self, stream: Stream, done: Callable[[Row, bool], None]) -> AsyncIterator[str]:
        """Server-sent events of `stream`. `done` is called with the transcript at the end, and
        whether it was known."""
        try:
            said, rows = Said(), list[Row]()
            async for row in self._rows():
                rows.append(row)
                for told in said.take(row):
                    for event in stream.more(told):
                        yield _event(event)
            row = await self._transcript(rows)
            for event in await run_in_threadpool(stream.last, row, said.rest(row["text"] or "")):
                yield _event(event)
            yield "data: [DONE]\n\n"
            done(row, self.is_known)
        except Refused as refused:
            yield f"event: error\n{_event(refused.body)}"


async def _gone(request: Request) -> None:
    """Returns when the client has closed its connection."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _event(body: Mapping[str, Any]) -> str:
    return f"data: {json.dumps(body, ensure_ascii=False)}\n\n"
