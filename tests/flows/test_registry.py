"""Champions, for real: a good model, one on corrupted labels, one on more data; rollback, a race, runs that go."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest
from metaflow import Run, namespace
from support_flows import Finished, Shop, artifacts
from wandb_files import check_fed

from rayon.champions import RegistryError, champion, history, promote
from rayon.config import parse_config
from rayon.preparing import load_dataset
from rayon.promotion import judge_candidate
from rayon.registry import find_model


class Reign(NamedTuple):
    """A shop's models: trained on good labels, on corrupted ones, on more data."""

    shop: Shop
    good: Finished
    corrupted: Finished
    more: Finished
    experiment: Path


@pytest.fixture(scope="module")
def reign(make_shop) -> Reign:
    from rayon.config import Synthetic
    from rayon.data.synthetic import write_catalogue

    shop = make_shop("reign")
    shop.change(candidates=["fusion"], trainer={"max_epochs": 15, "patience": 15}, catalog={"synthetic": None})
    synthetic = Synthetic(rows=360, categories=12, seed=4)
    products = write_catalogue(shop.folder / "raw", synthetic)
    clean = pd.read_csv(products, dtype=str, keep_default_na=False)
    good = shop.run("train", "--reason", "the first")
    corrupt(clean).to_csv(products, index=False)
    corrupted = shop.run("train")
    clean.to_csv(products, index=False)
    write_catalogue(shop.folder / "raw", Synthetic(rows=1080, categories=12, seed=4))
    more = shop.run("train", "--reason", "three times the products")
    experiment = shop.folder / "experiment.yaml"
    experiment.write_text(shop.as_yaml())
    return Reign(shop, good, corrupted, more, experiment)


def corrupt(frame: pd.DataFrame) -> pd.DataFrame:
    """Shuffle the categories of all products but the gold set's."""
    from rayon.config import Split
    from rayon.data.splits import assign_splits, group_hash

    groups = group_hash(frame["designation"], frame["description"], frame["product_id"])
    learnt = np.flatnonzero(np.asarray(assign_splits(groups, Split())) != "test")
    other = frame.copy()
    other.loc[learnt, "category"] = np.random.default_rng(0).permutation(frame["category"].to_numpy()[learnt])
    return other


def rayon(reign: Reign, command: str, *arguments: str) -> Finished:
    words = [sys.executable, "-m", "rayon", command, *arguments, "-e", str(reign.experiment)]
    return reign.shop.execute(words)


def run_of(done: Finished) -> str:
    return f"TrainFlow/{done.run_id}"


def test_the_first_model_that_beats_the_baseline_is_champion(reign):
    assert reign.good.code == 0, reign.good.output
    data = artifacts("TrainFlow", reign.good)
    assert data.promoted and data.verdict["verdict"] == "promote", data.verdict
    assert "beats tf-idf" in [record["name"] for record in data.verdict["records"]]
    assert "gate      promoted" in reign.good.output


def test_a_model_on_corrupted_labels_is_held_and_the_message_says_why(reign):
    assert reign.corrupted.code == 0, reign.corrupted.output
    data = artifacts("TrainFlow", reign.corrupted)
    assert not data.promoted and data.verdict["verdict"] == "hold"
    assert data.verdict["before"] == run_of(reign.good)
    assert f"gate      held, {run_of(reign.good)} stays champion: " in reign.corrupted.output
    assert "over the champion" in data.verdict["reason"]


def test_a_model_on_more_data_is_promoted_on_a_gold_set_that_grew(reign):
    assert reign.more.code == 0, reign.more.output
    data, before = artifacts("TrainFlow", reign.more), artifacts("TrainFlow", reign.good)
    assert data.promoted, data.verdict
    assert data.report["products"] > 2 * before.report["products"]
    gain = next(record for record in data.verdict["records"] if record["name"] == "gain")
    assert gain["actual"] > 0.02


