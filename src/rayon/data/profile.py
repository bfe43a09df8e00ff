"""What a dataset version is like: how its categories are filled, what is missing, what repeats, which labels disagree.

Knows the frame of `rayon.data.dataset.Dataset` and returns frames. It opens no photo and draws nothing.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rayon.schema import CATEGORY, DESCRIPTION, DESIGNATION, SPLITS

REPEATED = {"text": "title and description", "title": "title", "photo": "photo"}
"""In what products may repeat one another. Titles are compared without case, accents and punctuation, texts and photos
to the byte."""


def mix(frame: pd.DataFrame) -> pd.DataFrame:
    """Return how many products each category has in each split: a row a category, the largest first."""
    counts = pd.crosstab(frame[CATEGORY], frame["split"].astype(str)).rename_axis(columns=None)
    counts = counts[[name for name in SPLITS if name in counts]]
    return counts.loc[counts.sum(axis=1).sort_values(ascending=False, kind="stable").index]


def gaps(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the share, in [0, 1], of each category's products that lack something: a row a category, the largest gap
    first; columns 'no description', 'no title' and 'no photo', less those that no product lacks.
    """
    lacking = pd.DataFrame(
        {
            "no description": frame[DESCRIPTION] == "",
            "no title": frame[DESIGNATION] == "",
            "no photo": ~frame["has_image"],
        }
    )
    shares = lacking.loc[:, lacking.any()].groupby(frame[CATEGORY], observed=True).mean()
    return shares.loc[shares.max(axis=1).sort_values(ascending=False, kind="stable").index]


def lengths(frame: pd.DataFrame) -> dict[str, NDArray[np.integer]]:
    """Return the characters of each title and of each description that is there."""
    found: dict[str, NDArray[np.integer]] = {}
    for name, column in (("title", DESIGNATION), ("description", DESCRIPTION)):
        characters = frame[column].str.len().to_numpy(dtype=np.int64)
        found[name] = characters[characters > 0]
    return found


def repetitions(frame: pd.DataFrame) -> pd.DataFrame:
    """Return what repeats: a row each of `REPEATED`.

    Columns: what; products that repeat another; share of all products, in [0, 1]; groups of equal products; and
    disagreeing, the groups whose products are not all of one category.
    """
    rows = []
    for kind, what in REPEATED.items():
        group = _groups(frame, kind)
        named = frame.loc[group.index, CATEGORY].groupby(group).nunique()
        rows.append((what, len(group), len(group) / max(len(frame), 1), len(named), int((named > 1).sum())))
    return pd.DataFrame(rows, columns=["what", "products", "share", "groups", "disagreeing"])


def disagreements(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the products with the same photo or title as another of another category: one of the labels is wrong, or
    the categories overlap.

    Columns: same ('photo' before 'title'), group (a number), row (of the dataset), product_id, title, category; the
    products of a group stand together.
    """
    found = []
    seen: set[int] = set()
    for kind in ("photo", "title"):
        group = _groups(frame, kind)
        group = group[~group.index.isin(list(seen))]
        named = frame.loc[group.index, CATEGORY].groupby(group).transform("nunique")
        group = group[named > 1]
        seen.update(group.index)
        found.append(pd.DataFrame({"same": kind, "key": group, "row": group.index}))
    table = pd.concat(found, ignore_index=True)
    products = frame.loc[table["row"]].reset_index(drop=True)
    table = table.assign(
        group=table.groupby(["same", "key"], sort=False).ngroup(),
        product_id=products["product_id"],
        title=products[DESIGNATION],
        category=products[CATEGORY],
    )
    columns = ["same", "group", "row", "product_id", "title", "category"]
    return table.sort_values("group", kind="stable")[columns].reset_index(drop=True)


def _groups(frame: pd.DataFrame, kind: str) -> pd.Series:
    """Return what products have in common, by row of the frame; who has it alone, or not at all, is left out."""
    keys = {"text": frame["text_key"], "title": frame["group"], "photo": frame["image_key"]}[kind]
    there = {"text": frame["has_text"], "title": frame[DESIGNATION] != "", "photo": frame["has_image"]}[kind]
    keys = keys[there]
    return keys[keys.duplicated(keep=False)]
