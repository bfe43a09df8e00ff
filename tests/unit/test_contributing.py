"""What CONTRIBUTING.md shows works as it stands there: an encoder, a branch, a comparison of the monitor."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
import yaml
from contributing import block, run_block
from test_monitoring import CATEGORIES, SETTINGS, predictions

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*does not have many workers"),
]


@pytest.fixture
def contributed(tmp_path, monkeypatch):
    """Run blocks; what they add is gone after the test."""
    from rayon import measures
    from rayon.models import computed, text_sources

    added = {
        "encoder": (text_sources.TEXT_BUNDLED, "bundled:letters"),
        "branch": (computed.COMPUTED, "computed:numbers"),
        "comparison": (measures.COMPARISONS, "words"),
    }

    def run(*names: str) -> None:
        for name in names:
            registry, key = added[name]
            assert key not in registry
            run_block(name, tmp_path)
            monkeypatch.setitem(registry, key, registry.pop(key))  # so that it is taken away again

    return run


def test_the_encoder_encodes(contributed):
    from rayon.models.encoders import EncoderError, encoder_key, load_text_encoder
    from rayon.models.encoding import encode_texts

    with pytest.raises(EncoderError):
        load_text_encoder("bundled:letters", 64)
    contributed("encoder")
    encoder = load_text_encoder("bundled:letters", 64)
    features = encode_texts(encoder, ["Abba", "", "zz 3"])
    assert features.shape == (3, 26)
    assert features[0, 0] == features[0, 1] == 2 and features[1].sum() == 0 and features[2, 25] == 2
    assert encoder.content_key() == encoder_key("bundled:letters", 64) != encoder_key("bundled:letters", 32)


@pytest.mark.parametrize("trainable", [False, True])
def test_the_branch_trains_and_is_served(contributed, make_config, train, trainable):
    from rayon.bundle import read_bundle
    from rayon.gold import predict_gold
    from rayon.inference import Predictor
    from rayon.models.bundled import EncoderError
    from rayon.models.computed import COMPUTED
    from rayon.schema import Product

    contributed("encoder", "branch")
    text = {**yaml.safe_load(block("yaml", "branch"))["branches"]["text"], "trainable": trainable}
    config = make_config(branches={"text": text, "ngram": {"enabled": False}})
    done, dataset, encoded = train("text", config)
    bundle = read_bundle(done.bundle)
    kinds = {branch.source: (branch.kind, branch.dim) for branch in bundle.served.network.branches}
    assert kinds == {
        "bundled:letters": ("encoder" if trainable else "features", 26),
        "computed:numbers": ("features", 2),
    }
    gold = predict_gold(bundle, dataset, encoded)
    predictor = Predictor(bundle, "TrainFlow/1", None)
    for row, expected in zip(gold.rows[:8].tolist(), np.exp(gold.log_probabilities).max(axis=1), strict=False):
        told = dataset.frame.iloc[row]
        product = Product(told["product_id"], told["designation"], told["description"], image=dataset.photo(row))
        assert predictor.predict(product).confidence == pytest.approx(expected, abs=1e-5)
    COMPUTED.pop("computed:numbers")
    with pytest.raises(EncoderError, match="computed:numbers"):
        Predictor(bundle, "TrainFlow/1", None)


def test_a_branch_is_told_what_is_wrong_with_it(contributed, make_config, load):
    from rayon.models.computed import COMPUTED, compute_features
    from rayon.models.encoders import EncoderError

    contributed("branch")
    with pytest.raises(EncoderError, match=r"list it under branches\.text\.encoders"):
        load(make_config(branches={"image": {"encoders": ["computed:numbers"]}}))
    COMPUTED["computed:numbers"] = COMPUTED["computed:numbers"]._replace(compute=lambda texts: [1.0] * len(texts))
    with pytest.raises(EncoderError, match="a row of finite numbers each"):
        compute_features("computed:numbers", ["Lampe", "Robot"])


def test_the_comparison_turns_up_in_a_verdict(contributed):
    from rayon.monitoring import judge
    from rayon.window import open_window

    contributed("comparison")
    reference, alike, table = (predictions(seed, 400) for seed in (0, 1, 2))
    words = pa.array(np.asarray(table["words"]) + 8, pa.int64())
    longer = table.set_column(table.column_names.index("words"), "words", words)
    opened = [open_window(each, CATEGORIES) for each in (reference, alike, longer)]
    quiet = {record.name: record for record in judge(opened[0], opened[1], CATEGORIES, SETTINGS).records}
    assert quiet["words"].severity == "ok"
    loud = judge(opened[0], opened[2], CATEGORIES, SETTINGS)
    assert loud.verdict == "watch"
    assert loud.reasons == ("words of text: 23 on average, 15 in training",)
