"""The gallery: training products alone, evenly drawn, found by what they look and read like."""

from __future__ import annotations

import io

import pytest
from PIL import Image

from rayon.gallery import make_gallery, read_gallery
from rayon.models.encoders import encoder_key
from rayon.models.features import FeatureStore


@pytest.fixture
def made(make_config, load):
    """(gallery, dataset, encoded, config); keywords are those of `app`."""

    def make(**app):
        config = make_config(app=app)
        dataset, encoded = load(config)
        return read_gallery(make_gallery(dataset, config)), dataset, encoded, config

    return make


def test_a_training_product_is_its_own_nearest(made):
    gallery, dataset, encoded, _ = made()
    frame = dataset.frame
    row = int(frame.index[(frame["split"] == "train") & frame["has_text"] & frame["has_image"]][0])
    features = {source: matrix[row] for source, matrix in encoded.features.items()}
    first, second = gallery.nearest(features, 2)
    assert first.product_id == frame["product_id"][row] and first.likeness == pytest.approx(1.0, abs=1e-3)
    assert first.category == frame["category"][row] and first.likeness > second.likeness
    assert max(Image.open(io.BytesIO(first.photo)).size) <= 128


def test_only_training_products_are_shown(made):
    gallery, dataset, encoded, _ = made()
    ids = {n.product_id for n in gallery.nearest({s: m[0] for s, m in encoded.features.items()}, 10_000)}
    train = dataset.frame[dataset.frame["split"] == "train"]
    assert ids == set(train["product_id"])


def test_one_modality_is_compared_where_there_is_one(made):
    gallery, dataset, encoded, config = made()
    source = config.branches.image.encoders[0]
    row = int(dataset.frame.index[(dataset.frame["split"] == "train") & dataset.frame["has_image"]][3])
    found = gallery.nearest({source: encoded.features[source][row]}, 3)
    assert found[0].product_id == dataset.frame["product_id"][row] and all(n.photo for n in found)
    assert gallery.nearest({}, 3) == []


def test_a_small_gallery_is_drawn_evenly(made):
    gallery, dataset, encoded, _ = made(gallery=40)
    features = {source: matrix[0] for source, matrix in encoded.features.items()}
    categories = [n.category for n in gallery.nearest(features, 100)]
    assert len(gallery) == 40 and all(categories.count(name) >= 8 for name in dataset.categories)


def test_features_that_were_never_stored_are_left_out(made, make_config, load, tmp_path):
    config = make_config(cache=str(tmp_path / "empty"))
    dataset, encoded = load(make_config())
    assert (
        not FeatureStore(tmp_path / "empty" / "features")
        .find(encoder_key(config.branches.text.encoders[0], config.branches.text.max_tokens), [b"x" * 16])[1]
        .any()
    )
    gallery = read_gallery(make_gallery(dataset, config))
    assert len(gallery) > 100 and gallery.nearest({s: m[0] for s, m in encoded.features.items()}, 3) == []


def test_other_bytes_are_no_gallery():
    with pytest.raises(ValueError, match="no gallery"):
        read_gallery(b"PAR1 and nothing else")
