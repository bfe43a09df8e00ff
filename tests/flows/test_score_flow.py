"""ScoreFlow, run for real: a file, the unseen stream, kills, a resumed run, models that are not there."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

import pandas as pd
import pyarrow.parquet as pq
import pytest
from metaflow import Run, namespace
from support_flows import Finished, Shop, artifacts, run_and_kill
from wandb_files import check_fed

from rayon.registry import RegistryError, find_model, read_predictions


class Scored(NamedTuple):
    """A shop's products scored in peace, with one kill, and with a kill in every attempt, then resumed.

    `latest` is the newer one of the shop's two trainings, 'TrainFlow/12'.
    """

    shop: Shop
    latest: str
    peaceful: Finished
    killed: Finished
    kills: int
    failed: Finished
    resumed: Finished


@pytest.fixture(scope="module")
def scored(make_trained) -> Scored:
    shop, runs = make_trained("scored", 2)
    settings = {**shop.settings}
    shop.change(score={"shard_rows": 8, "tasks": 1})
    arguments = ("--input", str(shop.folder / "raw" / "products.csv"))
    peaceful = shop.run("score", *arguments, "--output", str(shop.folder / "peace"))
    killed, kills = run_and_kill(
        shop, "score", "score", "war/predictions/*.parquet", 1, *arguments, "--output", str(shop.folder / "war")
    )
    failed, _ = run_and_kill(
        shop, "score", "score", "ruin/predictions/*.parquet", 3, *arguments, "--output", str(shop.folder / "ruin")
    )
    resumed = shop.resume("score", failed)
    shop.settings = settings
    return Scored(shop, f"TrainFlow/{runs[-1].run_id}", peaceful, killed, kills, failed, resumed)


def files(shop: Shop, folder: str) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in (shop.folder / folder / "predictions").glob("*.parquet")}


def test_every_row_is_a_prediction_or_a_reject(scored):
    assert scored.peaceful.code == 0, scored.peaceful.output
    data = artifacts("ScoreFlow", scored.peaceful)
    table = pq.read_table(scored.shop.folder / "peace" / "predictions").to_pandas()
    rejects = pq.read_table(scored.shop.folder / "peace" / "rejects.parquet")
    assert len(table) + rejects.num_rows == 240 == data.summary["read"]
    assert not set(table["product_id"]) & set(rejects["product_id"].to_pylist())


def test_predictions_are_reachable_through_the_client(scored):
    run = f"ScoreFlow/{scored.peaceful.run_id}"
    through_client = read_predictions(run)
    on_disk = pq.read_table(scored.shop.folder / "peace" / "predictions").to_pandas()
    pd.testing.assert_frame_equal(through_client, on_disk)
    namespace(None)
    assert "scores:scored" in Run(run).tags
    with pytest.raises(RegistryError, match="has not finished"):
        read_predictions(f"ScoreFlow/{scored.failed.run_id}")
    with pytest.raises(RegistryError, match="is not here"):
        read_predictions("ScoreFlow/no-such-run")


def test_the_latest_training_answers_where_nothing_is_champion(scored):
    assert artifacts("ScoreFlow", scored.peaceful).version == scored.latest
    for which in ("", "latest", scored.latest.partition("/")[2], scored.latest):
        assert find_model(which, "scored").version == scored.latest


def test_a_killed_task_is_retried_and_leaves_the_same_bytes(scored):
    assert scored.kills == 1 and scored.killed.code == 0, scored.killed.output
    assert found_done(scored.killed) >= 1
    assert files(scored.shop, "war") == files(scored.shop, "peace")


def test_a_resumed_run_does_only_what_was_missing(scored):
    assert scored.failed.code != 0, scored.failed.output
    assert scored.resumed.code == 0, scored.resumed.output
    assert found_done(scored.resumed) >= 3
    assert files(scored.shop, "ruin") == files(scored.shop, "peace")


def found_done(done: Finished) -> int:
    """How many shards the last attempt found done, of those that it was given."""
    return int(re.findall(r"shards scored, (\d+) found done", done.output)[-1])


def test_the_dashboard_is_fed_by_what_was_logged(scored):
    runs = {run.group: run for run in check_fed(__file__, scored.shop.settings) if run.job == "score"}
    logged = runs[f"ScoreFlow/{scored.peaceful.run_id}"].summary
    summary = artifacts("ScoreFlow", scored.peaceful).summary
    assert (logged["score/products"], logged["score/rejected"]) == (summary["products"], summary["rejected"])


def test_the_card_shows_the_mix_and_the_unsure(scored):
    page = scored.shop.folder / "scores.html"
    command = scored.shop.command("score", "card", "get", f"{scored.peaceful.run_id}/end", str(page), "--id", "scores")
    assert scored.shop.execute(command).code == 0
    assert 100_000 < page.stat().st_size < 3_000_000


def test_the_unseen_stream_is_scored_without_a_file(scored):
    shop = scored.shop
    before = {**shop.settings}
    shop.change(split={"unseen": 0.3}, score={"shard_rows": 100, "tasks": 2})
    done = shop.run("score")
    shop.settings = before
    assert done.code == 0, done.output
    data = artifacts("ScoreFlow", done)
    table: Any = read_predictions(done.run_id)
    assert 40 < len(table) < 110 and data.summary["read"] == len(table)
    assert (table["given_category"] != "").all()


def test_of_a_folder_the_new_files_alone_are_scored(scored, tmp_path):
    """As an hourly run does: the second one finds one file that it knows, and one that it does not."""
    shop, folder = scored.shop, tmp_path / "incoming"
    folder.mkdir()
    table = pd.read_csv(shop.folder / "raw" / "products.csv", dtype=str, keep_default_na=False)
    summaries = []
    for number, arrived in enumerate((table[:40], table[40:60], None)):
        if arrived is not None:
            arrived.to_parquet(folder / f"{number}.parquet")
        done = shop.run("score", "--input", str(folder), "--files", "new")
        assert done.code == 0, done.output
        summaries.append(artifacts("ScoreFlow", done).summary)
    assert [summary["read"] for summary in summaries] == [40, 20, 0]
    assert "0 of 2 files are new" in done.output


def test_mistakes_of_the_user_are_sentences(scored, tmp_path):
    shop = scored.shop
    nothing = tmp_path / "nothing.csv"
    nothing.write_text("")
    for arguments, sentence in (
        (("--input", str(nothing)), "the file is empty"),
        (("--input", str(nothing), "--files", "newer"), "--files is 'all' or 'new'"),
        (("--model", "champion"), "no model of 'scored' is champion"),
        (("--model", "99"), "there is no run TrainFlow/99 here"),
        ((), "no product of 'scored' is set apart"),
    ):
        done = shop.run("score", *arguments)
        assert done.code != 0 and sentence in done.output, done.output
        assert "Traceback" not in done.output
