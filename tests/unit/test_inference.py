"""The predictor: one path for training, batches and single products; bad products cost nothing; no other model."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from catalogues import KINDS

from rayon.bundle import read_bundle
from rayon.gold import predict_gold
from rayon.inference import Predictor, PredictorError, Prepared
from rayon.models.features import FeatureStore
from rayon.schema import Prediction, Product, Refusal

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*does not have many workers"),
]


@pytest.fixture
def trained(make_config, trained_once):
    """(bundle, dataset, encoded, config) of a fusion; features are kept in the catalogue's cache."""

    def make(**sections):
        config = make_config(**sections)
        done, dataset, encoded = trained_once("fusion", config)
        return read_bundle(done.bundle), dataset, encoded, config

    return make


def raw_products(dataset, rows, catalogue: Path) -> list[Product]:
    """The products of some rows as the catalogue has them: photos as files, not as shards keep them."""
    frame = dataset.frame.iloc[rows]
    return [
        Product(
            row.product_id,
            row.designation,
            row.description,
            image=(catalogue / "images" / f"{row.product_id}.png").read_bytes() if row.has_image else None,
        )
        for row in frame.itertuples()
    ]


@pytest.mark.parametrize("trainable", [False, True])
def test_training_batch_and_single_predictions_are_equal(trained, catalogue, trainable):
    more = {"branches": {"text": {"trainable": True}, "image": {"trainable": True}}} if trainable else {}
    bundle, dataset, encoded, _ = trained(**more)
    gold = predict_gold(bundle, dataset, encoded)
    predictor = Predictor(bundle, "TrainFlow/7", 0.9)
    products = raw_products(dataset, gold.rows, catalogue)
    batch = predictor.predict_all(products)
    single = [predictor.predict(product) for product in products[:12]]
    frame = predictor.score(pd.DataFrame([product._asdict() for product in products])).predictions
    expected = np.exp(gold.log_probabilities)
    for place, answer in enumerate(batch):
        assert isinstance(answer, Prediction)
        assert answer.confidence == pytest.approx(expected[place].max(), abs=1e-5)
        told = dict(answer.top_k)
        for name, probability in zip(dataset.categories, expected[place], strict=True):
            assert told[name] == pytest.approx(probability, abs=1e-5)
        assert answer.text_contribution == pytest.approx(gold.text_share[place], abs=1e-4)
    for one, other in zip(single, batch, strict=False):
        assert dict(one.top_k) == pytest.approx(dict(other.top_k), abs=1e-5)
    np.testing.assert_allclose(frame["confidence"], [answer.confidence for answer in batch], atol=1e-5)


def test_a_prediction_says_what_a_person_needs(trained, catalogue):
    bundle, *_ = trained()
    predictor = Predictor(bundle, "TrainFlow/7", 0.9)
    answer = predictor.predict(Product("42", "lampe chevet", image=(catalogue / "images" / "0.png").read_bytes()))
    assert answer.product_id == "42" and answer.model_version == "TrainFlow/7" and answer.photo_problem == ""
    assert answer.category == "lampes" == answer.top_k[0][0] and answer.confidence == answer.top_k[0][1]
    assert [p for _, p in answer.top_k] == sorted((p for _, p in answer.top_k), reverse=True)
    assert sum(p for _, p in answer.top_k) == pytest.approx(1.0, abs=1e-6)
    assert 0 < answer.text_contribution < 1 and answer.text_contribution + answer.image_contribution == 1.0
    text_only = predictor.predict(Product("43", "lampe chevet"))
    assert (text_only.text_contribution, text_only.image_contribution) == (1.0, 0.0)
    threshold = next(t.confidence for t in bundle.thresholds if t.precision == 0.9)
    assert answer.decision == ("accept" if answer.confidence >= threshold else "review")


def test_what_training_cleans_prediction_cleans(trained):
    bundle, *_ = trained()
    predictor = Predictor(bundle, "v", 0.9)
    plain = predictor.predict(Product("1", "lampe chevet", "bleu"))
    dirty = predictor.predict(Product("1", "<b>lampe</b>&nbsp; chevet ", "\x00bleu<!-- robot robot -->"))
    assert dirty == plain


