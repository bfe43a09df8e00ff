"""The features of the last products seen, in memory: a feature store for a process that serves.

A request's product is often asked about again, by its correction or for its neighbours. Knows keys and arrays, as
`FeatureStore` does, and writes nothing.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Features = NDArray[np.float32]


class RecentFeatures:
    """Features by encoder and product, the last `products` of each encoder. Threads may share one."""

    def __init__(self, products: int = 1024) -> None:
        self.products = products
        self._lock = threading.Lock()
        self._kept: dict[str, OrderedDict[bytes, NDArray[np.float16]]] = {}

    def find(self, encoder_key: str, keys: Sequence[bytes]) -> tuple[Features, NDArray[np.bool_]]:
        """Return the features (N, D) float32 of `keys`, NaN where there are none, and which were found, (N,) bool."""
        with self._lock:
            kept = self._kept.get(encoder_key, OrderedDict())
            rows = [kept.get(key) for key in keys]
            for key, row in zip(keys, rows, strict=True):
                if row is not None:
                    kept.move_to_end(key)
            dim = len(next(iter(kept.values()))) if kept else 0
        features = np.full((len(keys), dim), np.nan, np.float32)
        for place, row in enumerate(rows):
            if row is not None:
                features[place] = row
        return features, np.array([row is not None for row in rows], dtype=bool)

    def add(self, encoder_key: str, keys: Sequence[bytes], features: NDArray[np.floating]) -> None:
        """Keep the features (N, D) of `keys`, rounded to float16 as the feature store rounds them."""
        with self._lock:
            kept = self._kept.setdefault(encoder_key, OrderedDict())
            for key, row in zip(keys, features.astype(np.float16), strict=True):
                kept[key] = row
                kept.move_to_end(key)
            while len(kept) > self.products:
                kept.popitem(last=False)
