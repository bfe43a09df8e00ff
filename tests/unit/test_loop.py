"""When to train: only if asked, only with something new, not too soon and not too often."""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import pytest
from metaflow.exception import MetaflowException
from typer.testing import CliRunner

from rayon.champions import RegistryError
from rayon.cli import app
from rayon.config import Retraining
from rayon.data.outputs import Outputs
from rayon.events import Request
from rayon.feedback import StoreError, open_store
from rayon.loop import alone, decide, has_traffic, stale_dataset
from rayon.preparing import RayonError
from rayon.production import LONGEST_SCORING, sources_since

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
ASKED = [Request("MonitorFlow/3", NOW, "the monitor says retrain"), Request("FeedbackFlow/9", NOW, "200 corrections")]


def ago(*hours: float) -> list[datetime]:
    return [NOW - timedelta(hours=each) for each in hours]


def test_the_first_model_is_trained_unasked():
    decision = decide(NOW, [], [], True, Retraining())
    assert decision.train and "no model yet" in decision.reason


def test_a_request_with_something_new_to_learn_trains_and_says_why():
    decision = decide(NOW, ago(30), ASKED, True, Retraining())
    assert decision.train and decision.reason == "the monitor says retrain; 200 corrections"


@pytest.mark.parametrize(
    ("trainings", "requests", "fresh", "words"),
    [
        (ago(30), [], True, "nobody asks"),
        (ago(30), ASKED, False, "nothing new to learn from"),
        (ago(11), ASKED, True, "too young: not before 2026-03-02 13:00"),
        (ago(13, 30, 50, 80, 100), ASKED, True, "5 trainings in the last 7 days"),
    ],
)
def test_what_holds_a_training_back_is_said(trainings, requests, fresh, words):
    decision = decide(NOW, trainings, requests, fresh, Retraining())
    assert not decision.train and words in decision.reason


def test_the_budget_is_of_the_last_seven_days():
    assert decide(NOW, ago(13, 30, 50, 80, 169), ASKED, True, Retraining()).train


def test_two_loops_do_not_run_at_once(make_config, tmp_path):
    config = make_config(cache=str(tmp_path / "cache"))
    with alone(config), pytest.raises(RayonError, match="another loop of 'shop' runs here"), alone(config):
        pass
    with alone(config):  # and the lock goes with its holder
        pass


def test_a_pass_that_fails_whatever_is_away_is_tried_again(monkeypatch, tmp_path):
    away = [
        RayonError("train_flow.py failed"),
        StoreError("the store cannot be read"),
        RegistryError("the run was deleted"),
        MetaflowException("the metadata service does not answer"),
    ]
    passes = iter(away)

    def fail(*arguments: object) -> None:
        raise next(passes, KeyboardInterrupt())  # which is how a loop is ended

    monkeypatch.setenv("RAYON_BRANCH", "test.away")
    monkeypatch.setattr("rayon.loop.run_pass", fail)
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    told = CliRunner().invoke(app, ["loop", "--every", "10m"]).output
    assert all(f"this pass failed, the next one tries again: {error}" in told for error in away)


class Ran(NamedTuple):
    """What is read of a run: its name, when it began and ended, and whether it finished well."""

    pathspec: str
    begun: datetime
    ended: datetime
    successful: bool = True


@pytest.fixture
def scorings(monkeypatch):
    """A list of runs of ScoreFlow that are found, newest first; put some in."""
    runs: list[Ran] = []
    monkeypatch.setattr("rayon.production.runs_tagged", lambda *tags: iter(runs))
    monkeypatch.setattr("rayon.production.started", lambda run: run.begun)
    monkeypatch.setattr("rayon.production.ended", lambda run: run.ended)
    return runs


def test_a_scoring_counts_from_when_it_finished(scorings):
    (begun,) = ago(3)
    (since,) = ago(2)
    scorings += [
        Ran("ScoreFlow/4", NOW, NOW, successful=False),
        Ran("ScoreFlow/3", since - timedelta(minutes=10), since - timedelta(minutes=1)),
        Ran("ScoreFlow/2", begun, NOW),
        Ran("ScoreFlow/1", since - LONGEST_SCORING - timedelta(minutes=1), NOW),
    ]
    assert sources_since("shop", since) == ["ScoreFlow/2"]


@pytest.mark.parametrize(("finished", "looked_at"), [(1, False), (3, True)])
def test_a_scoring_that_was_under_way_when_production_was_looked_at_is_looked_at(
    monkeypatch, scorings, make_config, tmp_path, finished, looked_at
):
    """Finished so many hours ago; the look was two hours ago, and both scorings began before it."""
    config = make_config(cache=str(tmp_path / "cache"))
    look, begun, end = ago(2, 4, finished)
    monkeypatch.setattr("rayon.loop.last_look", lambda name: look)
    scorings += [Ran("ScoreFlow/1", begun, end)]
    store = open_store(config)
    assert has_traffic(store, config) is not looked_at
    store.close()


@pytest.fixture
def stale(monkeypatch, make_config, tmp_path):
    """A function that says whether a catalogue is newer than its dataset version, which was made an hour ago."""
    version = SimpleNamespace(manifest=SimpleNamespace(shards=()), run="PreprocessFlow/1")
    monkeypatch.setattr("rayon.loop.latest_dataset", lambda name: version)
    monkeypatch.setattr("rayon.loop.feedback_state", lambda name: SimpleNamespace(shards=()))
    monkeypatch.setattr("rayon.loop.Run", lambda run: run)
    monkeypatch.setattr("rayon.loop.namespace", lambda name: None)
    monkeypatch.setattr("rayon.loop.started", lambda run: datetime.now(UTC) - timedelta(hours=1))

    def ask(products: object, labels: object = None) -> bool:
        catalog = {"products": str(products), "labels": None if labels is None else str(labels)}
        return stale_dataset(make_config(catalog=catalog))

    return ask


def aged(path: Path) -> Path:
    """The file, made, or the folder as it is, but for two hours."""
    if not path.is_dir():
        path.write_text("x")
    moment = time.time() - 7200
    os.utime(path, (moment, moment))
    return path


def test_a_catalogue_is_newer_with_its_products_or_its_labels(stale, tmp_path):
    products, labels = aged(tmp_path / "products.csv"), aged(tmp_path / "labels.csv")
    assert not stale(products, labels)
    labels.write_text("y")
    assert stale(products, labels) and not stale(products)
    assert not stale(tmp_path / "nothing.csv", tmp_path / "none.csv")


def test_a_folder_is_newer_with_any_of_its_files(stale, tmp_path):
    folder = tmp_path / "shop"
    folder.mkdir()
    one = aged(folder / "one.parquet")
    aged(folder)
    assert not stale(folder)
    one.write_text("y")
    aged(folder)
    assert stale(folder)
    aged(one)
    aged(tmp_path / "two.parquet").rename(folder / "two.parquet")  # which changes the folder alone
    assert stale(folder)


def test_a_catalogue_on_s3_is_newer_once_it_was_written_again(stale, bucket, monkeypatch):
    Outputs(bucket).write("products.csv", b"x")
    assert stale(f"{bucket}/products.csv")
    monkeypatch.setattr("rayon.loop.started", lambda run: datetime.now(UTC) + timedelta(hours=1))
    assert not stale(f"{bucket}/products.csv")
    assert not stale(f"{bucket}/none.csv")
