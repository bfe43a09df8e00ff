"""The line of champions: whom a rollback returns to, told by events alone."""

from __future__ import annotations

import os
import subprocess
import sys

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


def test_whichever_is_imported_first_the_branch_is_the_same():
    """A notebook imports Metaflow first; rayon names a user other than root where nobody else does."""
    told = [
        subprocess.run(
            [sys.executable, "-c", f"{order}; from rayon.champions import branch_here; print(branch_here())"],
            capture_output=True, text=True, check=True,
            env={name: value for name, value in os.environ.items() if name not in ("METAFLOW_USER", "RAYON_BRANCH")},
        ).stdout
        for order in ("import rayon, metaflow", "import metaflow, rayon")
    ]  # fmt: skip
    assert told[0] == told[1] and told[0].startswith("user.")
