"""The card of feedback: how much came in, what was believed, what waits for an admin and why.

Knows decisions, samples and counts, and lists Metaflow card components, the conclusion first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from metaflow.cards import MetaflowCardComponent

from rayon.cards_charts import GREEN, GREY, ORANGE, bars
from rayon.cards_layout import Photo, Tile, chart, photo_grid, section, style, table, tiles, verdict

_REASONS = {
    "gold": "the gold set holds the title: never learnt from",
    "superseded": "the same person said something else later",
    "outvoted": "more people say otherwise",
    "overruled": "an admin accepted another category",
    "nothing_left": "neither text nor photo is left",
    "settled": "an admin accepted it",
    "settled_against": "an admin refused it",
    "flood": "too much by one person at once",
    "contradiction": "people disagree",
    "unlikely": "a sure model finds it next to impossible",
    "unknown_category": "the dataset does not know the category",
}
_ROWS = 50


def feedback_card(
    tally: Mapping[str, Any],
    decisions: pd.DataFrame,
    samples: Sequence[tuple[str, str, str, bytes | None]],
    waiting: int,
    request: str,
    facts: Mapping[str, str],
) -> list[MetaflowCardComponent]:
    """Return the card of a FeedbackFlow run.

    Args:
        tally: as `rayon.feedback_run.tally` returns it.
        decisions: as `rayon.inspection.inspect` returns them.
        samples: accepted corrections: title, predicted category, given category, photo.
        waiting: how many pieces wait for an admin.
        request: why a retraining was asked for, '' where it was not.
        facts: where it all comes from.
    """
    if not tally["read"]:
        sentence = "Nothing new: nobody has said anything since the last run."
    else:
        sentence = (
            f"{tally['accepted']:,} of {tally['read']:,} pieces of feedback become data, {tally['corrections']:,} of "
            f"them corrections; {waiting:,} wait for an admin."
        )
    refused = tally["read"] - tally["accepted"] - waiting
    review = decisions[decisions["verdict"] == "review"].head(_ROWS)
    rows = review[["number", "who", "predicted", "category", "reason", "detail"]].to_numpy().tolist()
    shares = {"accepted": tally["accepted"], "waiting": waiting, "refused": refused}
    colours = {"accepted": GREEN, "waiting": ORANGE, "refused": GREY}
    asked = [f"Retraining was asked for: {request}"] if request else []
    parts: list[MetaflowCardComponent] = [
        style(),
        verdict(sentence, asked, "caution" if waiting else "good"),
        tiles(
            [
                Tile("read", f"{tally['read']:,}", f"by {tally['people']:,} people"),
                Tile("accepted", f"{tally['accepted']:,}", f"{tally['corrections']:,} of them corrections"),
                Tile("waiting", f"{waiting:,}", "for an admin, in the app"),
                Tile("refused", f"{refused:,}", "reasons below"),
            ]
        ),
    ]
    if tally["read"]:
        parts += section("What became of it", "", chart(bars(shares, "pieces", colours=colours)))
    if tally["categories"]:
        drawn = chart(bars(tally["categories"], "corrections"))
        parts += section("Corrections by category", "Accepted, by the category given.", drawn)
    if samples:
        parts += section("Accepted corrections", "A sample.", photo_grid([_photo(*sample) for sample in samples]))
    if tally["reasons"]:
        told = [[name, _REASONS.get(name, name), f"{count:,}"] for name, count in tally["reasons"].items()]
        parts += section("Reasons", "", table(["reason", "in words", "pieces"], told))
    if rows:
        about = f"The first {_ROWS}; they are settled in the app."
        parts += section(
            "Waiting for an admin", about, table(["number", "who", "predicted", "given", "reason", "detail"], rows)
        )
    return [*parts, *section("Details", "", table(["fact", "value"], list(facts.items())))]


def _photo(title: str, predicted: str, given: str, photo: bytes | None) -> Photo:
    return Photo(photo, title, (("wrong", predicted), ("right", given)))
