"""The card of a trained model: how good it is, how much it can file alone, where it goes wrong.

Knows a `Report` and lists Metaflow card components: what a manager wants to see first, a data scientist's below.
It measures nothing and reads no file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypedDict

from metaflow.cards import MetaflowCardComponent

from rayon.cards_charts import (
    ORANGE,
    RED,
    bars,
    confidence_counts,
    coverage_curve,
    heat_map,
    intervals,
    reliability_diagram,
)
from rayon.cards_layout import (
    Photo,
    Tile,
    Tone,
    chart,
    percent,
    photo_grid,
    section,
    shorten,
    style,
    table,
    tiles,
    verdict,
)
from rayon.config import BASELINE
from rayon.evaluation import Interval
from rayon.report import Report

_BARS = 40
_CONFUSIONS = 12
_SUSPECTS = 40


class CandidateRow(TypedDict):
    """A candidate as the model card shows it. What was not measured is None; `note` says why, or anything else."""

    name: str
    macro_f1: Interval | None
    weighted_f1: float | None
    accuracy: float | None
    ece: float | None
    validation_macro_f1: float | None
    note: str


class MistakeRow(TypedDict):
    """A product of the gold set that the model filed wrongly; `image` is its encoded photo."""

    product_id: str
    title: str
    category: str
    predicted: str
    confidence: float
    image: bytes | None


class SuspectRow(TypedDict):
    """A product whose own category the model finds hard to believe; `margin` is in (0, 1]."""

    product_id: str
    title: str
    category: str
    suggested: str
    margin: float


def model_card(
    report: Report,
    candidates: Sequence[CandidateRow],
    selected: str,
    mistakes: Sequence[MistakeRow],
    suspects: Sequence[SuspectRow],
    facts: Mapping[str, str],
) -> list[MetaflowCardComponent]:
    """Return the card of a trained model, `report` being that of the candidate `selected` on the gold set.

    Args:
        candidates: all that were trained, in the order to show them.
        mistakes: wrong products, the surest first.
        suspects: training products whose label may be wrong, the likeliest first.
        facts: where it all comes from: dataset, configuration, W&B run, what was encoded.
    """
    f1, weighted, accuracy = (report.metrics[name] for name in ("macro_f1", "weighted_f1", "accuracy"))
    numbers = [
        Tile("macro-F1", f"{f1.value:.3f}", f"95%: {f1.low:.3f} to {f1.high:.3f}"),
        Tile("weighted-F1", f"{weighted.value:.3f}", f"95%: {weighted.low:.3f} to {weighted.high:.3f}"),
        Tile("accuracy", f"{accuracy.value:.3f}", f"95%: {accuracy.low:.3f} to {accuracy.high:.3f}"),
        *(
            Tile(f"filed at {float(target) * 100:g}%", percent(share), "share needing no human")
            for target, share in report.coverage.items()
        ),
        Tile("calibration error", f"{report.ece:.3f}", "ECE, 0 is honest"),
        Tile("log-loss", f"{report.nll:.3f}", "nats a product"),
    ]
    measured = {row["name"]: row["macro_f1"] for row in candidates if row["macro_f1"] is not None}
    return [
        style(),
        _model_verdict(report, measured, selected),
        tiles(numbers),
        *section(
            "Candidates",
            "Macro-F1 on the gold set, which no candidate learnt from, with 95% intervals. The blue one was selected.",
            *([chart(intervals(measured, selected, "macro-F1"))] if measured else []),
            _candidates(candidates, selected),
        ),
        *section(
            "How much can be filed without a human",
            "From right to left: leaving more of the unsure products to a human makes the rest more precise.",
            chart(coverage_curve(report.risk_coverage, report.coverage)),
        ),
        *section(
            "Are its confidences honest?",
            "Of products it is 80% sure of, 80% should be right: on the dashed line. Below it, the model boasts.",
            chart(reliability_diagram(report.reliability)),
            chart(confidence_counts(report.reliability)),
        ),
        *_modalities(report),
        *_categories(report),
        *_confusions(report),
        *_mistakes(mistakes),
        *_suspects(suspects),
        *section("Details", "", table(["fact", "value"], list(facts.items()))),
    ]


def _model_verdict(report: Report, measured: Mapping[str, Interval], selected: str) -> MetaflowCardComponent:
    score = report.metrics["macro_f1"].value
    baseline = measured.get(BASELINE) if selected != BASELINE else None
    tone: Tone = "good"
    against = ""
    if baseline is not None:
        gain = score - baseline.value
        against = f", {gain:.3f} above the {BASELINE} baseline"
        if gain <= 0:
            tone, against = "caution", f", no better than the {BASELINE} baseline's {baseline.value:.3f}"
        elif score <= baseline.high:
            tone, against = "caution", f", within the margin of error of the {BASELINE} baseline's {baseline.value:.3f}"
    sentence = (
        f"The {selected} model files {percent(report.metrics['accuracy'].value)} of products rightly into "
        f"{len(report.categories)} categories: macro-F1 {score:.3f}{against}."
    )
    if report.constant:
        tone = "bad"
        sentence = f"The {selected} model gives nearly the same answer whatever the product: do not use it."
    filed = [f"{percent(share)} of products at {float(t) * 100:g}% precision" for t, share in report.coverage.items()]
    more = [
        f"Left alone with those it is sure of, it files {', '.join(filed)}; a human sees the rest.",
        f"Measured on {report.products:,} products that no candidate learnt from. Macro-F1 is the mean F1 of the "
        "categories, a small one counting as much as a large one.",
    ]
    return verdict(sentence, more, tone)


def _candidates(candidates: Sequence[CandidateRow], selected: str) -> MetaflowCardComponent:
    def number(value: float | None) -> str:
        return "-" if value is None else f"{value:.3f}"

    rows = []
    for row in candidates:
        f1 = row["macro_f1"]
        rows.append(
            [
                f"{row['name']} (selected)" if row["name"] == selected else row["name"],
                "-" if f1 is None else f"{f1.value:.3f} ({f1.low:.3f} to {f1.high:.3f})",
                *(number(value) for value in (row["weighted_f1"], row["accuracy"], row["ece"])),
                number(row["validation_macro_f1"]),
                row["note"],
            ]
        )
    return table(["candidate", "macro-F1 (95%)", "weighted-F1", "accuracy", "ECE", "held-out macro-F1", "note"], rows)


def _modalities(report: Report) -> list[MetaflowCardComponent]:
    values = {"text and photo": report.metrics["macro_f1"].value}
    if report.without_photo is not None:
        values["photo taken away"] = report.without_photo
    if report.without_text is not None:
        values["text taken away"] = report.without_text
    if len(values) == 1:
        return []
    return section(
        "What it looks at",
        f"Macro-F1 when a side is taken away. On average {percent(report.text_share)} of the evidence is the text's.",
        chart(bars(values, "macro-F1", ".3f", top=1.08)),
    )


def _categories(report: Report) -> list[MetaflowCardComponent]:
    rows = [row for row in report.per_class if row["support"]]
    average = report.metrics["macro_f1"].value
    colours = {
        row["category"]: RED if row["f1"] < average - 0.2 else ORANGE for row in rows if row["f1"] < average - 0.1
    }
    notes = {
        row["category"]: f"{row['support']:,} products, precision {row['precision']:.2f}, recall {row['recall']:.2f}"
        for row in rows
    }
    unseen = len(report.per_class) - len(rows)
    about = f"Worst first; orange and red are 0.1 and 0.2 below the average of {average:.3f}."
    about += f" The {_BARS} worst of {len(rows)}." if len(rows) > _BARS else ""
    about += f" {unseen} without a product in the gold set: not measured." if unseen else ""
    shown = {row["category"]: row["f1"] for row in rows[:_BARS]}
    return section("F1 by category", about, chart(bars(shown, "F1", ".2f", colours, 1.08, notes)))


def _confusions(report: Report) -> list[MetaflowCardComponent]:
    found = [
        (count, truth, predicted)
        for truth, line in enumerate(report.confusion)
        for predicted, count in enumerate(line)
        if count and truth != predicted
    ]
    found.sort(reverse=True)
    rows = [
        [report.categories[truth], report.categories[predicted], count, percent(count / sum(report.confusion[truth]))]
        for count, truth, predicted in found[:_CONFUSIONS]
    ]
    about = (
        "Rows are true categories, the darker the larger the share of the row; what is often confused stands together."
    )
    return [
        *section("What is taken for what", about, chart(heat_map(report.confusion, report.categories))),
        *([table(["true", "taken for", "products", "of the true category"], rows)] if rows else []),
    ]


def _mistakes(mistakes: Sequence[MistakeRow]) -> list[MetaflowCardComponent]:
    if not mistakes:
        return []
    grid = photo_grid(
        [
            Photo(
                row["image"],
                row["title"] or "(no title)",
                [
                    ("wrong", f"{row['predicted']} {percent(row['confidence'])}"),
                    ("right", row["category"]),
                    ("plain", row["product_id"]),
                ],
            )
            for row in mistakes
        ]
    )
    return section(
        "Wrong, and sure of it", "Gold products: red what the model says, green what the catalogue says.", grid
    )


def _suspects(suspects: Sequence[SuspectRow]) -> list[MetaflowCardComponent]:
    if not suspects:
        return []
    rows = [
        [row["product_id"], shorten(row["title"], 80), row["category"], row["suggested"], f"{row['margin']:.2f}"]
        for row in suspects[:_SUSPECTS]
    ]
    about = "Models that never saw these products find another category likelier. For review: many are only hard."
    about += f" The {_SUSPECTS} likeliest of {len(suspects)}." if len(suspects) > _SUSPECTS else ""
    return section("Labels to check", about, table(["product", "title", "category", "suggested", "margin"], rows))
