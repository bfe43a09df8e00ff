"""Which runs are kept, and why: rules alone, on plain records. Knows neither Metaflow nor files.

A run is kept for itself (it is young, a champion, among the last of its flow ...) or because one that is kept needs it:
its shards, its predictions, the dataset version it trained on. Who keeps a run is told, so that each line of the table
can be checked. What nobody keeps may go.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from pydantic import Field
from pydantic.dataclasses import dataclass

from rayon.keeping.datastore import BEGINNING, FAILED, FINISHED, OPEN

KEEP = "keep"
"""The tag by which a person keeps a run: `python flows/train_flow.py tag add --run-id 12 keep`."""

CHAMPION = "champion:"
"""How the tag of a run begins that is, or was, champion (`rayon.champions.champion_tag`)."""

_QUIET = timedelta(hours=1)  # between a task's failure and its next attempt


@dataclass(frozen=True)
class Policy:
    """What is kept whatever it is needed for.

    Runs begun in the last `days` days, the last `runs` finished ones of each flow (of a branch and catalogue), the last
    `points` finished ones of MonitorFlow, which later ones read their history from. A run that did not finish is taken
    for running until `failed_days` days after its last sign of life, and goes then.
    """

    days: float = Field(default=30.0, ge=0)
    runs: int = Field(default=5, ge=1)
    failed_days: float = Field(default=1.0, gt=0)
    points: int = Field(default=30, ge=1)


class Need(NamedTuple):
    """Another run that a run needs, as 'Flow/run', and for what. `whole`: and all that one needs in turn."""

    run: str
    why: str
    whole: bool


class Facts(NamedTuple):
    """What the rules look at of a run. `sign` is its last sign of life; `reign` is 'champion', 'was champion' or '';
    `counted` says that a next training counts what it holds; `version` that it left a dataset version; `foreign` that
    this metadata does not know it, so that somebody else's does.
    """

    flow: str
    run: str
    branch: str
    catalogue: str
    started: datetime
    sign: datetime
    state: str
    reign: str = ""
    pinned: bool = False
    counted: bool = False
    version: bool = False
    foreign: bool = False
    needs: tuple[Need, ...] = ()

    @property
    def path(self) -> str:
        """The run as 'Flow/run'."""
        return f"{self.flow}/{self.run}"


class Verdict(NamedTuple):
    """Whether a run is kept, and why, in words."""

    keep: bool
    why: str


def may_run(state: str, sign: datetime, now: datetime, policy: Policy) -> bool:
    """Say whether a run may still do something, as far as can be seen from outside."""
    silent = now - sign
    return (state in (OPEN, BEGINNING) and silent < timedelta(days=policy.failed_days)) or (
        state == FAILED and silent < _QUIET
    )


def is_kept_by_tags(tags: Iterable[str]) -> bool:
    """Say whether a run's tags alone keep it: a champion's, or a person's."""
    return any(tag == KEEP or tag.startswith(CHAMPION) for tag in tags)


def decide(
    runs: Sequence[Facts], policy: Policy, now: datetime, in_scope: Callable[[Facts], bool] = lambda _: True
) -> dict[str, Verdict]:
    """Return what becomes of every run, by path. What is out of scope is kept, and so is what it needs."""
    why = {run.path: _reason(run, policy, now) for run in runs}
    for path, reason in _recent(runs, policy).items():
        why[path] = why[path] or reason
    for run in runs:
        if not why[run.path] and not in_scope(run):
            why[run.path] = "another branch's or catalogue's"
    _follow(runs, why)
    return {run.path: Verdict(bool(why[run.path]), why[run.path] or _gone(run, policy)) for run in runs}


def _reason(run: Facts, policy: Policy, now: datetime) -> str:
    """Return why a run is kept for itself, '' where it is not."""
    young = now - run.started < timedelta(days=policy.days)
    if run.reign:
        return run.reign
    if run.foreign:
        return "not in this metadata: somebody else's"
    if run.pinned:
        return f"tagged '{KEEP}'"
    if may_run(run.state, run.sign, now, policy):
        return "running, as far as can be seen"
    if run.state != FINISHED:
        recent = now - run.sign < timedelta(days=policy.failed_days)
        return f"failed less than {_days(policy.failed_days)} ago: may be resumed" if recent else ""
    if run.counted:
        return "counts for the next training"
    return f"younger than {_days(policy.days)}" if young else ""


def _recent(runs: Iterable[Facts], policy: Policy) -> dict[str, str]:
    """Return the last finished runs of each flow, and the newest dataset versions, by branch and catalogue."""
    kept: dict[str, str] = {}
    groups: dict[tuple[str, str, str], list[Facts]] = defaultdict(list)
    for run in sorted(runs, key=lambda run: run.started, reverse=True):
        groups[run.flow, run.branch, run.catalogue].append(run)
    for (flow, _, _), group in groups.items():
        finished = [run for run in group if run.state == FINISHED]
        count = max(policy.runs, policy.points) if flow == "MonitorFlow" else policy.runs
        kept.update({run.path: f"among the last {count} of {flow}" for run in finished[:count]})
        newest = next((run for run in group if run.version), None)
        if newest is not None:
            kept.setdefault(newest.path, "newest dataset version of its flow")
    return kept


def _follow(runs: Iterable[Facts], why: dict[str, str]) -> None:
    """Keep what is needed by what is kept; `why` is filled in."""
    facts = {run.path: run for run in runs}
    whole = {path for path, reason in why.items() if reason}
    todo = deque(whole)
    while todo:
        for need in facts[todo.popleft()].needs:
            if need.run in facts and need.run not in whole:
                why[need.run] = why[need.run] or need.why
                if need.whole:
                    whole.add(need.run)
                    todo.append(need.run)


def _gone(run: Facts, policy: Policy) -> str:
    if run.state != FINISHED:
        return f"{'failed' if run.state == FAILED else 'never finished'}, more than {_days(policy.failed_days)} ago"
    return f"older than {_days(policy.days)}, nothing kept needs it"


def _days(days: float) -> str:
    return f"{days:g} day{'s'[: days != 1]}"