def test_bad_products_cost_the_others_nothing(trained, catalogue):
    bundle, *_ = trained()
    predictor = Predictor(bundle, "v", 0.9)
    photo = (catalogue / "images" / "0.png").read_bytes()
    products = [
        Product("good", "lampe chevet", image=photo),
        Product("nothing"),
        Product("markup alone", "<br>"),
        Product("cut photo, text", "lampe chevet", image=photo[:200]),
        Product("cut photo alone", image=photo[:200]),
        Product("no photo", "robot cubes", image=b""),
        Product("photo alone", image=photo),
    ]
    answers = predictor.predict_all(products)
    kinds = [type(answer) for answer in answers]
    assert kinds == [Prediction, Refusal, Refusal, Prediction, Refusal, Prediction, Prediction]
    assert [answer.product_id for answer in answers] == [product.product_id for product in products]
    assert [answers[row].reason for row in (1, 2, 4)] == ["no_text_no_photo", "no_text_no_photo", "photo_damaged"]
    assert answers[3].photo_problem.startswith("photo_damaged") and answers[3].image_contribution == 0.0
    assert answers[5].photo_problem.startswith("photo_empty")
    alone = predictor.predict(products[0])
    assert dict(answers[0].top_k) == pytest.approx(dict(alone.top_k), abs=1e-5)
    with pytest.raises(PredictorError, match="'nothing': the product has neither"):
        predictor.predict(products[1])
    frame = pd.DataFrame([product._asdict() for product in products], index=list("abcdefg"))
    scores = predictor.score(frame)
    assert list(scores.predictions.index) == list("adfg") and list(scores.refusals.index) == list("bce")


def test_a_frame_may_lack_columns_and_values(trained):
    bundle, *_ = trained()
    predictor = Predictor(bundle, "v", 0.9)
    frame = pd.DataFrame({"product_id": [1, 2], "designation": ["lampe chevet", float("nan")]})
    scores = predictor.score(frame)
    assert scores.predictions["category"].tolist() == ["lampes"] and scores.refusals["product_id"].tolist() == ["2"]
    nothing = predictor.score(frame.iloc[:0])
    assert nothing.predictions.empty and list(nothing.predictions.columns) == list(Prediction._fields)


def test_features_are_found_again(trained, catalogue, tmp_path, monkeypatch):
    bundle, dataset, _, _ = trained()
    products = raw_products(dataset, np.arange(40), catalogue)
    store = FeatureStore(tmp_path / "features")
    first = Predictor(bundle, "v", 0.9, store).predict_all(products)

    def refuse(*_):
        raise AssertionError("an encoder was loaded although every product was known")

    monkeypatch.setattr("rayon.inference.load_text_encoder", refuse)
    monkeypatch.setattr("rayon.inference.load_image_encoder", refuse)
    assert Predictor(bundle, "v", 0.9, store).predict_all(products) == first


def test_another_encoder_is_refused(trained):
    bundle, *_ = trained()
    source = next(iter(bundle.encoder_keys))
    other = bundle._replace(encoder_keys={**bundle.encoder_keys, source: "ab" * 32})
    with pytest.raises(PredictorError, match="is not the one that the model was trained on"):
        Predictor(other, "v", 0.9)


def test_a_precision_that_was_not_measured_is_refused(trained):
    bundle, *_ = trained()
    with pytest.raises(PredictorError, match=r"0\.9, 0\.99\. Set score\.precision"):
        Predictor(bundle, "v", 0.5)


def test_without_a_precision_nothing_is_accepted(trained):
    bundle, *_ = trained()
    assert Predictor(bundle, "v", None).predict(Product("1", "lampe chevet")).decision == "review"


def test_categories_are_the_models_own(trained):
    bundle, *_ = trained()
    renamed = bundle._replace(categories=tuple(f"rayon {name}" for name in bundle.categories))
    assert Predictor(renamed, "v", 0.9).predict(Product("1", "lampe chevet")).category == "rayon lampes"


def test_no_product_is_no_answer(trained):
    bundle, *_ = trained()
    predictor = Predictor(bundle, "v", 0.9)
    assert predictor.predict_all([]) == []
    assert predictor.judge(Prepared([], [], [])).labels.shape == (0, len(KINDS))


def test_photos_are_shrunk_as_in_training(trained, catalogue):
    """A bundle carries its own preprocessing: what the experiment says now does not matter."""
    bundle, *_ = trained()
    assert bundle.preprocess.image_side == 32
    photo = (catalogue / "images" / "0.png").read_bytes()
    other = bundle._replace(preprocess=dataclasses.replace(bundle.preprocess, max_image_megabytes=1e-6))
    answer = Predictor(other, "v", 0.9).predict(Product("1", "lampe", image=photo))
    assert answer.photo_problem.startswith("photo_too_many_bytes")
