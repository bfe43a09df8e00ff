"""Bounds what a client may send, for every route alike, and writes one line of log a request.

Plain ASGI: it sees bytes before anything gathers them. Knows nothing of what is asked.
"""

from __future__ import annotations

import json
import logging
import time
import uuid
from typing import Any

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from rayon.serving.metrics import Metrics

log = logging.getLogger("rayon.serving.requests")


class _TooLargeError(HTTPException):
    """FastAPI, which reads bodies itself, answers this one as it is."""

    def __init__(self, words: str) -> None:
        super().__init__(413, words)


class Bounded:
    """Answers 413 to a body of more than `max_megabytes`, whether its length was told or not."""

    def __init__(self, app: ASGIApp, max_megabytes: float) -> None:
        self.app, self.limit = app, int(max_megabytes * 1_000_000)
        self.words = f"the request has more than {max_megabytes:g} megabytes: send fewer products or smaller photos"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        told = dict(scope["headers"]).get(b"content-length", b"0")
        if told.isdigit() and int(told) > self.limit:
            await self._refuse(send)
            return
        seen, begun = 0, False

        async def counted() -> Message:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > self.limit:
                raise _TooLargeError(self.words)
            return message

        async def noted(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self.app(scope, counted, noted)
        except _TooLargeError:
            if begun:
                raise
            await self._refuse(send)

    async def _refuse(self, send: Send) -> None:
        body = json.dumps({"detail": self.words}).encode()
        headers = [(b"content-type", b"application/json"), (b"connection", b"close")]
        await send({"type": "http.response.start", "status": 413, "headers": headers})
        await send({"type": "http.response.body", "body": body})


class Logged:
    """Logs the requests of the API, as fields and without what was sent, and measures them."""

    def __init__(self, app: ASGIApp, metrics: Metrics, prefix: str = "/api/") -> None:
        self.app, self.metrics, self.prefix = app, metrics, prefix

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not scope["path"].startswith(self.prefix):
            await self.app(scope, receive, send)
            return
        started, status, name = time.perf_counter(), 500, uuid.uuid4().hex[:16]

        async def noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", []), (b"x-request-id", name.encode())]
            await send(message)

        try:
            await self.app(scope, receive, noted)
        finally:
            seconds = time.perf_counter() - started
            route = getattr(scope.get("route"), "path", "unknown")
            self.metrics.requests.labels(route, str(status)).inc()
            self.metrics.latency.labels(route).observe(seconds)
            facts: dict[str, Any] = {"request": name, "method": scope["method"], "route": route, "status": status}
            log.info("request", extra={**facts, "ms": round(seconds * 1000, 1)})
