"""The flows, run for real: a fresh machine, a dataset version, a kill, a catalogue that grows, mistakes of the user."""

from __future__ import annotations

import subprocess

import pytest
from metaflow import Run
from metaflow.cards import get_cards
from support_flows import ROOT, Shop, Story, artifacts, shown, task_artifacts
from wandb_files import check_fed

from rayon.champions import history


def test_a_fresh_machine_prepares_the_catalogue_itself_and_says_so(story):
    assert story.alone.code == 0, story.alone.output
    assert "no finished PreprocessFlow run of 'shop'" in story.alone.output
    assert artifacts("TrainFlow", story.alone).dataset_run == f"TrainFlow/{story.alone.run_id}"


def test_the_bundle_is_plain_bytes_that_predict_what_the_report_says(story):
    from rayon.bundle import read_bundle

    data = artifacts("TrainFlow", story.alone)
    assert isinstance(data.bundle, bytes)
    bundle = read_bundle(data.bundle)
    assert bundle.about["run"] == f"TrainFlow/{story.alone.run_id}"
    assert list(bundle.categories) == data.report["categories"]
    right = (data.predictions["category"] == data.predictions["predicted"]).mean()
    assert right == pytest.approx(data.report["metrics"]["accuracy"]["value"])


def test_candidates_are_compared_and_the_baseline_is_never_selected(story):
    data = artifacts("TrainFlow", story.alone)
    assert [row["name"] for row in data.comparison] == ["tfidf", "fusion"]
    assert data.selected == "fusion"
    assert data.comparison[0]["validation_macro_f1"] is None


def test_a_run_ends_with_six_lines_that_say_where_to_look(story):
    lines = [line for line in story.alone.output.splitlines() if f"[{story.alone.run_id}/end/" in line]
    printed = [line.split("] ", 1)[-1] for line in lines]
    starts = [line.split()[0] for line in printed if line.split()]
    assert [word for word in starts if word in ("trained", "gold", "against", "gate", "look", "next")] == [
        "trained",
        "gold",
        "against",
        "gate",
        "look",
        "next",
    ]


def test_no_remark_of_a_library_floods_the_log(story):
    for done in (story.alone, story.preprocessed, story.resumed, story.retrained):
        assert "Warning" not in done.output, done.output


def test_the_cards_are_there_and_name_what_they_show(story):
    model = card(story.shop, "train", f"{story.alone.run_id}/evaluate", "model")
    assert "macro-F1" in model and "Candidates" in model
    tasks = {next(iter(task.data.results)): task.id for task in Run(f"TrainFlow/{story.alone.run_id}")["train"]}
    assert "is trained" in card(story.shop, "train", f"{story.alone.run_id}/train/{tasks['fusion']}", "train")
    assert "Jouets" in card(story.shop, "preprocess", f"{story.preprocessed.run_id}/end", "dataset")
    assert all(page.stat().st_size < 3_000_000 for page in story.shop.folder.glob("*.html"))


def card(shop: Shop, flow: str, task: str, name: str) -> str:
    """What the page of a card shows, through the command that a user would type."""
    page = shop.folder / f"{name}.html"
    command = shop.command(flow, "card", "get", task, str(page), "--id", name)
    subprocess.run(command, cwd=shop.folder, check=True, capture_output=True, timeout=120)
    return shown(page.read_text())


def test_wandb_runs_are_kept_offline_under_the_run_of_the_flow(story):
    folders = [path.name for path in (story.shop.folder / "cache" / "wandb").glob("offline-run-*")]
    assert any(f"TrainFlow-{story.alone.run_id}-evaluate" in name for name in folders)
    assert any(f"TrainFlow-{story.alone.run_id}-train" in name for name in folders)


def test_the_dashboard_is_fed_by_what_was_logged(story):
    runs = {(run.group, run.job): run for run in check_fed(__file__, story.shop.settings)}
    alone = f"TrainFlow/{story.alone.run_id}"
    trained, evaluated = runs[alone, "train"], runs[alone, "evaluate"]
    assert trained.config["candidate"] == evaluated.config["candidate"] == "fusion"
    assert trained.name == f"train fusion {alone}"
    report = artifacts("TrainFlow", story.alone).report
    assert evaluated.summary["test/macro_f1/low"] == report["metrics"]["macro_f1"]["low"]
    assert [point["epoch"] for point in trained.history if "train_loss" in point] == [0, 1]
    made = runs[f"PreprocessFlow/{story.grown.run_id}", "preprocess"].summary
    data = artifacts("PreprocessFlow", story.grown)
    for name in ("read", "kept", "rejected", "photos_refused"):
        assert made[f"dataset/{name}"] == data.profile[name]
    assert made["dataset/new"] == data.new_rows > 0


def test_training_takes_the_latest_dataset_version(story):
    assert story.preprocessed.code == 0, story.preprocessed.output
    data = artifacts("TrainFlow", story.killed)
    assert data.dataset_run == f"PreprocessFlow/{story.preprocessed.run_id}"


def test_a_second_run_encodes_nothing_again(story):
    first = artifacts("TrainFlow", story.alone).encoded
    assert all(count > 200 for count in first.values()), first
    assert set(artifacts("TrainFlow", story.killed).encoded.values()) == {0}


def test_a_training_that_loses_one_of_its_processes_goes_on_from_its_checkpoint(story):
    assert story.kills >= 1, "the training was over before it could be killed"
    assert story.killed.code == 0, story.killed.output
    assert "rank 0 of 2 processes lost the others" in story.killed.output
    results = [task.results for task in task_artifacts("TrainFlow", story.killed, "train")]
    assert len(results) == 2 and {} in results
    fusion = next(filter(None, results))["fusion"]
    assert fusion["resumed_from_epoch"] > 0
    assert [row["epoch"] for row in fusion["history"]] == list(range(60))


