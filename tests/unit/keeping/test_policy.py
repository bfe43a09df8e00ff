"""Which runs are kept: each rule alone, and what one that is kept needs."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from rayon.keeping.datastore import FAILED, FINISHED, OPEN
from rayon.keeping.policy import Facts, Need, Policy, decide

NOW = datetime(2026, 11, 1, tzinfo=UTC)
STRICT = Policy(days=0, runs=1, failed_days=1)


def facts(run: str, age: float, state: str = FINISHED, silent: float | None = None, **more) -> Facts:
    """A run that began `age` days ago, and was last heard of `silent` days ago."""
    flow, _, number = run.partition("/")
    sign = NOW - timedelta(days=age if silent is None else silent)
    known = {"branch": "user.anna", "catalogue": "shop", **more}
    return Facts(flow, number, started=NOW - timedelta(days=age), sign=sign, state=state, **known)


def kept(runs: list[Facts], policy: Policy = STRICT, **more) -> set[str]:
    return {path for path, verdict in decide(runs, policy, NOW, **more).items() if verdict.keep}


def test_the_young_and_the_last_finished_of_each_flow_stay():
    runs = [facts(f"TrainFlow/{n}", age=10.0 * n) for n in range(1, 6)]
    runs += [facts("ScoreFlow/1", age=90), facts("TrainFlow/other", age=95, catalogue="books")]
    assert kept(runs) == {"TrainFlow/1", "ScoreFlow/1", "TrainFlow/other"}
    assert kept(runs, Policy(days=0, runs=3)) - {"ScoreFlow/1", "TrainFlow/other"} == {
        f"TrainFlow/{n}" for n in (1, 2, 3)
    }
    assert kept(runs, Policy(days=45, runs=1)) >= {f"TrainFlow/{n}" for n in (1, 2, 3, 4)}


def test_a_run_that_did_not_finish_takes_no_ones_place_and_goes_after_a_day_of_silence():
    runs = [
        facts("TrainFlow/1", age=50),
        facts("TrainFlow/2", age=9, state=OPEN, silent=0.5),
        facts("TrainFlow/3", age=9, state=OPEN, silent=1.5),
        facts("TrainFlow/4", age=9, state=FAILED, silent=0.5),
        facts("TrainFlow/5", age=9, state=FAILED),
    ]
    assert kept(runs, Policy(days=30, runs=1)) == {"TrainFlow/1", "TrainFlow/2", "TrainFlow/4"}


def test_champions_and_what_people_tagged_stay_however_old():
    runs = [
        facts("TrainFlow/1", age=900, reign="champion of shop"),
        facts("TrainFlow/2", age=800, pinned=True),
        facts("TrainFlow/3", age=700),
        facts("TrainFlow/4", age=1),
    ]
    assert kept(runs) == {"TrainFlow/1", "TrainFlow/2", "TrainFlow/4"}


def test_a_champion_keeps_the_dataset_version_it_was_trained_on_and_that_the_runs_of_its_shards():
    runs = [
        facts("PreprocessFlow/1", age=90),
        facts("PreprocessFlow/2", age=80, needs=(Need("PreprocessFlow/1", "shards", False),)),
        facts("PreprocessFlow/3", age=70, needs=(Need("PreprocessFlow/2", "shards", False),)),
        facts("PreprocessFlow/4", age=1),
        facts(
            "TrainFlow/1", age=75, reign="was champion", needs=(Need("PreprocessFlow/2", "was trained on it", True),)
        ),
    ]
    # 1 holds shards of 2, which the champion was trained on; 3 is nobody's
    assert kept(runs) == {"PreprocessFlow/1", "PreprocessFlow/2", "PreprocessFlow/4", "TrainFlow/1"}


def test_a_run_that_is_kept_for_its_shards_alone_does_not_keep_its_own_version():
    """Else nothing would ever go of a catalogue that changes daily and has one product that never does."""
    runs = [
        facts("PreprocessFlow/1", age=90),
        facts("PreprocessFlow/2", age=80, needs=(Need("PreprocessFlow/1", "shards", False),)),
        facts("PreprocessFlow/3", age=1, needs=(Need("PreprocessFlow/2", "shards", False),)),
    ]
    assert kept(runs) == {"PreprocessFlow/2", "PreprocessFlow/3"}


def test_the_monitor_keeps_its_history():
    runs = [facts(f"MonitorFlow/{n}", age=40 + n) for n in range(40)]
    assert kept(runs) == {f"MonitorFlow/{n}" for n in range(30)}


def test_what_the_next_training_counts_and_the_newest_version_of_a_training_stay():
    runs = [
        facts("FeedbackFlow/1", age=90, counted=True),
        facts("FeedbackFlow/2", age=95),
        facts("FeedbackFlow/3", age=1),
        facts("TrainFlow/1", age=60, state=FAILED, version=True),
        facts("TrainFlow/2", age=70, state=FAILED, version=True),
    ]
    assert kept(runs) == {"FeedbackFlow/1", "FeedbackFlow/3", "TrainFlow/1"}


@pytest.mark.parametrize("whose", [{"branch": "prod"}, {"catalogue": "books"}, {"foreign": True}])
def test_what_is_out_of_scope_is_kept_and_so_is_what_it_needs(whose):
    runs = [
        facts("TrainFlow/1", age=90, needs=(Need("PreprocessFlow/1", "shards", True),), **whose),
        facts("TrainFlow/2", age=80, state=FAILED, **whose),
        facts("PreprocessFlow/1", age=90),
        facts("PreprocessFlow/2", age=91),
        facts("PreprocessFlow/3", age=1),
    ]
    found = kept(runs, in_scope=lambda run: run.branch == "user.anna" and run.catalogue == "shop")
    assert found == {"TrainFlow/1", "TrainFlow/2", "PreprocessFlow/1", "PreprocessFlow/3"}


def test_every_verdict_says_why():
    needs = (Need("PreprocessFlow/1", "holds shards of PreprocessFlow/2", False),)
    runs = [
        facts("PreprocessFlow/1", age=90),
        facts("PreprocessFlow/2", age=1, needs=needs),
        facts("PreprocessFlow/3", age=50),
        facts("PreprocessFlow/4", age=50, state=OPEN),
    ]
    told = decide(runs, STRICT, NOW)
    assert told["PreprocessFlow/1"].why == "holds shards of PreprocessFlow/2"
    assert told["PreprocessFlow/3"].why == "older than 0 days, nothing kept needs it"
    assert told["PreprocessFlow/4"].why == "never finished, more than 1 day ago"
