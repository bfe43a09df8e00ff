"""A run of FeedbackFlow beside its flow: what is new in a real store, inspected from run to run."""

from __future__ import annotations

import dataclasses
import pickle
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from metaflow.client.core import MetaflowData

from rayon import feedback_run
from rayon.config import Config, parse_config
from rayon.data.dataset import Dataset
from rayon.data.splits import group_hash
from rayon.feedback import Logged, Store, new_id, open_store
from rayon.feedback_run import Inspected, build_accepted, inspect_new, read_new, resume
from rayon.production import read_window
from rayon.registry import FeedbackState, Read, feedback_state
from rayon.schema import Prediction
from rayon.window import HUMAN

SAID = Prediction("", "livres", 0.9, (("livres", 0.9), ("jouets", 0.1)), 1.0, 0.0, "accept", "TrainFlow/1")


@pytest.fixture
def config(tmp_path) -> Config:
    settings = {"name": "shop", "catalog": {"products": "products.csv"}, "cache": str(tmp_path / "cache")}
    return parse_config({**settings, "feedback": {"per_person": 5, "unlikely": 0.0}})


@pytest.fixture
def store(config, monkeypatch) -> Iterator[Store]:
    monkeypatch.delenv("RAYON_STORE", raising=False)
    opened = open_store(config)
    yield opened
    opened.close()


@pytest.fixture
def tell(store) -> Callable[..., int]:
    """A factory of feedback: a person's word on a product, by its title; returns its number."""

    def say(title: str, category: str, who: str, at: Store = store) -> int:
        entry = Logged(new_id(), title, "", None, SAID._replace(product_id=title), "api")
        at.add_predictions([entry])
        return at.add_feedback(entry.id, category, who)

    return say


@pytest.fixture
def take_in(store, config, monkeypatch) -> Callable[..., Inspected]:
    """Run after run: what a run of FeedbackFlow reads, of the store or of another, believes and leaves to the next."""
    kept: dict[str, bytes] = {}
    states = [FeedbackState(0, {}, (), "")]
    # where Metaflow keeps artifacts
    monkeypatch.setattr(feedback_run, "read_shard", lambda ref: kept[ref.locator + "data"])
    monkeypatch.setattr(feedback_run, "read_keys", lambda ref: kept[ref.locator + "keys"])

    def run(at: Store = store) -> Inspected:
        state = resume(at, states[-1])
        inspected = inspect_new(read_new(at, state), at, state, dataset([2**63 + 1]), config)
        shard, shards, origins = build_accepted(inspected, at, config), state.shards, state.origins
        if shard is not None:
            place = f"run {len(states)} "
            kept[place + "data"], kept[place + "keys"] = shard.data, shard.keys
            shards, origins = (*shards, shard.ref._replace(locator=place)), (*origins, at.identity)
        read = (inspected.cursor, inspected.waiting, shards, "", inspected.wrong, at.identity, inspected.last)
        states.append(FeedbackState(*read, origins, state.elsewhere))
        return inspected

    return run


def dataset(gold: list[int]) -> Dataset:
    """Return a dataset version of gold products of those groups."""
    frame = pd.DataFrame({"group": np.array(gold, dtype=np.uint64)})
    frame = frame.assign(split="test", source="products.csv", image_key=[b""] * len(gold))
    none = np.zeros(0, dtype=np.int32)
    return Dataset(frame, ("jouets", "livres", "vases"), "f", (), none, none)


def reasons(inspected: Inspected) -> dict[int, str]:
    return dict(zip(inspected.decisions["number"], inspected.decisions["reason"], strict=True))


@pytest.mark.parametrize("gold_is_large", [False, True])
@pytest.mark.parametrize("title_is_large", [False, True])
def test_groups_of_any_size_are_compared(store, config, tell, title_is_large, gold_is_large):
    titles = np.array([f"lampe {n}" for n in range(50)])
    groups = group_hash(titles, [""] * 50, titles)
    title = titles[(groups >= 2**63) == title_is_large][0]
    number = tell(title, "jouets", "anna")
    state = FeedbackState(0, {}, (), "")
    (own,) = groups[titles == title].tolist()
    for gold, reason in (([2**63 + 9 if gold_is_large else 9], ""), ([own, 2**63 + 9 if gold_is_large else 9], "gold")):
        inspected = inspect_new(read_new(store, state), store, state, dataset(gold), config)
        assert reasons(inspected) == {number: reason}


