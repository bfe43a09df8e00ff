"""A run of FeedbackFlow beside its flow: what is new in a real store, inspected from run to run."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pandas as pd
import pytest

from rayon.config import Config, parse_config
from rayon.data.dataset import Dataset
from rayon.data.splits import group_hash
from rayon.feedback import Logged, Store, new_id, open_store
from rayon.feedback_run import Inspected, inspect_new, read_new
from rayon.registry import FeedbackState
from rayon.schema import Prediction

SAID = Prediction("", "livres", 0.9, (("livres", 0.9), ("jouets", 0.1)), 1.0, 0.0, "accept", "TrainFlow/1")


@pytest.fixture
def config(tmp_path) -> Config:
    settings = {"name": "shop", "catalog": {"products": "products.csv"}, "cache": str(tmp_path / "cache")}
    return parse_config({**settings, "feedback": {"per_person": 5, "unlikely": 0.0}})


@pytest.fixture
def store(config, monkeypatch) -> Iterator[Store]:
    monkeypatch.delenv("RAYON_STORE", raising=False)
    opened = open_store(config)
    yield opened
    opened.close()


@pytest.fixture
def tell(store) -> Callable[..., int]:
    """A factory of feedback: a person's word on a product, by its title; returns its number."""

    def say(title: str, category: str, who: str) -> int:
        entry = Logged(new_id(), title, "", None, SAID._replace(product_id=title), "api")
        store.add_predictions([entry])
        return store.add_feedback(entry.id, category, who)

    return say


def dataset(gold: list[int]) -> Dataset:
    """Return a dataset version of gold products of those groups."""
    frame = pd.DataFrame({"group": np.array(gold, dtype=np.uint64)})
    frame = frame.assign(split="test", source="products.csv", image_key=[b""] * len(gold))
    none = np.zeros(0, dtype=np.int32)
    return Dataset(frame, ("jouets", "livres", "vases"), "f", (), none, none)


def reasons(inspected: Inspected) -> dict[int, str]:
    return dict(zip(inspected.decisions["number"], inspected.decisions["reason"], strict=True))


@pytest.mark.parametrize("gold_is_large", [False, True])
@pytest.mark.parametrize("title_is_large", [False, True])
def test_groups_of_any_size_are_compared(store, config, tell, title_is_large, gold_is_large):
    titles = np.array([f"lampe {n}" for n in range(50)])
    groups = group_hash(titles, [""] * 50, titles)
    title = titles[(groups >= 2**63) == title_is_large][0]
    number = tell(title, "jouets", "anna")
    state = FeedbackState(0, {}, (), "")
    (own,) = groups[titles == title].tolist()
    for gold, reason in (([2**63 + 9 if gold_is_large else 9], ""), ([own, 2**63 + 9 if gold_is_large else 9], "gold")):
        inspected = inspect_new(read_new(store, state), store, state, dataset(gold), config)
        assert reasons(inspected) == {number: reason}
