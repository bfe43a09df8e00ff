"""Training a candidate from a catalogue on disk to a bundle: each kind, killed and continued, never the gold set."""

from __future__ import annotations

import json
import math
import os
import shutil

import numpy as np
import processes
import pytest
import pytorch_lightning as pl
from catalogues import KINDS, NET
from sklearn.metrics import f1_score

from rayon.bundle import read_bundle
from rayon.data.dataset import Dataset
from rayon.inputs import Encoded, make_inputs, split_rows
from rayon.models.encoders import encoder_key, load_image_encoder, load_text_encoder
from rayon.models.fusion import cross_fuse
from rayon.models.served import Predicted, branch_logits, predict
from rayon.training import Trained, train_candidate

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*does not have many workers"),
    pytest.mark.filterwarnings("ignore:.*exists and is not empty"),
]


def asked(trained: Trained, dataset: Dataset, encoded: Encoded, rows: np.ndarray) -> tuple:
    """What a fresh reading of the bundle is asked about some rows: served, inputs, who has a text, who has a photo."""
    bundle = read_bundle(trained.bundle)
    network = bundle.served.network
    encoders = {b.name: network.encoder(b.name) for b in network.branches if b.kind == "encoder"}
    inputs = make_inputs(
        dataset, rows, network.branches, encoded, bundle.served.vectorizer, encoders, bundle.image.side
    )
    frame = dataset.frame.iloc[rows]
    return bundle.served, inputs, frame["has_text"].to_numpy(bool), frame["has_image"].to_numpy(bool)


def predict_rows(trained: Trained, dataset: Dataset, encoded: Encoded, rows: np.ndarray) -> Predicted:
    """What a fresh reading of the bundle says of some rows."""
    return predict(*asked(trained, dataset, encoded, rows))


def judged_again(trained: Trained, dataset: Dataset, encoded: Encoded) -> np.ndarray:
    """What the bundle's one replica says of a validation split that judged, each fifth by a pool of the others."""
    served, inputs, has_text, has_image = asked(trained, dataset, encoded, trained.rows)
    logits = branch_logits(served, inputs, has_text, has_image)
    modalities = dict(zip(served.pool.branches, served.pool.modalities, strict=True))
    parts = np.arange(len(trained.rows)) % 5
    return np.exp(cross_fuse(modalities, logits, trained.labels, has_text, has_image, parts))


def gold(dataset: Dataset) -> np.ndarray:
    return np.flatnonzero(dataset.frame["split"] == "test")


def gold_f1(trained: Trained, dataset: Dataset, encoded: Encoded) -> float:
    rows = gold(dataset)
    found = predict_rows(trained, dataset, encoded, rows).log_probabilities.argmax(axis=1)
    return f1_score(dataset.frame["label"].to_numpy()[rows], found, average="macro")


@pytest.mark.parametrize(("kind", "at_least", "keys"), [("text", 0.65, 1), ("image", 0.65, 1), ("fusion", 0.85, 2)])
def test_each_candidate_learns_and_is_bundled(kind, at_least, keys, make_config, train, bert):
    config = make_config()
    trained, dataset, encoded = train(kind, config, about={"run": "7"})
    frame = dataset.frame
    expected = np.flatnonzero(frame["split"].isin(["train", "validation"]))
    np.testing.assert_array_equal(trained.rows, expected)
    np.testing.assert_array_equal(trained.labels, frame["label"].to_numpy()[expected])
    assert not set(trained.rows) & set(gold(dataset)) and len(gold(dataset)) > 20
    assert trained.probabilities.shape == (len(expected), 4) and trained.probabilities.dtype == np.float32
    np.testing.assert_allclose(trained.probabilities.sum(axis=1), 1.0, atol=1e-5)
    assert (trained.probabilities.argmax(axis=1) == trained.labels).mean() > at_least
    assert gold_f1(trained, dataset, encoded) > at_least

    bundle = read_bundle(trained.bundle)
    assert bundle.categories == dataset.categories == tuple(sorted(KINDS))
    about = {"candidate": kind, "dataset": dataset.fingerprint, "catalog": "shop", "run": "7"}
    assert bundle.about == {**about, "gold": {"test": config.split.test, "seed": config.split.seed}}
    sizes = {bert: 16, NET: 32}
    assert len(bundle.encoder_keys) == keys
    assert all(key == encoder_key(source, sizes[source]) for source, key in bundle.encoder_keys.items())
    assert [threshold.precision for threshold in bundle.thresholds] == [0.9, 0.99]
    assert (bundle.served.vectorizer is None) == (kind == "image")
    assert [row["epoch"] for row in trained.history] == list(range(len(trained.history)))
    assert trained.resumed_from_epoch == 0
    assert all(
        math.isfinite(row[name]) for row in trained.history for name in ("train_loss", "val_nll", "val_macro_f1")
    )
    json.dumps([trained.history, bundle.reference, bundle.about])


