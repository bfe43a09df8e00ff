"""Inspects feedback before any of it becomes data: who said what of which product, and whether to believe it.

Rules, each with its reason, in the order in which they are applied; the first that speaks decides. Knows frames and
sets; neither where feedback is kept nor what becomes of it.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Mapping
from typing import Any

import pandas as pd

from rayon.config import FeedbackRules

ACCEPT, REVIEW, REFUSE = "accept", "review", "refuse"

WRONG = ("outvoted", "overruled")
"""The reasons of a refusal that say the category is wrong; an admin's own refusals are in the store."""

Standing = dict[bytes, tuple[str, frozenset[str]]]
"""By product: the category that was accepted last, and the people who gave it."""

COLUMNS = (
    "number",
    "who",
    "category",
    "predicted",
    "confidence",
    "sure",
    "given_probability",
    "product_key",
    "group",
    "has_text",
    "has_photo",
    "day",
)
"""What is known of a piece of feedback: its number, the person, the category given, what the model had said with which
confidence and whether that was enough to be filed without a human, what it had given the category that the person says
(0 where it is not among the likeliest), the product's key (bytes: equal for equal text and photo), its title's group,
whether there is a text and a photo to learn from, and the day (UTC, ISO) on which it was said."""

_NEAR = 0.75


def inspect(
    feedback: pd.DataFrame,
    categories: Collection[str],
    gold_groups: Collection[int],
    settled: Mapping[int, bool],
    rules: FeedbackRules,
    daily: Mapping[tuple[str, str], int] | None = None,
    earlier: Standing | None = None,
    waited: Collection[int] = (),
) -> pd.DataFrame:
    """Return each piece of feedback with a `verdict` (accept, review or refuse), a `reason` and a `detail` in words.

    Args:
        feedback: a row a piece, in the order of its number, with `COLUMNS`; earlier pieces that still wait included.
        categories: those the dataset knows.
        gold_groups: title groups of gold products: they must never be learnt from.
        settled: by number, what an admin decided; nothing overrules it but the gold set.
        rules: the limits.
        daily: how much each principal said on each day, other runs' share included.
        earlier: what was accepted before.
        waited: the numbers that waited for the admin when what is `settled` was decided.
    """
    verdicts: dict[int, tuple[str, str, str]] = {}
    rows = feedback.drop_duplicates("number", keep="last").sort_values("number")
    rows = rows.assign(principal=[principal(who) for who in rows["who"]])

    def decide(chosen: pd.DataFrame, verdict: str, reason: str, detail: Any) -> None:
        for row in chosen.to_dict("records"):
            words = detail(row) if callable(detail) else detail
            verdicts.setdefault(int(row["number"]), (verdict, reason, words))

    def undecided() -> pd.DataFrame:
        return rows[~rows["number"].isin(list(verdicts))]

    def where(mask: pd.Series) -> pd.DataFrame:
        return rows.loc[mask.index[mask.to_numpy(dtype=bool)]]

    decide(where(~(rows["has_text"] | rows["has_photo"])), REFUSE, "nothing_left", "neither text nor photo is left")
    decide(
        where(rows["group"].isin(list(gold_groups))), REFUSE, "gold", "the gold set holds this title: not to learn from"
    )
    for accepted, reason in ((True, "settled"), (False, "settled_against")):
        numbers = [number for number, said in settled.items() if said is accepted]
        decide(where(rows["number"].isin(numbers)), ACCEPT if accepted else REFUSE, reason, "an admin decided so")

    accepted_now = rows[rows["number"].isin([number for number, told in verdicts.items() if told[0] == ACCEPT])]
    decided, earlier = _standing(accepted_now), _standing(accepted_now, earlier)
    left = undecided()
    chosen = _category(left, decided)
    decide(left[chosen == left["category"]], ACCEPT, "settled", "an admin accepted this category of the product")
    decide(
        left[chosen.notna() & (chosen != left["category"]) & left["number"].isin(list(waited))],
        REFUSE,
        "overruled",
        lambda row: f"an admin accepted '{decided[row['product_key']][0]}'",
    )

    left = undecided()
    decide(
        left[left.duplicated(["who", "product_key"], keep="last")], REFUSE, "superseded", "said anew by the same person"
    )

    left = undecided()
    trusted = left["principal"].isin(rules.trusted)
    pairs = zip(left["principal"], left["day"], strict=True)
    known = pd.Series([(daily or {}).get(pair, 0) for pair in pairs], left.index, dtype="int64")
    said = left.groupby(["principal", "day"])["number"].transform("size").clip(lower=known)
    flood = left[(said > rules.per_person) & ~trusted]
    decide(
        flood,
        REVIEW,
        "flood",
        lambda row: f"{row['principal']} said more than {rules.per_person} things on {row['day']}",
    )

    _contradictions(undecided(), rules, decide)
    left = undecided()
    before = _category(left, earlier)
    people = left.groupby(["product_key", "category"])["principal"].transform("nunique")
    own = [
        key in earlier and earlier[key][1] == {who}  # who alone said it may take it back
        for key, who in zip(left["product_key"], left["who"], strict=True)
    ]
    lone = left[before.notna() & (before != left["category"]) & (people < 2) & ~pd.Series(own, left.index, dtype=bool)]
    decide(lone, REVIEW, "contradiction", "another category was accepted before, and one alone says otherwise now")
    left = undecided()
    decide(_unlikely(left, rules), REVIEW, "unlikely", _against)
    _unknown(undecided(), categories, rules, decide)
    decide(undecided(), ACCEPT, "", "")
    told = [verdicts[int(number)] for number in rows["number"]]
    return rows.assign(
        verdict=[one[0] for one in told], reason=[one[1] for one in told], detail=[one[2] for one in told]
    ).reset_index(drop=True)


