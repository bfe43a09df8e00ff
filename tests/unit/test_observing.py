"""Observations: made once, the same at training, for a shard and for a single product; null where there is nothing."""

from __future__ import annotations

import dataclasses
import io
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors

from rayon.bundle import read_bundle
from rayon.bundle_document import describe_bundle
from rayon.gold import gold_rows
from rayon.inference import Predictor, Prepared
from rayon.models.projection import DIMENSIONS, fit_projection, project
from rayon.observing import NEW_WORDS, OBSERVED, observe
from rayon.reference import make_reference, read_reference
from rayon.rescoring import gold_products, rescore
from rayon.scoring import PREDICTIONS_SCHEMA

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*does not have many workers"),
]


TRAINED = {"text": {"trainable": True}, "image": {"trainable": True}}


@pytest.fixture(params=[{}, TRAINED], ids=["frozen", "trained"])
def seen(request, make_config, trained_once):
    """A trained model with its dataset: (predictor, bundle, dataset, config); its encoders frozen, or trained too."""
    config = make_config(**({"branches": request.param, "trainer": {"max_epochs": 2}} if request.param else {}))
    trained, dataset, _ = trained_once("fusion", config)
    config = dataclasses.replace(config, score=dataclasses.replace(config.score, precision=0.9))
    return Predictor(read_bundle(trained.bundle), "TrainFlow/7", 0.9), trained.bundle, dataset, config


def observed(predictor: Predictor, *products: tuple[str, str, bytes | None]) -> pa.Table:
    prepared = Prepared(*(list(column) for column in zip(*products, strict=True)))
    return observe(predictor, prepared, predictor.judge(prepared))


def test_what_is_missing_is_null_and_never_a_number(seen):
    predictor, _, dataset, _ = seen
    photo = next(p for p in dataset.photos(range(20)) if p)
    table = observed(predictor, ("lampe led", "", photo), ("", "", photo), ("lampe led", "", None))
    assert table.schema.equals(OBSERVED)
    rows = table.to_pylist()
    for name in ("text_view", "text_novelty", "unknown_words", "language", "new_words"):
        assert [row[name] is None for row in rows] == [False, True, False], name
    for name in ("photo_view", "photo_novelty", "brightness", "sharpness"):
        assert [row[name] is None for row in rows] == [False, False, True], name
    assert [row["words"] for row in rows] == [2, 0, 2]


def test_new_words_are_counted_shown_and_bounded(seen):
    predictor, _, _, _ = seen
    words = ["zyxw", "vutsr", "qponm", "lkjih", "gfedc", "ref9999"]
    known, mixed, new = observed(
        predictor, ("lampe LED neuf", "", None), ("lampe zyxw", "", None), (" ".join(words), "", None)
    ).to_pylist()
    assert known["unknown_words"] == 0.0 and known["new_words"] == []
    assert mixed["unknown_words"] == 0.5 and mixed["new_words"] == ["zyxw"]
    assert new["unknown_words"] > 0.9 and new["new_words"] == words[:NEW_WORDS]


def test_a_product_is_observed_alike_alone_and_among_others(seen):
    predictor, _, dataset, _ = seen
    products = gold_products(dataset)
    every = observe(predictor, products, predictor.judge(products)).to_pylist()
    for row in (0, 5, 11):
        one = Prepared(
            products.designations[row : row + 1], products.descriptions[row : row + 1], [products.photos[row]]
        )
        (alone,) = observe(predictor, one, predictor.judge(one)).to_pylist()
        for name, value in every[row].items():
            assert alone[name] == (pytest.approx(value, abs=1e-3) if isinstance(value, list | float) else value), name


def test_nothing_observed_is_an_empty_table(seen):
    predictor = seen[0]
    nothing = Prepared([], [], [])
    assert observe(predictor, nothing, predictor.judge(nothing)).num_rows == 0


def test_the_reference_is_the_gold_set_in_the_shape_of_predictions(seen):
    predictor, bundle, dataset, config = seen
    data, told = make_reference(bundle, "TrainFlow/7", dataset, config)
    reference = read_reference(data)
    assert reference.table.schema.equals(PREDICTIONS_SCHEMA)
    assert reference.categories == predictor.categories and reference.model == "TrainFlow/7"
    frame = dataset.frame.iloc[gold_rows(dataset)]
    assert reference.table["product_id"].to_pylist() == frame["product_id"].tolist()
    assert reference.table["given_category"].to_pylist() == frame["category"].tolist()
    products = gold_products(dataset)
    said = predictor.judge(products).probabilities[:, 0]
    np.testing.assert_allclose(reference.table["confidence"].to_numpy(), said, atol=1e-5)
    for ours, theirs in zip(told, rescore(predictor, dataset), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-4)
    with pytest.raises(ValueError, match="no reference"):
        read_reference(b"PAR1")


