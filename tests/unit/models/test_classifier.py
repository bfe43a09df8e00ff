"""The classifier: it learns, repeats itself, leaves a checkpoint that is plain data, and knows what is not there."""

from __future__ import annotations

import pickle
import warnings
from itertools import pairwise

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from rayon.data.batches import BranchInputs, Collator
from rayon.models.classifier import ProductClassifier, class_weights

pytestmark = [
    pytest.mark.filterwarnings("ignore:You are trying to `self.log:UserWarning"),
    pytest.mark.filterwarnings("ignore:.*does not have many workers"),
]


def logged(trainer: pl.Trainer) -> dict[str, float]:
    return {name: float(value) for name, value in trainer.callback_metrics.items()}


@pytest.mark.parametrize("kind", ["gram", "text", "image", "all", "feature fusion"])
def test_a_few_products_are_learnt_by_heart(kind, make_toy, make_classifier, fit):
    toy = make_toy(60, spread=0.0, without_photo=0.0, without_text=0.0, folds=0)
    names = () if kind in ("all", "feature fusion") else (kind,)
    classifier = make_classifier(toy, *names, replicas=1, feature_fusion=kind == "feature fusion")
    trainer, _ = fit(classifier, toy, 8)
    assert logged(trainer)["val_macro_f1"] == 1.0
    assert logged(trainer)["val_nll"] < 0.1 < np.log(3)


def test_labels_that_mean_nothing_are_not_guessed_by_who_never_saw_them(make_toy, make_classifier, fit):
    """Each product has a word of its own, so that memory is perfect and knowledge impossible."""
    toy = make_toy(150, folds=3)
    labels = np.random.default_rng(1).integers(0, 3, 150)
    features = {"text": np.random.default_rng(2).normal(size=(150, 64)).astype(np.float32)}
    toy = toy._replace(
        inputs=BranchInputs(features=features),
        targets=toy.targets._replace(labels=labels, has_text=np.ones(150, dtype=bool)),
    )
    settings = {"hidden": 64, "learning_rate": 2e-2}
    classifier = make_classifier(toy, "text", replicas=4, settings=settings)
    trainer, _ = fit(classifier, toy, 12)
    assert logged(trainer)["val_nll"] > 0.9 * np.log(3)
    batch = Collator(toy.inputs, toy.targets)(np.arange(150))
    with torch.inference_mode():
        served = classifier.eval()(batch)["text"][:, -1].argmax(dim=1).numpy()
    assert (served == labels).mean() > 0.95


def test_validation_asks_the_replica_that_never_saw_the_product(make_toy, make_classifier):
    toy = make_toy(folds=3)
    classifier = make_classifier(toy, replicas=4).eval()
    for parameter in classifier.parameters():
        nn.init.normal_(parameter, generator=torch.Generator().manual_seed(0))
    collate = Collator(toy.inputs, toy.targets)
    with torch.inference_mode():
        for rows in (np.arange(50), np.arange(50, 120)):
            classifier.validation_step(collate(rows), 0)
        everything = classifier(collate(np.arange(120)))
    held = classifier.take_held_out()
    assert set(held.logits) == {"gram", "text", "image"} and classifier.held_out == []
    for name, logits in held.logits.items():
        expected = everything[name].numpy()[np.arange(120), toy.targets.folds]
        np.testing.assert_allclose(logits, expected, atol=1e-5)
    np.testing.assert_array_equal(held.labels, toy.targets.labels)
    np.testing.assert_array_equal(held.has_image, toy.targets.has_image)


def test_what_validation_keeps_holds_no_inputs(make_toy, make_classifier):
    """The photos of a whole validation split would fill the memory."""
    toy = make_toy(200, folds=0)
    features = {"image": np.zeros((200, 5000), dtype=np.float32)}
    toy = toy._replace(inputs=BranchInputs(features={**toy.inputs.features, **features}))
    classifier = make_classifier(toy, "image", replicas=1).eval()
    with torch.inference_mode():
        classifier.validation_step(Collator(BranchInputs(features=features), toy.targets)(np.arange(200)), 0)
    assert len(pickle.dumps(classifier.held_out)) < features["image"].nbytes / 20
    assert len(classifier.take_held_out().labels) == 200


