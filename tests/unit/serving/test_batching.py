"""Batches: what waits is answered together and in order, bounded, and a bad request costs the others nothing."""

from __future__ import annotations

import threading
import time
from concurrent.futures import wait

import pytest

from rayon.serving.batching import Batcher, BusyError


@pytest.fixture
def make_batcher():
    """A factory of batchers that double numbers; the sizes of the batches are kept in `sizes`."""
    opened = []

    def make(handle=lambda items: [2 * item for item in items], batch=8, wait_ms=20.0, queue=100, timeout=5.0):
        sizes: list[int] = []
        batcher = Batcher(handle, batch, wait_ms / 1000, queue, timeout, sizes.append)
        opened.append(batcher)
        return batcher, sizes

    yield make
    for batcher in opened:
        batcher.close()


def test_what_arrives_together_is_handled_together(make_batcher):
    batcher, sizes = make_batcher()
    futures = [batcher.submit([n, n + 100]) for n in range(4)]
    assert [future.result(5) for future in futures] == [[2 * n, 2 * n + 200] for n in range(4)]
    assert sizes == [8]


def test_a_full_batch_does_not_wait(make_batcher):
    batcher, sizes = make_batcher(wait_ms=10_000.0)
    assert batcher.submit(list(range(8))).result(5) == [2 * n for n in range(8)]
    assert sizes == [8]


def test_a_large_request_is_not_split(make_batcher):
    batcher, sizes = make_batcher(batch=4)
    assert batcher.submit(list(range(11))).result(5) == [2 * n for n in range(11)]
    assert sizes == [11]


def test_a_batch_gathers_while_one_is_handled(make_batcher):
    going, release = threading.Event(), threading.Event()

    def slow(items):
        going.set()
        release.wait(5)
        return items

    batcher, sizes = make_batcher(slow, wait_ms=0.0)
    first = batcher.submit([0])
    assert going.wait(5)
    rest = [batcher.submit([n]) for n in range(1, 6)]
    release.set()
    wait([first, *rest], 5)
    assert sizes == [1, 5]


def test_a_bad_request_costs_the_others_nothing(make_batcher):
    def handle(items):
        if -1 in items:
            raise ZeroDivisionError("minus one")
        return items

    batcher, _ = make_batcher(handle)
    good, bad, other = batcher.submit([1]), batcher.submit([-1]), batcher.submit([2, 3])
    assert good.result(5) == [1] and other.result(5) == [2, 3]
    with pytest.raises(ZeroDivisionError):
        bad.result(5)


def test_more_than_the_queue_holds_is_refused_at_once(make_batcher):
    release = threading.Event()

    def slow(items):
        release.wait(5)
        return items

    batcher, _ = make_batcher(slow, batch=1, wait_ms=0.0, queue=3)
    first = batcher.submit([0])
    while batcher.waiting:
        time.sleep(0.001)
    waiting = [batcher.submit([n]) for n in range(3)]
    with pytest.raises(BusyError, match="3 products wait"):
        batcher.submit([9])
    release.set()
    assert [f.result(5) for f in (first, *waiting)] == [[0], [0], [1], [2]]


def test_a_request_that_waited_too_long_is_sent_away(make_batcher):
    batcher, _ = make_batcher(lambda items: time.sleep(0.2) or items, batch=1, wait_ms=0.0, timeout=0.05)
    first, second = batcher.submit([0]), batcher.submit([1])
    assert first.result(5) == [0]
    with pytest.raises(BusyError, match=r"within 0\.05 seconds"):
        second.result(5)


def test_a_cancelled_request_is_left_out(make_batcher):
    seen = []
    batcher, _ = make_batcher(lambda items: seen.extend(items) or items, wait_ms=100.0)
    gone, kept = batcher.submit([1]), batcher.submit([2])
    assert gone.cancel()
    assert kept.result(5) == [2] and seen == [2]


def test_a_request_that_waited_too_long_and_was_cancelled_stops_nothing(make_batcher):
    going = threading.Event()

    def slow(items):
        going.set()
        time.sleep(0.1)
        return items

    batcher, _ = make_batcher(slow, batch=1, wait_ms=0.0, timeout=0.05)
    first = batcher.submit([0])
    assert going.wait(5)
    gone = batcher.submit([1])
    assert gone.cancel() and first.result(5) == [0]
    assert batcher.submit([2]).result(5) == [2] and batcher.alive


def test_closing_finishes_what_waits(make_batcher):
    batcher, _ = make_batcher(lambda items: time.sleep(0.05) or items, batch=1)
    futures = [batcher.submit([n]) for n in range(3)]
    batcher.close()
    assert [future.result(0) for future in futures] == [[0], [1], [2]]
    with pytest.raises(BusyError, match="shutting down"):
        batcher.submit([4])
