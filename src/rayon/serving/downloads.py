"""Fetches the photos that a request names by address: side by side, in threads of their own, within bounds.

Knows addresses and bytes. Whether bytes are a photo is said by whoever looks at them.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor

from rayon.data.images import PhotoError, fetch_photo
from rayon.data.text import clean_label

_AT_ONCE = 16
_SENTENCE_CHARS = 500


class Downloads:
    """Fetches photos from `hosts`.

    Args:
        hosts: the hosts that are asked, no others.
        seconds: how long the photos of one request may take together.
        megabytes: how large they may be together.
    """

    def __init__(self, hosts: Collection[str], seconds: float, megabytes: float) -> None:
        self._hosts, self._seconds, self._megabytes = hosts, seconds, megabytes
        self._threads = ThreadPoolExecutor(_AT_ONCE, "rayon-downloads")

    async def fetch(self, addresses: Sequence[str], max_megabytes: float) -> list[bytes | PhotoError]:
        """Return what is at each of a request's addresses, one or more, in their order, or why that cannot be had.

        `max_megabytes` bounds a single photo.
        """
        allowance = _Allowance(self._seconds, self._megabytes)
        fetched = [
            asyncio.wrap_future(self._threads.submit(fetch_photo, address, self._hosts, max_megabytes, allowance.take))
            for address in addresses
        ]
        try:
            await asyncio.wait(fetched, timeout=self._seconds)
        finally:
            for each in fetched:  # those at work see that their time is over
                each.cancel()
        return [self._outcome(each) for each in fetched]

    def close(self) -> None:
        """Fetch no more."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _outcome(self, fetched: asyncio.Future[bytes]) -> bytes | PhotoError:
        if fetched.cancelled():
            return _late(self._seconds)
        error = fetched.exception()
        if isinstance(error, PhotoError):  # it holds the address, which need not be text that can be encoded
            return PhotoError(error.reason, clean_label(error.sentence)[:_SENTENCE_CHARS])
        return fetched.result()


class _Allowance:
    """The time and the bytes that the photos of one request share."""

    def __init__(self, seconds: float, megabytes: float) -> None:
        self._seconds, self._megabytes = seconds, megabytes
        self._end = time.monotonic() + seconds
        self._left = int(megabytes * 1_000_000)
        self._counting = threading.Lock()

    def take(self, size: int) -> None:
        """Count bytes that came; raise a PhotoError where there is no more time, or room."""
        if time.monotonic() > self._end:
            raise _late(self._seconds)
        with self._counting:
            self._left -= size
            over = self._left < 0
        if over:
            sentence = f"the request's photos have more than {self._megabytes:g} megabytes (app.max_upload_megabytes)"
            raise PhotoError("photo_too_many_bytes", sentence)


def _late(seconds: float) -> PhotoError:
    return PhotoError("photo_unreachable", f"the photo was not there within {seconds:g} seconds (app.timeout_seconds)")