def test_the_same_seed_gives_the_same_classifier(make_toy, make_classifier, fit):
    toy = make_toy(folds=3)

    def trained(seed: int) -> tuple[dict[str, torch.Tensor], dict[str, float]]:
        pl.seed_everything(seed, verbose=False)
        classifier = make_classifier(toy, settings={"dropout": 0.3}, seed=seed)
        trainer, _ = fit(classifier, toy, 2)
        return classifier.state_dict(), logged(trainer)

    (one, log_one), (other, log_other), (third, _) = trained(1), trained(1), trained(2)
    assert log_one == log_other
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert not torch.equal(one["network.heads.text.first"], third["network.heads.text.first"])


@pytest.mark.parametrize("feature_fusion", [False, True])
def test_a_checkpoint_is_plain_data(make_toy, make_classifier, fit, tmp_path, feature_fusion):
    toy = make_toy(folds=3)
    classifier = make_classifier(toy, feature_fusion=feature_fusion, modality_dropout=0.2)
    trainer, _ = fit(classifier, toy, 1)
    trainer.save_checkpoint(tmp_path / "c.ckpt")
    content = torch.load(tmp_path / "c.ckpt", weights_only=True)
    assert content["hyper_parameters"]["replicas"] == 4
    restored = ProductClassifier.load_from_checkpoint(tmp_path / "c.ckpt", weights_only=True).eval()
    batch = Collator(toy.inputs, toy.targets)(np.arange(40))
    with torch.inference_mode():
        for name, logits in classifier.eval()(batch).items():
            torch.testing.assert_close(restored(batch)[name], logits)


def test_a_product_teaches_only_branches_that_see_it(make_toy, make_classifier):
    toy = make_toy(folds=0)
    classifier = make_classifier(toy, replicas=1)
    without_photo = np.flatnonzero(~toy.targets.has_image)
    classifier.training_step(Collator(toy.inputs, toy.targets)(without_photo), 0).backward()
    assert classifier.network.heads["image"].second_bias.grad.abs().max() == 0.0
    assert classifier.network.heads["text"].second_bias.grad.abs().max() > 0.0
    assert classifier.network.heads["gram"].weight.grad.abs().max() > 0.0


def test_rates_are_apart_and_none_is_forgotten(make_toy, make_classifier, fit):
    toy = make_toy(folds=3)
    rates = {"learning_rate": 0.001, "ngram_learning_rate": 0.01, "encoder_learning_rate": 0.0001, "weight_decay": 0.1}
    classifier = make_classifier(
        toy,
        settings=rates,
        branches=[*toy.branches(), ["tuned", "encoder", "image", 6, "timm:x"]],
        encoders={"tuned": nn.Linear(6, 6)},
    )
    toy = toy._replace(
        inputs=BranchInputs(toy.inputs.grams, {**toy.inputs.features, "tuned": toy.inputs.features["image"]})
    )
    trainer, _ = fit(classifier, toy, 1)
    groups = {id(parameter): group for group in trainer.optimizers[0].param_groups for parameter in group["params"]}
    assert len(groups) == len(list(classifier.parameters()))
    expected = {
        # momentum of 0.9 adds up to ten steps, Adam's average of them to one
        "network.heads.gram.weight": (0.1, 0.0),
        "network.heads.gram.bias": (0.001, 0.0),
        "network.heads.text.first": (0.001, 0.1),
        "network.heads.text.first_bias": (0.001, 0.0),
        "network.encoders.tuned.weight": (0.0001, 0.1),
    }
    for name, (rate, decay) in expected.items():
        group = groups[id(classifier.get_parameter(name))]
        assert (group["initial_lr"], group["weight_decay"]) == (pytest.approx(rate), decay), name


