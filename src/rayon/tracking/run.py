"""A run that is followed: what can be logged to it, and what becomes of that when W&B stops answering.

Knows W&B, which it imports where something is logged, and nothing of what is logged.
"""

from __future__ import annotations

import re
import shlex
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from io import BytesIO
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from rayon.evaluation import most_confused
from rayon.tracking.service import end_service, leave_service

CONFUSION_CHART = "wandb/confusion_matrix/v1"
CONFUSION_COLUMNS = ("Actual", "Predicted", "nPredictions")
"""W&B's own chart of confusions, and the columns of its table."""

CONFUSION_CATEGORIES = 100
"""More are not drawn: W&B cuts a table after 10,000 rows."""

LINES_CHART = "wandb/lineseries/v0"
LINES_COLUMNS = ("step", "lineKey", "lineVal")
"""W&B's own chart of several lines, and the columns of its table; what `wandb.plot.line_series` makes."""


class Keep(Protocol):
    """Where an offline run's folder is kept when this machine's disk is not: a pod's."""

    def location(self, name: str) -> str:
        """Return where the folder of that name will be."""

    def send(self, folder: Path) -> None:
        """Copy a folder there."""


def _gathered(counts: NDArray[np.int64], categories: Sequence[str]) -> tuple[NDArray[np.int64], list[str]]:
    shown = CONFUSION_CATEGORIES - 1
    if len(categories) <= CONFUSION_CATEGORIES:
        return counts, list(categories)
    chosen = most_confused(counts, shown)
    places = np.full(len(categories), shown)
    places[chosen] = np.arange(shown)
    gathered = np.zeros((shown + 1, shown + 1), dtype=np.int64)
    np.add.at(gathered, (places[:, None], places[None, :]), counts)
    names = [categories[place] for place in chosen]
    return gathered, [*names, f"{len(categories) - shown:,} others, with fewer mistakes"]


class _Said(NamedTuple):
    """How something is made that is logged, and how it is sent to a run. W&B's objects belong to one run each."""

    make: Callable[[], Any]
    send: Callable[[Any, Any], object]