def test_thresholds_file_held_out_products_at_their_precision(make_config, train):
    trained, _, _ = train("fusion", make_config())
    confidence = trained.probabilities.max(axis=1)
    right = trained.probabilities.argmax(axis=1) == trained.labels
    for threshold in read_bundle(trained.bundle).thresholds:
        filed = confidence >= threshold.confidence - 1e-6
        assert filed.mean() == pytest.approx(threshold.coverage, abs=1e-6)
        assert not filed.any() or right[filed].mean() >= threshold.precision


def test_the_reference_describes_the_held_out_products(make_config, train):
    trained, dataset, _ = train("text", make_config())
    reference = read_bundle(trained.bundle).reference
    frame = dataset.frame.iloc[trained.rows]
    assert reference["products"] == len(frame) == sum(reference["mix"]) == sum(reference["predicted_mix"])
    assert reference["mix"] == np.bincount(trained.labels).tolist()
    assert sum(reference["confidence_histogram"]) == len(frame)
    assert reference["without_photo"] == pytest.approx((~frame["has_image"]).mean())
    assert len(reference["text_length_deciles"]) == 11


def test_a_killed_training_goes_on(make_config, load, tmp_path):
    """The process dies in its fourth epoch; the next one goes on from the third and ends where a whole one does."""
    config = make_config(trainer={"dropout": 0.0, "max_epochs": 6, "patience": 20})
    dataset, encoded = load(config)

    class Die(pl.Callback):
        def on_train_batch_end(self, trainer, *_):
            if trainer.current_epoch == 3:
                os._exit(9)

    def run() -> None:
        train_candidate("text", dataset, encoded, config, tmp_path / "killed", [Die()])

    assert processes.run([run]) == [9]
    continued = train_candidate("text", dataset, encoded, config, tmp_path / "killed")
    whole = train_candidate("text", dataset, encoded, config, tmp_path / "whole")
    assert (continued.resumed_from_epoch, whole.resumed_from_epoch) == (3, 0)
    assert [row["epoch"] for row in continued.history] == [0, 1, 2, 3, 4, 5]
    for one, other in zip(continued.history, whole.history, strict=True):
        assert one == pytest.approx(other, rel=1e-4)
    np.testing.assert_allclose(continued.probabilities, whole.probabilities, atol=1e-4)


def test_a_training_goes_on_from_the_heads_of_an_earlier_one(make_config, train):
    first, _, _ = train("fusion", make_config(trainer={"warm_epochs": 1}), "first")
    again, dataset, encoded = train("fusion", make_config(trainer={"warm_epochs": 1}), "again", heads=first.heads)
    assert len(first.history) > 1 == len(again.history) and (first.warm, again.warm) == (False, True)
    assert again.history[0]["val_nll"] < first.history[0]["val_nll"]
    assert gold_f1(again, dataset, encoded) >= 0.85 and again.heads not in (None, first.heads)


