"""The bundle: it answers alike in another process, holds nothing but data, and is never half believed."""

from __future__ import annotations

import json
import os
import pickletools
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors

from rayon.bundle import Bundle, Thresholds, dump_bundle, read_bundle
from rayon.bundle_document import FORMAT, BundleError, describe_bundle
from rayon.calibration import Tempering
from rayon.config import ImageBranch, NgramBranch, TextBranch
from rayon.data.batches import BranchInputs
from rayon.models.encoders import load_image_encoder
from rayon.models.fusion import PRESENCES, Pool
from rayon.models.neighbours import branch_of, fit_neighbours
from rayon.models.served import Served, predict, serve

TINY = "timm:test_resnet@random"


def pool_of(network) -> Pool:
    names, kinds = tuple(network.modalities), tuple(network.modalities.values())
    weights = {
        state: tuple(0.7 if state == "both" or kind in (state, "both") else 0.0 for kind in kinds)
        for state in PRESENCES
    }
    tempering = {"both": Tempering(1.2, 0.1, 0.4), "image": Tempering(0.9, 1 / 3, 0.0)}
    return Pool(names, kinds, weights, {state: (0.1, -0.2, 1 / 3) for state in PRESENCES}, tempering)


def bundle_of(served: Served, ngram: NgramBranch, **more) -> Bundle:
    return Bundle(
        served,
        ("livres", "lampes d'été", "ゲーム"),
        TextBranch(encoders=("bundled:some.text",), max_tokens=48),
        more.pop("image", ImageBranch()),
        ngram,
        {"bundled:some.text": "ab" * 32},
        (Thresholds(0.9, 0.61803398874989479, 0.8), Thresholds(0.99, 1.01, 0.0)),
        {"products": 120, "mix": [40, 40, 40]},
        {"dataset": "cd" * 32, "catalog": "shop"},
        **more,
    )


@pytest.fixture
def make_bundle(make_toy, make_classifier, fit):
    """A factory of (toy, bundle) with a trained classifier."""

    def make(**more):
        toy = make_toy()
        classifier = make_classifier(toy, replicas=4, **more)
        fit(classifier, toy, 1)
        return toy, bundle_of(
            serve(classifier.network, toy.vectorizer, pool_of(classifier.network)), toy.vectorizer.settings
        )

    return make


def predictions(bundle: Bundle, toy):
    return predict(bundle.served, toy.inputs, toy.targets.has_text, toy.targets.has_image)


@pytest.mark.parametrize("feature_fusion", [False, True])
def test_what_is_read_is_what_was_written(make_bundle, feature_fusion):
    toy, bundle = make_bundle(feature_fusion=feature_fusion)
    data = dump_bundle(bundle)
    restored = read_bundle(data)
    assert restored[1:] == bundle[1:]
    assert restored.served.pool == bundle.served.pool
    assert not restored.served.network.training
    np.testing.assert_array_equal(
        restored.served.vectorizer.transform(toy.texts).toarray(), toy.inputs.grams["gram"].toarray()
    )
    before, after = predictions(bundle, toy), predictions(restored, toy)
    np.testing.assert_allclose(after.log_probabilities, before.log_probabilities, atol=1e-6)
    np.testing.assert_allclose(after.text_share, before.text_share, atol=1e-6)
    assert dump_bundle(restored) == data


@pytest.fixture
def remembering(make_bundle):
    """A bundle that remembers products, with its toy catalogue."""
    toy, bundle = make_bundle()
    rows, labels = np.arange(60), toy.targets.labels
    known = {name: fit_neighbours(toy.inputs.features, [name], rows, labels, 8, 5) for name in ("text", "image")}
    pool = bundle.served.pool
    names = tuple(map(branch_of, known))
    pool = pool._replace(
        branches=(*pool.branches, *names),
        modalities=(*pool.modalities, *known),
        weights={state: (*weights, 0.7, 0.4) for state, weights in pool.weights.items()},
    )
    return toy, bundle._replace(served=bundle.served._replace(pool=pool, neighbours=known))


def test_remembered_products_come_back(remembering, make_bundle):
    toy, bundle = remembering
    data = dump_bundle(bundle)
    restored = read_bundle(data)
    for modality, known in bundle.served.neighbours.items():
        for mine, theirs in zip(known, restored.served.neighbours[modality], strict=True):
            np.testing.assert_array_equal(mine, theirs)
    before, after = predictions(bundle, toy), predictions(restored, toy)
    np.testing.assert_allclose(after.log_probabilities, before.log_probabilities, atol=1e-6)
    _, without = make_bundle()
    assert np.abs(before.log_probabilities - predictions(without, toy).log_probabilities).max() > 0.01
    assert dump_bundle(restored) == data


