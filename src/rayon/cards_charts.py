"""The charts of the cards, as Vega-Lite specifications.

Knows numbers and how to draw them; it knows neither Metaflow nor what a number is good for. A specification is a plain
dict that JSON can hold (no NaN), is as wide as its place, and holds no HTML: category names are drawn as they are.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rayon.calibration import ReliabilityBin
from rayon.evaluation import Interval, most_confused

Spec = dict[str, Any]

BLUE, GREEN, ORANGE, RED, GREY, INK = "#2563eb", "#059669", "#d97706", "#dc2626", "#9ca3af", "#374151"
PALE = "#eff4fd"
_STEP = 20
_PERCENT = {"format": "%"}
_LOOKS = {
    "font": "Roboto, system-ui, sans-serif",
    "view": {"stroke": None},
    "axis": {
        "labelColor": INK,
        "titleColor": INK,
        "labelFontSize": 12,
        "titleFontSize": 12,
        "titleFontWeight": "normal",
        "gridColor": "#eef0f3",
        "domainColor": "#d1d5db",
        "tickColor": "#d1d5db",
        "labelLimit": 150,
    },
    "legend": {"labelFontSize": 12, "title": None, "orient": "top", "labelLimit": 220},
}


def bars(
    values: Mapping[str, float],
    title: str,
    format: str = ",d",
    colours: Mapping[str, str] | None = None,
    top: float | None = None,
    notes: Mapping[str, str] | None = None,
) -> Spec:
    """Draw a horizontal bar for each name, in the order given, with its value beside it.

    Args:
        format: of the values, as d3 writes it: ',d' for counts, '.3f', '.0%'.
        colours: of single bars; the others are blue.
        top: where the axis ends; None for just beyond the longest bar.
        notes: what to show of a name when it is pointed at.
    """
    rows = [
        {"name": name, "value": value, "colour": (colours or {}).get(name, BLUE), "note": (notes or {}).get(name, "")}
        for name, value in values.items()
    ]
    # Room for the number beside the longest bar.
    end = top if top is not None else max([*values.values(), 1e-9]) * 1.25
    tooltip = [_field("name", "nominal", title="name"), _field("value", "quantitative", title=title, format=format)]
    if notes:
        tooltip.append(_field("note", "nominal", title="of which"))
    x = _field(
        "value",
        "quantitative",
        title=title,
        scale={"domain": [0, end], "nice": False},
        axis={"format": format, "tickCount": 5},
    )
    y = _field("name", "nominal", title=None, sort=None)
    colour = {"field": "colour", "type": "nominal", "scale": None}
    return _chart(rows, _STEP * len(rows), [
        {"mark": {"type": "bar", "cornerRadiusEnd": 2, "height": {"band": 0.72}},
         "encoding": {"x": x, "y": y, "color": colour, "tooltip": tooltip}},
        {"mark": {"type": "text", "align": "left", "dx": 4, "fontSize": 11, "color": INK},
         "encoding": {"x": x, "y": y, "text": _field("value", "quantitative", format=format)}},
    ])  # fmt: skip


def two_shares(shares: Mapping[str, tuple[float, float]], names: tuple[str, str]) -> Spec:
    """Draw two shares, in [0, 1], of each category side by side, in the order given: what is and what was."""
    rows = [
        {"category": category, "which": which, "share": share}
        for category, both in shares.items()
        for which, share in zip(names, both, strict=True)
    ]
    encoding = {
        "x": _field("share", "quantitative", title="share of the products", axis=_PERCENT),
        "y": _field("category", "nominal", title=None, sort=None),
        "yOffset": _field("which", "nominal", sort=list(names)),
        "color": {"field": "which", "type": "nominal", "scale": {"domain": list(names), "range": [BLUE, GREY]}},
        "tooltip": [_field("category", "nominal"), _field("which", "nominal", title="where"),
                    _field("share", "quantitative", format=".1%")],
    }  # fmt: skip
    return _chart(rows, _STEP * len(rows), [{"mark": {"type": "bar", "cornerRadiusEnd": 2}, "encoding": encoding}])


def histogram(counts: Sequence[int], threshold: float) -> Spec:
    """Draw products by confidence, `counts` in equally wide bins over [0, 1], with the threshold of what is filed."""
    width = 1.0 / len(counts)
    rows = [
        {"low": place * width, "high": (place + 1) * width, "products": count} for place, count in enumerate(counts)
    ]
    x = _field("low", "quantitative", title="confidence", scale={"domain": [0, 1]}, axis=_PERCENT)
    y = _field("products", "quantitative", title="products")
    tooltip = [
        _field("low", "quantitative", title="from", format=".0%"),
        _field("products", "quantitative", format=","),
    ]
    bar = {"x": x, "x2": {"field": "high"}, "y": y, "y2": {"datum": 0}, "tooltip": tooltip, "color": {"value": BLUE}}
    layers: list[Spec] = [{"mark": {"type": "bar", "binSpacing": 1}, "encoding": bar}]
    if threshold <= 1.0:
        mark = {"type": "rule", "color": GREEN, "strokeWidth": 2, "strokeDash": [5, 3]}
        layers.append({"mark": mark, "encoding": {"x": {"datum": threshold, "type": "quantitative"}}})
    return _chart(rows, 180, layers)


def intervals(values: Mapping[str, Interval], selected: str, title: str) -> Spec:
    """Draw each name's value as a point upon its 95% interval; the selected one stands out."""
    rows = [
        {
            "name": name,
            "value": i.value,
            "low": i.low,
            "high": i.high,
            "kind": "selected" if name == selected else "other",
        }
        for name, i in values.items()
    ]
    scale = {"zero": False, "padding": 14}
    x = _field("value", "quantitative", title=title, scale=scale)
    y = _field("name", "nominal", title=None, sort=None)
    colour = {"field": "kind", "type": "nominal", "legend": None,
              "scale": {"domain": ["selected", "other"], "range": [BLUE, GREY]}}  # fmt: skip
    tooltip = [_field("name", "nominal"), *(_field(n, "quantitative", format=".3f") for n in ("value", "low", "high"))]
    shared = {"y": y, "color": colour, "tooltip": tooltip}
    return _chart(rows, 40 * len(rows), [
        {"mark": {"type": "rule", "strokeWidth": 3, "opacity": 0.55},
         "encoding": {"x": _field("low", "quantitative", scale=scale, title=title), "x2": {"field": "high"}, **shared}},
        {"mark": {"type": "point", "filled": True, "size": 110, "opacity": 1}, "encoding": {"x": x, **shared}},
        {"mark": {"type": "text", "dy": -13, "fontSize": 12, "color": INK},
         "encoding": {"x": x, "y": y, "text": _field("value", "quantitative", format=".3f")}},
    ])  # fmt: skip


