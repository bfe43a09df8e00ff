"""Asks for a retraining: by an event on a cluster, by a mark on the run everywhere.

One of the few modules that know Metaflow. It decides nothing but whether enough corrections wait; whether a training
then starts is up to whoever listens: TrainFlow's trigger on Argo, `rayon.loop` on one machine.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, NamedTuple

from metaflow import Run, namespaced_event_name  # type: ignore[attr-defined]
from metaflow.integrations import ArgoEvent  # type: ignore[attr-defined]

from rayon.champions import finished_runs, started
from rayon.config import Config
from rayon.registry import feedback_tag, model_tag

EVENT = "retraining"
"""The event's name within the project branch, which TrainFlow listens to."""

REQUESTING = ("MonitorFlow", "FeedbackFlow")
_PAYLOAD_CHARS = 4000


class Request(NamedTuple):
    """A retraining that was asked for: by which run, when that began (UTC), and why."""

    run: str
    time: datetime
    reason: str


def request_retraining(name: str, reason: str, evidence: Mapping[str, Any], current: Any) -> None:
    """Ask for a retraining of catalogue `name` from within a step.

    On Argo Workflows the event `retraining` is published, within the flow's project and branch, with reason and
    evidence; elsewhere that does nothing. A webhook that does not answer costs no run. Everywhere the run is marked,
    and its artifact `request` tells why.
    """
    current.run.add_tag(retraining_tag(name))
    event = ArgoEvent(namespaced_event_name(EVENT)())
    payload = {"catalogue": name, "reason": reason, "evidence": json.dumps(evidence, default=str)[:_PAYLOAD_CHARS]}
    event.safe_publish(payload, ignore_errors=True)


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
            yield Request(str(run.pathspec), begun, str(_artifact(run, "request")))


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
