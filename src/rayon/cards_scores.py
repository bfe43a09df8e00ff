"""The card of scored products: how many can be filed, into what, how sure, and what was refused.

Knows summaries and rejects and lists Metaflow card components, the conclusion first. It reads no file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from metaflow.cards import MetaflowCardComponent

from rayon.cards_charts import histogram, two_shares
from rayon.cards_layout import (
    Photo,
    Tile,
    chart,
    percent,
    photo_grid,
    refusals,
    section,
    shorten,
    style,
    table,
    tiles,
    verdict,
)
from rayon.columns import say_columns
from rayon.data.rejects import summarise

_BARS = 40


def scores_card(
    summary: Mapping[str, Any],
    rejects: pd.DataFrame,
    trained_mix: Mapping[str, float],
    threshold: float,
    precision: float,
    facts: Mapping[str, str],
) -> list[MetaflowCardComponent]:
    """Return the card of a scoring run.

    Args:
        summary: what `rayon.score_run.conclude` returns.
        rejects: the rows that were not scored, with `schema.REJECT_COLUMNS`.
        trained_mix: the share of each category in what the model predicted of products it was judged by.
        threshold: the confidence from which products are filed; above 1 where none is.
        precision: the share of right ones among those, as measured in training.
        facts: where it all comes from and went to.
    """
    products = summary["products"]
    share = summary["accepted"] / max(products, 1)
    refused = summary["rejected"]
    sentence = (
        f"{summary['accepted']:,} of {products:,} products can be filed without a human; "
        f"{products - summary['accepted']:,} go to review."
        if products
        else "Nothing was scored."
    )
    more = [
        f"Filed is what the model is at least {percent(threshold)} sure of: {precision:.0%} of such predictions "
        "were right on products it had never seen."
        if threshold <= 1
        else f"No confidence reached {precision:.0%} precision when the model was trained, so nothing is filed.",
        f"{refused:,} of {summary['read']:,} rows were refused; reasons below.",
    ]
    changed = say_columns(summary.get("columns", {}))
    more += [f"{changed[0].upper()}{changed[1:]}."] if changed else []
    mean = summary["confidence_sum"] / max(products, 1)
    numbers = [
        Tile("read", f"{summary['read']:,}", "rows"),
        Tile("scored", f"{products:,}", percent(products / max(summary["read"], 1)) + " of what was read"),
        Tile("filed", percent(share), f"at {precision:.0%} precision"),
        Tile("to review", f"{products - summary['accepted']:,}", "not sure enough"),
        Tile("refused", f"{refused:,}", "neither text nor photo, repeated ids..."),
        Tile("mean confidence", percent(mean), "calibrated"),
        Tile("without photo", f"{summary['without_photo']:,}", f"of which {summary['photo_problems']:,} unreadable"),
    ]
    mix = {name: count / max(products, 1) for name, count in summary["mix"].items()}
    names = sorted({*mix, *(name for name, part in trained_mix.items() if part)}, key=lambda name: -mix.get(name, 0.0))
    shares = {name: (mix.get(name, 0.0), trained_mix.get(name, 0.0)) for name in names[:_BARS]}
    rest = f" The {len(names) - _BARS} smallest are not drawn." if len(names) > _BARS else ""
    samples = summary["samples"]
    half = len(samples) // 2
    return [
        style(),
        verdict(sentence, more, "caution" if share < 0.5 or refused > summary["read"] / 10 else "good"),
        tiles(numbers),
        *section(
            "How sure", "Products by confidence; right of the dashed line they are filed.",
            chart(histogram(summary["confidence_histogram"], threshold)),
        ),
        *section(
            "Predicted mix", f"Beside what the model predicted in its training: a different mix is worth a look.{rest}",
            chart(two_shares(shares, ("now", "in training"))),
        ),
        *(section("The surest", "", _grid(samples[:half])) if half else []),
        *(section("The least sure", "A human would look at these first.", _grid(samples[half:])) if samples else []),
        *refusals(summarise(rejects), "A product whose photo alone is unreadable is scored on its text."),
        *section("Details", "", table(["fact", "value"], list(facts.items()))),
    ]  # fmt: skip


def _grid(samples: Sequence[Mapping[str, Any]]) -> MetaflowCardComponent:
    return photo_grid(
        [
            Photo(
                sample["photo"],
                shorten(sample["title"] or sample["product_id"], 80),
                [
                    ("right" if sample["decision"] == "accept" else "plain", sample["category"]),
                    ("plain", f"{percent(sample['confidence'])} sure, {sample['decision']}"),
                ],
            )
            for sample in samples
        ]
    )
