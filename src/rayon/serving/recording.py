"""Keeps predictions in the store while others are judged: an answer is worth more than its record.

Some batches are written at a time, and a bounded number of predictions waits. Knows the store and threads; it does not
know who asked, or how long anybody waits for a record.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial

from rayon.feedback import Logged, Store

log = logging.getLogger("rayon.serving")

_AT_ONCE = 4


class Recorder:
    """Writes predictions to a store in threads of its own.

    Args:
        store: where to.
        most: predictions that may wait to be written; of more, what comes is not kept.
        lost: told of predictions that are not kept how many there are.
    """

    def __init__(self, store: Store, most: int, lost: Callable[[int], None]) -> None:
        self._store, self._most, self._lost = store, most, lost
        self._waiting = 0
        self._counting = threading.Lock()
        self._threads = ThreadPoolExecutor(_AT_ONCE, "rayon-records")

    def keep(self, logged: Sequence[Logged]) -> Future[bool]:
        """Return whether the predictions, all or none, are in the store: a future that raises nothing."""
        if not logged:
            return _known(True)
        with self._counting:
            full = self._waiting > 0 and self._waiting + len(logged) > self._most
            self._waiting += 0 if full else len(logged)
        if full:
            self._lose(len(logged), "too many wait for the store already")
            return _known(False)
        future = self._threads.submit(self._write, logged)
        future.add_done_callback(partial(self._written, len(logged)))
        return future

    def close(self) -> None:
        """Finish what is being written; what waits behind it is not kept."""
        self._threads.shutdown(cancel_futures=True)

    def _write(self, logged: Sequence[Logged]) -> bool:
        try:
            self._store.add_predictions(logged)
            return True
        except Exception as error:
            self._lose(len(logged), str(error))
            return False

    def _written(self, count: int, future: Future[bool]) -> None:
        with self._counting:
            self._waiting -= count
        if future.cancelled():
            self._lose(count, "the server is shutting down")

    def _lose(self, count: int, reason: str) -> None:
        self._lost(count)
        log.error("predictions were not kept: %s", reason)


def _known(kept: bool) -> Future[bool]:
    future: Future[bool] = Future()
    future.set_result(kept)
    return future
