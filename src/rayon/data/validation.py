"""What a good product is: the rules, and the rejects with their reasons.

Knows one chunk of a catalogue at a time and what earlier chunks held. It reads no file and looks at no photo: whether
a photo can be used is told by `rayon.data.images`, and a product with a text is kept without it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rayon.data.text import clean_label, clean_text
from rayon.schema import CATEGORY, DESCRIPTION, DESIGNATION, IMAGE, PRODUCT_ID, REJECT_COLUMNS

if TYPE_CHECKING:  # who reads rejects, as all that score do, checks nothing
    import pandera.pandas as pa

_EVIDENCE = "_evidence"
_PEERS = "_peers"


class SeenIds:
    """The ids met so far, as sorted 64-bit hashes: 8 bytes a product.

    Two different ids share a hash with a chance of about 3e-8 in a catalogue of a million products.
    """

    def __init__(self) -> None:
        self._hashes = np.empty(0, dtype=np.uint64)

    def repeated(self, ids: pd.Series) -> NDArray[np.bool_]:
        """Return which of `ids` were met before, here or in an earlier call, and remember them all. '' is never met."""
        hashes = pd.util.hash_array(ids.to_numpy(dtype=object), categorize=False)
        named = ids.ne("").to_numpy()
        again = pd.Series(hashes).duplicated().to_numpy(copy=True)
        places = np.searchsorted(self._hashes, hashes)
        inside = places < len(self._hashes)
        again[inside] |= self._hashes[places[inside]] == hashes[inside]
        fresh = np.sort(hashes[named & ~again])
        self._hashes = np.insert(self._hashes, np.searchsorted(self._hashes, fresh), fresh)
        return again & named


def clean_products(frame: pd.DataFrame, max_text_chars: int) -> pd.DataFrame:
    """Return `frame` with cleaned texts, ids and categories; see `rayon.data.text`."""
    cleaned = frame.copy()
    for column in (DESIGNATION, DESCRIPTION):
        texts = [clean_text(text, max_text_chars) for text in frame[column].to_list()]
        cleaned[column] = pd.Series(texts, frame.index, "str")
    cleaned[IMAGE] = frame[IMAGE].str.strip()
    for column in (PRODUCT_ID, CATEGORY):
        cleaned[column] = pd.Series([clean_label(text) for text in frame[column].to_list()], frame.index, "str")
    return cleaned


def validate_products(
    frame: pd.DataFrame,
    seen: SeenIds,
    require_category: bool = True,
    category_counts: pd.Series | None = None,
    min_products_per_category: int = 1,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Part a cleaned chunk of a catalogue into (valid products, rejects with `REJECT_COLUMNS`).

    Every row of `frame` (columns `rayon.data.catalog.CHUNK_COLUMNS`, index without repeats) is in exactly one of the
    two, in its order. A row that breaks several rules is rejected for the first: 'bad_row', 'missing_id',
    'no_text_no_photo', 'missing_category', 'duplicate_id' (the first row of an id that breaks none of those before
    wins), and, where `category_counts` gives the number of valid products by category, 'rare_category' below
    `min_products_per_category`. `seen` remembers ids between chunks.
    """
    checked = frame.copy(deep=False)
    checked[_EVIDENCE] = frame[DESIGNATION] + frame[DESCRIPTION] + frame[IMAGE]
    checked[_PEERS] = min_products_per_category if category_counts is None else _peers(frame, category_counts)
    first = _broken(checked, _rules(require_category, min_products_per_category))
    # A row takes its id unless something is wrong with the row itself. That its category is rare is not: both passes
    # over a catalogue, the one that counts categories too, are to give an id to the same row.
    lacking = frame.index.isin(first.index[first < _ORDER.index("duplicate_id")])
    repeated = frame.index[seen.repeated(frame[PRODUCT_ID].mask(lacking, ""))]
    first = pd.concat([first, pd.Series(_ORDER.index("duplicate_id"), repeated, dtype=int)]).groupby(level=0).min()
    if first.empty:
        return frame, join_rejects([])
    bad = frame.loc[first.index]
    reasons = [_ORDER[rank] for rank in first]
    rejects = bad[["source", "row", PRODUCT_ID]].assign(
        scope="product",
        reason=reasons,
        detail=[
            _SENTENCES[reason].format(**row, few=min_products_per_category)
            for reason, row in zip(reasons, bad.to_dict("records"), strict=True)
        ],
        record=bad["record"],
    )
    return frame.drop(index=first.index), rejects[list(REJECT_COLUMNS)]


def join_rejects(frames: Iterable[pd.DataFrame]) -> pd.DataFrame:
    """Return the rejects of several frames as one, with `REJECT_COLUMNS` and rows numbered from 0."""
    filled = [frame for frame in frames if len(frame)]
    return pd.concat(filled, ignore_index=True) if filled else pd.DataFrame(columns=list(REJECT_COLUMNS))


_SENTENCES = {
    "bad_row": "{problem}",
    "missing_id": "the product has no id",
    "no_text_no_photo": "the product has neither a title, a description nor a photo",
    "missing_category": "the product has no category to learn from",
    "duplicate_id": "an earlier row that lacks nothing has the id '{product_id}'; the first such row counts",
    "rare_category": "fewer than {few} products (preprocess.min_products_per_category) are in '{category}'",
}
"""Reason codes in order of precedence, with the sentence for each."""

_ORDER = list(_SENTENCES)


def _broken(checked: pd.DataFrame, rules: pa.DataFrameSchema) -> pd.Series:
    """Return the first rule that each bad row breaks, as a position in `_ORDER`, by the row's index."""
    from pandera.errors import SchemaErrors

    try:
        rules.validate(checked, lazy=True)
    except SchemaErrors as errors:
        failures = errors.failure_cases
        if not failures["check"].isin(_ORDER).all():
            raise  # the frame has not the columns of a chunk
        first: pd.Series = failures.assign(rank=failures["check"].map(_ORDER.index)).groupby("index")["rank"].min()
        return first
    return pd.Series(dtype=int)


def _rules(require_category: bool, min_products_per_category: int) -> pa.DataFrameSchema:
    """Return the rules as a schema; each check is named by the reason code that it gives."""
    import pandera.pandas as pa

    known = [_rule("missing_category", lambda values: values.ne(""))] if require_category else []
    return pa.DataFrameSchema(
        {
            "problem": pa.Column("str", _rule("bad_row", lambda values: values.eq(""))),
            PRODUCT_ID: pa.Column("str", _rule("missing_id", lambda values: values.ne(""))),
            _EVIDENCE: pa.Column("str", _rule("no_text_no_photo", lambda values: values.ne(""))),
            CATEGORY: pa.Column("str", known),
            _PEERS: pa.Column(int, _rule("rare_category", lambda values: values.ge(min_products_per_category))),
        },
        unique_column_names=True,
    )


def _rule(reason: str, holds: Callable[[pd.Series], pd.Series]) -> pa.Check:
    import pandera.pandas as pa

    return pa.Check(holds, name=reason)


def _peers(frame: pd.DataFrame, category_counts: pd.Series) -> pd.Series:
    return frame[CATEGORY].map(category_counts).fillna(0).astype(int)