def test_no_checkpoint_is_left_of_runs_that_are_over(story):
    assert not list((story.shop.folder / "cache" / "checkpoints").glob("*/*"))


def test_what_several_processes_trained_is_a_model_as_any_other(story):
    from rayon.bundle import read_bundle
    from rayon.registry import find_model, find_reference

    version = f"TrainFlow/{story.killed.run_id}"
    model = find_model(version, "shop")
    assert model.version == version == read_bundle(model.bundle).about["run"]
    assert find_reference(version, "shop")
    data = artifacts("TrainFlow", story.killed)
    assert [row["name"] for row in data.comparison] == ["tfidf", "fusion"] and data.selected == "fusion"
    assert f"model:{story.shop.settings['name']}" in Run(version).tags


def test_the_live_card_is_that_of_the_first_process(story):
    first = next(task for task in Run(f"TrainFlow/{story.killed.run_id}")["train"] if task.data.results)
    pages = [shown(page.get()) for page in get_cards(first, id="train")]
    # the attempt that failed left one as well
    assert any("fusion is trained" in page and "the checkpoint of an earlier attempt" in page for page in pages)


def test_a_run_whose_every_attempt_was_killed_is_resumed_from_its_checkpoint(story):
    assert story.failed.code != 0, story.failed.output
    assert story.resumed.code == 0, story.resumed.output
    (task,) = task_artifacts("TrainFlow", story.resumed, "train")
    assert task.results["fusion"]["resumed_from_epoch"] > 0
    assert [row["epoch"] for row in task.results["fusion"]["history"]] == list(range(60))
    assert artifacts("TrainFlow", story.resumed).bundle != artifacts("TrainFlow", story.killed).bundle


def test_new_rows_add_a_shard_and_leave_the_others_and_the_gold_set_alone(story):
    from rayon.data.shards import Manifest

    before = Manifest.from_json(artifacts("PreprocessFlow", story.preprocessed).manifest)
    after = Manifest.from_json(artifacts("PreprocessFlow", story.grown).manifest)
    # the new rows, and some that were refused while their category had too few products
    assert 12 <= gained(story) <= 24
    assert sum(ref.rows for ref in after.shards[len(before.shards) :]) == gained(story)
    assert [ref.locator for ref in after.shards[: len(before.shards)]] == [ref.locator for ref in before.shards]
    gold = [set(artifacts("TrainFlow", done).predictions["product_id"]) for done in (story.alone, story.retrained)]
    assert gold[0] <= gold[1]


def test_new_rows_are_all_that_is_encoded(story):
    assert story.retrained.code == 0, story.retrained.output
    counts = artifacts("TrainFlow", story.retrained).encoded
    assert all(0 < count <= gained(story) for count in counts.values()), counts


def test_a_training_goes_on_from_the_heads_of_the_model_that_is_served(story):
    # no model was promoted so far: the latest finished training is served, and its 60 epochs began anew
    assert artifacts("TrainFlow", story.retrained).begins_at == f"TrainFlow/{story.resumed.run_id}"
    (task,) = task_artifacts("TrainFlow", story.retrained, "train")
    assert task.results["fusion"]["warm"] and len(task.results["fusion"]["history"]) == 1
    assert "after 1 epoch on the heads of an earlier training" in story.retrained.output
    (before,) = task_artifacts("TrainFlow", story.resumed, "train")
    assert before.candidate == "fusion" and before.heads and not before.results["fusion"]["warm"]


def test_force_promotes_whatever_the_gate_says(story):
    assert artifacts("TrainFlow", story.retrained).promoted
    (event,) = history("shop")
    assert event.to == f"TrainFlow/{story.retrained.run_id}" and event.reason == "more products"


def gained(story: Story) -> int:
    """How many products the second dataset version has more than the first."""
    before, after = (artifacts("PreprocessFlow", done).profile["kept"] for done in (story.preprocessed, story.grown))
    return int(after - before)


def test_rows_in_are_products_and_rejects(story):
    data = artifacts("PreprocessFlow", story.grown)
    rejected = (data.rejects["scope"] == "product").sum()
    assert data.profile["read"] == 252 == data.profile["kept"] + rejected


def test_a_catalogue_without_a_column_is_one_sentence_and_no_traceback(make_shop):
    shop = make_shop("broken")
    (shop.folder / "raw").mkdir()
    (shop.folder / "raw" / "products.csv").write_text("product_id,titre,description,category,image\n1,a,b,c,\n")
    shop.change(catalog={"synthetic": None})
    done = shop.run("preprocess")
    assert done.code != 0
    assert "there is no column 'designation'" in done.output and "products.csv" in done.output
    assert "Traceback" not in done.output


def test_a_misspelt_setting_stops_the_flow_before_any_task(make_shop):
    shop = make_shop("misspelt")
    shop.change(trainer={"max_epoch": 3})
    done = shop.run("train")
    assert done.code != 0 and done.run_id == ""
    assert "did you mean 'max_epochs'?" in done.output and "Traceback" not in done.output


@pytest.mark.parametrize("flow", ["preprocess", "train", "train_nodes", "score", "monitor"])
def test_show_reads_as_a_table_of_contents(make_shop, flow):
    shop = make_shop(f"contents-{flow}")
    shown = subprocess.run(shop.command(flow, "show"), cwd=ROOT, capture_output=True, text=True, timeout=60)
    text = shown.stdout + shown.stderr
    steps = [line.split()[1] for line in text.splitlines() if line.startswith("Step ")]
    numbered = [line.split(". ")[1].split(":")[0] for line in text.splitlines() if line[:1].isdigit() and ". " in line]
    assert steps == numbered and len(steps) >= 4
    assert "?" * 3 not in text
