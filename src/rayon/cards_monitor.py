"""The card of monitoring: the verdict first, then five pictures that a person understands, and what was compared.

Knows a verdict, its history and samples, as plain data, and lists Metaflow card components. It reads no file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from metaflow.cards import MetaflowCardComponent

from rayon.cards_charts import Spec, bars, over_time, two_shares
from rayon.cards_layout import (
    Photo,
    Tile,
    Tone,
    chart,
    link,
    percent,
    photo_grid,
    section,
    shorten,
    style,
    table,
    tiles,
    verdict,
)

_CURVES = 6
_BARS = 40
_TOP = 5.0
_TITLES: Mapping[str, tuple[str, Tone]] = {
    "ok": ("Production looks like what the model was trained for.", "good"),
    "watch": ("Something has changed: worth a look, not yet a retraining.", "caution"),
    "retrain": ("Retrain: production is no longer what the model was trained for.", "bad"),
    "no data": ("There is nothing to judge yet.", "plain"),
    "too few rows": ("There are too few products to say anything.", "plain"),
}
NAMES = {
    "text_view": "texts",
    "photo_view": "photos",
    "text_novelty": "unlike texts",
    "photo_novelty": "unlike photos",
    "unknown_words": "unknown words",
    "predicted_mix": "predicted mix",
    "confidence": "confidence",
    "entropy": "doubt",
    "new_categories": "new categories",
    "accuracy": "accuracy",
    "estimated_macro_f1": "estimated macro-F1",
    "without_text": "without text",
    "without_description": "without description",
    "without_photo": "without photo",
    "text_length": "length of text",
    "brightness": "brightness",
    "sharpness": "sharpness",
    "language": "language",
    "repeated_content": "repeated contents",
    "most_repeated": "most repeated",
    "columns": "columns",
}
"""What comparisons are called in pictures and tables."""

_QUALITY = (
    "without_text",
    "without_description",
    "without_photo",
    "text_length",
    "language",
    "brightness",
    "sharpness",
    "repeated_content",
    "most_repeated",
    "columns",
)


class Report(NamedTuple):
    """The column-by-column report: its file, the command that opens it as a card, and why it is not what was asked for,
    '' where it is.
    """

    file: str
    command: str
    problem: str = ""


def monitor_card(
    judged: Mapping[str, Any],
    points: Sequence[Mapping[str, Any]],
    shown: Mapping[str, Any],
    report: Report,
    facts: Mapping[str, str],
) -> list[MetaflowCardComponent]:
    """Return the card of a monitoring run.

    Args:
        judged: what `rayon.monitoring.Judgement.as_dict` returns.
        points: earlier runs and this one, oldest first, as `rayon.monitor_run.make_point` makes them.
        shown: what `rayon.monitor_run.shown` returns.
        report: where the report is.
        facts: where it all comes from.
    """
    sentence, tone = _TITLES[judged["verdict"]]
    reasons = judged["reasons"] or ["Every comparison is within its limits."]
    parts: list[MetaflowCardComponent] = [style(), verdict(sentence, reasons, tone), tiles(_tiles(judged, shown))]
    if judged["records"]:
        parts += [
            *_drift(points),
            *_mix(shown),
            *_performance(points, judged),
            *_photos(shown["strangest"]),
            *_words(shown["new_words"], _sampled(judged)),
            *section(
                "Comparisons",
                "A difference counts where it is no chance (p, corrected for the number of tests) and large enough."
                + _of_sample(judged),
                _lines(judged["records"], quality=False),
            ),
            *section(
                "Data quality",
                "What the feed leaves out, repeats or does otherwise: worth a look, and mended by no retraining.",
                _lines(judged["records"], quality=True),
            ),
        ]
    parts += _column_by_column(report)
    return [*parts, *section("Details", "", table(["fact", "value"], list(facts.items())))]


def _tiles(judged: Mapping[str, Any], shown: Mapping[str, Any]) -> list[Tile]:
    facts, measured, estimated = judged["facts"], judged["measured"], judged["estimated"]
    numbers = [
        Tile("products", f"{facts['rows']:,}", f"against {facts['reference_rows']:,} in training's gold set"),
        Tile("refused", f"{shown['rejected']:,}", "rows that could not be scored"),
    ]
    if facts.get("repeated") is not None:
        numbers.append(Tile("repeated", percent(facts["repeated"]), "ids that came before"))
    if facts.get("repeated_content") is not None:
        share = percent(facts["repeated_content"])
        numbers.append(Tile("repeated contents", share, "text and photo of another id"))
    if estimated:
        value = estimated["macro_f1"]
        between = f"[{value['low']:.2f}, {value['high']:.2f}], advice: high under drift"
        numbers.append(Tile("estimated macro-F1", f"{value['value']:.2f}", between))
    if measured:
        value = measured["accuracy"]
        between = f"[{percent(value['low'])}, {percent(value['high'])}] by {facts['labels']:,} labels"
        numbers.append(Tile("accuracy", percent(value["value"]), between))
        error = f"{facts['estimation_error']:+.1%}"
        numbers.append(Tile("estimate off by", error, "confidence less accuracy by labels"))
    if facts.get("psi") is not None:
        numbers.append(Tile("PSI", f"{facts['psi']:.2f}", "of the mix; above .1 a shift, above .25 a large one"))
    return numbers


def drift_chart(points: Sequence[Mapping[str, Any]]) -> Spec:
    """Draw the largest differences of the last of some runs, over their limits, in all of them.

    Args:
        points: as `rayon.monitor_run.make_point` makes them, oldest first.
    """
    last = points[-1]["ratios"]
    names = sorted(last, key=lambda name: -last[name])[:_CURVES]
    curves = {
        NAMES.get(name, name): [
            (point["time"], min(max(point["ratios"][name], 0.0), _TOP)) for point in points if name in point["ratios"]
        ]
        for name in names
    }
    return over_time(curves, "difference / limit", 1.0)


def _drift(points: Sequence[Mapping[str, Any]]) -> list[MetaflowCardComponent]:
    about = (
        "Differences from training over their limits; above the dashed line one is worth a look if it is no chance. "
        f"{_TOP:g} stands for {_TOP:g} and more."
    )
    return section("Drift over time", about, chart(drift_chart(points)))


def _mix(shown: Mapping[str, Any]) -> list[MetaflowCardComponent]:
    now, then = shown["mix_now"], shown["mix_then"]
    names = sorted(now, key=lambda name: -max(now[name], then.get(name, 0.0)))
    shares = {name: (now[name], then.get(name, 0.0)) for name in names[:_BARS]}
    rest = f" The {len(names) - _BARS} smallest are not drawn." if len(names) > _BARS else ""
    about = f"What the model predicts now, beside what it predicted of its gold set.{rest}"
    return section("Mix then and now", about, chart(two_shares(shares, ("now", "in training"))))


def _performance(points: Sequence[Mapping[str, Any]], judged: Mapping[str, Any]) -> list[MetaflowCardComponent]:
    curves = {
        f"{name} {what}": [
            (point["time"], point[kind][key]["value"]) for point in points if point[kind] and point["rows"]
        ]
        for kind, what in (("measured", "by labels"), ("estimated", "estimated"))
        for key, name in (("accuracy", "accuracy"), ("macro_f1", "macro-F1"))
    }
    drawn = {name: line for name, line in curves.items() if line}
    about = (
        "By what people said, corrected for what they looked at; and estimated from the confidences, which stay high "
        "under drift."
    )
    if judged["measured"] is None:
        labels = judged["facts"]["labels"]
        about += f" {labels:,} labels have come in this window; to measure, some are needed of filed products too."
    return section("Accuracy over time", about, chart(over_time(drawn, "share, macro-F1"))) if drawn else []


def _photos(samples: Sequence[Mapping[str, Any]]) -> list[MetaflowCardComponent]:
    if not samples:
        return section("Photos least like training", "No run of this window kept photos.")
    photos = [
        Photo(
            sample["photo"],
            shorten(sample["title"] or sample["product_id"], 80),
            [
                ("plain", f"{sample['photo_novelty']:.1f} times as unlike as usual"),
                ("plain", f"{sample['category']}, {percent(sample['confidence'])} sure"),
            ],
        )
        for sample in samples
    ]
    return section("Photos least like training", "The least usual ones of the window.", photo_grid(photos))


def _sampled(judged: Mapping[str, Any]) -> bool:
    return bool(judged["facts"].get("sample", judged["facts"]["rows"]) < judged["facts"]["rows"])


def _of_sample(judged: Mapping[str, Any]) -> str:
    if not _sampled(judged):
        return ""
    facts = judged["facts"]
    return (
        f" Tests on a sample of {facts['sample']:,} of {facts['rows']:,} products, where distributions and positions "
        "are compared; mixes, shares, labels and repetitions are counted of all."
    )


def _words(words: Mapping[str, int], sampled: bool) -> list[MetaflowCardComponent]:
    if not words:
        return section("New words", "No word that is new to the model.")
    return section(
        "New words",
        f"Words the model never learnt, by the number of products that have them{' in the sample' if sampled else ''}.",
        chart(bars({word: float(count) for word, count in words.items()}, "products")),
    )  # fmt: skip


def _column_by_column(report: Report) -> list[MetaflowCardComponent]:
    title = "Column by column"
    if report.problem:
        return section(title, f"There is no report: {report.problem}.")
    about = (
        "Evidently's report of a sample, then and now; it illustrates and decides nothing. It is a card of this step "
        f"too: {report.command}"
    )
    if "://" in report.file:  # of a bucket, which no browser opens
        return section(title, about, table(["file"], [[report.file]]))
    where = "where this card is a file on the machine of the run, as `card view` opens it"
    return section(title, about, link(Path(report.file).as_uri(), "Open the report", where))


def _lines(records: Sequence[Mapping[str, Any]], quality: bool) -> MetaflowCardComponent:
    chosen = [_line(record) for record in records if (record["name"] in _QUALITY) == quality]
    return table(["what", "", "difference", "limit", "p", "in words"], chosen)


def _line(record: Mapping[str, Any]) -> list[str]:
    p = "" if record["p"] is None else "< .001" if record["p"] < 0.001 else f"{record['p']:.3f}"
    name = NAMES.get(record["name"], record["name"])
    grave = "" if record["severity"] == "ok" else record["severity"].upper()
    return [name, grave, f"{record['actual']:.3f}", f"{record['threshold']:.3f}", p, record["sentence"]]
