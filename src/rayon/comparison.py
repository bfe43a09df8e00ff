"""Two models on the same gold set: by how much one is better, in which categories, and where they disagree.

Brings together the registry and re-scoring. It decides nothing.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd

from rayon.config import Config
from rayon.data.dataset import Dataset
from rayon.error_analysis import GONE
from rayon.evaluation import Interval, category_f1, confusion, paired_gain
from rayon.gate import Said
from rayon.gold import gold_rows
from rayon.promotion import open_model
from rayon.registry import find_model
from rayon.rescoring import gold_labels, rescore


class Comparison(NamedTuple):
    """How a second model compares with a first.

    `gain` is the second's macro-F1 less the first's. `categories` has a row a category: category, products, first,
    second (F1), gain; the largest fall first. `disagreements` has a row a product of the gold set on which they
    differ: product_id, title, category, first, second, and right: 'first', 'second' or 'neither'.
    """

    products: int
    gain: Interval
    categories: pd.DataFrame
    disagreements: pd.DataFrame


def compare(first: str, second: str, dataset: Dataset, config: Config) -> Comparison:
    """Run two models (as `find_model` takes them) on the gold set of a dataset and compare them.

    Raises:
        RegistryError: one of them is not there.
    """
    said = [rescore(open_model(find_model(which, config.name), config), dataset) for which in (first, second)]
    return compare_said(said[0], said[1], dataset, config)


def compare_said(first: Said, second: Said, dataset: Dataset, config: Config) -> Comparison:
    """Compare what two models said of the gold set of a dataset, as `rescore` returns it."""
    labels = gold_labels(dataset)
    said = [each.whole.argmax(axis=1) for each in (first, second)]
    classes = len(dataset.categories)
    f1 = [category_f1(confusion(labels, each, classes + 1))[:-1] for each in said]
    table = pd.DataFrame(
        {
            "category": list(dataset.categories),
            "products": np.bincount(labels, minlength=classes),
            "first": f1[0],
            "second": f1[1],
            "gain": f1[1] - f1[0],
        }
    )
    names = np.array([*dataset.categories, GONE], dtype=object)
    differ = np.flatnonzero(said[0] != said[1])
    rows = dataset.frame.iloc[gold_rows(dataset)[differ]]
    right = [
        "first" if label == one else "second" if label == other else "neither"
        for label, one, other in zip(labels[differ], said[0][differ], said[1][differ], strict=True)
    ]
    disagreements = pd.DataFrame(
        {
            "product_id": rows["product_id"].to_numpy(),
            "title": rows["designation"].to_numpy(),
            "category": rows["category"].to_numpy(),
            "first": names[said[0][differ]],
            "second": names[said[1][differ]],
            "right": right,
        }
    )
    return Comparison(
        len(labels),
        paired_gain(labels, said[1], said[0], classes, config.gate.confidence, config.evaluation.bootstrap),
        table.sort_values("gain", kind="stable").reset_index(drop=True),
        disagreements,
    )
