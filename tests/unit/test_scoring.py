"""Scoring shards: nothing lost, whatever the shards; done once; the same bytes again."""

from __future__ import annotations

import csv
import dataclasses
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rayon.bundle import dump_bundle, read_bundle
from rayon.bundle_document import describe_bundle
from rayon.cards import scores_card
from rayon.data.outputs import Outputs
from rayon.data.planning import plan_scoring
from rayon.data.shards import read_table
from rayon.data.tables import CatalogError
from rayon.preparing import RayonError
from rayon.registry import Model
from rayon.score_run import (
    UNSEEN,
    conclude,
    input_columns,
    open_predictor,
    plan_input,
    plan_jobs,
    run_jobs,
    share_out,
    tracked_values,
    trained_mix,
    with_input,
)
from rayon.scoring import PREDICTIONS_SCHEMA, finished

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*does not have many workers"),
]


@pytest.fixture
def scoring(make_config, trained_once, catalogue, tmp_path):
    """A factory of a scoring of a file by a trained model: (summary, rejects, predictions by id, folder, done)."""
    config = make_config()
    trained, _, _ = trained_once("fusion", config)

    def score(source: Path, folder: str = "out", shard_rows: int = 50, tasks: int = 2, cache: str = "cache"):
        settings = dataclasses.replace(
            config,
            cache=str(tmp_path / cache),
            score=dataclasses.replace(config.score, shard_rows=shard_rows, tasks=tasks, precision=0.9),
        )
        settings = with_input(settings, str(source), "")
        model = Model("TrainFlow/7", trained.bundle)
        predictor = open_predictor(model, settings)
        parts: dict[int, bytes] = {}
        jobs, refused = plan_jobs(settings, str(source), parts.__setitem__)
        outputs = Outputs(str(tmp_path / folder))
        done = [
            each
            for task in share_out(jobs, tasks)
            for each in run_jobs(task, parts.__getitem__, predictor, model.bundle, settings, outputs)
        ]
        columns = input_columns(settings, str(source), model.bundle)
        summary, rejects = conclude(
            jobs, refused, [d.summary for d in done], [d.rejects for d in done], model.version, outputs, columns
        )
        tables = [pq.read_table(pa.BufferReader(each.data)) for each in done]
        table = pa.concat_tables([PREDICTIONS_SCHEMA.empty_table(), *tables])
        return summary, rejects, table.to_pandas().set_index("product_id"), tmp_path / folder, done

    score.bundle = trained.bundle
    return score


