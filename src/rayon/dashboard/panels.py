"""The kinds of panels that dashboards are made of, each of some keys. Knows W&B's library of panels, and no chapter."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rayon.tracking.keys import STEP, TIME

MANY = 20
"""Runs that a panel shows at most."""

_COLUMNS = 24
"""Of a report's grid of panels."""

_HEIGHT = 9


def lines(title: str, *keys: str, x: str = STEP, runs: int = MANY) -> Any:
    """Curves, one a key and run, along the axis `x`."""
    return _plot(title, x, runs, list(keys), None)


def pattern(title: str, regex: str, x: str, runs: int) -> Any:
    """Curves of all keys that a regular expression matches, along the axis `x`."""
    return _plot(title, x, runs, [], regex)


def _plot(title: str, x: str, runs: int, keys: list[Any], regex: str | None) -> Any:
    import wandb_workspaces.reports.v2 as wr

    return wr.LinePlot(
        title=title,
        x=x,
        y=keys,
        metric_regex=regex,
        max_runs_to_show=runs,
        xaxis_format="datetime" if x == TIME else None,
        title_x="window judged" if x == TIME else "optimiser steps",
        layout=_half(),
    )


def bars(title: str, *keys: str) -> Any:
    """Bars, one a key and run."""
    import wandb_workspaces.reports.v2 as wr

    return wr.BarPlot(title=title, metrics=list(keys), max_runs_to_show=MANY, layout=_half())


def over_time(title: str, key: str) -> Any:
    """A point a run: when it was, and its final value of a key."""
    import wandb_workspaces.reports.v2 as wr

    return wr.ScatterPlot(title=title, x=wr.Metric("CreatedTimestamp"), y=wr.SummaryMetric(key), layout=_half())


def scatter(title: str, x: str, y: str) -> Any:
    """A point a run: its final values of two keys."""
    import wandb_workspaces.reports.v2 as wr

    return wr.ScatterPlot(title=title, x=wr.SummaryMetric(x), y=wr.SummaryMetric(y), layout=_half())


def differences() -> Any:
    """What differs between runs, settings and results, side by side."""
    import wandb_workspaces.reports.v2 as wr

    return wr.RunComparer(diff_only="split", layout=_wide())


def table(key: str) -> Any:
    """The tables that runs logged under a key."""
    import wandb_workspaces.reports.v2 as wr

    return wr.WeavePanelSummaryTable(table_name=key, layout=_wide())


def chart(key: str, kind: str, columns: Sequence[str], wide: bool = False, **strings: str) -> Any:
    """One of W&B's own charts, `kind`, of the table that runs logged with the chart `key`.

    `columns` are those of the table, as the chart asks for them.
    """
    import wandb_workspaces.reports.v2 as wr

    # empty dicts and in this order, as a run's own panel has it
    query: dict[str, Any] = {"id": {}, "name": {}, "summaryTable": {"tableKey": f"{key}_table"}}
    fields, layout = {column: column for column in columns}, _wide() if wide else _half()
    return wr.CustomChart(query=query, chart_name=kind, chart_fields=fields, chart_strings=strings, layout=layout)


def _half() -> Any:
    import wandb_workspaces.reports.v2 as wr

    return wr.Layout(w=_COLUMNS // 2, h=_HEIGHT)


def _wide() -> Any:
    import wandb_workspaces.reports.v2 as wr

    return wr.Layout(w=_COLUMNS, h=2 * _HEIGHT)
