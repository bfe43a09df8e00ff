"""Where a model is wrong: kinds of products, pairs of categories, and what text and photo each say.

Works on a frame of judged products, one row each, with `JUDGED`, and on arrays. It knows neither models nor photos.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rayon.evaluation import share_interval

JUDGED = (
    "row",
    "product_id",
    "title",
    "category",
    "predicted",
    "confidence",
    "right",
    "filed",
    "text_share",
    "has_text",
    "has_description",
    "has_photo",
    "language",
)
"""Of a judged product: its row in the dataset, id, title, label, predicted category, how sure in [0, 1], whether that
is the label, whether it would be filed without a human, the text's share of the evidence in [0, 1], what it has to look
at, and its language as far as function words tell ('fr', 'en', ...; '' where they do not)."""

GONE = "(a category that is gone)"
"""What stands for the categories that a model knows and the dataset does not."""

_ENOUGH = 0.05
_LANGUAGES = {"fr": "French", "en": "English", "de": "German", "es": "Spanish", "it": "Italian"}


def rare_categories(categories: pd.Series, share: float = 0.1) -> tuple[str, ...]:
    """Return the smallest categories that together hold at most `share` of the products, the smallest one at least."""
    counts = categories.value_counts(ascending=True)
    within = int((counts.cumsum() <= share * len(categories)).sum())
    return tuple(str(name) for name in counts.index[: max(within, 1)])


def slices(judged: pd.DataFrame, rare: Collection[str] = ()) -> pd.DataFrame:
    """Return how good the model is on kinds of products; a kind without a product is left out.

    Columns: slice, products, accuracy with its 95% interval low and high, confidence (mean), filed (share), filed_right
    (share of those filed, NaN for none). Slices overlap. A language of less than a twentieth of the products counts as
    unclear: a few short titles are easily taken for it.

    Args:
        judged: products with `JUDGED`.
        rare: the categories that count as rare.
    """
    of_rare = judged["category"].isin(list(rare))
    spoken = {code: name for code, name in _LANGUAGES.items() if (judged["language"] == code).mean() >= _ENOUGH}
    kinds = {
        "all": pd.Series(True, judged.index),
        "with description": judged["has_description"],
        "no description": ~judged["has_description"],
        "with photo": judged["has_photo"],
        "no photo": ~judged["has_photo"],
        "no text": ~judged["has_text"],
        **{name: judged["language"] == code for code, name in spoken.items()},
        "language unclear": judged["has_text"] & ~judged["language"].isin(list(spoken)),
        "rare categories": of_rare,
        "other categories": ~of_rare,
    }
    return pd.DataFrame(
        [_measured(name, judged[kind.to_numpy(dtype=bool)]) for name, kind in kinds.items() if kind.any()]
    )


def confused_pairs(judged: pd.DataFrame, count: int = 10) -> pd.DataFrame:
    """Return the pairs of categories that are taken for one another most often, whichever way.

    Columns: category, predicted, products; share of that category's products; confidence (mean), and filed, how many of
    these mistakes nobody would look at.
    """
    wrong = judged[~judged["right"]]
    pairs = wrong.groupby(["category", "predicted"], observed=True).agg(
        products=("right", "size"), confidence=("confidence", "mean"), filed=("filed", "sum")
    )
    pairs = pairs.reset_index()
    pairs["share"] = pairs["products"] / pairs["category"].map(judged["category"].value_counts())
    order = pairs.sort_values(["products", "confidence"], ascending=False, kind="stable").head(count)
    return order[["category", "predicted", "products", "share", "confidence", "filed"]].reset_index(drop=True)


def worst_pair(judged: pd.DataFrame) -> tuple[str, str] | None:
    """Return the pair (category, predicted) with most mistakes, None where there is no mistake."""
    pairs = confused_pairs(judged, 1)
    return (str(pairs["category"].iloc[0]), str(pairs["predicted"].iloc[0])) if len(pairs) else None


def mistakes(judged: pd.DataFrame, count: int, pair: tuple[str, str] | None = None) -> pd.DataFrame:
    """Return the wrong products the model was surest of, surest first; of one `pair` (category, predicted) if given."""
    wrong = judged[~judged["right"]]
    if pair is not None:
        wrong = wrong[(wrong["category"] == pair[0]) & (wrong["predicted"] == pair[1])]
    return wrong.sort_values("confidence", ascending=False, kind="stable").head(count)


def alone(
    judged: pd.DataFrame,
    text: NDArray[np.floating] | None,
    photo: NDArray[np.floating] | None,
    categories: Sequence[str],
) -> pd.DataFrame:
    """Return judged products with what the model says when it is given the text alone, and the photo alone.

    Adds text_says and text_confidence, photo_says and photo_confidence: '' and NaN where there is no text or photo, or
    the model never looks at it.

    Args:
        judged: N products with `JUDGED`.
        text: (N, C) log-probabilities from the text alone, None for a model that reads none; `photo` likewise.
        categories: C names; a column beyond them stands for categories that are gone.
    """
    names = np.array([*categories, GONE], dtype=object)
    added: dict[str, NDArray[Any]] = {}
    for name, said in (("text", text), ("photo", photo)):
        there = judged[f"has_{name}"].to_numpy(dtype=bool) & (said is not None)
        log = said if said is not None else np.zeros((len(judged), 1))
        added[f"{name}_says"] = np.where(there, names[log.argmax(axis=1)], "")
        added[f"{name}_confidence"] = np.where(there, np.exp(log.max(axis=1)), np.nan)
    return judged.assign(**added)


def agreement(judged: pd.DataFrame) -> pd.DataFrame:
    """Return what becomes of products with text and photo when each alone is right or wrong.

    Rows: 'both right', 'text alone', 'photo alone', 'neither'; columns: products, share of them, and right, the share
    that the whole model gets right (NaN for no products).

    Args:
        judged: what `alone` returned.
    """
    both = judged[judged["has_text"] & judged["has_photo"]]
    by_text, by_photo = both["text_says"] == both["category"], both["photo_says"] == both["category"]
    kinds = {
        "both right": by_text & by_photo,
        "text alone": by_text & ~by_photo,
        "photo alone": ~by_text & by_photo,
        "neither": ~by_text & ~by_photo,
    }
    return pd.DataFrame(
        {
            "products": {name: int(kind.sum()) for name, kind in kinds.items()},
            "share": {name: float(kind.mean()) if len(both) else 0.0 for name, kind in kinds.items()},
            "right": {name: float(both.loc[kind, "right"].mean()) for name, kind in kinds.items()},
        }
    )


def overruled(apart: pd.DataFrame, count: int) -> pd.DataFrame:
    """Return wrong products that text or photo alone would have got right, the surest mistakes first.

    Args:
        apart: what `alone` returned.
    """
    known = (apart["text_says"] == apart["category"]) | (apart["photo_says"] == apart["category"])
    return mistakes(apart[known], count)


def _measured(name: str, judged: pd.DataFrame) -> dict[str, float | str]:
    right, filed = judged["right"].to_numpy(dtype=bool), judged["filed"].to_numpy(dtype=bool)
    interval = share_interval(int(right.sum()), len(right))
    return {
        "slice": name,
        "products": len(judged),
        "accuracy": interval.value,
        "low": interval.low,
        "high": interval.high,
        "confidence": float(judged["confidence"].mean()),
        "filed": float(filed.mean()),
        "filed_right": float(right[filed].mean()) if filed.any() else np.nan,
    }