def test_what_judges_a_product_in_a_training_that_goes_on_never_saw_it(make_config, train, load, tmp_path):
    """With labels drawn anew nothing can be learnt but by heart, and held-out products must not look learnt."""
    config = make_config(trainer={"warm_epochs": 2, "patience": 20})
    dataset, encoded = load(config)
    drawn = np.random.default_rng(0).permutation(dataset.frame["label"].to_numpy())
    dataset.frame["label"] = drawn
    heads, accuracy = None, []
    for turn in range(3):
        trained = train_candidate("text", dataset, encoded, config, tmp_path / str(turn), heads=heads)
        heads = trained.heads
        accuracy.append((trained.probabilities.argmax(axis=1) == trained.labels).mean())
    assert max(accuracy) < np.bincount(drawn).max() / len(drawn) + 0.15, accuracy


def test_heads_of_other_settings_are_not_taken_up_and_none_are_kept_unasked(make_config, train):
    first, _, _ = train("text", make_config(trainer={"warm_epochs": 1}), "first")
    with pytest.warns(UserWarning, match="begins anew"):
        again, _, _ = train("text", make_config(trainer={"warm_epochs": 1, "hidden": 24}), "other", heads=first.heads)
    assert len(again.history) > 1
    plain, _, _ = train("text", make_config(), "plain", heads=first.heads)
    assert plain.heads is None and len(plain.history) > 1


def test_feature_fusion_begins_anew(make_config, train):
    config = make_config(fusion={"kind": "feature"}, trainer={"warm_epochs": 1})
    first, _, _ = train("fusion", config, "first")
    again, _, _ = train("fusion", config, "again", heads=first.heads)
    assert first.heads is None and len(again.history) == len(first.history) > 1


@pytest.mark.parametrize("damage", ["cut", "empty", "nothing but the mark"])
def test_damaged_checkpoints_cost_time_and_no_training(damage, make_config, load, tmp_path):
    config = make_config(trainer={"max_epochs": 3})
    dataset, encoded = load(config)
    first = train_candidate("text", dataset, encoded, config, tmp_path)
    last, best, mark = (tmp_path / name for name in ("last.ckpt", "best.ckpt", "training.json"))
    assert {file.name for file in tmp_path.iterdir()} == {"last.ckpt", "best.ckpt", "training.json"}
    if damage == "nothing but the mark":
        last.unlink()
        best.unlink()
        again = train_candidate("text", dataset, encoded, config, tmp_path)
    else:
        mark.write_text(json.dumps({"key": json.loads(mark.read_text())["key"]}))
        last.write_bytes(last.read_bytes()[:1000] if damage == "cut" else b"")
        with pytest.warns(UserWarning, match="is damaged"):
            again = train_candidate("text", dataset, encoded, config, tmp_path)
    assert again.resumed_from_epoch == 0 and [row["epoch"] for row in again.history] == [0, 1, 2]
    np.testing.assert_allclose(again.probabilities, first.probabilities, atol=1e-4)


def test_a_finished_training_is_not_done_again(make_config, train):
    config = make_config()
    first, _, _ = train("text", config)
    again, _, _ = train("text", config)
    assert again.resumed_from_epoch >= len(first.history) - 1
    np.testing.assert_allclose(again.probabilities, first.probabilities, atol=1e-6)
    assert again.history == first.history


def test_a_training_that_was_stopped_early_is_not_taken_further(make_config, train):
    config = make_config(trainer={"max_epochs": 30, "patience": 1, "learning_rate": 0.3, "ngram_learning_rate": 3.0})
    first, _, _ = train("text", config)
    assert len(first.history) < 30
    again, _, _ = train("text", config)
    assert again.resumed_from_epoch == len(first.history)
    assert again.history == first.history
    np.testing.assert_allclose(again.probabilities, first.probabilities, atol=1e-6)


