"""The rows of the previous dataset version, and which of them a catalogue still has.

Knows the keys of earlier shards, 24 bytes a row in memory. It does not know how a row gets its key.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from rayon.data.shards import Manifest, ShardRef, fixed_bytes, read_table

ReadKeys = Callable[[ShardRef], bytes]
"""Gives the keys (`BuiltShard.keys`) that were stored with a shard."""


class Earlier:
    """The rows of the previous version, found again by their keys; none where there is no such version."""

    def __init__(self, previous: Manifest | None, read_keys: ReadKeys) -> None:
        # what people labelled is no part of the catalogue: it is neither found nor missed in it
        self._shards = tuple(ref for ref in previous.shards if not ref.origin) if previous else ()
        keys = [fixed_bytes(read_table(read_keys(ref))["row_key"]) for ref in self._shards]
        every = np.concatenate(keys) if keys else np.empty(0, dtype="S16")
        del keys
        self.found = np.zeros(len(every), dtype=np.bool_)
        # Of a row that lies in two shards, having been dropped and taken up again, the first is found: a stable order.
        self._order = np.argsort(every, kind="stable")
        self._sorted = every[self._order]

    def find(self, keys: Sequence[bytes]) -> NDArray[np.bool_]:
        """Return which of some keys, (N,), an earlier shard holds; those rows are noted as found."""
        asked = np.array(keys, dtype="S16")
        places = np.searchsorted(self._sorted, asked)
        known = places < len(self._sorted)
        known[known] = self._sorted[places[known]] == asked[known]
        self.found[self._order[places[known]]] = True
        return known

    def lost(self) -> int:
        """Return how many rows of the previous version are gone."""
        gone = ~self.found
        start = 0
        for ref in self._shards:
            gone[[start + position for position in ref.removed]] = False
            start += ref.rows
        return int(gone.sum())

    def refs(self) -> tuple[ShardRef, ...]:
        """Return the earlier shards with what is gone from each; one of which nothing is left is not among them."""
        refs = []
        start = 0
        for ref in self._shards:
            gone = np.flatnonzero(~self.found[start : start + ref.rows])
            start += ref.rows
            if len(gone) < ref.rows:
                refs.append(ref._replace(removed=tuple(gone.tolist())))
        return tuple(refs)