class TrackedRun:
    """A W&B run, or nothing at all where tracking is disabled. Its methods raise nothing.

    `mode` is 'online', 'offline' or 'disabled': what the run is, whatever was asked for.
    """

    def __init__(
        self,
        run: Any,
        mode: str,
        axis: str = "",
        keep: Keep | None = None,
        reopen: Callable[[], Any] | None = None,
    ) -> None:
        """`reopen` opens the same run offline: what was logged online is repeated there if W&B stops answering."""
        self._run = run
        self._axis = axis
        self._keep = keep
        self._reopen = reopen
        self._said: list[_Said] = []
        self._silent = ""
        self._warned = False
        self.mode = mode
        self._folder = str(run.settings.sync_dir) if run is not None else ""
        self._url = str(run.url) if mode == "online" else ""

    def log(self, values: Mapping[str, float], at: float | None = None) -> None:
        """Add one point to each curve, at that place on the run's axis where it is given."""
        point = {**values, **({self._axis: at} if self._axis and at is not None else {})}
        self._do(lambda: point, lambda run, _: run.log(dict(point)))

    def summary(self, values: Mapping[str, Any]) -> None:
        """Set the run's final values."""
        final = dict(values)
        self._do(lambda: final, lambda run, _: run.summary.update(dict(final)))

    def confusion(self, matrix: Sequence[Sequence[int]], categories: Sequence[str]) -> None:
        """Log (C, C) counts, true category by row, as W&B's own confusion matrix chart.

        Where there are more than `CONFUSION_CATEGORIES`, those with the fewest mistakes are gathered in a last one.
        """

        def chart() -> Any:
            import wandb

            counts, names = _gathered(np.asarray(matrix), categories)
            cells: list[Iterable[Any]] = [
                [truth, predicted, int(count)]
                for truth, line in zip(names, counts, strict=True)
                for predicted, count in zip(names, line, strict=True)
            ]
            fields = {column: column for column in CONFUSION_COLUMNS}
            table = wandb.Table(columns=list(CONFUSION_COLUMNS), data=cells)
            return {"confusion": wandb.plot_table(CONFUSION_CHART, table, fields, {"title": "Confusion"})}

        self._do(chart, lambda run, media: run.log(media), asks=True)

    def reliability(self, confidence: Sequence[float], accuracy: Sequence[float]) -> None:
        """Log how often the model is right by how sure it is, both (B,) in [0, 1], beside the ideal line."""

        def chart() -> Any:
            import wandb

            xs, ys, ideal = list(confidence), list(accuracy), [0.0, 1.0]
            names = ["model", "ideal"]
            plot = wandb.plot.line_series([xs, ideal], [ys, ideal], names, title="Reliability", xname="confidence")
            return {"reliability": plot}

        self._do(chart, lambda run, media: run.log(media), asks=True)

    def table(
        self, name: str, columns: Sequence[str], rows: Sequence[Sequence[Any]], photos: str | None = None
    ) -> None:
        """Log a table; the column called `photos` holds encoded photos (bytes) or None and is shown as pictures."""

        def make() -> Any:
            import wandb
            from PIL import Image

            place = columns.index(photos) if photos is not None else -1
            table = wandb.Table(columns=list(columns))
            for row in rows:
                cells = list(row)
                if place >= 0 and cells[place] is not None:
                    cells[place] = wandb.Image(Image.open(BytesIO(cells[place])).convert("RGB"), file_type="jpg")
                table.add_data(*cells)
            return {name: table}

        self._do(make, lambda run, media: run.log(media), asks=True)

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

        def make() -> Any:
            import wandb

            artifact = wandb.Artifact(allowed(name), type, metadata=dict(metadata or {}))
            with artifact.new_file(filename, mode="wb") as file:
                file.write(data)
            return artifact

        self._do(make, lambda run, artifact: run.log_artifact(artifact, aliases=list(aliases) or None), asks=True)

    def lightning_logger(self) -> Any:
        """Return a Lightning logger onto this run, False (Lightning's word for none) where tracking is disabled."""
        if self._run is None:
            return False
        from pytorch_lightning.loggers import WandbLogger

        log = self.log

        class Logger(WandbLogger):
            def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
                log(metrics, step)

            def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
                """Leave the config as it was given to `start`: the module's own settings are part of it."""

        return Logger(experiment=self._run, log_model=False)

    def where(self) -> str:
        """Say where the run can be seen: its address, or its folder and the command that uploads it."""
        if self.mode == "disabled":
            return "not tracked (tracking.mode is 'disabled')"
        if self._silent and self.mode == "online":
            return (
                f"{self._url}, which stopped answering: all of it will be kept offline in {Path(self._folder).parent}"
            )
        if self.mode == "online":
            return self._url
        if self._keep is not None:
            place = self._keep.location(Path(self._folder).name)
            return f"offline in {place} once the task is over; copy that folder here and upload it with: wandb sync"
        return f"offline in {self._folder}; upload it with: wandb sync {shlex.quote(self._folder)}"

    def finish(self, failed: bool = False) -> None:
        """End the run; further calls do nothing."""
        if self._run is None:
            return
        end = _Said(lambda: None, lambda run, _: run.finish(exit_code=int(failed)))
        self._perform(end)
        if self._silent:
            self._repeat_offline(end)
        if self._keep is not None and self.mode == "offline":
            try:
                self._keep.send(Path(self._folder))
            except Exception as error:
                self._warn(error)
        self._run = None
        try:
            leave_service()
        except Exception as error:
            self._warn(error)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.finish(failed=kind is not None)

    def _do(self, make: Callable[[], Any], send: Callable[[Any, Any], object], asks: bool = False) -> None:
        """Make something and send it to the run; what `asks` the server waits once that has stopped answering."""
        if self._run is None:
            return
        said = _Said(make, send)
        if self._reopen is not None:
            self._said.append(said)
        if not (asks and self._silent):
            self._perform(said)

    def _perform(self, said: _Said) -> None:
        # Anything may come out of a client, its service process and a network, and none of it is worth a training.
        try:
            made = said.make()
        except Exception as error:
            self._warn(error)
            return
        try:
            said.send(self._run, made)
        except Exception as error:
            if self._reopen is None:
                self._warn(error)
            else:
                self._silent = self._silent or one_line(error)

    def _warn(self, error: Exception) -> None:
        if not self._warned:
            warnings.warn(f"W&B lost something of this run, the work goes on: {one_line(error)}", stacklevel=4)
        self._warned = True

    def _repeat_offline(self, end: _Said) -> None:
        """Send all that was sent once more, to an offline run of the same id."""
        reopen, self._reopen = self._reopen, None
        try:
            end_service()  # it would hand the old run out again
            self._run = reopen() if reopen is not None else None
        except Exception as error:
            warnings.warn(
                f"W&B stopped answering ({self._silent}), and no copy of this run can be kept ({one_line(error)}). "
                f"Part of it is there: wandb sync --include-online {shlex.quote(self._folder)}",
                stacklevel=3,
            )
            return
        self.mode, self._folder = "offline", str(self._run.settings.sync_dir)
        for said in (*self._said, end):
            self._perform(said)
        warnings.warn(f"W&B stopped answering ({self._silent}): all of this run is {self.where()}", stacklevel=3)


def allowed(name: str) -> str:
    """Return a name without the characters that W&B refuses in ids."""
    return re.sub(r"[^\w.-]", "-", name, flags=re.ASCII)


def one_line(error: Exception) -> str:
    """Return what an error says, in one line."""
    return " ".join(str(error).split()) or type(error).__name__
