"""Features shared between machines, through a folder and through S3."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from rayon.data.outputs import Outputs
from rayon.models.feature_blocks import FILES
from rayon.models.features import FeatureStore, features_for
from rayon.models.shared import SharedFeatures, feature_store

KEYS = [bytes([n]) * 16 for n in range(1, 9)]
VALUES = np.arange(24, dtype=np.float32).reshape(8, 3)


@pytest.fixture(params=["folder", "s3"])
def place(request, tmp_path) -> str:
    return f"{request.getfixturevalue('bucket')}/shared" if request.param == "s3" else str(tmp_path / "shared")


@pytest.fixture
def machine(tmp_path, place):
    """A factory of stores, each of a machine of its own."""
    return lambda name: SharedFeatures(FeatureStore(tmp_path / name / "features"), Outputs(place))


def test_another_machine_finds_what_one_encoded(machine):
    machine("one").add("e5", KEYS[:5], VALUES[:5])
    asked: list[int] = []

    def encode(rows):
        asked.extend(rows.tolist())
        return VALUES[rows]

    features, encoded = features_for(machine("two"), "e5", KEYS, encode)
    assert asked == [5, 6, 7] and encoded == 3
    assert np.array_equal(features, VALUES)
    again, encoded = features_for(machine("one"), "e5", KEYS, encode)
    assert encoded == 0 and np.array_equal(again, VALUES)


def test_only_blocks_that_hold_something_needed_are_fetched(machine, tmp_path):
    one = machine("one")
    one.add("e5", KEYS[:4], VALUES[:4])
    one.add("e5", KEYS[4:], VALUES[4:])
    machine("two").find("e5", KEYS[:2])
    assert len(list((tmp_path / "two" / "features" / "e5").iterdir())) == 1


def test_a_block_without_its_keys_is_not_there_yet(machine, place):
    one = machine("one")
    one.add("e5", KEYS, VALUES)
    outputs = Outputs(place)
    (keys,) = (file.name for file in outputs.listing("features/e5") if file.name.endswith(FILES[-1]))
    content = outputs.read(keys)
    outputs.delete(keys)
    _, found = machine("two").find("e5", KEYS)
    assert not found.any()
    outputs.write(keys, content)
    _, found = machine("three").find("e5", KEYS)
    assert found.all()


@pytest.mark.parametrize("name", FILES)
def test_a_damaged_block_is_encoded_again_and_mended(machine, place, name):
    machine("one").add("e5", KEYS, VALUES)
    outputs = Outputs(place)
    (file,) = (file for file in outputs.listing("features/e5") if file.name.endswith(name))
    outputs.write(file.name, (outputs.read(file.name) or b"")[:-7] + b"damaged")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        features, encoded = features_for(machine("two"), "e5", KEYS, lambda rows: VALUES[rows])
        assert encoded > 0
        assert np.array_equal(features, VALUES)
        assert np.array_equal(machine("three").find("e5", KEYS)[0], VALUES)


def test_a_place_that_cannot_be_written_to_costs_a_warning(tmp_path):
    (tmp_path / "file").write_text("no folder")
    store = SharedFeatures(FeatureStore(tmp_path / "local"), Outputs(str(tmp_path / "file" / "shared")))
    with pytest.warns(UserWarning, match="encode these products again"):
        store.add("e5", KEYS, VALUES)
    assert store.find("e5", KEYS)[1].all()


def test_the_settings_say_whether_features_are_shared(make_config, tmp_path):
    assert isinstance(feature_store(make_config()), FeatureStore)
    assert isinstance(feature_store(make_config(shared=str(tmp_path))), SharedFeatures)