def test_who_said_something_may_take_it_back_in_a_later_run_and_others_wait(tell, take_in):
    tell("lampe", "jouets", "anna")
    tell("vase", "jouets", "anna")
    take_in()
    own, other = tell("lampe", "vases", "anna"), tell("vase", "vases", "ben")
    assert reasons(take_in()) == {own: "", other: "contradiction"}


def test_what_an_admin_decided_stands_in_the_next_run(store, tell, take_in):
    anna, ben = tell("lampe", "jouets", "anna"), tell("lampe", "vases", "ben")
    assert take_in().waiting.keys() == {anna, ben}
    store.settle(anna, True, "admin")
    new = tell("lampe", "vases", "carl")
    done = take_in()
    assert reasons(done) == {anna: "settled", ben: "overruled", new: "contradiction"}
    assert done.wrong == (ben,) and done.waiting.keys() == {new}
    later = tell("vase", "jouets", "anna")
    assert reasons(take_in()) == {new: "contradiction", later: ""} and take_in().wrong == (ben,)


def test_a_flood_waits_and_what_the_person_says_on_other_days_does_not(store, tell, take_in):
    flood = [tell(f"lampe {n}", "jouets", "mallory") for n in range(6)]
    assert take_in().waiting.keys() == set(flood)
    with store._writing.begin() as connection:  # it was the day before
        connection.exec_driver_sql("UPDATE rayon_feedback SET time = '2020-01-01T10:00:00.000000Z'")
    new = tell("vase", "jouets", "mallory")
    assert take_in().waiting.keys() == set(flood)
    assert new not in reasons(take_in()) and take_in().waiting.keys() == set(flood)


@pytest.fixture
def other(config, store, tmp_path) -> Iterator[Store]:
    """Another database than the store's, which counts from 1 again."""
    opened = open_store(dataclasses.replace(config, cache=str(tmp_path / "elsewhere")))
    yield opened
    opened.close()


def test_another_store_is_read_from_its_beginning_and_the_first_goes_on_where_it_was(
    store, other, tell, take_in, capsys
):
    flood = [tell(f"lampe {n}", "jouets", "mallory") for n in range(6)]
    assert take_in().waiting.keys() == set(flood)
    assert not capsys.readouterr().out
    new = [tell(f"vase {n}", "jouets", "anna", other) for n in range(3)]
    assert max(new) < max(flood)
    done = take_in(other)
    assert reasons(done) == dict.fromkeys(new, "") and not done.waiting
    told = capsys.readouterr().out
    assert "RAYON_STORE" in told and "6 pieces that waited for an admin are kept" in told
    assert not reasons(take_in(other)) and not capsys.readouterr().out
    store.settle(flood[0], True, "admin")
    done = take_in()
    assert reasons(done) == {flood[0]: "settled", **dict.fromkeys(flood[1:], "flood")} and done.cursor == max(flood)
    later = tell("vase", "jouets", "anna", other)
    assert reasons(take_in(other)) == {later: ""}


def test_a_store_whose_identity_is_not_known_is_believed(store, tell, take_in, capsys):
    waiting = [tell(f"lampe {n}", "jouets", "mallory") for n in range(6)]
    before = take_in()
    store.identity = ""
    later = tell("vase", "jouets", "anna")
    done = take_in()
    assert reasons(done).keys() >= {later} and done.waiting.keys() == set(waiting) == before.waiting.keys()
    assert not capsys.readouterr().out


def test_a_number_of_another_store_does_not_say_who_said_it_here(other, tell, take_in):
    for n in range(2):
        tell(f"lampe {n}", "jouets", "anna")
    take_in()
    tell("lampe 1", "jouets", "carl", other)  # the number under which anna spoke of another product
    own = tell("lampe 0", "vases", "ben", other)
    assert reasons(take_in(other))[own] == "contradiction"
    theirs = tell("lampe 1", "vases", "ben", other)
    assert reasons(take_in(other))[theirs] == "contradiction"