def test_checkpoints_may_be_moved_before_a_training_goes_on(make_config, train, tmp_path):
    """A retried task finds its checkpoints in another folder."""
    config = make_config()
    first, _, _ = train("text", config, "here")
    shutil.move(tmp_path / "here", tmp_path / "there")
    again, _, _ = train("text", config, "there")
    assert again.resumed_from_epoch > 0
    np.testing.assert_allclose(again.probabilities, first.probabilities, atol=1e-6)


def test_another_training_is_never_continued(make_config, train):
    train("text", make_config(trainer={"max_epochs": 2}))
    for kind, sections in (("image", {}), ("image", {"trainer": {"max_epochs": 2, "seed": 1}})):
        other, _, _ = train(kind, make_config(**{"trainer": {"max_epochs": 2}, **sections}))
        assert other.resumed_from_epoch == 0 and len(other.history) == 2


def test_the_same_settings_give_the_same_bundle(make_config, train):
    config = make_config()
    one, other = (train("fusion", config, folder)[0] for folder in ("one", "other"))
    assert one.bundle == other.bundle
    np.testing.assert_array_equal(one.probabilities, other.probabilities)
    assert one.history == other.history


def test_without_folds_the_validation_split_judges(make_config, train):
    trained, dataset, encoded = train("fusion", make_config(fusion={"folds": 0}))
    assert set(dataset.frame["split"].iloc[trained.rows]) == {"validation"}
    # the judge is the very model that is served
    np.testing.assert_allclose(judged_again(trained, dataset, encoded), trained.probabilities, atol=1e-4)


def test_with_folds_learnt_products_are_judged_by_somebody_else(make_config, load, tmp_path):
    """Labels are dealt out at random: who has seen them knows them, who has not can only guess."""
    config = make_config(
        trainer={"max_epochs": 12, "ngram_learning_rate": 50.0, "patience": 50, "class_balance": 0.0},
        branches={"ngram": {"log2_buckets": 18, "min_products": 1}},
    )
    dataset, encoded = load(config)
    dataset.frame["label"] = np.random.default_rng(0).integers(0, 4, len(dataset)).astype(np.int16)
    # a number in each title, so that there is something to know a product by
    dataset.frame["designation"] += [f" n{row}x{row}" for row in range(len(dataset))]
    trained = train_candidate("text", dataset, encoded, config, tmp_path)
    assert (trained.probabilities.argmax(axis=1) == trained.labels).mean() < 0.4
    # the pool, which knows that judges could only guess, is left out
    served, inputs, there, has_image = asked(trained, dataset, encoded, trained.rows)
    logits = branch_logits(served, inputs, there, has_image)["ngram"]
    assert (logits.argmax(axis=1) == trained.labels)[there].mean() > 0.8


def test_feature_fusion_trains_and_is_served_as_it_was_judged(make_config, train):
    trained, dataset, encoded = train("fusion", make_config(fusion={"kind": "feature"}, trainer={"max_epochs": 12}))
    assert set(dataset.frame["split"].iloc[trained.rows]) == {"validation"}
    np.testing.assert_allclose(judged_again(trained, dataset, encoded), trained.probabilities, atol=1e-4)
    assert gold_f1(trained, dataset, encoded) > 0.6


@pytest.mark.parametrize("workers", [0, 1])
def test_encoders_trained_end_to_end_change_and_are_bundled(workers, make_config, train, bert):
    config = make_config(
        branches={"text": {"trainable": True}, "image": {"trainable": True}},
        trainer={"max_epochs": 2, "encoder_learning_rate": 5e-3, "workers": workers},
    )
    trained, dataset, encoded = train("fusion", config)
    assert encoded.features == {}
    bundle = read_bundle(trained.bundle)
    assert bundle.encoder_keys == {} and bundle.text.trainable
    for source, original in ((bert, load_text_encoder(bert, 16)), (NET, load_image_encoder(NET, 32))):
        moved = bundle.served.network.encoder(source).state_dict()
        assert any((moved[name] - weight).abs().max() > 1e-3 for name, weight in original.named_parameters()), source
    np.testing.assert_allclose(judged_again(trained, dataset, encoded), trained.probabilities, atol=1e-4)


