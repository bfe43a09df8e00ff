"""What is to be known of every run before any may go: from the datastore what it refers to, from the metadata its tags.

Brings together the datastore, Metaflow's client and what rayon's flows mean by their artifacts. It decides nothing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

from rayon.champions import run_path
from rayon.data.shards import Manifest
from rayon.events import retraining_tag
from rayon.keeping.datastore import BEGINNING, ELSEWHERE, FINISHED, FLOWS, Datastore, Scan, StoredRun
from rayon.keeping.known import Known, known_runs, origin_of
from rayon.keeping.places import Place
from rayon.keeping.policy import CHAMPION, KEEP, Facts, Need
from rayon.registry import DATASET_FLOWS, dataset_tag

_NAMES = {"dataset": "PreprocessFlow", "model": "TrainFlow", "scored": "ScoreFlow"}
"""Parameters that name a run, and of which flow where they give a number alone."""


class Cards(NamedTuple):
    """The cards of a run: their bytes, and when the newest was written."""

    size: int
    written: datetime


NO_CARDS = Cards(0, datetime.fromtimestamp(0, UTC))


class Collected(NamedTuple):
    """The facts of all runs, what the datastore holds of each flow, the cards of runs by path, and how many of the
    metadata's runs the datastore lacks.
    """

    facts: list[Facts]
    scans: dict[str, Scan]
    cards: dict[str, Cards]
    elsewhere: int


def collect(data: Datastore, cards: Place, hidden: Mapping[str, Mapping[str, str]]) -> Collected:
    """Return the facts of the runs of rayon's flows, whoever's they are; runs that are `hidden` are left out."""
    scans, known = {}, {}
    weighed: dict[str, Cards] = {}
    for flow in FLOWS:
        scan = data.scan(flow)
        scans[flow] = scan._replace(runs={run: one for run, one in scan.runs.items() if run not in hidden[flow]})
        known[flow] = known_runs(flow)  # after the data: what is there is known
        for entry in cards.entries(f"{flow}/runs"):
            path = f"{flow}/{entry.name.split('/')[2]}"
            size, written = weighed.get(path, NO_CARDS)
            weighed[path] = Cards(size + entry.size, max(written, entry.written))
    trained = _last_trainings(data, scans["TrainFlow"], known["TrainFlow"])
    facts = [
        _facts(data, one, known[flow].get(run), weighed.get(one.path, NO_CARDS), trained)
        for flow in FLOWS
        for run, one in scans[flow].runs.items()
        if one.state not in (BEGINNING, ELSEWHERE)
    ]
    stored = {run.path for run in facts}
    lacking = sum(f"{flow}/{run}" not in stored for flow in FLOWS for run in known[flow])
    return Collected(facts, scans, weighed, lacking)


def catalogue_of(data: Datastore, run: StoredRun) -> str:
    """Return the catalogue that a run was about, by its settings; '' where it has none."""
    steps = [step for step, name in run.artifacts if name == "experiment"]
    settings: Any = _artifact(data, run, steps[0], "experiment") if steps else None
    return str(settings.get("name", "")) if hasattr(settings, "get") else ""


def _facts(
    data: Datastore, run: StoredRun, known: Known | None, cards: Cards, trained: Mapping[tuple[str, str], datetime]
) -> Facts:
    sign = max(run.sign, cards.written)  # a long training speaks through its card
    needs = tuple(needs_of(data, run))
    catalogue = catalogue_of(data, run)
    if known is None:
        return Facts(run.flow, run.run, "", catalogue, sign, sign, run.state, foreign=True, needs=needs)
    if run.state != FINISHED and (origin := origin_of(run.flow, run.run)):
        needs += (Need(origin, f"{run.path} was resumed from it", True),)
    asks = run.flow == "FeedbackFlow" or retraining_tag(catalogue) in known.tags
    since = trained.get((known.branch, catalogue))
    return Facts(
        run.flow,
        run.run,
        known.branch,
        catalogue,
        known.started,
        sign,
        run.state,
        reign=_reign(known),
        pinned=KEEP in known.tags,
        counted=run.state == FINISHED and asks and (since is None or known.started > since),
        version=run.flow == "TrainFlow" and dataset_tag(catalogue) in known.tags,
        needs=needs,
    )


def _reign(known: Known) -> str:
    names = sorted(tag.removeprefix(CHAMPION) for tag in known.tags if tag.startswith(CHAMPION))
    return f"in the history of champions of {', '.join(names)}" if names else ""


def _last_trainings(data: Datastore, scan: Scan, known: Mapping[str, Known]) -> dict[tuple[str, str], datetime]:
    """Return when the newest finished training of each branch and catalogue began."""
    begun: dict[tuple[str, str], datetime] = {}
    for run, one in scan.runs.items():
        if one.state == FINISHED and run in known:
            group = (known[run].branch, catalogue_of(data, one))
            begun[group] = max(known[run].started, begun.get(group, known[run].started))
    return begun


def needs_of(data: Datastore, run: StoredRun) -> Iterator[Need]:
    """Yield the runs that a run refers to: by the locators it holds, the version it trained on, its parameters."""
    holders: dict[str, set[str]] = defaultdict(set)
    for locator in _locators(data, run):
        holders["/".join(locator.split("/")[:2])].add(locator)
    what = "predictions" if run.flow == "ScoreFlow" else "shards"
    for holder in sorted(holders):
        if holder != run.path:
            yield Need(holder, f"holds {what} of {run.path}", False)
    trained_on = _artifact(data, run, "start", "dataset_run") if run.flow == "TrainFlow" else None
    if trained_on and trained_on != run.path:
        yield Need(str(trained_on), f"{run.path} was trained on it", True)
    if run.state == FINISHED:
        return
    for name, flow in _NAMES.items():
        named = _artifact(data, run, "_parameters", name)
        if isinstance(named, str) and (named.isdigit() or "/" in named):
            yield Need(run_path(flow, named), f"{run.path} asks for it", True)
    for source in _artifact(data, run, "start", "sources") or ():
        yield Need(str(source), f"{run.path} looks at it", True)


def _locators(data: Datastore, run: StoredRun) -> Iterator[str]:
    step = DATASET_FLOWS.get(run.flow, "")
    manifest = _artifact(data, run, step, "manifest")
    if manifest:
        yield from (ref.locator for ref in Manifest.from_json(manifest).shards)
    if run.flow == "ScoreFlow":
        yield from _artifact(data, run, "combine", "predictions") or ()
    if run.flow == "FeedbackFlow":
        yield from (ref["locator"] for ref in _artifact(data, run, "start", "shards") or ())


def _artifact(data: Datastore, run: StoredRun, step: str, name: str) -> Any:
    sha = run.artifacts.get((step, name))
    return None if sha is None else data.artifact(run.flow, sha)
