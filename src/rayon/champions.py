"""Who is champion: a history of promotions, kept as tags of the runs that were promoted.

An event is one tag, written once and never changed: promoting adds an event to the promoted run, rolling back adds one
to the run that is returned to. Metaflow bounds the tags of a run: where they are used up, another run of the history
holds the event, which then names the run that it is about. The champion follows from the events alone, the last one
counts. So two promotions at once leave two events and one champion, on every reader's machine the same one. A later
event has a higher number; where two were made at once, the later time, then chance, decides.

One of the few modules that know Metaflow. It does not look into models.
"""

from __future__ import annotations

import json
import os
import pickle
import uuid
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import chain
from typing import Any, NamedTuple

from metaflow import Flow, Run, current, namespace
from metaflow.datastore.exceptions import DataException
from metaflow.exception import MetaflowNotFound, MetaflowTaggingError
from metaflow.tagging_util import MAX_USER_TAG_SET_SIZE
from metaflow.util import get_username

SWEPT = "rayon.swept"
"""The tag of a run whose data were deleted (`rayon.keeping`), where the metadata cannot be."""

_PREFIX = "rayon.event:"
_ORDER = "rayon.order:"
_MICROSECOND_DIGITS = 16
_REASON_CHARS = 160  # a tag holds 500 bytes
_MOST_TAGS = MAX_USER_TAG_SET_SIZE - 5  # a person, gc and requests for a retraining tag runs as well


class RegistryError(LookupError):
    """A run is not there, or is not what was asked for. The message says which and what to do."""


class Event(NamedTuple):
    """One promotion or rollback.

    `kind` is 'promote' or 'rollback'; `to` and `before` are runs such as 'TrainFlow/12' (`before` '' where there was no
    champion); `verdict` is the gate's, 'forced' where it was overruled, '' where it was not asked; `time` is UTC, ISO.
    """

    number: int
    time: str
    id: str
    kind: str
    to: str
    before: str
    who: str
    reason: str
    verdict: str


@contextmanager
def undamaged(what: str, remedy: str) -> Iterator[None]:
    """Turn what reading an artifact raises whose file is damaged into a sentence.

    Raises:
        RegistryError: with `what` is damaged and the `remedy`.
    """
    try:
        yield
    except (DataException, pickle.UnpicklingError, zlib.error, EOFError, OSError) as error:
        told = " ".join(str(error).split())[:200]
        raise RegistryError(
            f"{what} cannot be read, its file in the datastore is damaged ({told}). {remedy}"
        ) from error


def champion_tag(name: str) -> str:
    """Return the tag of every run that was ever champion of catalogue `name`."""
    return f"champion:{name}"


def history(name: str) -> list[Event]:
    """Return all events of catalogue `name` in this project branch, oldest first."""
    return sorted(event for run in runs_tagged("TrainFlow", champion_tag(name)) for event in _events(run, name))


def champion(name: str) -> Event | None:
    """Return the event that made today's champion of catalogue `name`, None where there is none."""
    events = history(name)
    return events[-1] if events else None


def promote(name: str, run: str, reason: str, verdict: str = "", who: str = "") -> Event:
    """Make a run, 'TrainFlow/12', champion of catalogue `name`. A champion that is promoted again stays as it is.

    Raises:
        RegistryError: there is no such run, or it is of another project branch, or no run has room for the event.
    """
    events = history(name)
    if events and events[-1].to == run:
        return events[-1]
    return _add(name, events, "promote", run, reason, verdict, who)


def rollback(name: str, reason: str, who: str = "", taken: str = "") -> Event:
    """Return to the champion before this one; a second rollback goes one further back.

    Args:
        taken: the champion to take back, 'TrainFlow/12'. Where another one is champion, the event that made it so is
            returned and nothing happens: a rollback that names it may be repeated.

    Raises:
        RegistryError: there is no champion, or none before it, or no run has room for the event.
    """
    events = history(name)
    if taken and events and events[-1].to != taken:
        return events[-1]
    line = standing(events)
    if len(line) < 2:
        there = f"{line[-1]} is the first champion of '{name}'" if line else f"'{name}' has no champion"
        raise RegistryError(f"{there}: there is nothing to roll back to.")
    return _add(name, events, "rollback", line[-2], reason, "", who)


def standing(events: list[Event]) -> list[str]:
    """Return the champions that rollbacks would return to, the present one last."""
    line: list[str] = []
    for event in events:
        if event.kind == "promote":
            line.append(event.to)
        elif event.to in line:
            del line[len(line) - line[::-1].index(event.to) :]
        else:  # the run that it was promoted in is gone
            line = [event.to]
    return line


def runs_tagged(flow: str, *tags: str) -> Iterator[Run]:
    """Yield the runs of a flow in this project branch that have all these tags, whoever started them, newest first.

    One whose data were deleted is as if it had not been.
    """
    namespace(None)
    try:
        found = [run for run in Flow(flow).runs(_branch_tag(), *tags) if SWEPT not in run.tags]
    except MetaflowNotFound:
        return
    yield from sorted(found, key=_place, reverse=True)


def finished_runs(flow: str, *tags: str) -> Iterator[Run]:
    """Yield those of `runs_tagged` that finished well: one that was killed on the way is as if it had not been."""
    return (run for run in runs_tagged(flow, *tags) if run.successful)


