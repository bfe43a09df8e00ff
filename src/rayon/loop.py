"""The loop on one machine: feedback, dataset, monitor, and a training where one was asked for; one pass at a time.

What a schedule and events do on a cluster. Everything a pass needs to know it reads from finished runs and from the
store: it may be stopped at any point and started again, and does nothing twice. Knows flows as files to be run.
"""

from __future__ import annotations

import fcntl
import os
import typing
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from metaflow import Run, namespace

from rayon.champions import branch_here, finished_runs, started
from rayon.config import Config, Retraining
from rayon.data.fetching import list_files
from rayon.data.outputs import is_remote
from rayon.data.tables import CatalogError
from rayon.events import Request, last_training, requests_since, too_soon
from rayon.feedback import Store
from rayon.feedback_run import open_feedback
from rayon.monitor_run import last_look
from rayon.preparing import RayonError
from rayon.production import sources_since
from rayon.registry import any_dataset, dataset_of, feedback_state, latest_dataset, model_tag

Tell = Callable[[str], None]


class Decision(NamedTuple):
    """Whether to train, and why, or why not, in words."""

    train: bool
    reason: str


class Pass(NamedTuple):
    """What a pass ran, in order, as 'Flow/run', and what was decided about training."""

    runs: tuple[str, ...]
    decision: Decision


def decide(
    now: datetime, trainings: Sequence[datetime], requests: Sequence[Request], fresh: bool, limits: Retraining
) -> Decision:
    """Return whether a training that was asked for may start.

    Args:
        trainings: when those so far began, newest first.
        requests: the ones since the last training.
        fresh: whether the newest dataset version is another than that of the last training.
        limits: cool-down and budget.
    """
    if not trainings:
        return Decision(True, "there is no model yet")
    if not requests:
        return Decision(False, "nobody asks for a training")
    reason = "; ".join(dict.fromkeys(request.reason for request in requests))
    if not fresh:
        return Decision(False, f"there is nothing new to learn from, though a training was asked for: {reason}")
    if refused := too_soon(now, trainings, limits):
        return Decision(False, f"{refused} ({reason})")
    return Decision(True, reason)


def run_pass(config: Config, experiment: Path, flows: Path, tell: Tell, window: str = "", show: bool = False) -> Pass:
    """Do one pass: take in feedback, make a dataset version, monitor, train if asked; the gate promotes or holds.

    Each flow runs only where there is something for it to do, with the settings of the file `experiment`. The
    monitor looks back over `window`, or over the experiment's.

    Raises:
        RayonError: a flow failed; what it printed says why.
    """
    done: list[str] = []

    def run(flow: str, **parameters: Any) -> None:
        tell(f"{flow}_flow.py: running")
        done.append(_run(flows / f"{flow}_flow.py", experiment, parameters, show))
        tell(f"{flow}_flow.py: finished {done[-1]}")

    store = open_feedback(config)
    try:
        version = any_dataset(config.name)
        if version is not None and has_feedback(store, config):
            run("feedback")
        if version is None or stale_dataset(config):
            run("preprocess")
        if last_training(config.name) is not None and has_traffic(store, config):
            run("monitor", window=window)
    finally:
        store.close()
    decision = next_decision(config)
    tell(("training: " if decision.train else "no training: ") + decision.reason)
    if decision.train:
        run("train_nodes" if config.trainer.nodes > 1 else "train", reason=decision.reason[:160])
    return Pass(tuple(done), decision)


@contextmanager
def alone(config: Config) -> Iterator[None]:
    """Hold the loop of a catalogue and branch on this machine; the lock ends with the process, however that ends.

    Raises:
        RayonError: another process holds it.
    """
    folder = Path(config.cache)
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / f"loop-{config.name}-{branch_here()}.lock", "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise RayonError(f"another loop of '{config.name}' runs here: wait for it, or stop it.") from None
        yield


def next_decision(config: Config, now: datetime | None = None) -> Decision:
    """Return whether a training should start now, from what finished runs say."""
    runs = list(finished_runs("TrainFlow", model_tag(config.name)))
    trainings = [started(run) for run in runs]
    requests = list(requests_since(config.name, trainings[0] if trainings else None))
    newest = latest_dataset(config.name)
    fresh = True
    if runs and newest is not None:
        trained_on: Any = runs[0]["evaluate"].task
        fresh = dataset_of(trained_on["dataset_run"].data).manifest.fingerprint != newest.manifest.fingerprint
    return decide(now or datetime.now(UTC), trainings, requests, fresh, config.retraining)


def has_feedback(store: Store, config: Config) -> bool:
    """Say whether there is feedback that no finished run has looked at, or an admin settled what waited."""
    state = feedback_state(config.name).in_store(store)
    return bool(store.feedback_after(state.cursor, limit=1) or store.settled(state.waiting))


def stale_dataset(config: Config) -> bool:
    """Say whether the newest dataset version lacks accepted feedback, or is older than what the catalogue lies in.

    That are its products and labels, files or folders of them, here or on S3; one that cannot be reached now is not
    newer. A file that was taken out of a folder on S3 is not noticed.
    """
    version = latest_dataset(config.name)
    if version is None:
        return True
    held = {ref.fingerprint for ref in version.manifest.shards}
    # of a shard whose rows were all labelled again nothing is left: then a later one is held
    if any(ref.fingerprint not in held for ref in feedback_state(config.name).shards[-1:]):
        return True
    places = [place for place in (config.catalog.products, config.catalog.labels) if place is not None]
    written = [moment for place in places for moment in _written(place)]
    namespace(None)
    return bool(written) and max(written) > started(Run(version.run)).timestamp()


def _written(place: str) -> list[float]:
    """Return when each file of a place was last written, as a Unix time, a folder of this machine as well: what is
    moved into it may be old. None where it cannot be reached.
    """
    try:
        files = [file.written.timestamp() for file in list_files(place)]
        return files if is_remote(place) else [*files, os.stat(place).st_mtime]
    except (CatalogError, OSError):
        return []


def has_traffic(store: Store, config: Config) -> bool:
    """Say whether anything was predicted, or a scoring finished, since the last look at a window of production."""
    looked = last_look(config.name)
    if looked is None:
        return True
    return bool(sources_since(config.name, looked)) or store.predicted_between(looked, datetime.now(UTC))


def _run(file: Path, experiment: Path, parameters: dict[str, Any], show: bool) -> str:
    options = {"config": [("experiment", str(experiment))], **_branch()}
    try:
        with _typing_kept():
            from metaflow import Runner

            with Runner(str(file), show_output=show, **options).run(**parameters) as running:
                finished: Any = running
                if finished.status == "successful":
                    return str(finished.run.pathspec)
                told = f"{finished.stdout}\n{finished.stderr}"
    except RuntimeError as error:  # it did not even begin
        told = str(error)
    lines = [line for line in told.splitlines() if line.strip()]
    raise RayonError(f"{file.name} failed: " + "\n".join(lines[-12:]))


@contextmanager
def _typing_kept() -> Iterator[None]:
    """Undo what Metaflow's own copy of typing_extensions does to `typing`, which parts of torch then cannot import."""
    name = "_collect_parameters"
    before = getattr(typing, name, None)
    try:
        yield
    finally:
        if before is not None:
            setattr(typing, name, before)


def _branch() -> dict[str, Any]:
    """The flows' options for the project branch that is looked at; a user's own needs none."""
    kind, _, name = os.environ.get("RAYON_BRANCH", "").partition(".")
    if kind == "prod":
        return {"production": True, **({"branch": name} if name else {})}
    return {"branch": name} if kind == "test" else {}
