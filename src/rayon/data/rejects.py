"""The rows that a dataset version refuses, gathered a frame at a time and held compressed: some 50 bytes each.

Knows the columns of rejects. Which rows are refused, and why, is told by `rayon.data.validation` and
`rayon.data.building`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import pandas as pd
import pyarrow as pa

from rayon.data.shards import read_table, write_table
from rayon.data.validation import join_rejects
from rayon.schema import REJECT_COLUMNS

_SCHEMA = pa.schema({name: pa.int64() if name == "row" else pa.string() for name in REJECT_COLUMNS})
_AT_ONCE = 2000  # rejects that are compressed together

EXAMPLES = 3
"""How many of each kind a card shows."""


class Refused(NamedTuple):
    """Rejects as a card shows them: (reason, scope, how many) of all, the most first, and a few of each kind, with
    `schema.REJECT_COLUMNS`.
    """

    counts: list[tuple[str, str, int]]
    examples: pd.DataFrame


class Rejects:
    """Rejects in the order in which they were added; `len` says how many there are."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._waiting: list[pd.DataFrame] = []
        self._counts: Counter[tuple[str, str]] = Counter()

    def __len__(self) -> int:
        return self._counts.total()

    def add(self, frame: pd.DataFrame) -> None:
        """Add a frame with `schema.REJECT_COLUMNS`."""
        if len(frame):
            self._counts.update(zip(frame["reason"].tolist(), frame["scope"].tolist(), strict=True))
            self._waiting.append(frame)
            if sum(map(len, self._waiting)) >= _AT_ONCE:
                self._press()

    def extend(self, others: Rejects) -> None:
        """Add the rejects of another gathering, which is left as it is."""
        self._press()
        others._press()
        self._pieces += others._pieces
        self._counts.update(others._counts)

    def of_scope(self, scope: str) -> int:
        """Return how many there are of a scope, 'product' or 'photo'."""
        return sum(count for (_, told), count in self._counts.items() if told == scope)

    def frame(self) -> pd.DataFrame:
        """Return them as one frame with `schema.REJECT_COLUMNS` and rows numbered from 0."""
        self._press()
        return read_pieces(self._pieces)

    def counts(self) -> list[tuple[str, str, int]]:
        """Return (reason, scope, how many), the most first."""
        return _ordered(self._counts)

    def summary(self) -> Refused:
        """Return what a card shows of them."""
        some = join_rejects([])
        for frame in self._frames():
            some = summarise(join_rejects([some, frame])).examples
        return Refused(self.counts(), some)

    def as_artifact(self) -> Any:
        """Return what, once pickled and read again, is `frame()`, which need not be in memory before."""
        self._press()
        return _Pickled(self._pieces)

    def _frames(self) -> Iterator[pd.DataFrame]:
        self._press()
        return (read_table(piece).to_pandas() for piece in self._pieces)

    def _press(self) -> None:
        if self._waiting:
            frame = join_rejects(self._waiting)[list(REJECT_COLUMNS)]
            self._pieces.append(write_table(pa.Table.from_pandas(frame, _SCHEMA, preserve_index=False), "zstd"))
            self._waiting = []


def summarise(rejects: pd.DataFrame) -> Refused:
    """Return what a card shows of a frame of rejects."""
    counts = Counter(zip(rejects["reason"].tolist(), rejects["scope"].tolist(), strict=True))
    return Refused(_ordered(counts), rejects.groupby(["scope", "reason"], sort=False).head(EXAMPLES))


def _ordered(counts: Counter[tuple[str, str]]) -> list[tuple[str, str, int]]:
    return sorted(((*kind, count) for kind, count in counts.items()), key=lambda line: (-line[2], *line[:2]))


class _Pickled:
    def __init__(self, pieces: list[bytes]) -> None:
        self._pieces = pieces

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return read_pieces, (self._pieces,)


def read_pieces(pieces: Sequence[bytes]) -> pd.DataFrame:
    """Return rejects as a frame. The artifacts of finished runs are read by this function, under this name."""
    return join_rejects(read_table(piece).to_pandas() for piece in pieces)