def principal(who: str) -> str:
    """Return whose word it is: a program that passes on what its users say, 'shop/anna', answers for all of them."""
    return who.partition("/")[0]


def stand(accepted: Iterable[tuple[bytes, str, str]], earlier: Standing | None = None) -> Standing:
    """Return what stands after all that was accepted, (product, category, person) in order, on top of what stood."""
    standing = dict(earlier or {})
    for product, category, who in accepted:
        last, people = standing.get(product, ("", frozenset[str]()))
        standing[product] = (category, people | {who} if category == last else frozenset({who}))
    return standing


def _standing(accepted: pd.DataFrame, earlier: Standing | None = None) -> Standing:
    return stand(zip(accepted["product_key"], accepted["category"], accepted["who"], strict=True), earlier)


def _category(rows: pd.DataFrame, standing: Standing) -> pd.Series:
    """Return the category that stands for each row's product, missing where none does."""
    return rows["product_key"].map({product: category for product, (category, _) in standing.items()})


def _contradictions(left: pd.DataFrame, rules: FeedbackRules, decide: Any) -> None:
    """People who disagree about one product: a clear majority is believed, else an admin is asked."""
    for _, said in left.groupby("product_key", sort=False):
        counts = said.drop_duplicates(["principal", "category"])["category"].value_counts()
        if len(counts) < 2:
            continue
        share = counts.iloc[0] / counts.sum()
        if counts.iloc[0] >= 2 and share >= rules.agreement:
            others = said[said["category"] != counts.index[0]]
            decide(others, REFUSE, "outvoted", f"{counts.iloc[0]} people say '{counts.index[0]}'")
        else:
            words = ", ".join(f"'{name}' ({count})" for name, count in counts.items())
            decide(said, REVIEW, "contradiction", f"people disagree: {words}")


def _unlikely(left: pd.DataFrame, rules: FeedbackRules) -> pd.DataFrame:
    """Corrections next to impossible to a model as sure as when it is right; unless people agree."""
    against = (left["category"] != left["predicted"]) & left["sure"] & (left["given_probability"] < rules.unlikely)
    supported = left.groupby(["product_key", "category"])["principal"].transform("nunique") >= 2
    pattern = left.groupby(["predicted", "category"]).agg(
        people=("principal", "nunique"), products=("product_key", "nunique")
    )
    believed = set(
        pattern.index[(pattern["people"] >= rules.pattern_people) & (pattern["products"] >= rules.pattern_products)]
    )
    agreed = pd.Series(
        [pair in believed for pair in zip(left["predicted"], left["category"], strict=True)], left.index, dtype=bool
    )
    return left[against & ~supported & ~agreed]


def _against(row: Mapping[str, Any]) -> str:
    return (
        f"the model said '{row['predicted']}' with {row['confidence']:.0%}, as sure as when it is right, and gives "
        f"'{row['category']}' {row['given_probability']:.1%}"
    )


def _unknown(left: pd.DataFrame, categories: Collection[str], rules: FeedbackRules, decide: Any) -> None:
    """Categories that the dataset does not know: new once enough people say so of enough products."""
    known = sorted(categories)
    for category, said in left[~left["category"].isin(known)].groupby("category", sort=False):
        products, people = said["product_key"].nunique(), said["principal"].nunique()
        if products >= rules.new_category_products and people >= rules.new_category_people:
            continue
        near = difflib.get_close_matches(str(category), known, n=1, cutoff=_NEAR)
        hint = f"; is it '{near[0]}'?" if near else ""
        decide(said, REVIEW, "unknown_category", f"{products} products by {people} people so far{hint}")
