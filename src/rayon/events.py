"""Asks for a retraining: by an event on a cluster, by a mark on the run everywhere.

One of the few modules that know Metaflow. Whether a training then starts is up to whoever listens: on one machine
`rayon.loop`; on Argo PreprocessFlow, which makes a dataset version that holds all that is new, and at whose end
TrainFlow starts. Nobody there counts trainings, so the event is kept back while the settings forbid another one.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from metaflow import Run, namespaced_event_name  # type: ignore[attr-defined]
from metaflow.integrations import ArgoEvent  # type: ignore[attr-defined]

from rayon.champions import finished_runs, started
from rayon.config import Config, Retraining
from rayon.registry import feedback_tag, model_tag

EVENT = "retraining"
"""The event's name within the project branch, which PreprocessFlow listens to."""

REQUESTING = ("MonitorFlow", "FeedbackFlow")
_PAYLOAD_CHARS = 4000
_WEEK = timedelta(days=7)


class Request(NamedTuple):
    """A retraining that was asked for: by which run, when that began (UTC), why, and why no event was published, ''
    where one was.
    """

    run: str
    time: datetime
    reason: str
    silence: str = ""


def request_retraining(config: Config, reason: str, evidence: Mapping[str, Any], current: Any) -> str:
    """Ask for a retraining from within a step; return '' or why no event was published.

    On Argo Workflows the event `retraining` is published, within the flow's project and branch, with reason and
    evidence; elsewhere that does nothing. A webhook that does not answer costs no run. Everywhere the run is marked,
    and its artifact `request` tells why.
    """
    silence = why_silent(config, datetime.now(UTC))
    current.run.add_tag(retraining_tag(config.name))
    if silence:
        return silence
    event = ArgoEvent(namespaced_event_name(EVENT)())
    payload = {
        "catalogue": config.name,
        "asked": reason,
        "evidence": json.dumps(evidence, default=str)[:_PAYLOAD_CHARS],
    }
    event.safe_publish(payload, ignore_errors=True)
    return ""


def why_silent(config: Config, now: datetime) -> str:
    """Return why another training is not to be asked for at `now`, '' where nothing speaks against it.

    It was published already, or the last training is too young, within `retraining.cooldown_hours`; or there were
    `retraining.per_week` trainings in seven days. A run that asked in vain keeps no other silent: what it saw still
    stands, and has to be published once it may.
    """
    trainings = [started(run) for run in finished_runs("TrainFlow", model_tag(config.name))]
    if refused := too_soon(now, trainings, config.retraining):
        return refused
    recently = now - timedelta(hours=config.retraining.cooldown_hours)
    for request in requests_since(config.name, max([*trainings, recently])):
        if not request.silence:
            return f"{request.run} asked for it at {request.time:%Y-%m-%d %H:%M} UTC"
    return ""


def too_soon(now: datetime, trainings: Sequence[datetime], limits: Retraining) -> str:
    """Return why no training may start at `now`, given when those so far began; '' where one may."""
    ready = max(trainings, default=datetime.min.replace(tzinfo=UTC)) + timedelta(hours=limits.cooldown_hours)
    if now < ready:
        return f"the last training is too young: not before {ready:%Y-%m-%d %H:%M} UTC"
    recent = sum(now - training < _WEEK for training in trainings)
    if recent >= limits.per_week:
        return f"{recent} trainings in the last 7 days are as many as allowed"
    return ""


def open_reasons(name: str) -> str:
    """Return why a training of catalogue `name` is asked for, by those who asked since the last one; '' for nobody."""
    return "; ".join(dict.fromkeys(request.reason for request in requests_since(name, last_training(name))))


def retraining_tag(name: str) -> str:
    """Return the tag of the runs that asked for a retraining of catalogue `name`."""
    return f"retraining:{name}"


def requests_since(name: str, moment: datetime | None) -> Iterator[Request]:
    """Yield the retrainings asked for by runs that began after `moment` and finished, newest first of each flow."""
    for flow in REQUESTING:
        for run in finished_runs(flow, retraining_tag(name)):
            begun = started(run)
            if moment is not None and begun <= moment:
                break
            said = (str(_artifact(run, name)) for name in ("request", "silence"))
            yield Request(str(run.pathspec), begun, *said)


def last_training(name: str) -> datetime | None:
    """Return when the newest finished training of catalogue `name` began (UTC), None where there is none."""
    return next((started(run) for run in finished_runs("TrainFlow", model_tag(name))), None)


def enough_corrections(config: Config, tally: Mapping[str, Any]) -> str:
    """Return why the accepted corrections since the last training ask for another one, '' where they do not.

    `tally` is that of the running FeedbackFlow, `rayon.feedback_run.tally`; those of earlier runs are read.
    """
    since = last_training(config.name)
    categories: dict[str, int] = dict(tally["categories"])
    for run in finished_runs("FeedbackFlow", feedback_tag(config.name)):
        if since is not None and started(run) <= since:
            break
        for category, count in _artifact(run, "tally")["categories"].items():
            categories[category] = categories.get(category, 0) + count
    corrections, limits = sum(categories.values()), config.retraining
    if corrections < limits.corrections or len(categories) < limits.categories:
        return ""
    return f"{corrections:,} accepted corrections of {len(categories)} categories since the last training"


def _artifact(run: Run, name: str) -> Any:
    data: Any = run.data
    return getattr(data, name)