def test_a_bundle_without_projections_is_served_and_observed_without_views(seen):
    predictor, bundle, _, _ = seen
    document = describe_bundle(bundle)
    document["format"] = 2
    del document["projections"]
    tensors = {name: value for name, value in load_tensors(bundle).items() if not name.startswith("projection.")}
    older = Predictor(read_bundle(save_tensors(tensors, {"rayon": json.dumps(document)})), "TrainFlow/6", 0.9)
    prepared = Prepared(["lampe led"], [""], [None])
    np.testing.assert_array_equal(older.judge(prepared).probabilities, predictor.judge(prepared).probabilities)
    (row,) = observe(older, prepared, older.judge(prepared)).to_pylist()
    assert row["text_view"] is None and row["text_novelty"] is None and row["unknown_words"] == 0.0


def test_projections_come_back_from_a_bundle_as_they_were(seen):
    predictor = seen[0]
    assert set(predictor.bundle.projections) == {"text", "image"}
    from rayon.bundle import dump_bundle

    again = read_bundle(dump_bundle(predictor.bundle))
    for modality, projection in predictor.bundle.projections.items():
        for mine, theirs in zip(projection, again.projections[modality], strict=True):
            np.testing.assert_array_equal(mine, theirs)


def test_held_out_products_are_usual_to_a_model_whose_encoders_were_trained(make_config, trained_once):
    config = make_config(branches=TRAINED, trainer={"max_epochs": 2})
    trained, dataset, _ = trained_once("fusion", config)
    predictor = Predictor(read_bundle(trained.bundle), "TrainFlow/7", 0.9)
    frame = dataset.frame.iloc[trained.rows]
    held = Prepared(frame["designation"].tolist(), frame["description"].tolist(), dataset.photos(trained.rows.tolist()))
    table = observe(predictor, held, predictor.judge(held))
    for name in ("text", "photo"):
        views = np.array([view for view in table[f"{name}_view"].to_pylist() if view is not None])
        spread = views.std(axis=0)
        assert spread[0] == pytest.approx(1.0, abs=0.05) and (spread < 1.1).all()
    # of photos alone: sixteen components leave nothing of a tiny text encoder's sixteen features
    novelty = np.array([value for value in table["photo_novelty"].to_pylist() if value is not None])
    assert np.sqrt(np.square(novelty).mean()) == pytest.approx(1.0, abs=0.05)
    noise = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)).save(noise, "JPEG")
    (odd,) = observed(predictor, ("", "", noise.getvalue())).to_pylist()
    assert odd["photo_novelty"] > np.quantile(novelty, 0.9)


def test_training_products_have_views_of_variance_one_and_usual_novelty():
    rng = np.random.default_rng(0)
    mixing = rng.normal(size=(24, 40))
    features = {
        "a": (rng.normal(size=(400, 24)) @ mixing + 3).astype(np.float32),
        "b": rng.random((400, 5), np.float32),
    }
    rows = np.arange(300)
    projection = fit_projection(features, ["a", "b"], rows)
    view, novelty = project(projection, features, np.ones(400, dtype=bool))
    np.testing.assert_allclose(view[rows].std(axis=0), 1.0, atol=0.05)
    np.testing.assert_allclose(view[rows].mean(axis=0), 0.0, atol=0.05)
    assert np.sqrt(np.mean(novelty[rows] ** 2)) == pytest.approx(1.0, abs=0.01)
    strange = {"a": 5 * rng.normal(size=(50, 40)).astype(np.float32) + 3, "b": features["b"][:50]}
    assert project(projection, strange, np.ones(50, dtype=bool)).novelty.mean() > 1.1
    absent = project(projection, features, np.zeros(400, dtype=bool))
    assert np.isnan(absent.view).all() and np.isnan(absent.novelty).all()


def test_few_products_or_features_leave_empty_components():
    features = {"a": np.random.default_rng(0).random((4, 3), np.float32)}
    for rows in (np.arange(4), np.arange(1), np.arange(0)):
        view, _ = project(fit_projection(features, ["a"], rows), features, np.ones(4, dtype=bool))
        assert view.shape == (4, DIMENSIONS) and np.isfinite(view).all()


def test_scored_shards_keep_their_strangest_photos(seen):
    from rayon.scoring import add_up, most_unlike, score_table

    predictor, bundle, dataset, config = seen
    reference, _ = make_reference(bundle, "TrainFlow/7", dataset, config)
    assert pq.read_table(pa.BufferReader(reference)).num_rows == len(gold_rows(dataset))
    rows = gold_rows(dataset)
    columns = ["product_id", "designation", "description", "category", "text_key", "image_key", "source", "row"]
    table = pa.Table.from_pandas(dataset.frame.iloc[rows][columns], preserve_index=False)
    table = table.append_column("image", pa.array(dataset.photos(rows.tolist()), pa.large_binary()))
    halves = [score_table(table.slice(0, 20), predictor, ""), score_table(table.slice(20), predictor, "")]
    strangest = add_up([half.summary for half in halves])["strangest"]
    novelty = np.concatenate([pq.read_table(pa.BufferReader(half.data))["photo_novelty"].to_numpy() for half in halves])
    expected = np.sort(novelty[np.isfinite(novelty)])[::-1][:10]
    assert [sample["photo_novelty"] for sample in strangest] == pytest.approx(expected.tolist())
    assert all(sample["photo"] for sample in strangest) and most_unlike([]) == []
