"""Records: written beside the judging, bounded, and told of where they are lost."""

from __future__ import annotations

import threading

import pytest

from rayon.feedback import Logged, new_id
from rayon.schema import Prediction
from rayon.serving.recording import _AT_ONCE, Recorder

SAID = Prediction("p1", "livres", 0.9, (("livres", 0.9),), 0.7, 0.3, "accept", "TrainFlow/1")


def logged(count: int) -> list[Logged]:
    return [Logged(new_id(), "Un titre", "", None, SAID, "api") for _ in range(count)]


@pytest.fixture
def gate(store, monkeypatch) -> threading.Event:
    """The store writes once this is set."""
    go_on, add = threading.Event(), store.add_predictions
    monkeypatch.setattr(store, "add_predictions", lambda entries: go_on.wait(20) and add(entries))
    return go_on


def test_more_than_may_wait_is_not_kept_and_the_rest_is(store, gate):
    lost: list[int] = []
    recorder = Recorder(store, 10, lost.append)
    first, second, third = (recorder.keep(logged(5)) for _ in range(3))
    assert third.result(0) is False and lost == [5] and recorder.keep([]).result(0) is True
    gate.set()
    assert first.result(5) and second.result(5)
    assert recorder.keep(logged(30)).result(5)  # alone, it may have any size
    recorder.close()
    assert store.counts()["predictions"] == 40 and lost == [5]


def test_closing_finishes_what_is_being_written_and_counts_the_rest(store, gate):
    lost: list[int] = []
    recorder = Recorder(store, 100, lost.append)
    written = [recorder.keep(logged(1)) for _ in range(_AT_ONCE)]
    behind = [recorder.keep(logged(2)) for _ in range(2)]
    threading.Timer(0.2, gate.set).start()
    recorder.close()
    assert all(future.result(0) for future in written) and all(future.cancelled() for future in behind)
    assert store.counts()["predictions"] == _AT_ONCE and lost == [2, 2]
