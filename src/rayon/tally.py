"""What is counted of a window as a whole: shares, mixes, labels, repetitions, added up a lot of products at a time.

Knows the columns of a window's frame (`rayon.window`). It compares nothing, and it keeps no product: a few counts, 16
bytes a product to find repetitions by, its id, compressed, and 12 bytes a label of people.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

HUMAN = "human_category"
"""The column that says what a person called the product, '' where nobody looked."""

BLANK = 0.002
"""A photo less sharp than this shows one colour: it counts as none, and not as a photo of a new kind."""

DECISIONS = ("accept", "review")

_NO_ID = np.uint64(0)


class Lacking(NamedTuple):
    """How many products lack something, of those of which it is known."""

    hits: int = 0
    known: int = 0


class Label(NamedTuple):
    """A label: whether the source gave it or a person, what had been decided of the product, and the category."""

    given: bool
    decision: str
    category: str


class Repeats(NamedTuple):
    """How the products of a window repeat one another.

    `products` counts those whose id and content are known, each pair once; `repeated` those of them with the cleaned
    text and the photo of one before; `most` the ids under which the commonest content comes, `first` being the first.
    """

    products: int = 0
    repeated: int = 0
    most: int = 0
    first: str = ""


class Tally:
    """The counts of a window: exact, whatever its size, but for two ids or contents in a million million million that
    share a hash of 64 bits.

    `rows` counts products; `mix` by likeliest category, `languages` by language, `decisions` by decision; `lacking` by
    what is missing: 'without_text', 'without_description', 'without_photo'; `broken` photos that are there and show
    nothing; `labels` by where a label comes from: that of the source goes before that of a person.
    """

    def __init__(self) -> None:
        self.rows = self.broken = 0
        self.mix: Counter[str] = Counter()
        self.languages: Counter[str] = Counter()
        self.decisions: Counter[str] = Counter()
        self.labels: Counter[Label] = Counter()
        self.lacking = {name: Lacking() for name in ("without_text", "without_description", "without_photo")}
        self._ids: list[NDArray[np.uint64]] = []
        self._contents: list[NDArray[np.int64]] = []
        self._names: list[pa.Buffer] = []
        self._codes: dict[str, int] = {}
        self._said: list[NDArray[np.int32]] = []

    def add(self, frame: pd.DataFrame) -> Tally:
        """Count some more products, a window's frame; return this tally."""
        self.rows += len(frame)
        self.mix.update(_counts(frame["likeliest"]))
        self.languages.update(_counts(frame["language"]))
        self.decisions.update(_counts(frame["decision"]))
        blank = (frame["sharpness"] < BLANK).to_numpy(dtype=bool)
        self.broken += int(((frame["photo_problem"] != "").to_numpy(dtype=bool) | blank).sum())
        known = frame["has_image"].notna().to_numpy()
        there = np.zeros(len(frame), dtype=bool)
        there[known] = frame["has_image"].to_numpy()[known].astype(bool)
        title, description = (frame[name].to_numpy(np.float64) for name in ("title_length", "description_length"))
        self._lack("without_photo", ~there | blank, known | blank)
        self._lack("without_description", description == 0, ~np.isnan(description))
        self._lack("without_text", title + description == 0, ~(np.isnan(title) & np.isnan(description)))
        self._label(frame)
        self._remember(frame)
        return self

    def labelled(self, names: pd.Index) -> NDArray[np.intp]:
        """Return what was predicted, (L, 3), what a person said and what was decided of each product that a person
        labelled: positions in `names` (-1 for others), the last in `DECISIONS`.
        """
        if not self._said:
            return np.empty((0, 3), dtype=np.intp)
        said = np.concatenate(self._said)
        texts = pd.Index(list(self._codes), dtype="str")
        places = [names.get_indexer(texts), names.get_indexer(texts), pd.Index(DECISIONS).get_indexer(texts)]
        return np.stack([place[codes] for place, codes in zip(places, said.T, strict=True)], axis=1)

    def repeated_ids(self) -> float:
        """Return the share of products whose id came before."""
        ids = np.concatenate(self._ids) if self._ids else np.empty(0, dtype=np.uint64)
        ids.sort()
        return float(np.count_nonzero(ids[1:] == ids[:-1]) / self.rows) if self.rows else 0.0

    def repeats(self) -> Repeats:
        """Count how products repeat one another's content; those without an id are left out."""
        contents = np.concatenate(self._contents) if self._contents else np.empty(0, dtype=np.int64)
        ids = np.concatenate(self._ids) if self._ids else np.empty(0, dtype=np.uint64)
        told = np.flatnonzero((contents >= 0) & (ids != _NO_ID))
        if not len(told):
            return Repeats()
        order = told[np.lexsort((ids[told], contents[told]))]
        contents, ids = contents[order], ids[order]
        starts = np.concatenate([[True], contents[1:] != contents[:-1]])
        pairs = starts.copy()
        pairs[1:] |= ids[1:] != ids[:-1]
        begins = np.flatnonzero(starts)
        each = np.add.reduceat(pairs, begins, dtype=np.int64)
        most = int(each.max())
        first = np.minimum.reduceat(order, begins)[each == most].min()
        count = int(pairs.sum())
        return Repeats(count, count - len(begins), most, self._name(int(first)))

    def _lack(self, name: str, hits: NDArray[np.bool_], known: NDArray[np.bool_]) -> None:
        before = self.lacking[name]
        self.lacking[name] = Lacking(before.hits + int((hits & known).sum()), before.known + int(known.sum()))

    def _label(self, frame: pd.DataFrame) -> None:
        given = frame["given_category"] != ""
        said = frame[HUMAN] != ""
        for own, column, rows in ((True, "given_category", given), (False, HUMAN, said & ~given)):
            some = frame.loc[rows & frame["decision"].notna(), ["decision", column]]
            pairs = zip(some["decision"].tolist(), some[column].tolist(), strict=True)
            self.labels.update(Label(own, decision, category) for decision, category in pairs)
        told = frame.loc[said & frame["decision"].isin(DECISIONS), ["category", HUMAN, "decision"]]
        if len(told):
            columns = [told[name].astype("str").fillna("").tolist() for name in told]
            codes = [[self._codes.setdefault(text, len(self._codes)) for text in column] for column in columns]
            self._said.append(np.array(codes, dtype=np.int32).T)

    def _remember(self, frame: pd.DataFrame) -> None:
        names = frame["product_id"].astype("str").fillna("").to_numpy(dtype=object)
        hashes = pd.util.hash_array(names, categorize=False)
        hashes[names == ""] = _NO_ID
        self._ids.append(hashes)
        self._contents.append(frame["content"].to_numpy(np.int64))
        sink = pa.BufferOutputStream()
        batch = pa.record_batch({"product_id": pa.array(names, pa.large_string())})
        with pa.ipc.new_stream(sink, batch.schema, options=pa.ipc.IpcWriteOptions(compression="zstd")) as writer:
            writer.write_batch(batch)
        self._names.append(sink.getvalue())

    def _name(self, row: int) -> str:
        for ids, names in zip(self._ids, self._names, strict=True):
            if row < len(ids):
                return str(pa.ipc.open_stream(names).read_all()["product_id"][row])
            row -= len(ids)
        raise IndexError(row)


def _counts(column: pd.Series) -> dict[str, int]:
    counts: dict[str, int] = column.value_counts(sort=False).to_dict()  # type: ignore[assignment]
    return counts


def counts_of(counted: Counter[str], names: Sequence[str]) -> NDArray[np.int64]:
    """Return how often each of `names` was counted, (K,)."""
    return np.array([counted[name] for name in names], dtype=np.int64)
