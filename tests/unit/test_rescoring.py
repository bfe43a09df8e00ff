"""Any model on today's gold set: in the dataset's categories, the same as elsewhere."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from rayon.bundle import dump_bundle, read_bundle
from rayon.gold import gold_rows, predict_gold
from rayon.inference import Predictor
from rayon.models.features import FeatureStore
from rayon.rescoring import gold_labels, gold_learnt, reproduced, rescore

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*does not have many workers"),
    pytest.mark.filterwarnings("ignore:.*exists and is not empty"),
]


@pytest.fixture
def opened(make_config, trained_once):
    """(bundle's bytes, predictor, dataset, encoded, config)."""
    config = make_config()
    trained, dataset, encoded = trained_once("fusion", config)
    store = FeatureStore(Path(config.cache) / "features")
    return trained.bundle, Predictor(read_bundle(trained.bundle), "", None, store), dataset, encoded, config


def test_a_model_says_again_what_its_own_gold_set_was_told(opened):
    _, predictor, dataset, encoded, _ = opened
    gold = predict_gold(predictor.bundle, dataset, encoded)
    said = rescore(predictor, dataset)
    np.testing.assert_array_equal(gold_labels(dataset), gold.labels)
    for ours, theirs in ((said.whole, gold.log_probabilities), (said.without_photo, gold.without_photo),
                         (said.without_text, gold.without_text)):  # fmt: skip
        np.testing.assert_allclose(np.exp(ours), np.exp(theirs), atol=1e-5)


def test_the_gold_set_is_looked_at_once(opened, monkeypatch):
    _, predictor, dataset, _, _ = opened
    asked, answer = [], predictor.bundle.served.network.answer
    monkeypatch.setattr(
        predictor.bundle.served.network,
        "answer",
        lambda seen, batch: asked.append(len(batch.labels)) or answer(seen, batch),
    )
    said = rescore(predictor, dataset)
    assert sum(asked) == len(said.whole) == len(gold_labels(dataset))


def test_other_categories_are_translated(opened):
    _, predictor, dataset, _, _ = opened
    straight = np.exp(rescore(predictor, dataset).whole)
    names = list(predictor.categories)
    predictor.categories = (*names[:-1], "a category of last year")
    translated = np.exp(rescore(predictor, dataset).whole)
    np.testing.assert_allclose(translated[:, :3], straight[:, :3], atol=1e-9)
    assert translated[:, 3].max() < 1e-12  # today's category that it does not know
    np.testing.assert_allclose(translated[:, 4], straight[:, 3], atol=1e-9)
    predictor.categories = tuple(names[::-1])
    swapped = np.exp(rescore(predictor, dataset).whole)
    np.testing.assert_allclose(swapped[:, :4], straight[:, ::-1], atol=1e-9)


def test_categories_that_are_gone_do_not_outvote_the_answer(opened):
    _, predictor, dataset, _, _ = opened
    answers = np.array(predictor.categories)[rescore(predictor, dataset).whole.argmax(axis=1)]
    predictor.categories = (*predictor.categories[:1], "gone", "gone too", predictor.categories[3])
    told = rescore(predictor, dataset).whole
    names = np.array([*dataset.categories, "gone"])
    kept = np.isin(answers, predictor.categories)
    assert 0 < kept.sum() < len(kept)
    assert (names[told.argmax(axis=1)] == np.where(kept, answers, "gone")).all()


def test_gold_products_of_another_split_may_have_been_learnt_from(make_config, opened, load):
    bundle, _, dataset, _, _ = opened
    gold = set(dataset.frame["product_id"].iloc[gold_rows(dataset)])
    assert gold_learnt(bundle, dataset) == 0
    for split, more in (({"test": 0.1}, False), ({"test": 0.4}, True), ({"seed": 7}, True)):
        other, _ = load(make_config(split=split))
        today = set(other.frame["product_id"].iloc[gold_rows(other)])
        assert gold_learnt(bundle, other) == len(today - gold) and bool(today - gold) == more


def test_a_bundle_that_does_not_tell_its_split_is_believed(opened, make_config, load):
    _, predictor, _, _, _ = opened
    older = predictor.bundle._replace(about={"candidate": "fusion"})
    assert gold_learnt(dump_bundle(older), load(make_config(split={"seed": 7}))[0]) == 0


def test_a_fresh_process_reproduces_a_bundle_and_a_changed_one_shows(opened, monkeypatch):
    bundle, predictor, dataset, _, config = opened
    assert reproduced(bundle, dataset, Path(config.cache)) < 1e-6
    served = predictor.bundle.served
    pool = served.pool._replace(
        weights={state: tuple(w / 100 for w in ws) for state, ws in served.pool.weights.items()}
    )
    other = dump_bundle(predictor.bundle._replace(served=served._replace(pool=pool)))
    monkeypatch.setattr("rayon.rescoring.read_bundle", lambda _: read_bundle(other))
    assert reproduced(bundle, dataset, Path(config.cache)) > 1e-3


def test_a_process_that_fails_reproduces_nothing(opened, monkeypatch):
    bundle, _, dataset, _, config = opened
    monkeypatch.setattr("rayon.rescoring.sys.executable", "/bin/false")
    assert reproduced(bundle, dataset, Path(config.cache)) == float("inf")
