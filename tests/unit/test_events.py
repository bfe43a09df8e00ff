"""When a retraining may be asked for."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

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


@pytest.mark.parametrize("hours, asked_again", [(1, False), (13, True)])
def test_who_asks_every_quarter_of_an_hour_is_heard_once(monkeypatch, make_config, hours, asked_again):
    """FeedbackFlow runs that often: what it asked for is still under way when it looks again."""
    config = make_config(retraining={"cooldown_hours": 12.0})
    request = Request("FeedbackFlow/argo-7", ago(hours=hours), "200 corrections")
    monkeypatch.setattr("rayon.events.finished_runs", lambda *tags: iter(()))
    monkeypatch.setattr("rayon.events.requests_since", lambda name, moment: iter([request]))
    said = why_silent(config, NOW)
    assert (said == "") is asked_again
    assert asked_again or "FeedbackFlow/argo-7 asked for it" in said
