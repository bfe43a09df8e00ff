"""A sample of a stream of products that is bounded, and the same in whatever order they come.

Knows rows and hashes: 12 bytes a row stay, beside the sample itself. What is in a row is not looked at.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

_ODD = np.uint64(0x9E3779B97F4A7C15)


class Sample:
    """At most `limit` rows of those that are added, all of them where there are no more; in the order they came.

    Each row has the same chance: those stay whose hash is smallest, and of rows with one key the hash of each next one
    is another. So it is drawn without a seed, and the order of rows with different keys makes no difference.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._read = 0
        self._keys = np.empty(0, dtype=np.uint64)  # sorted
        self._times = np.empty(0, dtype=np.uint32)
        self._tables: list[pa.Table] = []
        self._ranks = np.empty(0, dtype=np.uint64)
        self._places = np.empty(0, dtype=np.int64)

    def add(self, table: pa.Table, keys: NDArray[np.uint64]) -> None:
        """Add rows, (N,), each with a key: a hash of what tells it from others."""
        if not table.num_rows:
            return
        ranks = pd.util.hash_array(keys + self._times_before(keys) * _ODD)
        places = np.arange(self._read, self._read + table.num_rows)
        self._read += table.num_rows
        if len(self._ranks) >= self._limit < self._read:  # what is beyond the last of a full sample is not kept
            wanted = ranks <= np.partition(self._ranks, self._limit - 1)[self._limit - 1]
            table, ranks, places = table.filter(pa.array(wanted)), ranks[wanted], places[wanted]
        self._tables.append(table)
        self._ranks = np.concatenate([self._ranks, ranks])
        self._places = np.concatenate([self._places, places])
        if len(self._ranks) > 2 * self._limit:
            self._trim()

    def table(self) -> pa.Table:
        """Return the sample; a column that some rows lack is null there."""
        if len(self._ranks) > self._limit:
            self._trim()
        return pa.concat_tables(self._tables, promote_options="permissive") if self._tables else pa.table({})

    def _trim(self) -> None:
        kept = np.sort(np.argpartition(self._ranks, self._limit - 1)[: self._limit])
        everything = pa.concat_tables(self._tables, promote_options="permissive")
        self._tables = [everything.take(pa.array(kept)).combine_chunks()]
        self._ranks, self._places = self._ranks[kept], self._places[kept]

    def _times_before(self, keys: NDArray[np.uint64]) -> NDArray[np.uint64]:
        """Return how often the key of each row came before, here or in an earlier call."""
        unique, inverse, counts = np.unique(keys, return_inverse=True, return_counts=True)
        within = pd.Series(inverse).groupby(inverse).cumcount().to_numpy()
        at = np.searchsorted(self._keys, unique)
        known = at < len(self._keys)
        known[known] = self._keys[at[known]] == unique[known]
        before = np.zeros(len(unique), dtype=np.uint32)
        before[known] = self._times[at[known]]
        self._times[at[known]] += counts[known].astype(np.uint32)
        self._keys = np.insert(self._keys, at[~known], unique[~known])
        self._times = np.insert(self._times, at[~known], counts[~known].astype(np.uint32))
        return (before[inverse] + within).astype(np.uint64)
