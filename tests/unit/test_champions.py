"""The line of champions: whom a rollback returns to, told by events alone."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from metaflow import Run, namespace
from metaflow.plugins.datastores.local_storage import LocalStorage
from metaflow.tagging_util import MAX_USER_TAG_SET_SIZE
from stored import Shelf

from rayon.champions import Event, RegistryError, champion, champion_tag, history, promote, rollback, standing


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


@pytest.fixture
def shelf(monkeypatch, tmp_path) -> Shelf:
    """Where Metaflow's client finds runs."""
    made = Shelf(tmp_path)
    monkeypatch.setattr(LocalStorage, "datastore_root", str(made.folder))
    monkeypatch.setenv("RAYON_BRANCH", "user.tests")
    return made


def test_a_run_is_returned_to_more_often_than_it_can_be_tagged(shelf):
    stable, *others = (shelf.run("TrainFlow", age=age) for age in (9, 8, 7))
    promote("shop", stable, "the first")
    for turn in range(55):
        promote("shop", others[turn % 2], f"try {turn}")
        assert rollback("shop", "no better").to == stable
    events = history("shop")
    assert [event.number for event in events] == list(range(1, 112))
    assert [event.to for event in events[1:5]] == [others[0], stable, others[1], stable]
    assert sum(event.to == stable for event in events) == 56 and standing(events) == [stable]
    namespace(None)
    assert max(len(Run(run).user_tags) for run in (stable, *others)) < MAX_USER_TAG_SET_SIZE


def test_where_no_run_has_room_the_way_out_is_said_and_works(shelf):
    mine = tuple(f"mine{n}" for n in range(MAX_USER_TAG_SET_SIZE - 6))
    first, second = shelf.run("TrainFlow", age=9, tags=mine[1:]), shelf.run("TrainFlow", age=8, tags=mine)
    promote("shop", first, "the only event that it has room for")
    with pytest.raises(RegistryError, match=rf"room for another event.*tag remove --run-id {second.split('/')[1]}"):
        promote("shop", second, "better")
    assert len(history("shop")) == 1 and champion("shop").to == first
    newer = shelf.run("TrainFlow", age=1)
    promote("shop", newer, "better")
    assert rollback("shop", "no better").to == first
    promote("shop", second, "its event is another's tag")
    namespace(None)
    assert champion("shop").to == second and champion_tag("shop") in Run(second).user_tags
    full = shelf.run("TrainFlow", tags=(*mine, *(f"more{n}" for n in range(6))))
    with pytest.raises(RegistryError, match=r"cannot be tagged as champion.*tag remove"):
        promote("shop", full, "better")
    assert champion("shop").to == second
