"""The app's charts: those of the cards, fitted to the page, and its own days. Vega-Lite, drawn by the browser."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from gradio.components.plot import PlotData
from scipy.stats import binomtest

from rayon.cards_charts import BLUE, GREEN, ORANGE
from rayon.feedback import Day

HALF, WHOLE = 350, 780  # pixels: gradio draws a chart that is as wide as its place into no width at all
_SCHEMA = "https://vega.github.io/schema/vega-lite/v5.json"  # the version that gradio's page draws with
_DAY = {"field": "day", "type": "ordinal", "title": None, "axis": {"labelAngle": 0, "labelOverlap": True}}


def fitted(spec: Mapping[str, Any], width: int) -> PlotData:
    """Return a Vega-Lite chart as gradio's plot takes it, `width` pixels wide without its axis."""
    padding = {"top": 38, "left": 8, "right": 12, "bottom": 8}  # the component's label lies upon the top
    return PlotData(type="altair", plot=json.dumps({**spec, "width": width, "padding": padding, "$schema": _SCHEMA}))


def traffic_by_day(days: Sequence[Day]) -> dict[str, Any]:
    """Draw the predictions of each day, those to be reviewed upon those accepted."""
    rows = [
        {"day": day.day, "decision": decision, "products": count}
        for day in days
        for decision, count in (("accept", day.accepted), ("review", day.predictions - day.accepted))
    ]
    return {
        "data": {"values": rows},
        "height": 220,
        "mark": {"type": "bar", "size": 18, "tooltip": True},
        "encoding": {
            "x": _DAY,
            "y": {"field": "products", "type": "quantitative", "axis": {"tickMinStep": 1}},
            "color": {
                "field": "decision",
                "type": "nominal",
                "title": None,
                "legend": {"orient": "top"},
                "scale": {"domain": ["accept", "review"], "range": [GREEN, ORANGE]},
            },
        },
    }


def accuracy_by_day(days: Sequence[Day]) -> dict[str, Any]:
    """Draw the share of commented predictions that people found right, with 95% intervals (Wilson)."""
    rows = []
    for day in days:
        if day.commented:
            interval = binomtest(day.right, day.commented).proportion_ci(method="wilson")
            share = day.right / day.commented
            rows.append({"day": day.day, "right": share, "low": interval.low, "high": interval.high})
    axis: dict[str, Any] = {
        "type": "quantitative",
        "title": None,
        "scale": {"domain": [0, 1]},
        "axis": {"format": "%"},
    }
    return {
        "data": {"values": rows},
        "height": 220,
        "layer": [
            {
                "mark": {"type": "rule", "color": BLUE, "opacity": 0.5, "strokeWidth": 3},
                "encoding": {"x": _DAY, "y": {"field": "low", **axis}, "y2": {"field": "high"}},
            },
            {
                "mark": {"type": "point", "filled": True, "size": 90, "color": BLUE, "opacity": 1, "tooltip": True},
                "encoding": {"x": _DAY, "y": {"field": "right", **axis}},
            },
        ],
    }