@pytest.mark.parametrize(
    ("name", "value"),
    [("labels", torch.full((60,), 99)), ("keys", torch.zeros(60, 7).half()), ("mean", torch.zeros(3))],
)
def test_remembered_products_that_cannot_be_are_refused(remembering, name, value):
    _, bundle = remembering
    data = dump_bundle(bundle)
    tensors = {**load_tensors(data), f"neighbours.text.{name}": value}
    with pytest.raises(BundleError, match="damaged"):
        read_bundle(save_tensors(tensors, metadata={"rayon": json.dumps(describe_bundle(data))}))


ANOTHER_PROCESS = """
import sys, json
import numpy as np
from rayon.bundle import read_bundle
from rayon.data.batches import BranchInputs
from rayon.models.served import predict

bundle = read_bundle(open(sys.argv[1], "rb").read())
given = np.load(sys.argv[2])
texts = json.loads(open(sys.argv[3], encoding="utf-8").read())
inputs = BranchInputs({"gram": bundle.served.vectorizer.transform(texts)}, {n: given[n] for n in ("text", "image")})
found = predict(bundle.served, inputs, given["has_text"], given["has_image"])
np.savez(sys.argv[4], log=found.log_probabilities, share=found.text_share)
assert not {"metaflow", "pytorch_lightning"} & set(sys.modules)
"""


def test_another_process_answers_alike(make_bundle, tmp_path):
    toy, bundle = make_bundle()
    (tmp_path / "bundle").write_bytes(dump_bundle(bundle))
    (tmp_path / "texts.json").write_text(json.dumps(toy.texts), encoding="utf-8")
    presence = {"has_text": toy.targets.has_text, "has_image": toy.targets.has_image}
    np.savez(tmp_path / "given.npz", **toy.inputs.features, **presence)
    names = [str(tmp_path / name) for name in ("bundle", "given.npz", "texts.json", "found.npz")]
    done = subprocess.run(
        [sys.executable, "-c", ANOTHER_PROCESS, *names],
        env={**os.environ, "PYTHONHASHSEED": "7"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found, expected = np.load(tmp_path / "found.npz"), predictions(bundle, toy)
    np.testing.assert_allclose(found["log"], expected.log_probabilities, atol=1e-6)
    np.testing.assert_allclose(found["share"], expected.text_share, atol=1e-6)


def test_a_bundle_is_a_safetensors_file_and_no_pickle(make_bundle, tmp_path):
    _, bundle = make_bundle()
    data = dump_bundle(bundle)
    (tmp_path / "bundle.safetensors").write_bytes(data)
    with safe_open(tmp_path / "bundle.safetensors", "pt") as file:
        names = set(file.keys())
        document = json.loads(file.metadata()["rayon"])
    assert {"ngram.buckets", "ngram.idf", "network.heads.gram.weight"} <= names
    assert len(document.pop("sha256")) == 64
    assert document == describe_bundle(data)
    assert document["categories"] == list(bundle.categories) and document["format"] == FORMAT
    with pytest.raises(ValueError):
        list(pickletools.genops(data))


def test_only_one_replica_travels(make_bundle):
    _, bundle = make_bundle()
    tensors = load_tensors(dump_bundle(bundle))
    assert tensors["network.heads.text.first"].shape[0] == 1
    assert tensors["network.heads.gram.weight"].shape[1] == 3


def test_a_trained_encoder_travels_with_its_weights(make_classifier, make_toy):
    toy = make_toy(8, folds=0)
    encoder = load_image_encoder(TINY, 32)
    classifier = make_classifier(
        toy,
        branches=[["tuned", "encoder", "image", encoder.dim, TINY]],
        encoders={"tuned": encoder},
        replicas=1,
    )
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in classifier.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
        for name, buffer in encoder.named_buffers():
            if name.endswith("running_mean"):
                buffer.add_(0.1)
    classifier.network.heads["tuned"].second.data.normal_()
    image = ImageBranch(encoders=(TINY,), side=32, trainable=True)
    bundle = bundle_of(serve(classifier.network, None, pool_of(classifier.network)), NgramBranch(), image=image)
    restored = read_bundle(dump_bundle(bundle))
    photos = np.random.default_rng(0).integers(0, 255, (8, 32, 32, 3), dtype=np.uint8)
    inputs = BranchInputs(photos={"tuned": photos.__getitem__})
    yes = np.ones(8, dtype=bool)
    before, after = (predict(b.served, inputs, ~yes, yes).log_probabilities for b in (bundle, restored))
    np.testing.assert_allclose(after, before, atol=1e-6)
    untrained = replace_encoder(bundle)
    assert np.abs(predict(untrained.served, inputs, ~yes, yes).log_probabilities - before).max() > 1e-3
    assert restored.served.vectorizer is None and restored.image == image


def replace_encoder(bundle: Bundle) -> Bundle:
    """The same bundle with the encoder as it was before training."""
    other = read_bundle(dump_bundle(bundle))
    other.served.network.encoder("tuned").load_state_dict(load_image_encoder(TINY, 32).state_dict())
    return other


@pytest.mark.parametrize("data", [b"", b"\x80\x04K\x01.", b"{}", bytes(8), b"\xff" * 500, b"PK\x03\x04" + bytes(100)])
def test_other_bytes_are_no_bundle(data):
    for read in (read_bundle, describe_bundle):
        with pytest.raises(BundleError, match="no rayon bundle"):
            read(data)


@given(st.binary(max_size=300))
def test_random_bytes_are_no_bundle(data):
    with pytest.raises(BundleError):
        read_bundle(data)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=8,
    )
)
def test_a_header_of_any_other_kind_is_no_bundle(header):
    text = json.dumps({"__metadata__": header}).encode()
    with pytest.raises(BundleError):
        read_bundle(len(text).to_bytes(8, "little") + text)


