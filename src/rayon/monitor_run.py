"""A monitoring run: what is compared with what, what earlier runs found, what is told of it.

Brings together the registry, production and the verdict; the flow stores what comes back. It starts nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from metaflow import Run

from rayon.champions import finished_runs, runs_tagged, started
from rayon.commands import flow_command
from rayon.measures import mix_of
from rayon.monitoring import NO_DATA, OK, RETRAIN, TOO_FEW, WATCH, Judgement, judge
from rayon.monitoring_config import Monitoring
from rayon.production import Production
from rayon.reference import Reference
from rayon.tracking import TrackedRun
from rayon.window import Window, open_window

POINTS = 30
"""How many earlier runs are read, for the history and the charts."""

_ASIDE = 20
_TOUCHING = 1 / 20  # of the shorter window two may share: schedules are not to the second
_TELLING = (OK, WATCH, RETRAIN)  # windows of nothing say nothing


class Compared(NamedTuple):
    """A window and its reference, opened, and the verdict on it."""

    reference: Window
    current: Window
    judged: Judgement


def monitor_tag(name: str) -> str:
    """Return the tag of the runs that judged a window of catalogue `name`."""
    return f"monitor:{name}"


def open_both(reference: Reference, production: Production) -> tuple[Window, Window]:
    """Return reference and current, opened; current has no products where production has none, and a sample of them
    where there are very many.

    Raises:
        WindowError: production's table is no table of predictions.
    """
    table = production.table if production.table.num_rows else reference.table.slice(0, 0)
    then, now = (open_window(each, reference.categories) for each in (reference.table, table))
    return then, now._replace(whole=production.whole)


def judge_window(
    reference: Reference, production: Production, settings: Monitoring, past: Sequence[Mapping[str, Any]]
) -> Compared:
    """Judge production against a reference, with what earlier windows of the same model asked for, oldest first."""
    then, now = open_both(reference, production)
    said = [str(point["alone"]) for point in reversed(past) if point["model"] == reference.model]
    alone = [verdict for verdict in said if verdict in _TELLING]
    judged = judge(then, now, reference.categories, settings, alone, columns=production.columns)
    if judged.verdict == NO_DATA and production.others:
        by = ", ".join(f"{count:,} by {version}" for version, count in sorted(production.others.items()))
        more = f"there are predictions, but none by {reference.model}: {by}; compare with another model by --model"
        judged = judged._replace(reasons=(more,))
    return Compared(then, now, judged)


def make_point(
    run: str, reference: Reference, production: Production, judged: Judgement, span: Sequence[str] = ()
) -> dict[str, Any]:
    """Return what a run adds to the history, as plain data. `span` is begin and end of a window of time, ISO; a run or
    a file that was named has none.
    """
    return {
        "run": run,
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "model": reference.model,
        "key": production.key,
        "span": list(span),
        "verdict": judged.verdict,
        "alone": judged.alone,
        "rows": judged.facts["rows"],
        "ratios": {record.name: record.actual / record.threshold for record in judged.records},
        "measured": judged.as_dict()["measured"],
        "estimated": judged.as_dict()["estimated"],
    }


def past_points(name: str, key: str) -> list[dict[str, Any]]:
    """Return what earlier monitoring runs of catalogue `name` found, oldest first, at most `POINTS` of them.

    Runs that judged the very same predictions (`key`) are left out: looking twice is no second alarm.
    """
    points: dict[str, dict[str, Any]] = {}
    for point in _points(name):
        if point["key"] != key:
            points.setdefault(point["key"], point)
        if len(points) == POINTS:
            break
    return list(points.values())[::-1]


def windows_before(name: str, model: str, span: Sequence[str], most: int) -> list[dict[str, Any]]:
    """Return what at most `most` earlier windows of time said of a model, oldest first: the newest that share no time
    with `span` (begin and end, ISO) nor with each other.

    So a batch of products is in one of them, however often production is looked at. Looks at runs or files that were
    named, and those of versions that kept no span, are not among them. Reads `POINTS` runs at most: beyond a model's
    own windows are those of the models before it.
    """
    points: list[dict[str, Any]] = []
    read = 0
    begin, length = _begin_and_length(span)
    for run in runs_tagged("MonitorFlow", monitor_tag(name)):
        if len(points) == most or read == POINTS:
            break
        # a window ends when its run begins: of the many that are too late nothing more is read
        if started(run) - begin > length * _TOUCHING or not run.successful:
            continue
        read += 1
        point = _point(run)
        if point is None or point["model"] != model or point["alone"] not in _TELLING or not point.get("span"):
            continue
        earlier, its_length = _begin_and_length(point["span"])
        if earlier + its_length - begin <= min(length, its_length) * _TOUCHING:
            points.append(point)
            begin, length = earlier, its_length
    return points[::-1]


def last_look(name: str) -> datetime | None:
    """Return when the newest finished run began that looked at a window of time of catalogue `name`, None where there
    is none: a run or a file that was named is not what production does.
    """
    for run in finished_runs("MonitorFlow", monitor_tag(name)):
        point = _point(run)
        if point is not None and point.get("span"):
            return started(run)
    return None


def _begin_and_length(span: Sequence[str]) -> tuple[datetime, timedelta]:
    begin, end = (datetime.fromisoformat(moment) for moment in span)
    return begin, end - begin


def latest(name: str) -> dict[str, Any] | None:
    """Return the newest finished monitoring run of catalogue `name`: `run`, `verdict`, `reasons` and the `points` so
    far, oldest first. None where there is none.
    """
    for run in finished_runs("MonitorFlow", monitor_tag(name)):
        judged = run["judge"].task["verdict"].data  # type: ignore[index]
        points = past_points(name, "")
        return {"run": run.pathspec, "verdict": judged["verdict"], "reasons": judged["reasons"], "points": points}
    return None


def _points(name: str) -> Iterator[dict[str, Any]]:
    for run in finished_runs("MonitorFlow", monitor_tag(name)):
        if (point := _point(run)) is not None:
            yield point


def _point(run: Run) -> dict[str, Any] | None:
    task = run["judge"].task
    if task is None or "point" not in task:
        return None
    point: dict[str, Any] = task["point"].data
    return point


def tracked_values(point: Mapping[str, Any]) -> dict[str, float]:
    """Return a point of the history under the keys that every W&B run of monitoring uses."""
    grades = {OK: 0, WATCH: 1, RETRAIN: 2}
    values = {f"monitor/drift/{name}": float(ratio) for name, ratio in point["ratios"].items()}
    values["monitor/rows"] = float(point["rows"])
    if point["verdict"] in grades:
        values["monitor/verdict"] = float(grades[point["verdict"]])
    for kind in ("measured", "estimated"):
        for name, interval in (point[kind] or {}).items():
            values[f"monitor/{kind}_{name}"] = float(interval["value"])
    return values


def log_windows(run: TrackedRun, past: Sequence[Mapping[str, Any]], point: Mapping[str, Any]) -> None:
    """Log the windows so far to a W&B run, each at its time, and this one as the run's summary."""
    for one in (*past, point):
        run.log(tracked_values(one), datetime.fromisoformat(one["time"]).timestamp())
    run.summary({**tracked_values(point), "monitor/said": point["verdict"]})