def reliability_diagram(bins: Sequence[ReliabilityBin]) -> Spec:
    """Draw accuracy against confidence; a point's area is its number of products, the dashed line is honesty."""
    rows = [
        {"confidence": b.confidence, "accuracy": b.accuracy, "gap": b.accuracy - b.confidence, "products": b.products}
        for b in bins
    ]
    unit = {"domain": [0, 1]}
    x = _field("confidence", "quantitative", title="confidence", scale=unit, axis=_PERCENT)
    y = _field("accuracy", "quantitative", title="really right", scale=unit, axis=_PERCENT)
    tooltip = [
        _field("products", "quantitative", format=","),
        *(_field(name, "quantitative", format=".1%") for name in ("confidence", "accuracy")),
        _field("gap", "quantitative", format="+.1%"),
    ]
    size = _field("products", "quantitative", scale={"range": [40, 900]}, legend=None)
    ends = {"values": [{"at": 0}, {"at": 1}]}
    return _chart(rows, 300, [
        {"data": ends, "mark": {"type": "line", "strokeDash": [5, 5], "color": GREY},
         "encoding": {"x": _field("at", "quantitative"), "y": _field("at", "quantitative")}},
        {"mark": {"type": "line", "color": BLUE, "strokeWidth": 2}, "encoding": {"x": x, "y": y}},
        {"mark": {"type": "point", "filled": True, "color": BLUE, "opacity": 0.75},
         "encoding": {"x": x, "y": y, "size": size, "tooltip": tooltip}},
    ])  # fmt: skip


