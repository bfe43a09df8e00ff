"""What the notebooks find: the runs that are meant, with the numbers that they left."""

from __future__ import annotations

import numpy as np
import pytest
from metaflow import Run
from support_flows import ROOT, artifacts

from rayon.champions import RegistryError
from rayon.config import ConfigError, changed
from rayon.exploring import (
    Experiment,
    NothingYetError,
    find_run,
    find_training,
    latest_runs,
    open_dataset,
    open_experiment,
    project_root,
    read_rejects,
    two_trainings,
)
from rayon.findings import (
    describe_windows,
    label,
    open_gold,
    open_watched,
    read_candidates,
    read_costs,
    read_facts,
    read_reports,
)


@pytest.fixture
def experiment(seen, tmp_path) -> Experiment:
    file = tmp_path / "shop.yaml"
    file.write_text(seen.shop.as_yaml(), encoding="utf-8")
    return open_experiment(str(file))


def test_the_project_is_found_from_a_folder_below_it(monkeypatch):
    monkeypatch.chdir(ROOT / "notebooks")
    assert project_root() == ROOT
    config = open_experiment("configs/demo.yaml").config
    assert config.name == "demo" and config.cache == str(ROOT / ".rayon")


def test_an_experiment_that_is_not_there_is_answered_with_those_that_are(monkeypatch):
    monkeypatch.chdir(ROOT)
    with pytest.raises(ConfigError, match=r"there is no file .*dmo.yaml.*configs/demo.yaml"):
        open_experiment("configs/dmo.yaml")


def test_the_command_names_the_experiment_unless_it_is_the_demo(experiment):
    assert Experiment("configs/demo.yaml", experiment.config).command("train") == "make train"
    assert experiment.command("score") == f"make score EXPERIMENT={experiment.file}"


@pytest.mark.parametrize("flow, target", [("PreprocessFlow", "preprocess"), ("TrainFlow", "train"),
                                          ("ScoreFlow", "score"), ("MonitorFlow", "monitor")])  # fmt: skip
def test_where_there_is_no_run_the_command_is_told(experiment, flow, target):
    nobody = experiment._replace(config=changed(experiment.config, {"name": "nobody"}))
    with pytest.raises(NothingYetError, match=f"of 'nobody' yet in the branch 'user.tests': run `make {target} EXP"):
        latest_runs(nobody, flow)


def test_a_notebook_shows_the_sentence_alone(experiment):
    nobody = experiment._replace(config=changed(experiment.config, {"name": "nobody"}))
    with pytest.raises(NothingYetError) as error:
        open_dataset(nobody)
    assert error.value._render_traceback_() == [str(error.value)]
    with pytest.raises(NothingYetError, match="no finished run of TrainFlow"):
        find_training(nobody)


def test_the_champion_goes_before_the_newest(seen, experiment):
    assert [run.pathspec for run in latest_runs(experiment, "TrainFlow", 5)] == seen.trainings[::-1]
    assert find_training(experiment).pathspec == seen.trainings[0]
    assert find_training(experiment, "latest").pathspec == seen.trainings[1]
    assert find_run(experiment, "TrainFlow", seen.trainings[1].split("/")[1]).pathspec == seen.trainings[1]
    assert two_trainings(experiment) == (seen.trainings[1], seen.trainings[0])
    with pytest.raises(RegistryError, match="'12' is no run of MonitorFlow"):
        find_run(experiment, "MonitorFlow", "12")


def test_the_dataset_is_opened_and_its_rejects_are_those_that_were_kept(experiment):
    version, dataset = open_dataset(experiment)
    assert len(dataset) == version.manifest.counts["kept"]
    assert version.run.startswith("TrainFlow/") and read_rejects(version).empty


def test_runs_are_told_apart_and_the_champion_is_marked(seen, experiment):
    runs = latest_runs(experiment, "TrainFlow", 2)
    newest, oldest = (label(run, "books") for run in runs)
    assert newest.endswith(runs[0].id[-6:]) and oldest.endswith(f"{runs[1].id[-6:]} (champion)")
    reports, facts, costs = (read(runs, "books") for read in (read_reports, read_facts, read_costs))
    assert list(reports) == list(facts.index) == list(costs.index) == [newest, oldest]
    stored = runs[0].data.report
    assert reports[newest].metrics["macro_f1"]._asdict() == stored["metrics"]["macro_f1"]
    assert facts.loc[newest, "bundle_mb"] == len(runs[0].data.bundle) / 1e6
    assert facts.loc[oldest, "encoded"] > 0 == facts.loc[newest, "encoded"]
    assert (costs > 0).all(axis=None) and costs.sum(axis=1).max() < 3600
    assert read_candidates(runs[0]).keys() == {"tfidf", "fusion"}


def test_gold_products_are_those_of_the_report(seen, experiment):
    run = Run(seen.trainings[0])
    judged, dataset = open_gold(run, experiment.config)
    report = run.data.report
    assert len(judged) == report["products"]
    assert judged["right"].mean() == pytest.approx(report["metrics"]["accuracy"]["value"])
    rows = dataset.frame.iloc[judged["row"]]
    assert rows["product_id"].tolist() == judged["product_id"].tolist()
    assert (rows["description"] == "").tolist() == (~judged["has_description"]).tolist()
    assert judged["text_share"].between(0, 1).all() and set(judged["language"]) <= {"", "fr", "en", "de", "es", "it"}


def test_another_split_has_another_gold_set_and_says_so(seen, experiment):
    config = changed(experiment.config, {"split": {"seed": 7}})
    with pytest.raises(RegistryError, match="`split` has changed since"):
        open_gold(Run(seen.trainings[0]), config)


def test_a_window_is_read_again_as_it_was_judged(seen, experiment):
    run = find_run(experiment, "MonitorFlow")
    reference, current = open_watched(run, experiment.config)
    summary = artifacts("ScoreFlow", seen.scored).summary
    assert len(current.frame) == summary["products"]
    assert current.frame["confidence"].sum() == pytest.approx(summary["confidence_sum"], rel=1e-4)
    assert len(reference.frame) == Run(seen.trainings[0]).data.report["products"]
    table = describe_windows([run.data.point])
    assert table.loc[run.pathspec, "rows"] == summary["products"]
    assert table.loc[run.pathspec, "times"] == np.max(list(run.data.point["ratios"].values()))


def test_an_artifact_that_an_older_run_lacks_is_named(seen):
    from rayon.findings import _artifact

    with pytest.raises(RegistryError, match=f"{seen.trainings[0]} kept no 'nonsense'"):
        _artifact(Run(seen.trainings[0]), "evaluate", "nonsense")
