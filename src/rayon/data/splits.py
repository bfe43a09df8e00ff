"""Splits and folds by hash of the title: stable as a catalogue grows, and no title on two sides.

Knows titles and integers alone. There is no state and no shuffling: what a product's group hashes to decides, on every
machine and in every version of Python.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rayon.config import Split
from rayon.data.text import title_group
from rayon.schema import SPLITS

_FOLD_SALT = 0x5DEECE66D


def group_hash(
    designations: Iterable[str], descriptions: Iterable[str], product_ids: Iterable[str]
) -> NDArray[np.uint64]:
    """Return each product's group, uint64 (N,): the first 8 bytes of BLAKE2b of its `title_group`.

    A product without a title is grouped by its description, and without that by its id, so that untitled products
    do not all become one group.

    Example:
        >>> one, same, other = group_hash(["Lampe LED !", "lampe led", "lampe"], ["", "", ""], ["1", "2", "3"])
        >>> bool(one == same), bool(one == other)
        (True, False)
    """
    digests = bytearray()
    for designation, description, product_id in zip(designations, descriptions, product_ids, strict=True):
        key = title_group(designation) or title_group(description) or f"\x00{product_id}"
        digests += blake2b(key.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return np.frombuffer(bytes(digests), dtype="<u8").astype(np.uint64)


def assign_splits(groups: NDArray[np.uint64], split: Split) -> pd.Categorical[str]:
    """Return each product's split, categorical (N,) over `SPLITS`, by the seeded hash of its group.

    The unit interval is cut from below: test, validation, unseen, train. So the gold set stays the same when rows are
    added, and when the share of another split changes; with a larger `split.test` it only gains.

    Example:
        >>> groups = group_hash([f"lampe {n}" for n in range(1000)], [""] * 1000, [""] * 1000)
        >>> bool((assign_splits(groups, Split(test=0.2)) == "test").mean().round(1) == 0.2)
        True
    """
    share = _mix(groups, split.seed).astype(np.float64) / 2.0**64
    edges = np.cumsum([split.test, split.validation, split.unseen])
    order = np.array([SPLITS.index(name) for name in ("test", "validation", "unseen", "train")])
    codes = order[np.searchsorted(edges, share, side="right")]
    return pd.Categorical.from_codes(codes, categories=pd.Index(SPLITS))


def assign_folds(groups: NDArray[np.uint64], folds: int, seed: int) -> NDArray[np.int16]:
    """Return each product's fold, int16 (N,) in [0, folds), independent of its split; -1 everywhere for no folds.

    Example:
        >>> assign_folds(group_hash(["lampe", "Lampe!", "robot"], [""] * 3, [""] * 3), 5, seed=0)
        array([2, 2, 1], dtype=int16)
    """
    if folds == 0:
        return np.full(len(groups), -1, dtype=np.int16)
    return (_mix(groups, seed ^ _FOLD_SALT) % np.uint64(folds)).astype(np.int16)


def _mix(values: NDArray[np.uint64], seed: int) -> NDArray[np.uint64]:
    """Scramble 64-bit integers by two rounds of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014), the seed between."""
    return _splitmix(_splitmix(values) ^ _splitmix(np.array([seed], dtype=np.uint64)))


def _splitmix(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    state = values + np.uint64(0x9E3779B97F4A7C15)
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return state ^ (state >> np.uint64(31))
