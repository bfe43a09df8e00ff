"""Refuses what other sites' pages ask for in the name of somebody who is logged in here, or who runs the app locally.

Plain ASGI, around everything: Gradio has browsers send its session's cookie with the requests of any site, and lets any
site read the answers. Knows headers alone.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from rayon.serving.limits import refuse

_OWN = ("same-origin", "none")  # none: typed, or a bookmark
_NOT_FRAMED = (b"content-security-policy", b"frame-ancestors 'self'")
_ELSEWHERE = "the request comes from a page of another site: open the app itself"
_NAMES = (
    "the app serves this machine, and was asked under another name: open it as http://127.0.0.1, or set "
    "RAYON_APP_USERS where others are let in"
)


class OwnPages:
    """Answers 403 to browsers that ask for another site's page, and keeps the session's cookie from their requests.

    A link of another site may lead here, a frame may not; programs, which send neither `Origin` nor `Sec-Fetch-Site`,
    are not meant. With `loopback` other names than this machine's are refused too: a site whose name leads to 127.0.0.1
    is no other site for a browser.
    """

    def __init__(self, app: ASGIApp, loopback: bool) -> None:
        self.app, self.loopback = app, loopback

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        name = headers.get("host")  # which probes may leave out, and browsers do not
        if self.loopback and name is not None and not is_loopback(_host(f"//{name}")):
            await refuse(send, 403, _NAMES)
        elif not (_is_own(headers) or _is_link(scope, headers)):
            await refuse(send, 403, _ELSEWHERE)
        else:

            async def noted(message: Message) -> None:
                if message["type"] == "http.response.start":
                    message["headers"] = [*_kept_here(message.get("headers", [])), _NOT_FRAMED]
                await send(message)

            await self.app(scope, receive, noted)


def is_loopback(host: str) -> bool:
    """Say whether a host's name or address is this machine's own.

    Example:
        >>> is_loopback("127.0.0.1"), is_loopback("localhost"), is_loopback("::1"), is_loopback("shop.example")
        (True, True, True, False)
    """
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _is_own(headers: Headers) -> bool:
    site = headers.get("sec-fetch-site")
    if site is not None:
        return site in _OWN
    origin = headers.get("origin")  # over plain HTTP browsers send this alone
    if origin is None:
        return True
    # By name alone: proxies drop ports, or write another. No page can send the second one unasked.
    asked = (headers.get("host", ""), headers.get("x-forwarded-host", "").split(",")[0].strip())
    return _host(origin) in {_host(f"//{name}") for name in asked} - {""}


def _is_link(scope: Scope, headers: Headers) -> bool:
    whole = headers.get("sec-fetch-dest", "document") == "document"  # and no frame of another site's page
    return scope["method"] == "GET" and headers.get("sec-fetch-mode") == "navigate" and whole


def _host(address: str) -> str:
    try:
        return urlsplit(address).hostname or ""
    except ValueError:
        return ""


def _kept_here(headers: Iterable[tuple[bytes, bytes]]) -> Iterable[tuple[bytes, bytes]]:
    """Yield an answer's headers; a cookie in them is sent back by this site's pages alone."""
    for name, value in headers:
        if name.lower() == b"set-cookie":
            parts = [part for part in value.split(b";") if not part.strip().lower().startswith(b"samesite")]
            value = b";".join([*parts, b" SameSite=Lax"])
        yield name, value
