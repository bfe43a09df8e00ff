"""A window of scored products, opened: plain columns as a frame, views and likeliest categories as arrays.

Knows the columns of `rayon.scoring.PREDICTIONS_SCHEMA` by name, wherever the table comes from; the reference of a model
is opened the same way. It compares nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

HUMAN = "human_category"
"""The column that says what a person called the product, '' where nobody looked."""

_PLAIN = {
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
    """N scored products.

    `frame` has the plain columns and `content`: products with one number have the same cleaned text and the same photo,
    -1 stands where the table does not tell. `text_view` and `photo_view` are (N, K), NaN where there is none;
    `top_labels` and `top_probabilities` are (N, k), best first, a label of -1 for a category that is not among the
    known ones; `new_words` counts the products in which words were seen that the model does not know, commonest first.
    """

    frame: pd.DataFrame
    text_view: NDArray[np.float32]
    photo_view: NDArray[np.float32]
    top_labels: NDArray[np.int64]
    top_probabilities: NDArray[np.float64]
    new_words: dict[str, int]

    def take(self, rows: NDArray[np.integer]) -> Window:
        """Return some of the products; `new_words` stays that of the whole."""
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
    missing = [name for name in REQUIRED if name not in table.column_names]
    if missing:
        raise WindowError(
            f"these are no predictions: there is no column {', '.join(repr(name) for name in missing)}. Give a file "
            "that ScoreFlow wrote, or a folder of them."
        )
    plain = [name for name in _PLAIN if name in table.column_names]
    frame = table.select(plain).to_pandas()
    for name, nothing in _PLAIN.items():
        if name not in plain:
            frame[name] = nothing
    for name in ("given_category", HUMAN, "photo_problem"):
        frame[name] = frame[name].fillna("")
    frame["content"] = _contents(table)
    labels, probabilities = _likeliest(table, categories)
    return Window(
        frame,
        _vectors(table, "text_view"),
        _vectors(table, "photo_view"),
        labels,
        probabilities,
        _counted(table),
    )


def _likeliest(table: pa.Table, categories: Sequence[str]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    column = table["top_k"].combine_chunks()
    count = table.num_rows
    lengths = np.diff(column.offsets.to_numpy()) if count else np.zeros(0, dtype=np.int64)
    if len(np.unique(lengths)) > 1:
        raise WindowError("products have different numbers of likeliest categories: they come from different models.")
    width = int(lengths[0]) if count else 0
    flat = column.flatten()
    names = pd.Index(list(categories), dtype="str")
    found = names.get_indexer(pd.Index(flat.field("category").to_pandas())) if count else np.zeros(0)
    probabilities = flat.field("probability").to_numpy(zero_copy_only=False) if count else np.zeros(0)
    return found.astype(np.int64).reshape(count, width), probabilities.astype(np.float64).reshape(count, width)


def _contents(table: pa.Table) -> NDArray[np.int64]:
    """Number what products are made of, (N,), by the keys of their texts and photos."""
    if any(name not in table.column_names for name in _CONTENT):
        return np.full(table.num_rows, -1, dtype=np.int64)
    text, photo = (table[name].cast(pa.binary()) for name in _CONTENT)
    both = pc.binary_join_element_wise(text, photo, pa.scalar(b"/", pa.binary())).combine_chunks()
    numbers: NDArray[np.int64] = pc.fill_null(both.dictionary_encode().indices, -1).to_numpy().astype(np.int64)
    return numbers


def _vectors(table: pa.Table, name: str) -> NDArray[np.float32]:
    if name not in table.column_names or table[name].null_count == table.num_rows:
        return np.full((table.num_rows, 0), np.nan, dtype=np.float32)
    column = table[name].combine_chunks()
    present = column.is_valid().to_numpy(zero_copy_only=False)
    flat = column.flatten().to_numpy(zero_copy_only=False)
    width = len(flat) // int(present.sum())
    view = np.full((table.num_rows, width), np.nan, dtype=np.float32)
    view[present] = flat.reshape(-1, width)
    return view


def _counted(table: pa.Table) -> dict[str, int]:
    if "new_words" not in table.column_names or not table.num_rows:
        return {}
    counts = pc.value_counts(pc.list_flatten(table["new_words"]))
    pairs = zip(counts.field("values").to_pylist(), counts.field("counts").to_pylist(), strict=True)
    return dict(sorted(pairs, key=lambda pair: (-pair[1], pair[0]))[:_WORDS])
