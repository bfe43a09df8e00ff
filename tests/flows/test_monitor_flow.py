"""MonitorFlow, run for real: a run of ScoreFlow, drifted predictions, another model's, mistakes of the user."""

from __future__ import annotations

import base64
import re
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from metaflow import Run, namespace
from support_flows import ROOT, Finished, Shop, artifacts
from wandb_files import check_fed

from rayon.champions import ended, started
from rayon.production import sources_since
from rayon.reference import read_reference
from rayon.scoring import PREDICTIONS_SCHEMA

FEW = "minimum_rows: 20\nreport_rows: 100\n"


class Watched(NamedTuple):
    """A shop whose products came by a broken feed and were scored; the run, the same with strange words, and another
    model's looked at.

    `latest` is the newer one of the shop's two trainings, 'TrainFlow/12'.
    """

    shop: Shop
    latest: str
    scored: Finished
    calm: Finished
    drifted: Finished
    others: Finished


def monitor(shop: Shop, *arguments: str) -> Finished:
    command = shop.command("monitor", "--config-value", "monitoring", FEW, "run", *arguments)
    return shop.execute(command)


def broken_feed(shop: Shop) -> str:
    """The shop's products with one of them fifty times more, and a column that nobody has seen."""
    frame = pd.read_csv(shop.folder / "raw" / "products.csv", dtype=str, keep_default_na=False)
    whole = frame[(frame["designation"] != "") & (frame["image"] != "")]
    copies = pd.concat([whole.iloc[[10]]] * 50).assign(product_id=[f"copy-{number}" for number in range(50)])
    file = shop.folder / "feed.csv"
    pd.concat([frame, copies]).assign(supplier="x").to_csv(file, index=False)
    return str(file)


@pytest.fixture(scope="module")
def watched(make_trained) -> Watched:
    shop, runs = make_trained("watched", 2)
    scored = shop.run("score", "--input", broken_feed(shop))
    calm = monitor(shop, "--run", scored.run_id)
    table = pq.read_table(shop.folder / "cache" / "predictions" / f"watched-{scored.run_id}" / "predictions")
    strange = pc.add(pc.fill_null(table["unknown_words"], 0.0), pa.scalar(0.7, pa.float32()))
    ids = pc.binary_join_element_wise("new", table["product_id"], "-")
    drifted = replaced(replaced(table, "unknown_words", strange), "product_id", ids)
    pq.write_table(drifted, shop.folder / "drifted.parquet")
    pq.write_table(
        replaced(table, "model_version", pa.array(["TrainFlow/1"] * len(table))), shop.folder / "old.parquet"
    )
    return Watched(
        shop,
        f"TrainFlow/{runs[-1].run_id}",
        scored,
        calm,
        monitor(shop, "--file", "drifted.parquet"),
        monitor(shop, "--file", "old.parquet"),
    )


def replaced(table: pa.Table, name: str, column: pa.ChunkedArray | pa.Array) -> pa.Table:
    return table.set_column(table.column_names.index(name), name, column)


def test_a_training_keeps_what_production_is_compared_with(watched):
    namespace(None)
    data = Run(watched.latest).data
    reference = read_reference(data.reference)
    assert reference.table.schema.equals(PREDICTIONS_SCHEMA)
    assert reference.model == watched.latest
    frame = reference.table.to_pandas()
    right = (frame["category"] == frame["given_category"]).mean()
    assert right == pytest.approx(data.report["metrics"]["accuracy"]["value"])
    assert len(data.reference) < 500_000


def test_a_run_is_compared_with_the_latest_models_reference(watched):
    assert watched.calm.code == 0, watched.calm.output
    data = artifacts("MonitorFlow", watched.calm)
    assert data.compared_with == watched.latest
    assert data.sources == [f"ScoreFlow/{watched.scored.run_id}"]
    assert data.verdict["facts"]["rows"] == artifacts("ScoreFlow", watched.scored).summary["products"]
    assert {"text_view", "photo_view", "unknown_words", "predicted_mix"} <= {r["name"] for r in data.verdict["records"]}
    assert data.shown["strangest"] and data.shown["strangest"][0]["photo"]
    namespace(None)
    assert "monitor:watched" in Run(f"MonitorFlow/{watched.calm.run_id}").tags


def test_a_scoring_belongs_to_the_moment_at_which_it_finished(watched):
    namespace(None)
    run = Run(f"ScoreFlow/{watched.scored.run_id}")
    began, second = started(run), timedelta(seconds=1)
    assert began + second < ended(run) < started(Run(f"MonitorFlow/{watched.calm.run_id}"))
    assert sources_since("watched", began + second) == [run.pathspec]
    assert sources_since("watched", ended(run) + second) == []


def test_a_broken_feed_is_said_and_kept_with_the_run(watched):
    assert watched.scored.code == 0, watched.scored.output
    summary = artifacts("ScoreFlow", watched.scored).summary
    assert summary["columns"] == {"new": ["supplier"], "gone": []}
    assert "has 'supplier', unknown to the model's training" in watched.scored.output
    verdict = artifacts("MonitorFlow", watched.calm).verdict
    found = {record["name"]: record for record in verdict["records"]}
    for name in ("columns", "most_repeated", "repeated_content"):
        assert found[name]["severity"] == "watch" and found[name]["sentence"] in verdict["reasons"]
    assert "'supplier'" in found["columns"]["sentence"]
    assert found["most_repeated"]["sentence"].startswith("51 products share one text and photo ('")
    assert verdict["facts"]["repeated_content"] == pytest.approx(50 / verdict["facts"]["rows"], abs=0.02)
    # a file of the same predictions tells of no columns
    assert "columns" not in {record["name"] for record in artifacts("MonitorFlow", watched.drifted).verdict["records"]}