def shown(compared: Compared, production: Production, categories: Sequence[str]) -> dict[str, Any]:
    """Return what the card draws beside the verdict, as plain data: mix then and now, new words, strange photos."""
    mixes = {}
    for name, window in (("then", compared.reference), ("now", compared.current)):
        counts = mix_of(window.counted(), categories)
        mixes[name] = {
            category: float(count) / max(int(counts.sum()), 1)
            for category, count in zip(categories, counts, strict=True)
        }
    usual = compared.reference.new_words
    words = {word: count for word, count in compared.current.new_words.items() if word not in usual}
    return {
        "mix_then": mixes["then"],
        "mix_now": mixes["now"],
        "new_words": dict(list(words.items())[:_ASIDE]),
        "strangest": production.strangest,
        "others": production.others,
        "rejected": production.rejected,
    }


def view_command(run_id: str, card: str) -> str:
    """Return the command that opens a card of a monitoring run: 'monitor' or 'report'."""
    return f"python flows/monitor_flow.py card view {run_id}/end --id {card}"


def closing_lines(judged: Mapping[str, Any], sources: Sequence[str], run_id: str, report: str) -> list[str]:
    """Return the lines that end a run: the verdict, its reasons, where to look, what next."""
    rows = judged["facts"]["rows"]
    reasons = judged["reasons"] or ["every comparison is within its limits"]
    return [
        f"verdict   {judged['verdict']}: {rows:,} products from {len(sources)} source{'s'[: len(sources) != 1]}",
        *(f"because   {reason}" for reason in reasons[:5]),
        f"look at   {view_command(run_id, 'monitor')}",
        f"report    {report}",
        f"next      {_next(judged['verdict'])}",
    ]


def _next(verdict: str) -> str:
    """Return what to do after a verdict."""
    return {
        OK: "nothing",
        WATCH: "look at the card; monitor again when there is more",
        RETRAIN: f"{flow_command('preprocess')}, then {flow_command('train')}, with new labelled products",
        NO_DATA: flow_command("score", "run --input new.csv"),
        TOO_FEW: "a longer --window, or more products",
    }[verdict]