def confidence_counts(bins: Sequence[ReliabilityBin]) -> Spec:
    """Draw how many products there are at each confidence."""
    rows = [{"low": b.low, "high": b.high, "products": b.products} for b in bins]
    x = _field("low", "quantitative", title="confidence", scale={"domain": [0, 1]}, axis=_PERCENT, bin="binned")
    y = _field("products", "quantitative", axis={"tickCount": 3, "format": ",d"})
    tooltip = [_field("low", "quantitative", format=".0%"), _field("high", "quantitative", format=".0%"),
               _field("products", "quantitative", format=",")]  # fmt: skip
    encoding = {"x": x, "x2": {"field": "high"}, "y": y, "tooltip": tooltip}
    return _chart(rows, 90, [{"mark": {"type": "bar", "color": "#93b4f5"}, "encoding": encoding}])


def coverage_curve(curve: Mapping[str, Sequence[float]], targets: Mapping[str, float]) -> Spec:
    """Draw precision against the share filed, the surest first, with a point where each target ('0.95') is left."""
    rows = [{"coverage": c, "precision": p} for c, p in zip(curve["coverage"], curve["precision"], strict=True)]
    marks = [
        {"coverage": share, "precision": float(target), "label": f"{share:.0%} at {float(target) * 100:g}%"}
        for target, share in targets.items()
        if share > 0
    ]
    # The first few products decide nothing, yet one mistake among them would stretch the axis down to zero.
    bottom = min([row["precision"] for row in rows if row["coverage"] >= 0.05] or [0.0])
    floor = math.floor(bottom * 20) / 20
    scale = {"domain": [floor, 1], "clamp": True}
    x = _field(
        "coverage",
        "quantitative",
        title="filed without a human, the surest first",
        axis=_PERCENT,
        scale={"domain": [0, 1]},
    )
    y = _field("precision", "quantitative", title="of which right", axis=_PERCENT, scale=scale)
    tooltip = [_field("coverage", "quantitative", format=".1%"), _field("precision", "quantitative", format=".1%")]
    return _chart(rows, 280, [
        {"mark": {"type": "line", "color": BLUE, "strokeWidth": 2.5, "clip": True},
         "encoding": {"x": x, "y": y, "tooltip": tooltip}},
        {"data": {"values": marks}, "mark": {"type": "rule", "strokeDash": [4, 4], "color": GREEN},
         "encoding": {"x": _field("coverage", "quantitative"), "y": y, "y2": {"datum": floor}}},
        {"data": {"values": marks}, "mark": {"type": "point", "filled": True, "size": 90, "color": GREEN, "opacity": 1},
         "encoding": {"x": _field("coverage", "quantitative"), "y": y, "tooltip": tooltip}},
        {"data": {"values": marks},
         "mark": {"type": "text", "align": {"expr": "datum.coverage < 0.3 ? 'left' : 'right'"},
                  "dx": {"expr": "datum.coverage < 0.3 ? 8 : -8"}, "dy": {"expr": "datum.coverage < 0.3 ? 32 : 14"},
                  "fontSize": 12, "color": GREEN},
         "encoding": {"x": _field("coverage", "quantitative"), "y": y, "text": {"field": "label"}}},
    ])  # fmt: skip


def heat_map(matrix: Sequence[Sequence[int]], categories: Sequence[str], limit: int = 40) -> Spec:
    """Draw a (C, C) confusion matrix, each row's colours by its shares; categories that are confused stand together.

    Beyond `limit` categories, those with most mistakes are drawn.
    """
    counts = np.asarray(matrix, dtype=np.float64)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    order = confused_together(counts, limit)
    rows = [
        {
            "truth": categories[i],
            "predicted": categories[j],
            "share": round(float(shares[i, j]), 4),
            "count": int(counts[i, j]),
        }
        for i in order
        for j in order
        if counts[i, j]
    ]
    names = [categories[i] for i in order]
    scale = {"domain": names}
    tooltip = [
        _field("truth", "nominal"),
        _field("predicted", "nominal"),
        _field("count", "quantitative", title="products", format=","),
        _field("share", "quantitative", format=".1%"),
    ]
    encoding = {
        "x": _field("predicted", "nominal", title="predicted", scale=scale,
                    axis={"labelAngle": -90, "labelLimit": 110, "labelFontSize": 10, "labelOverlap": "greedy"}),
        "y": _field("truth", "nominal", title="true", scale=scale,
                    axis={"labelLimit": 110, "labelFontSize": 10}),
        "color": _field("share", "quantitative", scale={"domain": [0, 1], "range": [PALE, "#1e40af"]}, legend=None),
        "tooltip": tooltip,
    }  # fmt: skip
    return _chart(rows, max(220, 16 * len(names)), [{"mark": "rect", "encoding": encoding}])