@pytest.mark.parametrize("later", [0, 3], ids=["fewer than before", "more than before"])
def test_a_store_that_was_restored_from_an_older_backup_is_read_anew(store, tell, take_in, capsys, later):
    kept = [tell(f"lampe {n}", "jouets", "anna") for n in range(2)]
    lost = [tell(f"vase {n}", "jouets", "ben") for n in range(2)]
    assert take_in().cursor == max(lost)
    with store._writing.begin() as connection:  # the backup was made after `kept`
        connection.exec_driver_sql(f"DELETE FROM rayon_feedback WHERE number > {max(kept)}")
        connection.exec_driver_sql(f"UPDATE sqlite_sequence SET seq = {max(kept)} WHERE name = 'rayon_feedback'")
    new = [tell(f"robot {n}", "jouets", "carl") for n in range(1 + later)]
    assert new[0] == lost[0]
    done = take_in()
    assert reasons(done) == dict.fromkeys([*kept, *new], "") and done.cursor == max(new)
    assert "read from its beginning" in capsys.readouterr().out
    assert not reasons(take_in()) and not capsys.readouterr().out


def test_runs_that_noted_no_store_are_believed_where_the_store_got_as_far(store, other, tell, capsys):
    numbers = [tell(f"lampe {n}", "jouets", "anna") for n in range(3)]
    before = FeedbackState(numbers[1], {1: ("flood", "")}, (), "FeedbackFlow/1")
    assert [entry.number for entry in read_new(store, resume(store, before))] == [numbers[0], numbers[2]]
    assert not capsys.readouterr().out
    tell("lampe", "jouets", "anna", other)
    assert [entry.number for entry in read_new(other, resume(other, before))] == [1]
    assert "RAYON_STORE" in capsys.readouterr().out


def test_a_run_leaves_what_was_read_of_every_store(monkeypatch):
    before = {"cursor": 7, "waiting": {3: ("flood", "")}, "shards": [], "wrong": [2]}
    now = {
        **before,
        "store": "b" * 32,
        "last": "p",
        "origins": [],
        "elsewhere": {"a" * 32: Read(9, "q", {}, ())._asdict()},
    }
    for left in (before, pickle.loads(pickle.dumps(now))):
        artifacts = [SimpleNamespace(id=name, data=value) for name, value in left.items()]
        run = SimpleNamespace(pathspec="FeedbackFlow/1", data=MetaflowData(artifacts))
        monkeypatch.setattr("rayon.registry.finished_runs", lambda *_, run=run: iter([run]))
        state = feedback_state("shop")
        assert (state.run, state.cursor, state.waiting, state.wrong) == (run.pathspec, 7, {3: ("flood", "")}, (2,))
        assert (state.store, state.last) == (left.get("store", ""), left.get("last", ""))
    assert state.elsewhere == {"a" * 32: Read(9, "q", {}, ())}


def test_words_that_were_found_wrong_are_no_labels_for_the_monitor(store, config, tell, take_in, monkeypatch):
    for who in ("anna", "ben", "carl"):
        tell("lampe", "jouets", who)
    outvoted, flood = tell("lampe", "vases", "mallory"), [tell(f"robot {n}", "vases", "eve") for n in range(6)]
    done = take_in()
    assert done.wrong == (outvoted,) and done.waiting.keys() == set(flood)
    for number in flood:
        store.settle(number, False, "admin")
    done = take_in()
    monkeypatch.setattr(
        "rayon.production.feedback_state", lambda _: FeedbackState(done.cursor, done.waiting, (), "", done.wrong)
    )
    start, end = (datetime.now(UTC) + timedelta(hours=hours) for hours in (-1, 1))
    table = read_window([f"app:{start.isoformat()}/{end.isoformat()}"], "TrainFlow/1", config=config).table
    assert sorted(table[HUMAN].to_pylist()) == [""] * 7 + ["jouets"] * 3