def test_drift_is_a_verdict_with_its_reason_and_the_next_command(watched):
    assert watched.drifted.code == 0, watched.drifted.output
    verdict = artifacts("MonitorFlow", watched.drifted).verdict
    assert verdict["verdict"] == "retrain"
    assert "words that the model does not know" in verdict["reasons"][0]
    lines = [line.split("] ", 1)[-1] for line in watched.drifted.output.splitlines() if "/end/" in line]
    printed = " ".join(lines)
    assert "verdict   retrain" in printed and "because   words that" in printed and "next      python flows/" in printed


def test_earlier_runs_are_read_back_as_history(watched):
    past = artifacts("MonitorFlow", watched.others).past
    runs = [f"MonitorFlow/{done.run_id}" for done in (watched.calm, watched.drifted)]
    assert [point["run"] for point in past] == runs
    assert [point["alone"] for point in past][1] == "retrain" and past[1]["ratios"]["unknown_words"] > 3
    assert past[0]["ratios"]["unknown_words"] < 5
    names = [path.name for path in (watched.shop.folder / "cache" / "wandb").glob("offline-run-*")]
    assert any(f"MonitorFlow-{watched.drifted.run_id}-judge" in name for name in names)


def test_the_dashboard_is_fed_by_what_was_logged(watched):
    runs = {run.group: run for run in check_fed(__file__, watched.shop.settings) if run.job == "monitor"}
    newest = runs[f"MonitorFlow/{watched.drifted.run_id}"]
    verdicts = [(point["monitor/time"], point["monitor/verdict"]) for point in newest.history]
    assert len(verdicts) == 2 and verdicts == sorted(verdicts) and verdicts[-1][1] == 2
    assert newest.summary["monitor/said"] == "retrain" and newest.summary["monitor/drift/unknown_words"] > 3


def test_another_models_predictions_are_no_data(watched):
    assert watched.others.code == 0, watched.others.output
    data = artifacts("MonitorFlow", watched.others)
    assert data.verdict["verdict"] == "no data" and "by TrainFlow/1" in data.verdict["reasons"][0]
    assert "could not be made" in data.report_problem


def test_the_report_is_kept_with_the_run_and_as_a_file(watched):
    data = artifacts("MonitorFlow", watched.drifted)
    assert data.report_problem == "" and 100_000 < len(data.page) < 5_000_000
    (file,) = (watched.shop.folder / "cache" / "monitoring").glob(f"watched-{watched.drifted.run_id}.html")
    assert file.read_text() == data.page and str(file) in watched.drifted.output


def test_the_card_shows_the_verdict_and_the_pictures(watched):
    page = card(watched, "monitor", watched.shop.folder / "monitor.html")
    html = page.read_text()
    carried = [base64.b64decode(text).decode(errors="ignore") for text in re.findall(r'"([A-Za-z0-9+/=]{400,})"', html)]
    told = html + "".join(carried)
    for title in ("Drift over time", "Mix then and now", "Photos least like training", "New words", "Data quality"):
        assert title in told
    assert page.stat().st_size < 3_000_000


def card(watched: Watched, which: str, page: Path) -> Path:
    command = watched.shop.command("monitor", "card", "get", f"{watched.calm.run_id}/end", str(page), "--id", which)
    assert watched.shop.execute(command).code == 0
    return page


def test_the_report_opens_from_the_card_without_a_network(watched, browser, tmp_path):
    card(watched, "monitor", tmp_path / "monitor.html")
    report = card(watched, "report", tmp_path / "report.html")
    assert report.read_text() == artifacts("MonitorFlow", watched.calm).page
    assert report.stat().st_size < 5_000_000
    alone = browser.new_context(offline=True)
    asked: list[str] = []
    alone.on("request", lambda sent: asked.append(sent.url))
    page = alone.new_page()
    page.goto((tmp_path / "monitor.html").as_uri())
    with alone.expect_page() as opened:
        page.get_by_text("Open the report").click()
    asked.clear()
    for shown in (opened.value, alone.new_page()):
        if shown is not opened.value:
            shown.goto(report.as_uri())
        shown.get_by_text("Data Drift Summary").wait_for(timeout=30_000)
    assert not [url for url in asked if not url.startswith(("file:", "data:", "blob:"))]
    alone.close()


def test_mistakes_of_the_user_are_sentences(watched):
    shop = watched.shop
    done = monitor(shop, "--file", "nowhere.parquet")
    assert done.code != 0 and "there is no file" in done.output and "Traceback" not in done.output
    wrong = shop.command("monitor", "--config-value", "monitoring", "alpa: 0.1", "run")
    done = shop.execute(wrong)
    assert done.code != 0 and "did you mean 'alpha'?" in done.output and "Traceback" not in done.output


def test_nothing_of_the_flow_starts_another_flow():
    text = (ROOT / "flows" / "monitor_flow.py").read_text()
    assert not re.search(r"Runner|Deployer|ArgoEvent|subprocess", text)