def test_a_gate_that_is_tried_again_says_what_it_said(reign):
    """The attempt before it had promoted the model, and died before its task was done."""
    config, data = parse_config(reign.shop.settings), artifacts("TrainFlow", reign.more)
    assert champion(config.name).to == run_of(reign.more)
    model = find_model(run_of(reign.more), config.name)
    verdict, before = judge_candidate(model, load_dataset(data.manifest, config), config)
    assert (verdict.verdict, before) == (data.verdict["verdict"], data.verdict["before"] or None)
    assert before == run_of(reign.good)
    said = {record["name"]: record["actual"] for record in data.verdict["records"]}
    assert {record.name: record.actual for record in verdict.records} == pytest.approx(said, abs=1e-6)


def test_models_are_not_judged_on_what_they_learnt_from(reign):
    """The split was changed since: both would be asked about products they know."""
    settings = {**reign.shop.settings, "split": {"seed": 5}}
    config, data = parse_config(settings), artifacts("TrainFlow", reign.more)
    model = find_model(run_of(reign.more), config.name)
    verdict, _ = judge_candidate(model, load_dataset(data.manifest, config), config)
    failed = [record for record in verdict.records if not record.passed]
    assert verdict.verdict == "hold"
    assert [record.name for record in failed[-2:]] == ["candidate's gold set", "champion's gold set"]
    assert all(record.actual > 10 and "split.seed" in record.sentence for record in failed[-2:])


def test_the_card_of_the_gate_has_every_line(reign):
    page = reign.shop.folder / "gate.html"
    command = reign.shop.command("train", "card", "get", f"{reign.corrupted.run_id}/gate", str(page), "--id", "gate")
    assert reign.shop.execute(command).code == 0
    assert page.stat().st_size < 3_000_000


def test_models_show_all_of_them_and_which_is_champion(reign):
    told = rayon(reign, "models", "--json", "-")
    rows = {row["run"]: row for row in json.loads(told.output)}
    assert list(rows) == [run_of(reign.more), run_of(reign.corrupted), run_of(reign.good)]
    assert [row["champion"] for row in rows.values()] == ["now", "", "before"]
    assert [row["gate"] for row in rows.values()] == ["promote", "hold", "promote"]
    assert rows[run_of(reign.good)]["until"] == rows[run_of(reign.more)]["since"]
    assert run_of(reign.more) in rayon(reign, "models").output


def test_comparing_names_categories_and_products(reign):
    told = rayon(reign, "compare", reign.corrupted.run_id, reign.more.run_id)
    assert told.code == 0, told.output
    assert "macro-F1 of the second less the first: +" in told.output
    assert "they disagree on" in told.output and "second" in told.output


def test_show_tells_the_gates_lines(reign):
    told = rayon(reign, "show", reign.corrupted.run_id)
    assert "FAILS" in told.output and "over the champion" in told.output
    assert rayon(reign, "show", "99").code == 1


def test_a_held_model_is_promoted_by_force_alone_and_rolled_back(reign):
    refused = rayon(reign, "promote", reign.corrupted.run_id, "--reason", "let us see")
    assert refused.code == 2 and "--force promotes it all the same" in refused.output
    assert champion("reign").to == run_of(reign.more)
    forced = rayon(reign, "promote", reign.corrupted.run_id, "--reason", "let us see", "--force")
    assert forced.code == 0, forced.output
    assert find_model("", "reign").version == run_of(reign.corrupted)
    for taken, expected in ((reign.corrupted.run_id, reign.more), ("", reign.good)):
        back = rayon(reign, "rollback", *[taken] * bool(taken), "--reason", "it was worse")
        assert back.code == 0, back.output
        assert find_model("champion", "reign").version == run_of(expected)
    again = rayon(reign, "rollback", reign.corrupted.run_id, "--reason", "once more, to be sure")
    assert again.code == 0 and f"{run_of(reign.good)} is: nothing was changed" in again.output
    told = rayon(reign, "rollback", "--reason", "further")
    assert told.code == 1 and "nothing to roll back to" in told.output
    story = [(event.kind, event.to, event.verdict) for event in history("reign")]
    assert story == [
        ("promote", run_of(reign.good), "promote"),
        ("promote", run_of(reign.more), "promote"),
        ("promote", run_of(reign.corrupted), "forced"),
        ("rollback", run_of(reign.more), ""),
        ("rollback", run_of(reign.good), ""),
    ]
    events = history("reign")
    assert [event.number for event in events] == [1, 2, 3, 4, 5]
    assert [event.before for event in events] == ["", *(event.to for event in events[:-1])]
    assert events[0].reason == "the first" and all(event.who for event in events)
    shown = rayon(reign, "history").output
    assert shown.count("rollback") == 2 and "let us see" in shown


