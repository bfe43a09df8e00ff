"""When a retraining may be asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import NamedTuple

import pytest

from rayon.config import Retraining
from rayon.events import Request, too_soon, why_silent

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
LIMITS = Retraining(cooldown_hours=12.0, per_week=3)


def ago(**time: float) -> datetime:
    return NOW - timedelta(**time)


@pytest.mark.parametrize(
    "trainings, words",
    [
        ([], ""),
        ([ago(hours=13)], ""),
        ([ago(hours=11)], "not before 2026-03-02 13:00 UTC"),
        ([ago(days=9), ago(hours=11)], "too young"),
        ([ago(days=1), ago(days=2), ago(days=3)], "3 trainings in the last 7 days"),
        ([ago(days=1), ago(days=2), ago(days=8)], ""),
    ],
)
def test_trainings_keep_their_distance(trainings, words):
    said = too_soon(NOW, trainings, LIMITS)
    assert words in said and bool(words) == bool(said)


class Asked(NamedTuple):
    """What is read of a finished run of FeedbackFlow that asked for a retraining."""

    pathspec: str
    begun: datetime
    data: SimpleNamespace


@pytest.fixture
def published(monkeypatch, make_config):
    """A function that lets FeedbackFlow ask every 15 minutes for some days, after trainings at some hours, and returns
    the hours at which an event was published.
    """

    def play(days: int, cooldown: float, trainings: Callable[[list[float]], list[float]]) -> list[float]:
        config = make_config(retraining={"cooldown_hours": cooldown})
        begin, asked, events = NOW, [], []

        def runs(flow: str, *tags: str) -> Iterator[Asked]:
            past = {"TrainFlow": [Asked("", begin + timedelta(hours=at), None) for at in trainings(events)]}
            return iter({**past, "FeedbackFlow": asked[::-1]}.get(flow, []))

        monkeypatch.setattr("rayon.events.finished_runs", runs)
        monkeypatch.setattr("rayon.events.started", lambda run: run.begun)
        for hours in (quarter / 4 for quarter in range(1, days * 96)):
            now = begin + timedelta(hours=hours)
            silence = why_silent(config, now)
            asked.append(Asked("FeedbackFlow/7", now, SimpleNamespace(request="200 corrections", silence=silence)))
            events += [] if silence else [hours]
        return events

    return play


def test_what_is_asked_while_the_training_is_young_is_published_once_it_is_old_enough(published):
    events = published(2, 12.0, lambda events: [0.0])
    # the training that follows does not come, or fails: it is asked for anew after each cool-down, and not in between
    assert events == [12.0, 24.0, 36.0]


def test_a_training_that_follows_keeps_the_others_silent(published):
    events = published(3, 30.0, lambda events: [*(at + 1 for at in events[::-1]), 0.0])
    assert events == [30.0, 61.0]


def test_a_request_that_was_published_is_named(monkeypatch, make_config):
    request = Request("FeedbackFlow/argo-7", ago(hours=1), "200 corrections")
    monkeypatch.setattr("rayon.events.finished_runs", lambda *tags: iter(()))
    monkeypatch.setattr("rayon.events.requests_since", lambda name, moment: iter([request]))
    assert "FeedbackFlow/argo-7 asked for it" in why_silent(make_config(), NOW)