def test_a_safetensors_file_of_somebody_else_is_no_bundle():
    with pytest.raises(BundleError, match="no rayon bundle"):
        read_bundle(save_tensors({"x": torch.zeros(3)}, metadata={"format": "pt"}))
    with pytest.raises(BundleError, match="no rayon bundle"):
        read_bundle(save_tensors({"x": torch.zeros(3)}))


def test_a_bundle_that_is_cut_off_anywhere_is_refused(make_bundle):
    _, bundle = make_bundle()
    data = dump_bundle(bundle)
    header = 8 + int.from_bytes(data[:8], "little")
    for length in (4, 8, 100, header - 1, header, header + 1, len(data) // 2, len(data) - 1):
        with pytest.raises(BundleError):
            read_bundle(data[:length])


def changed(data: bytes, change) -> bytes:
    """The bundle with its document passed through `change`."""
    document = describe_bundle(data)
    change(document)
    return save_tensors(load_tensors(data), metadata={"rayon": json.dumps(document)})


def test_a_bundle_of_the_format_before_is_served_as_it_was(make_bundle):
    toy, bundle = make_bundle()
    plain = bundle.served.pool._replace(tempering={})

    def age(document) -> None:
        document["format"] = 1
        del document["pool"]["tempering"], document["preprocess"]

    older = read_bundle(changed(dump_bundle(bundle), age))
    expected = predictions(bundle._replace(served=bundle.served._replace(pool=plain)), toy)
    np.testing.assert_allclose(predictions(older, toy).log_probabilities, expected.log_probabilities, atol=1e-6)


def test_a_bundle_of_a_newer_version_is_refused(make_bundle):
    _, bundle = make_bundle()
    newer = changed(dump_bundle(bundle), lambda document: document.update(format=FORMAT + 1))
    for read in (read_bundle, describe_bundle):
        with pytest.raises(BundleError, match="update rayon"):
            read(newer)


KEYS = (
    "network",
    "pool",
    "categories",
    "text",
    "image",
    "ngram",
    "encoder_keys",
    "thresholds",
    "reference",
    "about",
)


@settings(max_examples=60, deadline=None)
@given(
    key=st.sampled_from(KEYS),
    value=st.none()
    | st.integers()
    | st.text(max_size=3)
    | st.lists(st.integers(), max_size=2)
    | st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
)
def test_a_document_that_makes_no_sense_is_refused(some_bundle, key, value):
    """Whatever is read in the end must at least be a bundle; nothing but a BundleError may come out otherwise."""
    try:
        read_bundle(changed(some_bundle, lambda document: document.update({key: value})))
    except BundleError as error:
        assert "damaged" in str(error)


@pytest.mark.parametrize("key", KEYS)
def test_a_document_that_lacks_a_part_is_refused(some_bundle, key):
    with pytest.raises(BundleError, match="damaged"):
        read_bundle(changed(some_bundle, lambda document: document.pop(key)))


def test_settings_out_of_bounds_are_damage(some_bundle):
    with pytest.raises(BundleError, match="damaged"):
        read_bundle(changed(some_bundle, lambda document: document["text"].update(max_tokens=1)))


def test_tensors_that_do_not_fit_the_document_are_refused(some_bundle):
    tensors = load_tensors(some_bundle)
    metadata = {"rayon": json.dumps(describe_bundle(some_bundle))}
    wrong = {**tensors, "network.heads.text.first": torch.zeros(1, 2, 3)}
    for broken in (wrong, {name: x for name, x in tensors.items() if name != "ngram.idf"}):
        with pytest.raises(BundleError, match="damaged"):
            read_bundle(save_tensors(broken, metadata=metadata))


@pytest.fixture(scope="module")
def some_bundle() -> bytes:
    """The bytes of an untrained bundle with an n-gram and a text branch."""
    from rayon.models.network import ProductNetwork
    from rayon.models.ngrams import NgramVectorizer

    vectorizer = NgramVectorizer(replace(NgramBranch(), log2_buckets=12))
    vectorizer.fit(["une lampe", "une lampe rouge"])
    network = ProductNetwork(
        [["gram", "ngram", "text", vectorizer.columns, ""], ["text", "features", "text", 4, "bundled:some.text"]],
        classes=3,
        replicas=1,
        hidden=4,
        dropout=0.0,
    )
    return dump_bundle(bundle_of(serve(network, vectorizer, pool_of(network)), vectorizer.settings))