def test_the_rate_warms_up_and_ends_near_zero(make_toy, make_classifier, fit):
    toy = make_toy(128, folds=3)
    rates: list[float] = []

    class Watch(pl.Callback):
        def on_train_batch_start(self, trainer, *_):
            rates.append(trainer.optimizers[0].param_groups[0]["lr"])

    fit(make_classifier(toy, "gram", settings={"ngram_learning_rate": 0.1}), toy, 10, callbacks=[Watch()])
    assert len(rates) == 40 and rates[0] < rates[3] == max(rates) == pytest.approx(1.0)
    assert all(a > b for a, b in pairwise(rates[4:])) and 0.0 < rates[-1] < 0.05


def test_trained_encoders_are_trained_in_training_mode(make_toy, make_classifier, fit):
    """Encoders are loaded in evaluation mode: without dropout a fine-tuned transformer over-fits."""
    toy = make_toy(folds=0)
    modes: list[bool] = []
    encoder = nn.Sequential(nn.Linear(6, 6), nn.Dropout(0.1)).eval()
    encoder.register_forward_hook(lambda module, *_: modes.append(module.training))
    classifier = make_classifier(
        toy, branches=[["tuned", "encoder", "image", 6, "timm:x"]], encoders={"tuned": encoder}, replicas=1
    )
    toy = toy._replace(inputs=BranchInputs(features={"tuned": toy.inputs.features["image"]}))
    fit(classifier, toy, 1)
    assert modes[:4] == [True] * 4 and modes[-1] is False


@pytest.mark.parametrize("kind", ["gram", "text", "feature fusion"])
def test_heads_are_trained_in_mixed_precision(kind, make_toy, make_classifier, fit):
    toy = make_toy(spread=0.1, folds=3)
    names = () if kind == "feature fusion" else (kind,)
    classifier = make_classifier(toy, *names, feature_fusion=kind == "feature fusion")
    trainer, _ = fit(classifier, toy, 5, precision="bf16-mixed")
    assert logged(trainer)["val_nll"] < 0.8 * np.log(3)
    assert all(parameter.dtype == torch.float32 for parameter in classifier.parameters())


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_encoders_are_trained_with_clipped_gradients(make_toy, make_classifier, fit, precision):
    toy = make_toy(folds=0)
    encoder = nn.Linear(6, 6)
    before = encoder.weight.detach().clone()
    classifier = make_classifier(
        toy,
        branches=[["tuned", "encoder", "image", 6, "timm:x"]],
        encoders={"tuned": encoder},
        replicas=1,
        settings={"encoder_learning_rate": 1e-2},
    )
    toy = toy._replace(inputs=BranchInputs(features={"tuned": toy.inputs.features["image"]}))
    trainer, _ = fit(classifier, toy, 2, precision=precision, gradient_clip_val=1.0)
    assert (encoder.weight - before).abs().max() > 1e-3
    assert np.isfinite(logged(trainer)["val_nll"])


@given(st.lists(st.integers(0, 4), min_size=1, max_size=60), st.floats(0.0, 1.0))
def test_class_weights_average_to_one_over_products(labels, balance):
    weights = np.array(class_weights(np.array(labels), 6, balance))
    assert weights[labels].mean() == pytest.approx(1.0)
    counts = np.bincount(labels, minlength=6)
    found = np.flatnonzero(counts)
    np.testing.assert_allclose(
        weights[found] * counts[found] ** balance, weights[found[0]] * counts[found[0]] ** balance
    )


def test_class_weights_at_the_ends_of_the_scale():
    labels = np.repeat([0, 1], [30, 10])
    assert class_weights(labels, 2, 0.0) == [1.0, 1.0]
    np.testing.assert_allclose(class_weights(labels, 2, 1.0), [40 / 60, 2.0])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert all(np.isfinite(class_weights(labels, 5, 1.0)))