def keep_order(flow: str, run_id: str, tag: str) -> None:
    """Let a run that begins now come after all runs of its flow with this tag, should the clock have been set back.

    A run is as old as the clock says; one that finds others that seem to come later is tagged with its place in line.
    """
    namespace(None)
    run = Run(f"{flow}/{run_id}")
    newest = max((_place(other) for other in runs_tagged(flow, tag) if other.id != run_id), default=0)
    if newest >= _place(run):
        run.add_tag(f"{_ORDER}{newest + 1}")


def _place(run: Run) -> int:
    """Return a run's place in line: when it began, in microseconds, or what `keep_order` says."""
    told = [int(tag.removeprefix(_ORDER)) for tag in run.user_tags if tag.startswith(_ORDER)]
    return max(told, default=0) or int(started(run).timestamp() * 1e6)


def run_path(flow: str, run: str) -> str:
    """Return a run as 'Flow/run', given that or its number alone."""
    return run if "/" in run else f"{flow}/{run}"


def branch_here() -> str:
    """Return the project branch that is looked at: what a user tries does not touch what production serves.

    Within a flow it is the flow's own, elsewhere that of the variable RAYON_BRANCH ('prod', 'test.anna'...), else the
    user's, as Metaflow has it.
    """
    return getattr(current, "branch_name", None) or os.environ.get("RAYON_BRANCH") or f"user.{_user()}"


def project_here() -> str:
    """Return Metaflow's project: that of the running flow, which is rayon's everywhere."""
    return getattr(current, "project_name", None) or "rayon"


def _user() -> str:
    """Return who this is to Metaflow, which looks the variable up once and may have been imported before it was set."""
    return os.environ.get("METAFLOW_USER") or get_username() or "unknown"


def _branch_tag() -> str:
    return f"project_branch:{branch_here()}"


def started(run: Run) -> datetime:
    """Return when a run began, UTC. A run kept in local files is named by that moment, in microseconds.

    What Metaflow calls its creation moves there each time the run is tagged, as promoting does.
    """
    if run.id.isdigit() and len(run.id) >= _MICROSECOND_DIGITS:
        return datetime.fromtimestamp(int(run.id) / 1e6, UTC)
    created: datetime = run.created_at
    return created.astimezone(UTC)


def ended(run: Run) -> datetime:
    """Return when a run that finished well did so, UTC."""
    finished: Any = run.finished_at
    moment: datetime = finished.astimezone(UTC)
    return moment


def _add(name: str, events: list[Event], kind: str, run: str, reason: str, verdict: str, who: str) -> Event:
    namespace(None)
    try:
        promoted = Run(run)
    except MetaflowNotFound as error:
        raise RegistryError(
            f"there is no run {run} here, it was deleted or never was: see `python -m rayon models`."
        ) from error
    if _branch_tag() not in promoted.tags:
        branches = [tag.partition(":")[2] for tag in promoted.tags if tag.startswith("project_branch:")]
        raise RegistryError(
            f"the run {run} is of the branch '{''.join(branches) or 'no branch'}', not of '{branch_here()}': choose it "
            "with --branch."
        )
    last = events[-1] if events else None
    event = Event(
        last.number + 1 if last else 1,
        datetime.now(UTC).isoformat(timespec="microseconds"),
        uuid.uuid4().hex[:8],
        kind,
        run,
        last.to if last else "",
        who or _user(),
        " ".join(reason.split())[:_REASON_CHARS],
        verdict,
    )
    facts = {"name": name, **event._asdict()}
    holder = _holder(name, promoted)
    if holder.id == promoted.id:
        del facts["to"]
    else:
        _tag(promoted, [champion_tag(name)])
    _tag(holder, [champion_tag(name), _PREFIX + json.dumps(facts, ensure_ascii=False, separators=(",", ":"))])
    return event


def _holder(name: str, promoted: Run) -> Run:
    """Return the run whose tags hold the next event: the promoted one, or the newest of the history that has room."""
    for run in chain([promoted], runs_tagged("TrainFlow", champion_tag(name))):
        if len(run.user_tags | {champion_tag(name)}) < _MOST_TAGS:
            return run
    raise RegistryError(
        f"no run in the history of '{name}' has room for another event, for Metaflow bounds the tags of a run: take "
        f"tags of yours off {promoted.pathspec} (`python flows/train_flow.py tag remove --run-id {promoted.id} TAG`), "
        "or train again and promote that run, which has room for those that follow."
    )


def _tag(run: Run, tags: Sequence[str]) -> None:
    try:
        run.add_tags(tags)
    except UnboundLocalError as error:  # Metaflow's own, of a disk that cannot be written to
        raise error.__context__ if isinstance(error.__context__, OSError) else error from None
    except MetaflowTaggingError as error:
        raise RegistryError(
            f"{run.pathspec} cannot be tagged as champion ({error}): take tags of yours off it "
            f"(`python flows/train_flow.py tag remove --run-id {run.id} TAG`), or give a shorter reason."
        ) from error


def _events(run: Run, name: str) -> Iterator[Event]:
    for tag in run.user_tags:
        if tag.startswith(_PREFIX):
            facts: dict[str, Any] = json.loads(tag.removeprefix(_PREFIX))
            if facts.pop("name") == name:
                yield Event(**{"to": run.pathspec, **facts})
