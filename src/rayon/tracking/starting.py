"""Starts to follow a task: online, offline, or not at all; never a reason for a task to fail.

Knows W&B's settings, which it imports where a run starts; neither Metaflow nor products.
"""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from rayon.config import Tracking
from rayon.tracking.run import Keep, TrackedRun, allowed, one_line
from rayon.tracking.service import end_service

INIT_TIMEOUT = 20.0
"""Seconds that a server has to answer before the run is kept offline."""

FINISH_TIMEOUT = 60.0
"""Seconds that the last upload may take; W&B's own default waits for ever."""


class Identity(NamedTuple):
    """Which attempt at which task a run belongs to. `attempt` is 0 for the first."""

    flow: str
    run: str
    step: str
    task: str
    attempt: int

    @property
    def id(self) -> str:
        """The run's id, without the characters that W&B refuses."""
        return allowed(f"{self.flow}-{self.run}-{self.step}-{self.task}-r{self.attempt}")

    @property
    def group(self) -> str:
        """What the runs of one flow run have in common."""
        return f"{self.flow}/{self.run}"


def start(
    settings: Tracking,
    identity: Identity,
    job_type: str,
    config: Mapping[str, Any],
    folder: Path,
    tags: Sequence[str] = (),
    title: str = "",
    axis: str = "",
    init_timeout: float = INIT_TIMEOUT,
    finish_timeout: float = FINISH_TIMEOUT,
    keep: Keep | None = None,
) -> TrackedRun:
    """Start tracking an attempt at a task. It raises nothing.

    Mode 'auto' is online where WANDB_API_KEY is set, else offline. A server that does not answer within `init_timeout`
    seconds or refuses, leaves the run offline, with a warning that says so. Everything W&B writes goes under `folder`.

    Args:
        job_type: what the task does, one of `rayon.tracking.keys.JOBS`.
        config: the settings, plain data. They are uploaded; passwords in addresses are left out.
        title: what the run is called beside its flow run; the job type if not given.
        axis: the key that places the points of curves; W&B's own steps do if not given.
        finish_timeout: seconds that the last upload may take before the run is kept offline.
        keep: where the folder of an offline run goes once it is over; None leaves it where it is.
    """
    mode = settings.mode
    if mode == "auto":
        mode = "online" if os.environ.get("WANDB_API_KEY") else "offline"
    if mode == "disabled":
        return TrackedRun(None, "disabled")
    # There is no setting for these two: staged artifacts and caches would end up in the home directory.
    os.environ["WANDB_DATA_DIR"] = str(folder / "wandb-data")
    os.environ["WANDB_CACHE_DIR"] = str(folder / "wandb-cache")
    attempt = f" attempt {identity.attempt + 1}" if identity.attempt else ""
    options = {
        "project": settings.project,
        "id": identity.id,
        "name": f"{title or job_type} {identity.group}{attempt}",
        "group": identity.group,
        "job_type": job_type,
        "config": _without_passwords(dict(config)),
        "tags": list(tags),
    }

    def open_run(mode: Literal["online", "offline"]) -> Any:
        return _init(options, folder, mode, axis, init_timeout, finish_timeout)

    try:
        folder.mkdir(parents=True, exist_ok=True)
        if mode == "online":
            try:
                return TrackedRun(open_run("online"), "online", axis, keep, reopen=lambda: open_run("offline"))
            except Exception as error:
                warnings.warn(f"W&B cannot be reached, the run is kept offline: {one_line(error)}", stacklevel=2)
                # The service process keeps the run that could not start, and would hand it out again.
                end_service()
        return TrackedRun(open_run("offline"), "offline", axis, keep)
    except Exception as error:
        warnings.warn(f"W&B does not start, this run is not tracked: {one_line(error)}", stacklevel=2)
        return TrackedRun(None, "disabled")


def _init(
    options: Mapping[str, Any],
    folder: Path,
    mode: Literal["online", "offline"],
    axis: str,
    init_timeout: float,
    finish_timeout: float,
) -> Any:
    import wandb

    settings = wandb.Settings(
        mode=mode,
        root_dir=str(folder),
        reinit="create_new",
        init_timeout=init_timeout,
        finish_timeout=finish_timeout,
        finish_timeout_raises=True,
        silent=True,
        console="off",
        save_code=False,
        disable_git=True,
        x_disable_stats=True,
        # it would read the metadata of every package here, a tenth of a second; `follow` gives those that matter
        x_save_requirements=False,
    )
    run = wandb.init(**options, settings=settings)
    if axis:
        run.define_metric(axis)
        run.define_metric("*", step_metric=axis, step_sync=True)
    return run


def _without_passwords(settings: Any) -> Any:
    """Return plain data with the passwords of addresses left out: postgresql://anna:***@host/db."""
    if isinstance(settings, Mapping):
        return {name: _without_passwords(value) for name, value in settings.items()}
    if isinstance(settings, (list, tuple)):
        return [_without_passwords(value) for value in settings]
    if isinstance(settings, str):
        settings = re.sub(r"(\w://[^/@:\s]*):[^@\s]*@", r"\1:***@", settings)
        return re.sub(r"([?&](?:password|passwd|pwd)=)[^&\s]*", r"\1***", settings)
    return settings