def test_remembered_products_have_a_say_unless_they_are_switched_off(make_config, train):
    trained, dataset, encoded = train("fusion", make_config())
    bundle = read_bundle(trained.bundle)
    assert bundle.served.pool.branches[-2:] == ("neighbours-text", "neighbours-image")
    frame, known = dataset.frame.iloc[trained.rows], bundle.served.neighbours
    assert (
        len(known["text"].labels) == frame["has_text"].sum() and len(known["image"].labels) == frame["has_image"].sum()
    )
    served = predict_rows(trained, dataset, encoded, gold(dataset))
    assert np.isfinite(served.log_probabilities).all()
    without, *_ = train("fusion", make_config(branches={"neighbours": {"enabled": False}}))
    assert read_bundle(without.bundle).served.neighbours == {}
    few, *_ = train("text", make_config(branches={"neighbours": {"products": 40, "count": 3}}))
    (known,) = read_bundle(few.bundle).served.neighbours.values()
    assert len(known.labels) == 40 and known.nearest == 3


def test_a_candidate_without_branches_says_what_to_do(make_config, train):
    config = make_config(branches={"image": {"encoders": []}})
    with pytest.raises(ValueError, match="the candidate 'image' has no branch"):
        train("image", config)
    with pytest.raises(ValueError, match=r"raise split\.validation"):
        train("text", make_config(split={"validation": 0.0}, fusion={"folds": 0}))


def test_one_category_is_too_few(make_config, load, tmp_path):
    config = make_config()
    dataset, encoded = load(config)
    dataset.frame["label"] = np.zeros(len(dataset), dtype=np.int16)
    with pytest.raises(ValueError, match="two categories are needed"):
        train_candidate("text", dataset, encoded, config, tmp_path)


def test_products_of_unknown_category_are_neither_learnt_nor_judged(make_config, load):
    dataset, _ = load(make_config())
    unknown = np.arange(0, len(dataset), 7)
    dataset.frame.loc[unknown, "label"] = -1
    for folds in (0, 3):
        learn, judged = split_rows(dataset, folds)
        assert not (set(learn) | set(judged)) & set(unknown)
        assert "test" not in set(dataset.frame["split"].iloc[np.concatenate([learn, judged])])
        assert set(learn) == set(judged) if folds else not set(learn) & set(judged)


@pytest.mark.parametrize("missing", ["text", "image"])
def test_a_catalogue_without_any_text_or_any_photo_can_be_learnt(missing, make_config, load, tmp_path):
    config = make_config()
    dataset, encoded = load(config)
    frame = dataset.frame
    keep = frame["has_image" if missing == "text" else "has_text"].to_numpy(bool)
    frame[f"has_{missing}"] = False
    if missing == "text":
        frame[["designation", "description"]] = ""
    frame.loc[~keep, "label"] = -1
    gone = NET if missing == "image" else next(source for source in encoded.features if source != NET)
    features = {**encoded.features, gone: np.zeros_like(encoded.features[gone])}
    trained = train_candidate("fusion", dataset, encoded._replace(features=features), config, tmp_path)
    assert (trained.probabilities.argmax(axis=1) == trained.labels).mean() > 0.6
    assert np.isfinite(trained.probabilities).all()


def test_encoding_is_done_once(make_config, load):
    config = make_config()
    load(config)
    dataset, encoded = load(config)
    assert set(encoded.encoded.values()) == {0}
    text, image = encoded.features.values()
    assert (np.abs(text).sum(axis=1) > 0).tolist() == dataset.frame["has_text"].tolist()
    assert (np.abs(image).sum(axis=1) > 0).tolist() == dataset.frame["has_image"].tolist()
