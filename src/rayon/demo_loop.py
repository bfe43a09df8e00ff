"""The whole loop in one sitting: train, serve, drift, notice, learn from people, gate, promote, recover.

    python -m rayon demo-loop

Generated traffic instead of customers, one lot a simulated day; all else is what production runs. Knows the loop and
the replay; what it leaves is a table and a picture.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from metaflow import Run, namespace

from rayon.champions import champion
from rayon.config import Config
from rayon.data.synthetic import Drift
from rayon.feedback import open_store
from rayon.loop import run_pass
from rayon.preparing import RayonError
from rayon.registry import find_model, find_version
from rayon.replay import Crowd, replay
from rayon.score_run import open_predictor

_BEYOND = 100_000  # rows of the generator that no catalogue of the demo holds


class Story(NamedTuple):
    """So many days of so many products; from the day `drift_from` on the products have drifted."""

    days: int
    size: int
    drift: Drift
    drift_from: int
    crowd: Crowd = Crowd()


class Day(NamedTuple):
    """A day: which model served, whether its products had drifted, how they were judged, what the monitor said, how far
    the largest difference was beyond its limit, and which model was promoted at its end ('' for none).
    """

    day: int
    model: str
    drifted: bool
    products: int
    accuracy: float
    accepted: float
    labelled: int
    verdict: str
    alarm: float
    reasons: str
    promoted: str


def play(story: Story, config: Config, experiment: Path, flows: Path, tell: Callable[[str], None]) -> Iterator[Day]:
    """Play the story day by day; the first pass trains where there is no model yet.

    Raises:
        RayonError: the catalogue was not generated, or a flow failed.
    """
    settings = config.catalog.synthetic
    if settings is None:
        raise RayonError("the demonstration needs a generated catalogue: choose an experiment with catalog.synthetic.")
    if champion(config.name) is None:
        run_pass(config, experiment, flows, tell)
    store, now = open_store(config), find_version("", config.name)
    predictor = open_predictor(find_model(now, config.name), config)
    try:
        for day in range(1, story.days + 1):
            if now != predictor.version:
                predictor = open_predictor(find_model(now, config.name), config)
            drift = story.drift if day >= story.drift_from else None
            first = _BEYOND + day * story.size
            done = replay(range(first, first + story.size), settings, drift, predictor, store, story.crowd)
            tell(
                f"day {day}: {done.products} products, {done.right:.0%} right, {done.accepted:.0%} filed, "
                f"{done.labelled} labelled by people"
            )
            passed = run_pass(config, experiment, flows, tell)
            verdict = _verdict(passed.runs)
            now = find_version("", config.name)
            yield Day(
                day,
                predictor.version,
                drift is not None,
                done.products,
                done.right,
                done.accepted,
                done.labelled,
                str(verdict.get("verdict", "")),
                max(verdict.get("ratios", {}).values(), default=0.0),
                "; ".join(verdict.get("reasons", [])[:2]),
                now if now != predictor.version else "",
            )
    finally:
        store.close()


def recovered(days: Sequence[Day]) -> float:
    """Return the share of the lost accuracy that came back: the last day against the worst drifted one, in parts of
    what was lost since the days before the drift.
    """
    before = [day.accuracy for day in days if not day.drifted]
    after = [day.accuracy for day in days if day.drifted]
    if not before or not after:
        return float("nan")
    usual, worst = sum(before) / len(before), min(after)
    return (after[-1] - worst) / max(usual - worst, 1e-9)


def write_table(days: Sequence[Day], file: Path) -> None:
    """Write the days as CSV."""
    with open(file, "w", encoding="utf-8", newline="") as target:
        writer = csv.writer(target)
        writer.writerow(Day._fields)
        writer.writerows(days)


def draw(days: Sequence[Day], file: Path) -> None:
    """Draw accuracy and alarm over the days as a PNG."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 5.6), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[2, 1])
    x = [day.day for day in days]
    upper.plot(x, [day.accuracy for day in days], "o-", color="#2563eb", label="really right")
    upper.plot(x, [day.accepted for day in days], "o--", color="#9ca3af", label="filed without a human")
    upper.set(ylim=(0, 1.02), ylabel="share of the day's products")
    colours = {"ok": "#059669", "watch": "#d97706", "retrain": "#dc2626"}
    lower.bar(x, [day.alarm for day in days], color=[colours.get(day.verdict, "#9ca3af") for day in days], width=0.6)
    lower.axhline(1.0, color="#374151", linewidth=1, linestyle=":")
    lower.set(ylabel="drift, in limits", xlabel="day", xticks=x)
    for day in days:
        lower.annotate(day.verdict, (day.day, day.alarm), ha="center", va="bottom", fontsize=8)
        if day.promoted:
            for axis in (upper, lower):
                axis.axvline(day.day + 0.5, color="#059669", linewidth=1.5)
            upper.annotate("new champion", (day.day + 0.5, 0.04), rotation=90, ha="right", fontsize=8, color="#059669")
    drifted = [day.day for day in days if day.drifted]
    if drifted:
        for axis in (upper, lower):
            axis.axvspan(drifted[0] - 0.5, x[-1] + 0.5, color="#fef3c7", zorder=0)
        upper.annotate("drifted products", (drifted[0] - 0.4, 0.97), va="top", fontsize=8, color="#92400e")
    upper.legend(loc="lower left", frameon=False)
    figure.savefig(file, dpi=120)


def _verdict(runs: Sequence[str]) -> dict[str, Any]:
    """What the day's look at production said, with how far each comparison was beyond its limit."""
    namespace(None)
    found = next((run for run in runs if run.startswith("MonitorFlow/")), None)
    if found is None:
        return {}
    data: Any = Run(found).data
    return {**data.verdict, "ratios": data.point["ratios"]}