def curves(history: Sequence[Mapping[str, float]], names: Mapping[str, str], title: str) -> Spec:
    """Draw columns of a training's history, a point an epoch; `names` maps a column to what it is called.

    What an epoch lacks, or is not finite, is left out.
    """
    rows = [
        {"epoch": row["epoch"] + 1, "curve": called, "value": row[column]}
        for row in history
        for column, called in names.items()
        if column in row and math.isfinite(row[column])
    ]
    x = _field("epoch", "quantitative", title="epoch", axis={"tickMinStep": 1, "format": "d"}, scale={"zero": False})
    y = _field("value", "quantitative", title=title, scale={"zero": False})
    colour = {"field": "curve", "type": "nominal", "scale": {"domain": list(names.values()), "range": [BLUE, ORANGE]}}
    tooltip = [
        _field("curve", "nominal"),
        _field("epoch", "quantitative"),
        _field("value", "quantitative", format=".4f"),
    ]
    mark = {"type": "line", "point": {"size": 45, "filled": True}, "strokeWidth": 2}
    return _chart(rows, 200, [{"mark": mark, "encoding": {"x": x, "y": y, "color": colour, "tooltip": tooltip}}])


def over_time(values: Mapping[str, Sequence[tuple[str, float]]], title: str, line: float | None = None) -> Spec:
    """Draw curves over time: by name, (ISO time, value) pairs. A dashed line stands at `line`."""
    rows = [
        {"time": time, "curve": name, "value": round(value, 5)}
        for name, points in values.items()
        for time, value in points
        if math.isfinite(value)
    ]
    palette = [BLUE, ORANGE, GREEN, RED, INK, GREY]
    scale = {"domain": list(values), "range": [palette[i % len(palette)] for i in range(len(values))]}
    x = _field("time", "temporal", title=None, axis={"labelAngle": 0, "tickCount": 6})
    y = _field("value", "quantitative", title=title, scale={"zero": line is not None})
    tooltip = [_field("curve", "nominal"), _field("time", "temporal", format="%Y-%m-%d %H:%M"),
               _field("value", "quantitative", format=".3f")]  # fmt: skip
    colour = {"field": "curve", "type": "nominal", "scale": scale}
    mark = {"type": "line", "point": {"size": 45, "filled": True}, "strokeWidth": 2}
    layers: list[Spec] = [{"mark": mark, "encoding": {"x": x, "y": y, "color": colour, "tooltip": tooltip}}]
    if line is not None:
        rule = {"type": "rule", "color": RED, "strokeWidth": 1.5, "strokeDash": [5, 3]}
        layers.append({"mark": rule, "encoding": {"y": {"datum": line, "type": "quantitative"}}})
    return _chart(rows, 240, layers)


def confused_together(counts: NDArray[np.floating], limit: int) -> list[int]:
    """Order the categories of a (C, C) confusion matrix so that those taken for one another are neighbours (average
    linkage, optimal leaf order). Beyond `limit` categories, those with most mistakes are kept.
    """
    chosen = most_confused(counts, limit)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    return [int(chosen[place]) for place in _together(shares[np.ix_(chosen, chosen)])]


def _chart(rows: Sequence[Mapping[str, Any]], height: int, layers: Sequence[Spec]) -> Spec:
    return {
        "$schema": "https://vega.github.io/schema/vega-lite/v6.json",
        "width": "container",
        "height": height,
        "data": {"values": list(rows)},
        "layer": list(layers),
        "config": _LOOKS,
    }


def _field(name: str, kind: str, **options: Any) -> Spec:
    return {"field": name, "type": kind, **options}


def _together(shares: NDArray[np.float64]) -> list[int]:
    if len(shares) < 3:
        return list(range(len(shares)))
    from scipy.cluster.hierarchy import leaves_list, linkage  # this chart alone needs them
    from scipy.spatial.distance import squareform

    distance = 1.0 - np.clip((shares + shares.T) / 2, 0.0, 1.0)
    np.fill_diagonal(distance, 0.0)
    tree = linkage(squareform(distance, checks=False), "average", optimal_ordering=True)
    order: list[int] = leaves_list(tree).tolist()
    return order
