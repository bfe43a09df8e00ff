"""Asks callers for their key, bounds what they may send, and writes one line of log a request.

Plain ASGI: it sees bytes before anything gathers them. Knows nothing of what is asked.
"""

from __future__ import annotations

import json
import logging
import time
import uuid
from collections.abc import Mapping
from typing import Any

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from rayon.serving.access import Access
from rayon.serving.metrics import Metrics

log = logging.getLogger("rayon.serving.requests")


class _TooLargeError(HTTPException):
    """FastAPI, which reads bodies itself, answers this one as it is."""

    def __init__(self, words: str) -> None:
        super().__init__(413, words)


class Bounded:
    """Answers 413 to a body of more than `max_megabytes`, or of more than `short` says of its path, whether its length
    was told or not.
    """

    def __init__(self, app: ASGIApp, max_megabytes: float, short: Mapping[str, float] | None = None) -> None:
        self.app, self.megabytes, self.short = app, max_megabytes, short or {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        megabytes = min(self.megabytes, self.short.get(scope["path"], self.megabytes))
        limit = int(megabytes * 1_000_000)
        words = f"the request has more than {megabytes:g} megabytes: send fewer products or smaller photos"
        told = dict(scope["headers"]).get(b"content-length", b"0")
        if told.isdigit() and int(told) > limit:
            await refuse(send, 413, words)
            return
        seen, begun = 0, False

        async def counted() -> Message:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > limit:
                raise _TooLargeError(words)
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
            await refuse(send, 413, words)


class Keyed:
    """Answers 401 to callers of the API without a known key, before a byte of what they send is read.

    `state.caller` of a request is the caller's name.
    """

    def __init__(self, app: ASGIApp, access: Access, prefixes: tuple[str, ...]) -> None:
        self.app, self.access, self.prefixes = app, access, prefixes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"].startswith(self.prefixes):
            headers = Headers(scope=scope)
            name = self.access.caller(headers.get("authorization", ""), headers.get("x-api-key", ""))
            if name is None:
                words = "send a known key: Authorization: Bearer KEY"
                await refuse(send, 401, words, (b"www-authenticate", b"Bearer"))
                return
            scope.setdefault("state", {})["caller"] = name
        await self.app(scope, receive, send)


async def refuse(send: Send, status: int, words: str, *more: tuple[bytes, bytes]) -> None:
    """Answer with a refusal in words, and read no more of this caller's connection."""
    body = json.dumps({"detail": words}).encode()
    headers = [(b"content-type", b"application/json"), (b"connection", b"close"), *more]
    await send({"type": "http.response.start", "status": status, "headers": headers})
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