def test_wandb_is_told_who_is_champion(reign):
    runs = check_fed(__file__, reign.shop.settings)
    crowning = [run for run in runs if "champion" in run.tags]
    told = {run.summary["champion/number"]: run for run in crowning}
    assert [(run.job, run.summary["champion/to"]) for _, run in sorted(told.items())] == [
        ("gate", run_of(reign.good)),
        ("gate", run_of(reign.more)),
        ("promote", run_of(reign.corrupted)),
        ("rollback", run_of(reign.more)),
        ("rollback", run_of(reign.good)),
    ]
    assert all("reign-bundle" in run.artifacts and "champions" in run.tables for run in crowning)
    assert told[3].summary["champion/verdict"] == "forced" and told[3].summary["champion/reason"] == "let us see"
    (held,) = (run for run in runs if run.group == run_of(reign.corrupted) and run.job == "gate")
    assert held.summary["gate/promoted"] == 0 and "reign-bundle" not in held.artifacts
    assert "gate/gain_s_interval" in held.summary


def test_another_branch_has_champions_of_its_own(reign, monkeypatch):
    monkeypatch.setenv("RAYON_BRANCH", "prod")
    assert history("reign") == [] and champion("reign") is None
    assert "no model yet" in rayon(reign, "models").output
    with pytest.raises(RegistryError, match=r"is of the branch 'user\."):
        promote("reign", run_of(reign.good), "to production")


RACER = """
import sys, time
import rayon
from rayon.champions import promote
while time.time() < float(sys.argv[3]):
    pass
promote("race", sys.argv[1], "racing " + sys.argv[2])
"""


def test_two_promotions_at_once_leave_one_champion_and_two_entries(reign):
    import time

    start = str(time.time() + 4)
    racers = [
        subprocess.Popen([sys.executable, "-c", RACER, run_of(done), str(place), start], cwd=reign.shop.folder)
        for place, done in enumerate((reign.good, reign.more))
    ]
    assert [racer.wait(60) for racer in racers] == [0, 0]
    events = history("race")
    assert len(events) == 2 and {event.to for event in events} == {run_of(reign.good), run_of(reign.more)}
    assert champion("race") == events[-1]


def test_runs_that_are_gone_are_told_and_break_nothing(reign, monkeypatch, tmp_path):
    """Last of all: artifacts are removed, then a run."""
    namespace(None)
    root = Path(os.environ["METAFLOW_DATASTORE_SYSROOT_LOCAL"])
    report = Run(run_of(reign.corrupted))["evaluate"].task["report"]
    (blob,) = root.rglob(f"TrainFlow/data/*/{report.sha}")
    blob.unlink()
    # Metaflow's client keeps what it has read once
    monkeypatch.setenv("METAFLOW_CLIENT_CACHE_PATH", str(tmp_path))
    (folder,) = root.rglob(f"TrainFlow/{reign.more.run_id}")
    shutil.rmtree(folder)
    rows = {row["run"]: row for row in json.loads(rayon(reign, "models", "--json", "-").output)}
    assert rows[run_of(reign.corrupted)]["problem"].startswith("its artifacts are gone")
    assert rows[run_of(reign.more)]["problem"] == "the run was deleted"
    assert rows[run_of(reign.good)]["problem"] == "" and rows[run_of(reign.good)]["champion"] == "now"
    assert find_model("", "reign").version == run_of(reign.good)
    told = rayon(reign, "promote", reign.more.run_id, "--reason", "back")
    assert told.code == 1 and "there is no run" in told.output
