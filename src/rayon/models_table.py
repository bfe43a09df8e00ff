"""The table of all models of a catalogue: what the command line prints, and the app and notebooks show.

Reads what training runs stored, through the Metaflow client. A run whose artifacts are gone is a row that says so, and
costs the others nothing.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from metaflow import Run
from metaflow.exception import MetaflowException

from rayon.champions import Event, history, runs_tagged, started
from rayon.registry import model_tag


class ModelRow(NamedTuple):
    """A model. Numbers are those of its own training's gold set, None where they are not known; `gate` is 'promote',
    'hold', 'forced' (judged by hand alone) or ''; `champion` is 'now', 'before' or ''; `since` and `until` bound its
    last time as champion (UTC, ISO, '' where open); `problem` says what is wrong with the run, '' if nothing.
    """

    run: str
    created: str
    candidate: str
    dataset: str
    branches: str
    macro_f1: float | None
    low: float | None
    high: float | None
    ece: float | None
    gate: str
    champion: str
    since: str
    until: str
    problem: str


def catalog(name: str) -> list[ModelRow]:
    """Return the models of catalogue `name`, newest first; champions whose runs were deleted come last."""
    events = history(name)
    rows = [_row(run, events) for run in runs_tagged("TrainFlow", model_tag(name))]
    known = {row.run for row in rows}
    lost = {run for event in events for run in (event.to, event.before) if run and run not in known}
    return [*rows, *(_empty(run, "", events, "the run was deleted") for run in sorted(lost))]


def _row(run: Run, events: list[Event]) -> ModelRow:
    created = started(run).isoformat(timespec="seconds")
    try:
        artifacts = run["evaluate"].task
        report: dict[str, Any] = artifacts["report"].data  # type: ignore[index]
        selected: str = artifacts["selected"].data  # type: ignore[index]
        settings: dict[str, Any] = dict(artifacts["experiment"].data)  # type: ignore[index]
        dataset: str = artifacts["dataset_run"].data  # type: ignore[index]
        metric = report["metrics"]["macro_f1"]
        stored = verdict_of(run)
    except (KeyError, TypeError, OSError, ValueError, EOFError, MetaflowException) as error:
        return _empty(run.pathspec, created, events, f"its artifacts are gone or damaged ({type(error).__name__})")
    return ModelRow(
        run.pathspec,
        created,
        selected,
        dataset,
        _branches(selected, settings["branches"]),
        metric["value"],
        metric["low"],
        metric["high"],
        report["ece"],
        stored["verdict"]
        if stored
        else next((event.verdict for event in reversed(events) if event.to == run.pathspec), ""),
        *_reign(run.pathspec, events),
        "" if run.successful or not run.finished else "the run failed after its evaluation",
    )


def _empty(run: str, created: str, events: list[Event], problem: str) -> ModelRow:
    return ModelRow(run, created, "", "", "", None, None, None, None, "", *_reign(run, events), problem)


def verdict_of(run: Run) -> dict[str, Any] | None:
    """Return the verdict that a training's gate stored, as plain data, None where it has not got that far."""
    try:
        task = run["gate"].task
        verdict: dict[str, Any] | None = task["verdict"].data if task is not None else None
    except KeyError:
        return None
    return verdict


def _branches(selected: str, branches: Any) -> str:
    found = ["n-gram"] if branches["ngram"]["enabled"] and selected != "image" else []
    if selected != "image":
        found += branches["text"]["encoders"]
    if selected != "text":
        found += branches["image"]["encoders"]
    return ", ".join(source.removeprefix("bundled:") for source in found)


def _reign(run: str, events: list[Event]) -> tuple[str, str, str]:
    since = until = ""
    for event in events:
        if event.to == run:
            since, until = event.time, ""
        elif since and not until:
            until = event.time
    return ("now" if since and not until else "before" if since else ""), since, until
