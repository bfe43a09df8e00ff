"""What a feed does to products that no test of their looks can tell: one sent under many ids, columns come or gone.

Knows opened windows and the names of columns. It counts and says in words; limits and verdicts are
`rayon.monitoring`'s.
"""

from __future__ import annotations

from typing import NamedTuple

from rayon.columns import Columns, say_columns
from rayon.drift import Difference, share_test
from rayon.measures import LEAST, Compared, write_share
from rayon.tally import Repeats
from rayon.window import Window


class Counted(NamedTuple):
    """What is counted and not tested: its name, a key of `Limits`; how much of it there is; and all of it in words."""

    name: str
    actual: float
    sentence: str


class Feed(NamedTuple):
    """What was found: comparisons to be tested, counts that are not, and the share of the products that repeat another
    one's content, None where no content is known.
    """

    compared: list[Compared]
    counted: list[Counted]
    repeated: float | None


def look_at_feed(reference: Window, current: Window, columns: Columns | None = None) -> Feed:
    """Compare how often contents repeat in a window and in the reference, and say which columns changed."""
    then, now = repeats_of(reference), repeats_of(current)
    compared = [_repeated(then, now)] if min(then.products, now.products) >= LEAST else []
    counted = [_most(then, now)] if now.products else []
    counted += _changed(columns or {})
    return Feed(compared, counted, now.repeated / now.products if now.products else None)


def repeats_of(window: Window) -> Repeats:
    """Count how the products of a window repeat one another; those without an id are left out.

    Example:
        >>> import pyarrow as pa
        >>> from rayon.window import open_window
        >>> said = {"category": "lamps", "confidence": 0.9, "decision": "accept", "model_version": "TrainFlow/7"}
        >>> said["top_k"] = [{"category": "lamps", "probability": 0.9}]
        >>> keys = {"1": b"pool", "2": b"pool", "3": b"lamp"}
        >>> rows = [{"product_id": name, "text_key": key, "image_key": b"", **said} for name, key in keys.items()]
        >>> repeats_of(open_window(pa.Table.from_pylist(rows), ["lamps"]))
        Repeats(products=3, repeated=1, most=2, first='1')
    """
    return window.counted().repeats()


def _repeated(then: Repeats, now: Repeats) -> Compared:
    """More repeats than in training; that there are fewer is no fault of a feed, least of all in a small window."""
    difference = share_test(then.repeated, then.products, now.repeated, now.products)
    shares = [each.repeated / each.products for each in (now, then)]
    if shares[0] <= shares[1]:
        difference = Difference(1.0, 0.0, then.products, now.products)
    sentence = (
        f"products with the text and the photo of another one: {write_share(shares[0])}, {write_share(shares[1])} in "
        "training"
    )
    return Compared("repeated_content", difference, sentence)


def _most(then: Repeats, now: Repeats) -> Counted:
    """How many times as often as any in training one content comes: a share says nothing of one product in many."""
    before = "no two did" if then.most == 1 else f"{then.most:,} at most did"
    sentence = (
        f"{now.most:,} products share one text and photo ('{now.first}' is the first of them)"
        f"{f'; in training {before}' if then.products else ''}"
        if now.most > 1
        else "no two products share one text and photo"
    )
    return Counted("most_repeated", now.most / max(then.most, 1), sentence)


def _changed(columns: Columns) -> list[Counted]:
    sentence = say_columns(columns)
    return [Counted("columns", float(sum(map(len, columns.values()))), sentence)] if sentence else []
