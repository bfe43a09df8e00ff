"""The network: what one head over all branches sees, and what it does not; what is served of it."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from rayon.data.batches import BranchInputs, Collator, Targets
from rayon.models.network import JOINT, ProductNetwork

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*does not have many workers"),
]


def without(toy, text: float, image: float) -> Collator:
    """A collator of products with neither text nor photo but these numbers in the features."""
    features = {"text": np.full((4, 8), text, np.float32), "image": np.full((4, 6), image, np.float32)}
    nothing = np.zeros(4, dtype=bool)
    return Collator(
        BranchInputs(grams={"gram": toy.inputs.grams["gram"][:4]}, features=features),
        Targets(np.zeros(4, dtype=np.int64), np.zeros(4, dtype=np.int64), nothing, nothing),
    )


def test_feature_fusion_does_not_see_what_is_not_there(make_toy, make_classifier, fit):
    toy = make_toy(spread=0.2, without_text=0.3, without_photo=0.3, folds=0)
    classifier = make_classifier(toy, replicas=1, feature_fusion=True, modality_dropout=0.3)
    trainer, _ = fit(classifier, toy, 10)
    assert float(trainer.callback_metrics["val_macro_f1"]) > 0.9
    classifier.eval()
    rows = np.arange(4)
    with torch.inference_mode():
        torch.testing.assert_close(
            classifier(without(toy, 1.0, 2.0)(rows))[JOINT], classifier(without(toy, -5.0, 9.0)(rows))[JOINT]
        )
        batch = Collator(toy.inputs, toy.targets)(np.arange(len(toy.texts)))
        seen = classifier(batch)[JOINT]
        changed = classifier(batch._replace(inputs={**batch.inputs, "image": batch.inputs["image"] + 3.0}))[JOINT]
    moved = (seen - changed).abs().amax(dim=(1, 2)).numpy() > 1e-6
    np.testing.assert_array_equal(moved, toy.targets.has_image)


def test_a_missing_photo_is_told_from_an_average_one(make_toy, make_classifier, fit):
    toy = make_toy(folds=0, without_text=0.0, without_photo=0.5)
    classifier = make_classifier(toy, replicas=1, feature_fusion=True)
    fit(classifier, toy, 3)
    batch = Collator(toy.inputs, toy.targets)(np.flatnonzero(toy.targets.has_image))
    average = batch._replace(
        inputs={
            **batch.inputs,
            "image": torch.from_numpy(toy.inputs.features["image"].mean(axis=0)).expand(len(batch.labels), -1),
        }
    )
    with torch.inference_mode():
        classifier.eval()
        with_average = classifier(average)[JOINT]
        with_none = classifier(average._replace(has_image=torch.zeros_like(batch.has_image)))[JOINT]
    assert (with_average - with_none).abs().max() > 1e-3


def test_modality_dropout_never_takes_the_only_modality(make_toy, make_classifier):
    toy = make_toy(400, folds=0, without_text=0.4, without_photo=0.4)
    classifier = make_classifier(toy, "text", "image", replicas=1, feature_fusion=True, modality_dropout=0.9).train()
    seen: list[torch.Tensor] = []
    classifier.network.heads[JOINT].register_forward_pre_hook(lambda module, given: seen.append(given[0][:, -2:]))
    batch = Collator(BranchInputs(features=toy.inputs.features), toy.targets)(np.arange(400))
    torch.manual_seed(0)
    classifier(batch)
    flags = seen[0].numpy().astype(bool)
    there = np.stack([toy.targets.has_text, toy.targets.has_image], axis=1)
    assert (flags.sum(axis=1) >= 1).all() and (flags <= there).all()
    both = there.all(axis=1)
    assert (flags[~both] == there[~both]).all()
    taken = (~flags[both]).mean(axis=0)
    np.testing.assert_allclose(taken, [0.45, 0.45], atol=0.08)
    classifier.eval()(batch)
    np.testing.assert_array_equal(seen[1].numpy().astype(bool), there)


@pytest.mark.parametrize("feature_fusion", [False, True])
def test_its_options_make_a_network_again(make_toy, make_classifier, feature_fusion):
    toy = make_toy()
    network = make_classifier(toy, feature_fusion=feature_fusion, modality_dropout=0.2).network.eval()
    again = ProductNetwork(**json.loads(json.dumps(network.options))).eval()
    again.load_state_dict(network.state_dict())
    assert again.options == network.options
    batch = Collator(toy.inputs, toy.targets)(np.arange(30))
    with torch.inference_mode():
        for name, logits in network(batch).items():
            torch.testing.assert_close(again(batch)[name], logits)


@pytest.mark.parametrize("feature_fusion", [False, True])
def test_what_is_served_is_the_last_replica_of_every_head(make_toy, make_classifier, fit, feature_fusion):
    toy = make_toy()
    classifier = make_classifier(toy, feature_fusion=feature_fusion)
    fit(classifier, toy, 1)
    network = classifier.network.eval()
    served = network.keep_last().eval()
    batch = Collator(toy.inputs, toy.targets)(np.arange(30))
    with torch.inference_mode():
        for name, logits in network(batch).items():
            assert served(batch)[name].shape == (30, 1, 3)
            torch.testing.assert_close(served(batch)[name][:, 0], logits[:, -1])
