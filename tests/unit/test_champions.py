"""The line of champions: whom a rollback returns to, told by events alone."""

from __future__ import annotations

from rayon.champions import Event, standing


def events(*told: str) -> list[Event]:
    """'+a' promotes a, '-a' rolls back to a."""
    kinds = {"+": "promote", "-": "rollback"}
    return [
        Event(number, f"2026-01-{number:02d}", "", kinds[word[0]], word[1:], "", "", "", "")
        for number, word in enumerate(told, start=1)
    ]


def test_promotions_stack_and_rollbacks_take_off():
    assert standing(events()) == []
    assert standing(events("+a", "+b", "+c")) == ["a", "b", "c"]
    assert standing(events("+a", "+b", "-a")) == ["a"]
    assert standing(events("+a", "+b", "+c", "-b", "-a")) == ["a"]
    assert standing(events("+a", "+b", "-a", "+c")) == ["a", "c"]
    assert standing(events("+a", "+b", "+a", "-b")) == ["a", "b"]


def test_two_promotions_at_once_leave_one_champion():
    race = sorted(
        [
            Event(2, "2026-01-02T00:00:00.000002", "aa", "promote", "b", "a", "", "", ""),
            Event(2, "2026-01-02T00:00:00.000001", "bb", "promote", "c", "a", "", "", ""),
            *events("+a"),
        ]
    )
    assert [event.to for event in race] == ["a", "c", "b"]


def test_a_rollback_to_a_run_that_was_deleted_begins_anew():
    assert standing(events("+b", "-a")) == ["a"]
