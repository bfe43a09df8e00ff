"""What is served: the last replica and nothing else, on any number of products, on as much of each as there is."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from rayon.data.batches import BranchInputs, Collator
from rayon.models.fusion import fit_pool, fuse
from rayon.models.network import JOINT
from rayon.models.served import ablate, branch_logits, predict, serve

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*does not have many workers"),
]


@pytest.fixture
def make_served(make_toy, make_classifier, fit):
    """A factory of (toy, trained classifier, served)."""

    def make(products: int = 120, *names: str, **more):
        toy = make_toy(products, folds=0 if more.get("feature_fusion") else 3)
        classifier = make_classifier(toy, *names, replicas=1 if more.get("feature_fusion") else 4, **more)
        _, module = fit(classifier, toy, 3)
        with torch.inference_mode():
            for batch in module.val_dataloader():
                classifier.eval().validation_step(batch, 0)
        held = classifier.take_held_out()
        pool = fit_pool(classifier.modalities, held.logits, held.labels, held.has_text, held.has_image)
        return toy, classifier, serve(classifier.network, toy.vectorizer if "gram" in toy.inputs.grams else None, pool)

    return make


def rows_of(toy, rows) -> tuple[BranchInputs, np.ndarray, np.ndarray]:
    inputs = BranchInputs(
        grams={name: x[rows] for name, x in toy.inputs.grams.items()},
        features={name: x[rows] for name, x in toy.inputs.features.items()},
    )
    return inputs, toy.targets.has_text[rows], toy.targets.has_image[rows]


def test_the_last_replica_answers(make_served):
    toy, classifier, served = make_served()
    inputs, has_text, has_image = rows_of(toy, np.arange(120))
    with torch.inference_mode():
        trained = classifier(Collator(toy.inputs, toy.targets)(np.arange(120)))
    logits = branch_logits(served, inputs, has_text, has_image)
    for name, replicas in trained.items():
        np.testing.assert_allclose(logits[name], replicas[:, -1].numpy(), atol=1e-5)
    log, share = fuse(served.pool, logits, has_text, has_image)
    predicted = predict(served, inputs, has_text, has_image)
    np.testing.assert_array_equal(predicted.log_probabilities, log)
    np.testing.assert_array_equal(predicted.text_share, share)
    assert (log.argmax(axis=1) == toy.targets.labels).mean() > 0.8
    assert served.network.replicas == 1 and not served.network.training


@pytest.mark.parametrize("feature_fusion", [False, True])
def test_a_product_is_judged_alike_alone_and_in_company(make_served, feature_fusion):
    toy, _, served = make_served(700, feature_fusion=feature_fusion)
    together = predict(served, *rows_of(toy, np.arange(700)))
    for row in (0, 511, 512, 699):
        alone = predict(served, *rows_of(toy, np.array([row])))
        np.testing.assert_allclose(alone.log_probabilities[0], together.log_probabilities[row], atol=1e-5)
        assert alone.text_share[0] == pytest.approx(together.text_share[row], abs=1e-4)


@pytest.mark.parametrize("feature_fusion", [False, True])
def test_no_product_is_no_answer_and_no_error(make_served, feature_fusion):
    toy, _, served = make_served(feature_fusion=feature_fusion)
    predicted = predict(served, *rows_of(toy, np.empty(0, dtype=int)))
    assert predicted.log_probabilities.shape == (0, 3) and predicted.text_share.shape == (0,)


@pytest.mark.parametrize("feature_fusion", [False, True])
def test_what_is_missing_has_no_share(make_served, feature_fusion):
    toy, _, served = make_served(feature_fusion=feature_fusion)
    inputs, _, _ = rows_of(toy, np.arange(120))
    yes, no = np.ones(120, dtype=bool), np.zeros(120, dtype=bool)
    assert (predict(served, inputs, yes, no).text_share == 1.0).all()
    assert (predict(served, inputs, no, yes).text_share == 0.0).all()
    share = predict(served, inputs, yes, yes).text_share
    assert ((share >= 0) & (share <= 1)).all() and 0.0 < share.mean() < 1.0
    neither = predict(served, inputs, no, no)
    np.testing.assert_allclose(neither.log_probabilities, -np.log(3))
    assert (neither.text_share == 0.5).all()


def test_feature_fusion_answers_with_what_there_is(make_served):
    toy, _, served = make_served(200, feature_fusion=True, modality_dropout=0.3)
    assert served.pool.branches == (JOINT,)
    inputs, has_text, has_image = rows_of(toy, np.arange(200))
    nothing = np.zeros(200, dtype=bool)
    labels = toy.targets.labels
    for text, image in ((has_text, has_image), (has_text, nothing), (nothing, has_image)):
        asked = text | image
        guess = predict(served, inputs, text, image).log_probabilities.argmax(axis=1)
        assert (guess == labels)[asked].mean() > 0.55


@pytest.mark.parametrize(("feature_fusion", "times"), [(False, 1), (True, 3)])
def test_branches_are_asked_once_for_all_presences(make_served, monkeypatch, feature_fusion, times):
    toy, _, served = make_served(feature_fusion=feature_fusion)
    inputs, has_text, has_image = rows_of(toy, np.arange(120))
    nothing = np.zeros(120, dtype=bool)
    presences = [(has_text, has_image), (has_text, nothing), (nothing, has_image)]
    apart = [predict(served, inputs, *presence) for presence in presences]
    asked, answer = [], served.network.answer
    monkeypatch.setattr(served.network, "answer", lambda seen, batch: asked.append(1) or answer(seen, batch))
    for one, other in zip(ablate(served, inputs, has_text, has_image), apart, strict=True):
        np.testing.assert_array_equal(one.log_probabilities, other.log_probabilities)
        np.testing.assert_array_equal(one.text_share, other.text_share)
    by_occlusion = 2 * len(presences) if feature_fusion else 0
    assert len(asked) == times + by_occlusion


def test_one_branch_can_be_served_alone(make_served):
    toy, _, served = make_served(120, "image")
    predicted = predict(served, *rows_of(toy, np.arange(120)))
    np.testing.assert_allclose(predicted.log_probabilities[~toy.targets.has_image], -np.log(3))
    assert (predicted.text_share[toy.targets.has_image] == 0.0).all()
