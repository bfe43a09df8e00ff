"""Follows a training in Weights & Biases, online or as an offline folder that can be uploaded later.

The only module that knows W&B; it imports it where a run starts. It knows neither Metaflow nor products: plain strings,
numbers and bytes come in. W&B is a witness and never a condition: what fails in it is said once, in a warning, and the
work goes on.

What rayon logs:

| key | unit | when |
| --- | --- | --- |
| train_loss, val_nll | nats a product | every epoch |
| val_macro_f1 | [0, 1] | every epoch |
| epoch | epochs, from 0 | every epoch |
| trainer/global_step | optimiser steps: the axis of all of them | every log |
| test/macro_f1, test/weighted_f1, test/accuracy | [0, 1], with /low and /high the 95% interval | summary |
| test/nll, test/ece | nats a product, [0, 1] | summary |
| test/coverage@0.95 (one a target) | share of products filed at that precision, [0, 1] | summary |
| test/without_photo, test/without_text | macro-F1, [0, 1] | summary |
| confusion | counts, true by predicted category | once |
| mistakes, suspects | tables of products, the first with photos | once |
| monitor/verdict | 0 ok, 1 watch, 2 retrain | every window so far |
| monitor/<comparison> | difference from training over its limit | every window so far |
| monitor/measured_accuracy, monitor/estimated_macro_f1 ... | [0, 1] | every window so far |

Names are the callers'; `summary_of_test` makes the summary's of a report's numbers.
"""

from __future__ import annotations

import os
import re
import shlex
import warnings
from collections.abc import Callable, Mapping, Sequence
from io import BytesIO
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, NamedTuple, Protocol, Self

from rayon.config import Tracking

INIT_TIMEOUT = 20.0
"""Seconds that a server has to answer before the run is kept offline."""

FINISH_TIMEOUT = 60.0
"""Seconds that the last upload may take; W&B's own default waits for ever."""

STEP = "trainer/global_step"
"""The axis of every curve, the one Lightning's logger uses. W&B's own step drops what comes out of order."""


class Identity(NamedTuple):
    """Which attempt at which task a run belongs to. `attempt` is 0 for the first."""

    flow: str
    run: str
    step: str
    task: str
    attempt: int

    @property
    def id(self) -> str:
        """The run's id and name, without the characters that W&B refuses."""
        return _allowed(f"{self.flow}-{self.run}-{self.step}-{self.task}-r{self.attempt}")

    @property
    def group(self) -> str:
        """What the runs of one flow run have in common."""
        return f"{self.flow}/{self.run}"


class Keep(Protocol):
    """Where an offline run's folder is kept when this machine's disk is not: a pod's."""

    def location(self, name: str) -> str:
        """Return where the folder of that name will be."""

    def send(self, folder: Path) -> None:
        """Copy a folder there."""


class TrackedRun:
    """A W&B run, or nothing at all where tracking is disabled. Its methods raise nothing.

    `mode` is 'online', 'offline' or 'disabled': what the run is, whatever was asked for.
    """

    def __init__(self, run: Any, mode: str, keep: Keep | None = None) -> None:
        self._run = run
        self._warned = False
        self._keep = keep if mode == "offline" else None
        self.mode = mode
        self._folder = str(run.settings.sync_dir) if run is not None else ""
        self._url = str(run.url) if mode == "online" else ""

    def log(self, values: Mapping[str, float], step: int | None = None) -> None:
        """Add one point to each curve, at `step` (of the optimiser) where it is given."""
        at = {} if step is None else {STEP: step}
        self._try(lambda: self._run.log({**values, **at}))

    def summary(self, values: Mapping[str, Any]) -> None:
        """Set the run's final values."""
        self._try(lambda: self._run.summary.update(dict(values)))

    def confusion(self, matrix: Sequence[Sequence[int]], categories: Sequence[str]) -> None:
        """Log (C, C) counts, true category by row, as W&B's own confusion matrix chart."""

        def chart() -> None:
            import wandb

            columns = ["Actual", "Predicted", "nPredictions"]
            table = wandb.Table(columns=list(columns))
            cells = [
                (truth, predicted, int(count))
                for truth, line in zip(categories, matrix, strict=True)
                for predicted, count in zip(categories, line, strict=True)
            ]
            for cell in cells:
                table.add_data(*cell)
            fields = {column: column for column in columns}
            plot = wandb.plot_table("wandb/confusion_matrix/v1", table, fields, {"title": "Confusion"})
            self._run.log({"confusion": plot})

        self._try(chart)

    def table(
        self, name: str, columns: Sequence[str], rows: Sequence[Sequence[Any]], photos: str | None = None
    ) -> None:
        """Log a table; the column called `photos` holds encoded photos (bytes) or None and is shown as pictures."""

        def log() -> None:
            import wandb
            from PIL import Image

            place = columns.index(photos) if photos is not None else -1
            table = wandb.Table(columns=list(columns))
            for row in rows:
                cells = list(row)
                if place >= 0 and cells[place] is not None:
                    cells[place] = wandb.Image(Image.open(BytesIO(cells[place])))
                table.add_data(*cells)
            self._run.log({name: table})

        self._try(log)

    def artifact(
        self,
        name: str,
        type: str,
        data: bytes,
        filename: str,
        metadata: Mapping[str, Any] | None = None,
        aliases: Sequence[str] = (),
    ) -> None:
        """Keep bytes as a versioned W&B artifact of one file."""

        def keep() -> None:
            import wandb

            artifact = wandb.Artifact(_allowed(name), type, metadata=dict(metadata or {}))
            with artifact.new_file(filename, mode="wb") as file:
                file.write(data)
            self._run.log_artifact(artifact, aliases=list(aliases) or None)

        self._try(keep)

    def lightning_logger(self) -> Any:
        """Return a Lightning logger onto this run, False (Lightning's word for none) where tracking is disabled."""
        if self._run is None:
            return False
        from pytorch_lightning.loggers import WandbLogger

        attempt = self._try

        class Logger(WandbLogger):
            def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
                attempt(lambda: super(Logger, self).log_metrics(metrics, step))

            def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
                """Leave the config as it was given to `start`: the module's own settings are part of it."""

        return Logger(experiment=self._run, log_model=False)

    def where(self) -> str:
        """Say where the run can be seen: its address, or its folder and the command that uploads it."""
        if self.mode == "online":
            return self._url
        if self._keep is not None:
            place = self._keep.location(Path(self._folder).name)
            return f"offline in {place} once the task is over; copy that folder here and upload it with: wandb sync"
        if self.mode == "offline":
            return f"offline in {self._folder}; upload it with: wandb sync {shlex.quote(self._folder)}"
        return "not tracked (tracking.mode is 'disabled')"

    def finish(self, failed: bool = False) -> None:
        """End the run; further calls do nothing."""
        self._try(lambda: self._run.finish(exit_code=int(failed)))
        keep, self._keep = self._keep, None
        if keep is not None:
            self._try(lambda: keep.send(Path(self._folder)))
        self._run = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.finish(failed=kind is not None)

    def _try(self, action: Callable[[], object]) -> None:
        if self._run is None:
            return
        try:
            action()
        except Exception as error:
            # Anything may come out of a client, its service process and a network, and none of it is worth a training.
            if not self._warned:
                warnings.warn(f"W&B lost something of this run, the work goes on: {_line(error)}", stacklevel=3)
            self._warned = True


