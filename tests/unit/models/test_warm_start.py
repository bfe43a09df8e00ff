"""Heads that a later training takes up: each replica by its own, categories by name, grams by bucket."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from rayon.config import NgramBranch
from rayon.data.batches import Batch
from rayon.models.heads import DenseHead, NgramHead
from rayon.models.network import Branch, ProductNetwork
from rayon.models.ngrams import NgramVectorizer
from rayon.models.warm_start import WarmStartError, dump_heads, take_up

CATEGORIES, GROWN = ("books", "games", "toys"), ("books", "cars", "games", "toys")
REPLICAS = 3


def vectorizer(*buckets: int) -> NgramVectorizer:
    return NgramVectorizer(NgramBranch(), np.array(buckets, dtype=np.int32), np.ones(len(buckets), dtype=np.float32))


def network(columns: int, classes: int) -> ProductNetwork:
    branches = [Branch("ngram", "ngram", "text", columns), Branch("net", "features", "image", 5, "net")]
    made = ProductNetwork(branches, classes, REPLICAS, hidden=4, dropout=0.0)
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter)
    return made.eval()


def batch(grams: torch.Tensor, features: torch.Tensor) -> Batch:
    there, rows = torch.ones(len(grams), dtype=torch.bool), torch.zeros(len(grams), dtype=torch.int64)
    return Batch({"ngram": grams.to_sparse_csr(), "net": features}, there, there, rows, rows)


def test_what_is_taken_up_says_what_was_left_replica_by_replica():
    before, now = network(3, 3), network(4, 4)
    data = dump_heads(before, vectorizer(2, 5, 9), CATEGORIES, "settings")
    for head in now.heads.values():  # a fresh network: what is new says nothing yet
        zeroed = (head.weight, head.bias) if isinstance(head, NgramHead) else (head.second, head.second_bias)
        for parameter in zeroed:
            torch.nn.init.zeros_(parameter)
    take_up(now, vectorizer(2, 4, 5, 9), GROWN, "settings", data)

    features, grams = torch.randn(6, 5), torch.rand(6, 3)
    wider = torch.zeros(6, 4)
    wider[:, [0, 2, 3]] = grams
    with torch.no_grad():
        old, new = before(batch(grams, features)), now(batch(wider, features))
    places = [GROWN.index(name) for name in CATEGORIES]
    for name in ("ngram", "net"):
        # each replica is another network; half precision costs the third digit
        torch.testing.assert_close(new[name][:, :, places], old[name], atol=2e-2, rtol=1e-2)
        assert not torch.allclose(old[name][:, 0], old[name][:, 1], atol=0.1)
        assert (new[name][:, :, GROWN.index("cars")] == 0).all()


def test_a_new_gram_says_nothing_yet_and_a_lost_one_is_left_behind():
    before, now = network(3, 3), network(2, 3)
    torch.nn.init.zeros_(now.heads["ngram"].weight)
    take_up(now, vectorizer(5, 7), CATEGORIES, "s", dump_heads(before, vectorizer(2, 5, 9), CATEGORIES, "s"))
    taken = now.heads["ngram"].weight.detach()
    torch.testing.assert_close(taken[0], before.heads["ngram"].weight[1].detach(), atol=5e-3, rtol=1e-2)
    assert (taken[1] == 0).all()


def test_features_are_standardised_as_they_were():
    before, now = network(3, 3), network(3, 3)
    head, fresh = before.heads["net"], now.heads["net"]
    assert isinstance(head, DenseHead) and isinstance(fresh, DenseHead)
    head.standardise(torch.full((5,), 2.0), torch.tensor([4.0, 1.0, 0.0, 2.0, 3.0]))
    take_up(now, vectorizer(1, 2, 3), CATEGORIES, "s", dump_heads(before, vectorizer(1, 2, 3), CATEGORIES, "s"))
    torch.testing.assert_close(fresh.mean, head.mean)
    torch.testing.assert_close(fresh.scale, head.scale)  # a feature that never changes is scaled by a million


def test_features_of_another_length_are_refused_before_anything_is_taken_up():
    left = dump_heads(network(3, 3), vectorizer(1, 2, 3), CATEGORIES, "s")
    branches = [Branch("ngram", "ngram", "text", 3), Branch("net", "features", "image", 6, "net")]
    now = ProductNetwork(branches, 3, REPLICAS, hidden=4, dropout=0.0)
    with pytest.raises(WarmStartError, match="another length"):
        take_up(now, vectorizer(1, 2, 3), CATEGORIES, "s", left)
    assert (now.heads["ngram"].weight == 0).all()


@pytest.mark.parametrize("data", [b"", b"nothing of the kind", None])
def test_other_settings_and_other_bytes_are_refused_in_words(data):
    left = dump_heads(network(3, 3), vectorizer(1, 2, 3), CATEGORIES, "settings")
    now = network(3, 3)
    weights = {name: value.clone() for name, value in now.state_dict().items()}
    with pytest.raises(WarmStartError, match="other settings" if data is None else "hold no heads"):
        take_up(now, vectorizer(1, 2, 3), CATEGORIES, "others", left if data is None else data)
    for name, value in now.state_dict().items():
        torch.testing.assert_close(value, weights[name])