def hateful(catalogue: Path, folder: Path) -> Path:
    """A CSV with every kind of row: good ones, and each that cannot be scored or only in part."""
    images = catalogue / "images"
    (images / "cut.png").write_bytes((images / "0.png").read_bytes()[:150])
    (images / "zero.png").write_bytes(b"")
    rows = [
        ("good", "lampe chevet", "", "0.png"),
        ("text alone", "robot cubes", "", ""),
        ("photo alone", "", "", "0.png"),
        ("cut photo with text", "lampe led", "", "cut.png"),
        ("cut photo alone", "", "", "cut.png"),
        ("empty photo alone", "", "", "zero.png"),
        ("missing photo with text", "roman poche", "", "nowhere.png"),
        ("outside with text", "roman poche", "", "../../etc/passwd"),
        ("nothing", "", "", ""),
        ("good", "lampe led", "", ""),
        ("", "lampe led", "", ""),
        ("too many", "fields", "in", "this", "row"),
        ("long", "lampe " * 20_000, "", ""),
        ("ünïcode 日本", "lampe led", "", ""),
    ]
    file = folder / "hateful.csv"
    with open(file, "w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([("product_id", "designation", "description", "image"), *rows])
    return file


def test_a_folder_holds_the_last_run_alone(scoring, catalogue, tmp_path):
    source = hateful(catalogue, tmp_path)
    *_, folder, _ = scoring(source, shard_rows=1)
    (folder / "predictions" / "mine.parquet").write_bytes(b"somebody else's")
    summary, _, found, folder, done = scoring(source, shard_rows=50)
    left = {file.name for file in (folder / "predictions").iterdir()}
    assert left == {"mine.parquet", *(f"part-{number:05d}.parquet" for number in range(len(done)))}
    assert len(list((folder / "rejects").iterdir())) == len(done) < 5 and summary["products"] == len(found)


@pytest.mark.parametrize("shard_rows", [1, 3, 50])
def test_rows_in_are_rows_out_and_rejects(scoring, catalogue, tmp_path, shard_rows):
    summary, rejects, found, folder, _ = scoring(hateful(catalogue, tmp_path), shard_rows=shard_rows)
    assert summary["read"] == 14 == summary["products"] + summary["rejected"]
    assert len(found) == summary["products"] == 8 and len(rejects) == 6
    assert Counter(rejects["reason"]) == {
        "photo_damaged": 1, "photo_empty": 1, "no_text_no_photo": 1, "duplicate_id": 1, "missing_id": 1, "bad_row": 1,
    }  # fmt: skip
    assert rejects["record"].map(json.loads).map(bool).all()
    assert found.loc["cut photo with text", "photo_problem"].startswith("photo_damaged")
    assert found.loc["missing photo with text", "photo_problem"].startswith("photo_missing")
    assert found.loc["outside with text", "photo_problem"].startswith("photo_outside_folder")
    assert (found["photo_problem"] == "").sum() == 5 and summary["photo_problems"] == 3
    on_disk = pq.read_table(folder / "rejects.parquet").to_pandas()
    pd.testing.assert_frame_equal(on_disk, rejects, check_dtype=False)
    assert json.loads((folder / "summary.json").read_text())["products"] == 8
    assert pq.read_table(folder / "predictions").num_rows == 8


def test_predictions_have_their_schema_and_their_place(scoring, catalogue):
    summary, _, found, folder, _ = scoring(catalogue / "products.csv")
    assert pq.read_schema(folder / "predictions" / "part-00000.parquet").equals(PREDICTIONS_SCHEMA)
    assert found["row"].tolist() == list(range(1, 241)) and set(found["source"]) == {"products.csv"}
    assert (found["given_category"] == found["category"]).mean() > 0.85
    assert found["confidence"].tolist() == [top[0]["probability"] for top in found["top_k"]]
    assert summary["mix"] == dict(Counter(found["category"]).most_common())
    assert summary["accepted"] == (found["decision"] == "accept").sum()
    assert sum(summary["confidence_histogram"]) == 240
    assert (found["entropy"] >= 0).all() and found["entropy"].max() < np.log(4) + 1e-9


def test_one_two_and_eight_shards_say_the_same(scoring, catalogue):
    runs = [
        scoring(catalogue / "products.csv", f"out{count}", 240 // count, tasks=min(count, 4), cache=f"cache{count}")
        for count in (1, 2, 8)
    ]
    assert [len(run[-1]) for run in runs] == [1, 2, 8]
    first = runs[0][2]
    for _, _, found, _, _ in runs[1:]:
        assert found.index.equals(first.index)
        assert found["category"].equals(first["category"]) and found["decision"].equals(first["decision"])
        for column in ("confidence", "text_contribution", "entropy"):
            np.testing.assert_allclose(found[column], first[column], atol=1e-5)


def test_a_finished_shard_is_not_done_again_and_a_lost_one_comes_back_the_same(scoring, catalogue, tmp_path):
    source = hateful(catalogue, tmp_path)
    first = scoring(source, shard_rows=4)
    assert not any(done.found for done in first[-1])
    lost = first[3] / "predictions" / "part-00001.parquet"
    before = lost.read_bytes()
    lost.unlink()
    second = scoring(source, shard_rows=4, cache="other")
    assert [done.found for done in second[-1]] == [done.number != 1 for done in second[-1]]
    assert lost.read_bytes() == before
    assert [done.data for done in second[-1]] == [done.data for done in first[-1]]
    pd.testing.assert_frame_equal(second[1], first[1], check_dtype=False)
    shown = {"samples": 0, "strangest": 0}
    assert {**second[0], **shown} == {**first[0], **shown}


def test_a_shard_is_done_again_where_a_photo_changed(scoring, catalogue, tmp_path):
    images, source = catalogue / "images", tmp_path / "own.csv"
    photo = images / "own.png"
    source.write_text("product_id,designation,description,image\n1,lampe,,own.png\n")
    photo.write_bytes((images / "0.png").read_bytes())
    first = scoring(source)
    photo.write_bytes((images / "2.png").read_bytes())
    second = scoring(source)
    assert not second[-1][0].found and second[2]["image_key"]["1"] != first[2]["image_key"]["1"]
    assert scoring(source)[-1][0].found
    photo.unlink()
    third = scoring(source)
    assert not third[-1][0].found and not third[2]["has_image"]["1"]


def test_half_a_file_or_another_models_is_not_taken_for_finished(scoring, catalogue, tmp_path):
    source = hateful(catalogue, tmp_path)
    _, _, _, folder, done = scoring(source, shard_rows=4)
    file = folder / "predictions" / "part-00000.parquet"
    file.write_bytes(file.read_bytes()[:-100])
    again = scoring(source, shard_rows=4)[-1]
    assert [each.found for each in again] == [each.number != 0 for each in again]
    assert again[0].data == done[0].data
    assert not finished(done[0].data, "another key") and not finished(None, "") and not finished(b"PAR1", "")


def test_jobs_are_shared_out_whole(scoring):
    jobs = [{"number": n, "rows": 1} for n in range(7)]
    for tasks in (1, 2, 7, 100):
        shares = share_out(jobs, tasks)
        assert len(shares) == min(tasks, 7) and [job for share in shares for job in share] == jobs
    assert share_out([], 5) == [[]]


def test_an_input_of_which_nothing_can_be_scored_ends_well(scoring, tmp_path):
    file = tmp_path / "empty-handed.csv"
    file.write_text("product_id,designation,description,image\n1,,,\n2,,,\n")
    summary, rejects, found, folder, _ = scoring(file)
    assert (summary["read"], summary["products"], len(rejects)) == (2, 0, 2) and found.empty
    assert (folder / "rejects.parquet").exists()
    assert scores_card(summary, rejects, {}, 0.9, 0.95, {})
    assert tracked_values(summary)["score/accepted_share"] == 0.0


def test_what_is_new_or_missing_in_an_input_is_kept_and_costs_no_product(scoring, catalogue, tmp_path):
    frame = pd.read_csv(catalogue / "products.csv", dtype=str, keep_default_na=False)[:20]
    frame["supplier"] = "x"
    frame.drop(columns=["description", "category"]).to_csv(tmp_path / "changed.csv", index=False)
    summary, rejects, found, folder, _ = scoring(tmp_path / "changed.csv")
    assert summary["products"] == 20 and (found["description_length"] == 0).all()
    assert summary["columns"] == {"new": ["supplier"], "gone": ["description"]}
    assert json.loads((folder / "summary.json").read_text())["columns"] == summary["columns"]
    banner = scores_card(summary, rejects, {}, 0.9, 0.95, {})[1].render()["source"]
    assert "The input&#x27;s columns have changed: it lacks &#x27;description&#x27; and has" in banner
    same = scoring(catalogue / "products.csv", folder="same")[0]
    assert same["columns"] == {"new": [], "gone": []}


def test_a_model_that_knows_no_columns_finds_none_new(scoring, make_config, tmp_path):
    (tmp_path / "changed.csv").write_text("product_id,designation,supplier\n1,a,b\n")
    settings = with_input(make_config(), str(tmp_path / "changed.csv"), "")
    bundle = read_bundle(scoring.bundle)
    assert input_columns(settings, "a file", scoring.bundle)["new"] == ["supplier"]
    older = {name: value for name, value in bundle.reference.items() if name != "columns"}
    found = input_columns(settings, "a file", dump_bundle(bundle._replace(reference=older)))
    assert found == {"new": [], "gone": ["description", "image"]}
    assert input_columns(settings, UNSEEN, scoring.bundle) == {"new": [], "gone": []}


def test_texts_are_cut_where_the_model_cut_them_and_not_where_the_experiment_does_by_now(
    scoring, make_config, tmp_path
):
    (tmp_path / "long.csv").write_text(f"product_id,designation\n1,{'lampe ' * 50}\n")
    config = with_input(make_config(), str(tmp_path / "long.csv"), "")
    config = dataclasses.replace(config, preprocess=dataclasses.replace(config.preprocess, max_text_chars=100))
    parts: dict[int, bytes] = {}
    plan_input(config, "a file", scoring.bundle, parts.__setitem__)
    assert read_table(parts[0])["designation"].to_pylist() == ["lampe " * 49 + "lampe"]


def test_an_unreadable_input_is_a_sentence(scoring, tmp_path):
    (tmp_path / "nothing.csv").write_text("")
    with pytest.raises(CatalogError, match="empty"):
        scoring(tmp_path / "nothing.csv")
    with pytest.raises(CatalogError, match="no such file"):
        scoring(tmp_path / "nowhere.csv")
    (tmp_path / "other.csv").write_text("id,name\n1,a\n")
    with pytest.raises(CatalogError, match="there is no column 'product_id'"):
        scoring(tmp_path / "other.csv")


def test_parquet_folders_and_compressed_files_are_read(scoring, catalogue, tmp_path):
    frame = pd.read_csv(catalogue / "products.csv", dtype=str, keep_default_na=False)
    folder = tmp_path / "parquets"
    folder.mkdir()
    frame.iloc[:100].to_parquet(folder / "a.parquet")
    frame.iloc[100:].to_parquet(folder / "b.parquet")
    frame.to_csv(tmp_path / "products.csv.gz", index=False)
    plain = scoring(catalogue / "products.csv")[2]
    for name in ("parquets", "products.csv.gz"):
        found = scoring(tmp_path / name, folder=f"out-{name}")[2]
        assert found["category"].equals(plain["category"])


def test_a_model_that_cannot_be_served_is_a_sentence(scoring, make_config):
    config = make_config()
    with pytest.raises(RayonError, match="the model f cannot be served: these bytes are no rayon bundle"):
        open_predictor(Model("f", b"nonsense"), config)
    with pytest.raises(RayonError, match=r"no threshold for a precision of 0\.95"):
        open_predictor(Model("f", scoring.bundle), config)


def test_planning_holds_a_part_at_a_time(make_config, catalogue):
    config = dataclasses.replace(make_config(), score=dataclasses.replace(make_config().score, shard_rows=100))
    pieces = plan_scoring(config)
    assert next(pieces).part is not None
    rest = list(pieces)
    assert [piece.part is None for piece in rest] == [False, False, True]


def test_photos_that_are_nowhere_stop_the_run(make_config, tmp_path):
    config = make_config()
    elsewhere = dataclasses.replace(config, catalog=dataclasses.replace(config.catalog, images=str(tmp_path)))
    with pytest.raises(CatalogError, match="none of its 208 photos can be found"):
        list(plan_scoring(elsewhere))


def test_the_trained_mix_is_read_from_the_bundle(scoring):
    mix = trained_mix(describe_bundle(scoring.bundle))
    assert set(mix) == {"jouets", "lampes", "livres", "vases"} and sum(mix.values()) == pytest.approx(1.0)