def start(
    settings: Tracking,
    identity: Identity,
    job_type: str,
    config: Mapping[str, Any],
    folder: Path,
    tags: Sequence[str] = (),
    init_timeout: float = INIT_TIMEOUT,
    keep: Keep | None = None,
) -> TrackedRun:
    """Start tracking an attempt at a task. It raises nothing.

    Mode 'auto' is online where WANDB_API_KEY is set, else offline. A server that does not answer within `init_timeout`
    seconds or refuses, leaves the run offline, with a warning that says so. Everything W&B writes goes under `folder`.

    Args:
        job_type: what the task does, as in 'train'.
        config: the settings, plain data; no secrets, they are uploaded.
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
    options = {
        "project": settings.project,
        "id": identity.id,
        "name": identity.id,
        "group": identity.group,
        "job_type": job_type,
        "config": dict(config),
        "tags": list(tags),
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if mode == "online":
            try:
                return _init(options, folder, "online", init_timeout, keep)
            except Exception as error:
                warnings.warn(f"W&B cannot be reached, the run is kept offline: {_line(error)}", stacklevel=2)
                import wandb

                # The service process keeps the run that could not start, and would hand it out again.
                wandb.teardown()
        return _init(options, folder, "offline", init_timeout, keep)
    except Exception as error:
        warnings.warn(f"W&B does not start, this run is not tracked: {_line(error)}", stacklevel=2)
        return TrackedRun(None, "disabled")


def summary_of_test(
    metrics: Mapping[str, tuple[float, float, float]],
    numbers: Mapping[str, float | None],
    coverage: Mapping[str, float],
) -> dict[str, float]:
    """Return the summary's values under their keys: (value, low, high) by metric, plain numbers, coverage by target."""
    summary: dict[str, float] = {}
    for name, (value, low, high) in metrics.items():
        summary |= {f"test/{name}": value, f"test/{name}/low": low, f"test/{name}/high": high}
    summary |= {f"test/{name}": value for name, value in numbers.items() if value is not None}
    return summary | {f"test/coverage@{target}": share for target, share in coverage.items()}


def _init(
    options: Mapping[str, Any], folder: Path, mode: Literal["online", "offline"], timeout: float, keep: Keep | None
) -> TrackedRun:
    import wandb

    settings = wandb.Settings(
        mode=mode,
        root_dir=str(folder),
        reinit="create_new",
        init_timeout=timeout,
        finish_timeout=FINISH_TIMEOUT,
        silent=True,
        console="off",
        save_code=False,
        disable_git=True,
        x_disable_stats=True,
    )
    run = wandb.init(**options, settings=settings)
    run.define_metric(STEP)
    run.define_metric("*", step_metric=STEP, step_sync=True)
    return TrackedRun(run, mode, keep)


def _allowed(name: str) -> str:
    return re.sub(r"[^\w.-]", "-", name, flags=re.ASCII)


def _line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
