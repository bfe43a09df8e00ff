"""Gathers requests that arrive one by one into batches for a model.

One worker thread takes what waits, up to a batch; while it works, the next batch gathers by itself. Knows lists and
futures, and nothing of what is computed.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Generic, NamedTuple, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


class BusyError(RuntimeError):
    """Too much waits already, or a request has waited too long. Trying again later helps."""


class _Request(NamedTuple, Generic[Item, Result]):
    items: Sequence[Item]
    future: Future[list[Result]]
    arrived: float


class Batcher(Generic[Item, Result]):
    """Calls `handle` with the items of many requests at once.

    Args:
        handle: returns one result an item, in order. It is called in one thread, never twice at a time. Where it raises
            for a batch, it is called again for each of its requests alone: a bad one costs the others nothing.
        batch: items from which a batch waits for no more; a request is never split, so the last may exceed it.
        wait_seconds: how long the first item waits for others.
        queue: items that may wait; more are refused.
        timeout_seconds: how long a request may wait before its turn.
        observe: told of each batch how many items it had.
    """

    def __init__(
        self,
        handle: Callable[[list[Item]], list[Result]],
        batch: int,
        wait_seconds: float,
        queue: int,
        timeout_seconds: float,
        observe: Callable[[int], None] = lambda _: None,
    ) -> None:
        self._handle, self._observe = handle, observe
        self._batch, self._wait, self._queue, self._timeout = batch, wait_seconds, queue, timeout_seconds
        self._waiting: deque[_Request[Item, Result]] = deque()
        self._items = 0
        self._closed = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._work, name="rayon-batches", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """How many items wait."""
        return self._items

    @property
    def alive(self) -> bool:
        """Whether the thread that answers is there."""
        return self._thread.is_alive()

    def check_room(self, count: int, ahead: int = 0) -> None:
        """Raise BusyError where so many items more are too many, `ahead` others being on their way here."""
        waiting = self._items + ahead
        if waiting and waiting + count > self._queue:
            raise BusyError(f"{waiting} products wait already: try again in a moment")

    def submit(self, items: Sequence[Item]) -> Future[list[Result]]:
        """Return the future results of `items`, one each, in order. Cancelled before its turn, a request is left out.

        Raises:
            BusyError: too many items wait, or the batcher is closed.
        """
        future: Future[list[Result]] = Future()
        if not items:
            future.set_result([])
            return future
        with self._changed:
            if self._closed:
                raise BusyError("the server is shutting down")
            self.check_room(len(items))
            self._waiting.append(_Request(items, future, time.monotonic()))
            self._items += len(items)
            self._changed.notify()
        return future

    def close(self) -> None:
        """Finish what waits and take no more."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()

    def _work(self) -> None:
        while requests := self._next():
            self._observe(sum(len(request.items) for request in requests))
            try:
                self._answer(requests)
            except Exception as error:
                if len(requests) == 1:
                    requests[0].future.set_exception(error)
                    continue
                for request in requests:
                    try:
                        self._answer([request])
                    except Exception as own:
                        request.future.set_exception(own)

    def _answer(self, requests: Sequence[_Request[Item, Result]]) -> None:
        results = self._handle([item for request in requests for item in request.items])
        start = 0
        for request in requests:
            end = start + len(request.items)
            request.future.set_result(results[start:end])
            start = end

    def _next(self) -> list[_Request[Item, Result]]:
        """Wait for requests and take a batch of them; none once the batcher is closed and nothing waits."""
        while True:
            with self._changed:
                while not self._waiting and not self._closed:
                    self._changed.wait()
                if not self._waiting:
                    return []
                end = self._waiting[0].arrived + self._wait
                while self._items < self._batch and not self._closed and (left := end - time.monotonic()) > 0:
                    self._changed.wait(left)
                taken, size = [], 0
                while self._waiting and size < self._batch:
                    request = self._waiting.popleft()
                    size += len(request.items)
                    taken.append(request)
                self._items -= size
            now = time.monotonic()
            ready = []
            for request in taken:
                if not request.future.set_running_or_notify_cancel():  # first: what was cancelled takes no answer
                    continue
                if now - request.arrived > self._timeout:
                    request.future.set_exception(BusyError(f"no turn came within {self._timeout:g} seconds"))
                else:
                    ready.append(request)
            if ready:
                return ready
