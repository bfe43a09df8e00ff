"""A window of scored products, opened: plain columns as a frame, views and likeliest categories as arrays.

Knows the columns of `rayon.scoring.PREDICTIONS_SCHEMA` by name, wherever the table comes from; the reference of a model
is opened the same way. Of a large window a sample is opened, beside what was counted of all of it (`rayon.tally`). It
compares nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from rayon.tally import HUMAN as HUMAN
from rayon.tally import Tally
from rayon.vectors import read_vectors

_PLAIN: dict[str, Any] = {
    "product_id": "",
    "category": "",
    "confidence": np.nan,
    "decision": "",
    "model_version": "",
    "photo_problem": "",
    "entropy": np.nan,
    "given_category": "",
    "title_length": np.nan,
    "description_length": np.nan,
    "has_image": None,
    "words": np.nan,
    "unknown_words": np.nan,
    "language": None,
    "text_novelty": np.nan,
    "photo_novelty": np.nan,
    "brightness": np.nan,
    "sharpness": np.nan,
    HUMAN: "",
}
"""The columns that are looked at, and what stands where a table lacks one."""

REQUIRED = ("product_id", "category", "confidence", "decision", "model_version", "top_k")

_CONTENT = ("text_key", "image_key")
_WORDS = 500


class WindowError(ValueError):
    """A table is no table of predictions. The message names what is missing."""


class Window(NamedTuple):
    """N scored products, or a sample of more.

    `frame` has the plain columns, `likeliest`, the first of the likeliest categories, and `content`: products with one
    number have the same cleaned text and the same photo, -1 stands where the table does not tell. `text_view` and
    `photo_view` are (N, K), NaN where there is none; `top_labels` and `top_probabilities` are (N, k), best first, a
    label of -1 for a category that is not among the known ones; `new_words` counts the products in which words were
    seen that the model does not know, commonest first. `whole` is what was counted of all products, where these are a
    sample; `counted` finds it in any case.
    """

    frame: pd.DataFrame
    text_view: NDArray[np.float32]
    photo_view: NDArray[np.float32]
    top_labels: NDArray[np.int64]
    top_probabilities: NDArray[np.float64]
    new_words: dict[str, int]
    whole: Tally | None = None

    def counted(self) -> Tally:
        """Return what is counted of all products: counted here and now where these are all."""
        return self.whole or Tally().add(self.frame)

    def take(self, rows: NDArray[np.integer]) -> Window:
        """Return some of the products as a window of its own; `new_words` stays that of the whole."""
        return Window(
            self.frame.iloc[rows].reset_index(drop=True),
            self.text_view[rows],
            self.photo_view[rows],
            self.top_labels[rows],
            self.top_probabilities[rows],
            self.new_words,
        )


def open_window(table: pa.Table, categories: Sequence[str]) -> Window:
    """Open a table of predictions by one model, whose categories are given in the order of its labels.

    Raises:
        WindowError: a column is missing without which nothing can be said.
    """
    _check(table)
    names, probabilities = _likeliest(table)
    known = pd.Index(list(categories), dtype="str").get_indexer(pd.Index(names.ravel())).reshape(names.shape)
    return Window(
        open_frame(table),
        _vectors(table, "text_view"),
        _vectors(table, "photo_view"),
        known.astype(np.int64),
        probabilities,
        _counted(table),
    )


def open_frame(table: pa.Table) -> pd.DataFrame:
    """Return the plain columns of a table of predictions, as the frame of a window has them.

    Raises:
        WindowError: as `open_window`.
    """
    _check(table)
    plain = [name for name in _PLAIN if name in table.column_names]
    frame: pd.DataFrame = table.select(plain).to_pandas()
    for name, nothing in _PLAIN.items():
        if name not in plain:
            frame[name] = nothing
    for name in ("given_category", HUMAN, "photo_problem"):
        frame[name] = frame[name].fillna("")
    frame["content"] = _contents(table)
    names, _ = _likeliest(table)
    frame["likeliest"] = pd.Series(names[:, 0] if names.shape[1] else "", frame.index, "str")
    return frame


def _check(table: pa.Table) -> None:
    missing = [name for name in REQUIRED if name not in table.column_names]
    if missing:
        raise WindowError(
            f"these are no predictions: there is no column {', '.join(repr(name) for name in missing)}. Give a file "
            "that ScoreFlow wrote, or a folder of them."
        )


def _likeliest(table: pa.Table) -> tuple[NDArray[np.object_], NDArray[np.float64]]:
    """Return names and probabilities of the likeliest categories, (N, k) each."""
    column = table["top_k"].combine_chunks()
    count = table.num_rows
    lengths = np.diff(column.offsets.to_numpy()) if count else np.zeros(0, dtype=np.int64)
    if len(np.unique(lengths)) > 1:
        raise WindowError("products have different numbers of likeliest categories: they come from different models.")
    width = int(lengths[0]) if count else 0
    if not width:
        return np.empty((count, 0), dtype=object), np.empty((count, 0))
    flat = column.flatten()
    probabilities = flat.field("probability").to_numpy(zero_copy_only=False).astype(np.float64)
    names = flat.field("category").to_numpy(zero_copy_only=False)
    return names.reshape(count, width), probabilities.reshape(count, width)


def _contents(table: pa.Table) -> NDArray[np.int64]:
    """Number what products are made of, (N,), by a hash of the keys of their texts and photos: 63 bits."""
    if any(name not in table.column_names for name in _CONTENT):
        return np.full(table.num_rows, -1, dtype=np.int64)
    text, photo = (table[name].cast(pa.binary()) for name in _CONTENT)
    both = pc.binary_join_element_wise(text, photo, pa.scalar(b"/", pa.binary())).to_numpy()
    numbers = pd.util.hash_array(both, categorize=False) >> np.uint64(1)
    return np.where(pd.isna(both), -1, numbers.astype(np.int64))


def _vectors(table: pa.Table, name: str) -> NDArray[np.float32]:
    if name not in table.column_names:
        return np.full((table.num_rows, 0), np.nan, dtype=np.float32)
    return read_vectors(table[name])


def _counted(table: pa.Table) -> dict[str, int]:
    if "new_words" not in table.column_names or pa.types.is_null(table["new_words"].type):
        return {}
    counts = pc.value_counts(pc.list_flatten(table["new_words"]))
    pairs = zip(counts.field("values").to_pylist(), counts.field("counts").to_pylist(), strict=True)
    return dict(sorted(pairs, key=lambda pair: (-pair[1], pair[0]))[:_WORDS])
