"""One gc from end to end, on runs that Metaflow's datastore wrote: what is kept reads, whatever happens on the way."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from metaflow.plugins.datastores.local_storage import LocalStorage
from stored import NOW, Shelf, manifest

from rayon.config import Config
from rayon.keeping.gc import Garbage, collect_garbage
from rayon.keeping.places import KeepError
from rayon.keeping.policy import Policy

from .conftest import shop

STRICT = Policy(days=30, runs=1)


def gc(shelf: Shelf, config: Config, policy: Policy = STRICT, delete: bool = True, **more: Any) -> Garbage:
    return collect_garbage(config, shelf.stores(), policy, delete, grace=0.0, **more)


def dropped(found: Garbage) -> set[str]:
    return {line.name for line in found.lines if line.what == "run" and not line.keep}


def test_looking_touches_nothing(shelf, config):
    shelf.run("TrainFlow", 1)
    old = shelf.run("TrainFlow", 60, {"start": {"own": b"x" * 5000}})
    before = {file: file.stat().st_mtime for file in shelf.folder.rglob("*")}
    found = gc(shelf, config, delete=False)
    assert dropped(found) == {old} and found.swept == []
    assert {file: file.stat().st_mtime for file in shelf.folder.rglob("*")} == before
    assert not Path(config.cache).exists()


def test_what_goes_is_gone_and_what_stays_reads_as_before(shelf, config):
    shared, big = b"the same shard", os.urandom(20_000)
    young = shelf.run("TrainFlow", 1, {"start": {"shard": shared, "bundle": b"young"}})
    old = shelf.run("TrainFlow", 60, {"start": {"shard": shared, "bundle": big}})
    failed = shelf.run("TrainFlow", 3, {"start": {"bundle": b"failed"}}, end=False)
    elsewhere = shelf.run("TrainFlow", 90, {"start": {"bundle": b"another's"}}, branch="prod")
    card = shelf.folder / "mf.cards" / old.replace("/", "/runs/") / "card.html"
    card.parent.mkdir(parents=True)
    card.write_text("a card")
    before = {run: shelf.read(run) for run in (young, elsewhere)}
    blobs = shelf.blobs("TrainFlow")
    found = gc(shelf, config)
    assert dropped(found) == {old, failed} and found.others == 1
    assert {run: shelf.read(run) for run in (young, elsewhere)} == before
    assert not shelf.there(old) and not shelf.there(failed) and not card.exists()
    # of the old run its bundle, of the failed one its bundle and that it failed
    assert shelf.blobs("TrainFlow") == blobs - 3
    (swept,) = found.swept
    assert set(swept.runs) == {old.split("/")[1], failed.split("/")[1]} and swept.freed > 20_000
    line = next(line for line in found.lines if line.name == old)
    assert 20_000 < line.size < 25_000, "a shared blob counts for the run that keeps it"
    again = gc(shelf, config)
    assert again.swept == [] and dropped(again) == set()


def test_the_champion_and_all_that_once_were_stay_with_their_data(shelf, config):
    from rayon.champions import promote

    first = shelf.run("PreprocessFlow", 90, {"build": {"shard_00000": b"one"}})
    second = shelf.run("PreprocessFlow", 80, {"combine": {"manifest": manifest(first)}})
    third = shelf.run("PreprocessFlow", 70, {"combine": {"manifest": manifest(first)}})
    last = shelf.run("PreprocessFlow", 2, {"combine": {"manifest": manifest()}})
    champion = shelf.run(
        "TrainFlow", 75, {"start": {"dataset_run": second, "manifest": manifest(first)}}, ("model:shop",)
    )
    held = shelf.run("TrainFlow", 74, {}, ("model:shop",))
    newer = shelf.run("TrainFlow", 1, {"start": {"dataset_run": last, "manifest": manifest()}}, ("model:shop",))
    promote("shop", champion, "good")
    promote("shop", newer, "better")
    found = gc(shelf, config)
    assert dropped(found) == {third, held}
    why = {line.name: line.why for line in found.lines}
    assert why[newer] == "champion of shop" and why[champion] == "in the history of champions of shop"
    assert why[second] == f"{champion} was trained on it" and "holds shards of" in why[first]
    assert shelf.read(first)["build.shard_00000"] == b"one"


def test_runs_that_hold_what_others_refer_to_stay(shelf, config):
    """The locators of a resumed scoring, and of feedback, lead to other runs."""
    origin = shelf.run("ScoreFlow", 60, {"score": {"predictions_00000": b"p"}}, end=False)
    score = shelf.run("ScoreFlow", 59, {"combine": {"predictions": [f"{origin}/score/1#00000"]}})
    nobody = shelf.run("ScoreFlow", 61, end=False)
    old = shelf.run("FeedbackFlow", 50, {"start": {"shard_00000": b"f"}})
    shards = [{"locator": f"{old}/start/1#00000"}]
    feedback = shelf.run("FeedbackFlow", 40, {"start": {"shards": shards}})
    counted = shelf.run("TrainFlow", 20, {}, ("model:shop",))
    found = gc(shelf, config)
    assert dropped(found) == {nobody}
    assert {shelf.there(run) for run in (origin, score, old, feedback, counted)} == {True}


def test_feedback_and_requests_since_the_last_training_are_still_counted(shelf, config):
    before = shelf.run("FeedbackFlow", 90)
    training = shelf.run("TrainFlow", 80, {}, ("model:shop",))
    since = [shelf.run("FeedbackFlow", 70 - n) for n in range(3)]
    found = gc(shelf, config)
    assert dropped(found) == {before}
    shelf.run("TrainFlow", 1, {}, ("model:shop",))
    assert dropped(gc(shelf, config)) == {training, *since[:2]}


def test_a_flow_that_is_running_is_left_for_later(shelf, config):
    shelf.run("TrainFlow", 1)
    old, other = shelf.run("TrainFlow", 60), shelf.run("ScoreFlow", 60)
    shelf.run("ScoreFlow", 1)
    shelf.run("TrainFlow", 0.01, end=None)
    found = gc(shelf, config)
    assert dropped(found) == {old, other}
    assert shelf.there(old) and not shelf.there(other)
    train, score = found.swept
    assert "is running, as far as can be seen" in train.left and score.left == ""


def test_runs_of_which_only_the_metadata_are_here_are_left_alone(shelf, config):
    """Another datastore has their data: deleting the metadata would leave those behind for good."""
    shelf.run("TrainFlow", 1)
    shelf.tag("TrainFlow/1700000000000000", ())
    shelf.age("TrainFlow/1700000000000000", 60)
    found = gc(shelf, config, everything=True)
    assert found.elsewhere == 1 and dropped(found) == set() and shelf.there("TrainFlow/1700000000000000")


def test_a_run_that_began_meanwhile_keeps_what_it_needs(shelf, config):
    """At each step of the sweep, a run is stored that has the same artifact as one that is going."""
    for number in range(4):
        shelf.run("TrainFlow", 1)
        old = shelf.run("TrainFlow", 60, {"start": {"bundle": b"the same again %d" % number}})
        told: list[str] = []

        def begin(words: str, number: int = number, told: list[str] = told) -> None:
            told.append(words)
            if len(told) == number + 1:
                told.append(shelf.run("TrainFlow", 0.5, {"start": {"bundle": b"the same again %d" % number}}))

        gc(shelf, config, tell=begin)
        new = next(word for word in told if word.startswith("TrainFlow/"))
        assert shelf.read(new)["start.bundle"] == b"the same again %d" % number, told
        assert not shelf.there(old)


def test_a_task_that_found_the_blob_just_before_it_was_moved_finds_it_again(shelf, config):
    """Metaflow asks whether a blob is there, and writes down last that it needs it."""
    shelf.run("TrainFlow", 1)
    old = shelf.run("TrainFlow", 60, {"start": {"bundle": b"the same"}})
    running, blobs = "TrainFlow/1900000000000000", shelf.blobs("TrainFlow")

    def begin(words: str) -> None:
        if "aside" in words:  # it has announced itself, and asked
            shelf.tag(running, ())
            shelf.task("TrainFlow", "1900000000000000", "start", {}, done=False)

    (swept,) = gc(shelf, config, tell=begin).swept
    assert "all was put back" in swept.left and not shelf.there(old)
    assert shelf.blobs("TrainFlow") == blobs
    shelf.task("TrainFlow", "1900000000000000", "start", {"bundle": b"the same"})
    shelf.task("TrainFlow", "1900000000000000", "end", {})
    assert shelf.read(running)["start.bundle"] == b"the same"
    found = gc(shelf, config)
    assert found.unfinished == 1 and found.swept[0].runs == (old.split("/")[1],)
    assert shelf.read(running)["start.bundle"] == b"the same"


def test_a_run_that_is_promoted_or_needed_while_it_is_hidden_is_shown_again(shelf, config):
    from rayon.champions import promote

    shelf.run("TrainFlow", 1, {}, ("model:shop",))
    shelf.run("PreprocessFlow", 1, {"combine": {"manifest": manifest()}})
    better = shelf.run("TrainFlow", 60, {"evaluate": {"bundle": b"better"}}, ("model:shop",))
    data = shelf.run("PreprocessFlow", 70, {"build": {"shard_00000": b"one"}})
    before = shelf.read(better)

    def meanwhile(words: str) -> None:
        if words.startswith("hiding"):
            promote("shop", better, "after all")
            shelf.run("ScoreFlow", 0.01)
            shelf.run("TrainFlow", 0.01, {"start": {"dataset_run": data}})

    found = gc(shelf, config, tell=meanwhile)
    assert dropped(found) == {better, data}, "as it was seen at first"
    assert shelf.there(better) and shelf.read(better) == before
    assert shelf.there(data) and shelf.read(data)["build.shard_00000"] == b"one"
    assert all(swept.runs == () for swept in found.swept)


def test_a_blob_that_a_killed_gc_had_set_aside_is_back_for_a_task_that_counted_on_it(shelf, config):
    shelf.run("TrainFlow", 1)
    shelf.run("TrainFlow", 60, {"start": {"bundle": b"the same"}})

    def stop(words: str) -> None:
        if "once more" in words:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        gc(shelf, config, tell=stop)
    aside = [file for file in (shelf.folder / ".rayon-gc").rglob("*") if len(file.name) == 40]
    assert aside
    new = shelf.run("TrainFlow", 0.01, {"start": {"bundle": b"the same"}})
    for file in aside:  # it had found the blob before, and did not write its own
        (shelf.folder / file.relative_to(shelf.folder / ".rayon-gc" / "blobs")).unlink(missing_ok=True)
    gc(shelf, config)
    assert shelf.read(new)["start.bundle"] == b"the same"


def test_photos_that_nobody_names_go(shelf, config):
    from rayon.feedback import Logged, new_id, open_store
    from rayon.schema import Prediction

    store = open_store(config)
    said = Prediction("p1", "livres", 0.9, (("livres", 0.9),), 0.7, 0.3, "accept", "TrainFlow/1")
    home = Path(config.cache) / "feedback" / "shop" / "photos" / "ab"
    home.mkdir(parents=True)
    orphan = home / f"{'ab' * 32}.jpg"
    orphan.write_bytes(b"nobody's")
    os.utime(orphan, (0, 0))
    found = gc(shelf, config)
    (line,) = (line for line in found.lines if line.what == "photos")
    assert line.keep and "is this the app's RAYON_STORE?" in line.why and orphan.exists()
    (home / f"{'cd' * 32}.jpg").write_bytes(b"written a moment ago, as an app at work writes them")
    gc(shelf, config)
    assert orphan.exists()
    (home / f"{'cd' * 32}.jpg").unlink()
    store.add_predictions([Logged(new_id(), "Un titre", "", b"named", said, "api")])
    store.close()
    looked = gc(shelf, config, delete=False)
    assert orphan.exists() and looked.droppable == 8
    assert gc(shelf, config).lines == looked.lines
    assert not orphan.exists() and sum(file.is_file() for file in home.parent.rglob("*.jpg")) == 1


class Killed(BaseException):
    pass


@pytest.mark.parametrize("step", [0, 1, 2, 4, 5, 8, 9, 12, 20, 30])
def test_the_next_gc_goes_on_where_one_was_killed(shelf, config, step, monkeypatch):
    young = shelf.run("TrainFlow", 1, {"start": {"shard": b"shared"}})
    old = [shelf.run("TrainFlow", 60 + n, {"start": {"shard": b"shared", "own": b"%d" % n}}) for n in range(3)]
    blobs, before = shelf.blobs("TrainFlow"), {run: shelf.read(run) for run in (young, *old)}
    done = 0

    def dying(act: Callable[..., Any]) -> Callable[..., Any]:
        def run(*arguments: Any, **more: Any) -> Any:
            nonlocal done
            done += 1
            if done > step:
                raise Killed
            return act(*arguments, **more)

        return run

    with monkeypatch.context() as patched:
        for name in ("replace", "unlink", "rmdir"):  # each rename and removal may be the last
            patched.setattr(os, name, dying(getattr(os, name)))
        with pytest.raises(Killed):
            gc(shelf, config)
    assert shelf.read(young) == before[young]
    for run in old:  # half of one is never seen
        assert not shelf.there(run) or shelf.read(run) == before[run]
    gc(shelf, config)
    assert not any(shelf.there(run) for run in old) and shelf.read(young) == before[young]
    assert shelf.blobs("TrainFlow") == blobs - 3
    assert not [file for file in (shelf.folder / ".rayon-gc").rglob("*") if file.is_file() and file.name != "lock"]


def test_two_at_once_do_not_work(shelf, config):
    shelf.run("TrainFlow", 60)
    with shelf.stores().data.place.lock(), pytest.raises(KeepError, match="another gc works on"):
        gc(shelf, config)
    assert gc(shelf, config, delete=False).lines, "looking is free"


FLOWS = ("PreprocessFlow", "TrainFlow", "ScoreFlow", "FeedbackFlow")
RUN = st.fixed_dictionaries(
    {
        "flow": st.sampled_from(FLOWS),
        "age": st.integers(0, 60),
        "contents": st.lists(st.integers(0, 5), max_size=4),
        "needs": st.lists(st.integers(0, 9), max_size=3),
        "end": st.sampled_from([True, True, True, False, None]),
        "tags": st.sampled_from([(), (), (), ("keep",), ("champion:shop",)]),
        "branch": st.sampled_from(["user.tests", "user.tests", "prod"]),
    }
)


@settings(
    max_examples=10,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],  # an example is small, and to shrink it takes minutes
    suppress_health_check=list(HealthCheck),
)
@given(st.lists(RUN, min_size=4, max_size=8), st.integers(0, 40), st.integers(1, 3))
def test_nothing_kept_refers_to_what_is_gone(tmp_path_factory, specs, days, count):
    """Whatever runs there are: what is there reads whole, and the shards of its dataset version are there."""
    before = LocalStorage.datastore_root
    shelf = Shelf(tmp_path_factory.mktemp("any"))
    LocalStorage.datastore_root = str(shelf.folder)
    try:
        check(shelf, specs, Policy(days=days, runs=count))
    finally:
        LocalStorage.datastore_root = before


def check(shelf: Shelf, specs: list[dict[str, Any]], policy: Policy) -> None:
    runs: list[str] = []
    needs: dict[str, list[str]] = {}
    for spec in sorted(specs, key=lambda spec: -spec["age"]):
        held = [runs[n] for n in spec["needs"] if n < len(runs) and runs[n].startswith("PreprocessFlow")]
        steps = {"start": {f"a{n}": b"content %d" % n for n in spec["contents"]}}
        steps["start" if spec["flow"] == "TrainFlow" else "combine"] = {
            **(steps["start"] if spec["flow"] == "TrainFlow" else {}),
            "manifest": manifest(*held),
        }
        run = shelf.run(spec["flow"], spec["age"] + 0.2, steps, spec["tags"], spec["end"], spec["branch"])
        needs[run] = held if spec["flow"] in ("PreprocessFlow", "TrainFlow") else []
        runs.append(run)
    before = {run: shelf.read(run) for run in runs}
    config = shop(shelf.folder / "cache")
    looked = gc(shelf, config, policy, delete=False)
    found = gc(shelf, config, policy, clock=lambda: NOW + timedelta(minutes=1))
    assert [line for line in looked.lines if line.what == "run"] == [line for line in found.lines if line.what == "run"]
    why = {line.name: line.why for line in found.lines}
    for run in runs:
        if not shelf.there(run):
            assert run in dropped(found) and not (shelf.folder / run).exists()
            continue
        assert shelf.read(run) == before[run]
        if "holds shards" not in why.get(run, ""):
            assert all(shelf.there(holder) for holder in needs[run]), (run, why.get(run))
