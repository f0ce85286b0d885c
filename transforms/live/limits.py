"""What a request may send."""

from __future__ import annotations

from http import HTTPStatus

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from transforms.live.asked import Refused

MOST_BYTES = "lakescribe.most_bytes"
"""In a request's scope: a limit of its own, for who asks."""


class Body:
    """Refuses bodies that are larger than `most_bytes`, before they are read where their length is stated. (FastAPI's
    own limit is younger than the FastAPI that vLLM wants.)"""

    def __init__(self, app: ASGIApp, most_bytes: int) -> None:
        self._app, self._most_bytes = app, most_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        stated = dict(scope["headers"]).get(b"content-length", b"0")
        seen = 0

        async def counted() -> Message:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            most_bytes = min(self._most_bytes, scope.get(MOST_BYTES, self._most_bytes))
            if max(seen, int(stated)) > most_bytes:
                reason = f"the body is larger than {most_bytes >> 20} MiB, the most that is taken"
                raise Refused(reason, HTTPStatus.REQUEST_ENTITY_TOO_LARGE, param="file", code="too_large")
            return message

        await self._app(scope, counted, send)
