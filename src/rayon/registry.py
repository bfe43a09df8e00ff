"""Finds what earlier runs left: dataset versions, models and predictions, through the Metaflow client alone.

One of the few modules that know Metaflow. Runs are looked up by tag within a project branch, whoever started them,
newest first; nothing is read from files that a flow left behind.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from metaflow import Run, Task, namespace
from metaflow.exception import MetaflowNotFound

from rayon.champions import RegistryError, champion, finished_runs, run_path, runs_tagged, undamaged
from rayon.data.shards import Manifest, ShardRef

if TYPE_CHECKING:
    from rayon.feedback import Store

DATASET_FLOWS = {"PreprocessFlow": "combine", "TrainFlow": "start"}
"""The flows that leave dataset versions, and the step whose artifact `manifest` holds it."""


class DatasetVersion(NamedTuple):
    """A dataset version and the run that made it, as 'Flow/run'."""

    manifest: Manifest
    run: str


def dataset_tag(name: str) -> str:
    """Return the tag of the runs that left a dataset version of catalogue `name`."""
    return f"dataset:{name}"


def latest_dataset(name: str, flow: str = "PreprocessFlow") -> DatasetVersion | None:
    """Return the newest dataset version of catalogue `name` that a run of `flow` finished, None where there is none."""
    for run in runs_tagged(flow, dataset_tag(name)):
        # a version prepared by a training is whole when its step is, whatever became of the training
        if run.successful or (flow != "PreprocessFlow" and _task(run).successful):
            return _version(run)
    return None


def any_dataset(name: str) -> DatasetVersion | None:
    """Return the newest dataset version of catalogue `name`, one that a training prepared where there is no other."""
    return latest_dataset(name) or latest_dataset(name, flow="TrainFlow")


def dataset_of(run_id: str) -> DatasetVersion:
    """Return the dataset version that a run used or made: '12', 'PreprocessFlow/12' or 'TrainFlow/34'.

    Raises:
        RegistryError: there is no such run, or it left no dataset version.
    """
    path = run_path("PreprocessFlow", run_id)
    if path.split("/")[0] not in DATASET_FLOWS:
        raise RegistryError(f"'{run_id}' is no run of {' or '.join(DATASET_FLOWS)}: give one of those.")
    namespace(None)
    try:
        return _version(Run(path))
    except (MetaflowNotFound, KeyError) as error:
        raise RegistryError(
            f"the run {path} is not here, or has not finished a dataset version: see the runs with "
            f"`python flows/preprocess_flow.py list runs`, or leave --dataset out to take the latest."
        ) from error


def find_reference(which: str, name: str) -> bytes:
    """Return what production is compared with: the reference of a model, as `rayon.reference.read_reference` reads it.

    Args:
        which: '' for the champion of catalogue `name`, or its latest finished training where there is no champion;
            'champion' or 'latest'; or a run, '12' or 'TrainFlow/12'.
        name: the catalogue's name.

    Raises:
        RegistryError: there is no such model, or it was trained before references were kept.
    """
    version = find_model(which, name).version
    try:
        if not version.startswith("TrainFlow/"):
            raise KeyError(version)
        with undamaged(f"the reference of {version}", "Train again, or name another run with --model."):
            reference: bytes = Run(version)["evaluate"].task["reference"].data  # type: ignore[index]
    except (MetaflowNotFound, KeyError, TypeError) as error:
        raise RegistryError(
            f"{version} kept no reference to compare with: it is a file, or was trained before references were kept. "
            "Train again, or name another run of TrainFlow with --model."
        ) from error
    return reference


class Model(NamedTuple):
    """A bundle's bytes and what signs its predictions: the run that trained it, 'TrainFlow/12', or its file."""

    version: str
    bundle: bytes


def model_tag(name: str) -> str:
    """Return the tag of the runs that left a bundle for catalogue `name`."""
    return f"model:{name}"


def scores_tag(name: str) -> str:
    """Return the tag of the runs that scored products for catalogue `name`."""
    return f"scores:{name}"


class Read(NamedTuple):
    """What was read of one store: up to which number, the prediction that this number is about, what waits for an admin
    (reason and detail by number), the numbers of what was found wrong.
    """

    cursor: int
    last: str
    waiting: dict[int, tuple[str, str]]
    wrong: tuple[int, ...]


class FeedbackState(NamedTuple):
    """What the last FeedbackFlow run left: how far it read, what waits for an admin (reason and detail by number), all
    shards of accepted feedback so far, oldest first, the run ('' where there was none), and the numbers of what was
    found wrong so far, because more people, or an admin, said otherwise.

    Numbers are those of one database, `store` (its identity); `last` is the prediction that number `cursor` is about.
    `origins` says of each shard which store its rows' numbers are of, `elsewhere` what was read of other stores. Runs
    of before kept none of this: '' and nothing.
    """

    cursor: int
    waiting: dict[int, tuple[str, str]]
    shards: tuple[ShardRef, ...]
    run: str
    wrong: tuple[int, ...] = ()
    store: str = ""
    last: str = ""
    origins: tuple[str, ...] = ()
    elsewhere: Mapping[str, Read] = MappingProxyType({})

    def in_store(self, store: Store) -> FeedbackState:
        """Return it in the numbers of a store: what was read of this one, with what was read of another kept apart.

        A store that no run has read begins at 0, and so does one that is no longer what was read: numbers mean other
        feedback there. A run of before is believed where the store got as far.
        """
        identity = store.identity or self.store
        state = self if self.store in ("", identity) else self._moved(identity)
        origins = (*self.origins, *[""] * (len(self.shards) - len(self.origins)))
        if store.follows(state.cursor, state.last):
            believed = tuple(identity if not (origin or self.store) else origin for origin in origins)
            return state._replace(store=identity, origins=believed)
        gone = tuple("" if origin == identity else origin for origin in origins)
        return state._replace(cursor=0, last="", waiting={}, wrong=(), store=identity, origins=gone)

    def _moved(self, identity: str) -> FeedbackState:
        kept = {**self.elsewhere, self.store: Read(self.cursor, self.last, self.waiting, self.wrong)}
        mine = kept.pop(identity, Read(0, "", {}, ()))
        return self._replace(cursor=mine.cursor, last=mine.last, waiting=mine.waiting, wrong=mine.wrong, elsewhere=kept)


def feedback_tag(name: str) -> str:
    """Return the tag of the runs that took in feedback for catalogue `name`."""
    return f"feedback:{name}"


def feedback_state(name: str) -> FeedbackState:
    """Return where the feedback of catalogue `name` stands: what the last run that finished says."""
    for run in finished_runs("FeedbackFlow", feedback_tag(name)):
        with undamaged(f"what {run.pathspec} left", "Restore that file: it alone says what was read."):
            data: Any = run.data
            shards = tuple(ShardRef(**{**ref, "removed": ()}) for ref in data.shards)
            wrong = tuple(getattr(data, "wrong", ()))  # runs of before kept none, nor what follows
            found = FeedbackState(data.cursor, dict(data.waiting), shards, str(run.pathspec), wrong)
            if not hasattr(data, "store"):
                return found
            elsewhere = {identity: Read(**read) for identity, read in data.elsewhere.items()}
            return found._replace(store=data.store, last=data.last, origins=tuple(data.origins), elsewhere=elsewhere)
    return FeedbackState(0, {}, (), "")


def find_model(which: str, name: str) -> Model:
    """Return a model.

    Args:
        which: '' for the champion of catalogue `name`, or its latest finished training where there is no champion;
            'champion' or 'latest' for that one alone; a run, '12' or 'TrainFlow/12'; or a bundle's file.
        name: the catalogue's name.

    Raises:
        RegistryError: there is no such model.
    """
    found = find_version(which, name)
    file = Path(found)
    return Model(found, file.read_bytes()) if file.is_file() else _model(Run(found))


def find_version(which: str, name: str) -> str:
    """Return the run, or the file, of the model that `find_model` would return; nothing of it is read.

    Raises:
        RegistryError: there is no such model.
    """
    if which in ("", "champion"):
        served = champion(name)
        if served is not None:
            return served.to
        if which:
            raise RegistryError(
                f"no model of '{name}' is champion: `python -m rayon promote RUN`, or leave --model out for the latest."
            )
    if which in ("", "latest"):
        for run in finished_runs("TrainFlow", model_tag(name)):
            return str(run.pathspec)
        raise RegistryError(
            f"no training of '{name}' has finished here: run `python flows/train_flow.py run` with the same --config "
            "first, or name a run or a bundle's file with --model."
        )
    if which.isdigit() or which.startswith("TrainFlow/"):
        path = run_path("TrainFlow", which)
        namespace(None)
        try:
            return str(Run(path).pathspec)
        except MetaflowNotFound as error:
            raise RegistryError(
                f"there is no run {path} here: see `python flows/train_flow.py list runs`, or leave --model out."
            ) from error
    if not Path(which).is_file():
        raise RegistryError(f"--model {which} is neither a run of TrainFlow nor a file: give one of those.")
    return which


def read_gallery_of(run: str) -> bytes | None:
    """Return the gallery that a training left beside its bundle (`rayon.gallery`), None where there is none."""
    namespace(None)
    try:
        gallery: bytes = Run(run)["evaluate"].task["gallery"].data  # type: ignore[index]
    except (MetaflowNotFound, KeyError, TypeError):
        return None
    return gallery


def read_predictions(run: str) -> pd.DataFrame:
    """Return what a ScoreFlow run said, a row a product (`rayon.scoring.PREDICTIONS_SCHEMA`): '12', 'ScoreFlow/12'.

    Raises:
        RegistryError: as `iter_predictions`.
    """
    frames: list[pd.DataFrame] = [table.to_pandas() for table in iter_predictions(run)]
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()


def iter_predictions(run: str) -> Iterator[pa.Table]:
    """Yield what a ScoreFlow run said, a shard at a time.

    Raises:
        RegistryError: there is no such run, or it has not finished.
    """
    path = run_path("ScoreFlow", run)
    namespace(None)
    try:
        locators: list[str] = Run(path)["combine"].task["predictions"].data  # type: ignore[index]
    except (MetaflowNotFound, TypeError, KeyError) as error:
        raise RegistryError(f"the run {path} is not here or has not finished: it left no predictions.") from error
    for locator in locators:
        pathspec, number = locator.split("#")
        with undamaged(f"the predictions of {path}", "Score those products again, or name other runs with --run."):
            data: bytes = Task(pathspec)[predictions_name(int(number))].data
        yield pq.read_table(pa.BufferReader(data))


def predictions_name(number: int) -> str:
    """Return the name of the artifact that holds the predictions of shard `number`, as a Parquet file."""
    return f"predictions_{number:05d}"


def read_shard(ref: ShardRef) -> bytes:
    """Return a shard's bytes from the artifact that its locator names."""
    return _artifact(ref, "shard")


def read_keys(ref: ShardRef) -> bytes:
    """Return the keys stored beside a shard."""
    return _artifact(ref, "keys")


def make_locator(pathspec: str, number: int) -> str:
    """Return the locator of shard `number` stored by the task `pathspec` as the artifacts of `artifact_names`."""
    return f"{pathspec}#{number:05d}"


def artifact_names(number: int) -> tuple[str, str]:
    """Return the names of the artifacts that hold shard `number` and its keys."""
    return f"shard_{number:05d}", f"keys_{number:05d}"


_ANEW = "Run flows/preprocess_flow.py again with `--fresh true` to build the dataset anew."


def _artifact(ref: ShardRef, kind: str) -> bytes:
    pathspec, number = ref.locator.split("#")
    namespace(None)
    try:
        # the same rows give the same bytes, and Metaflow writes no file that is there: a damaged one has to go first
        with undamaged(f"the shard {ref.fingerprint[:12]} of task {pathspec}", f"Restore or delete that file. {_ANEW}"):
            data: bytes = Task(pathspec)[f"{kind}_{number}"].data
    except (MetaflowNotFound, KeyError, TypeError) as error:  # the last: it is known, and its data are gone
        raise RegistryError(
            f"the shard {ref.fingerprint[:12]} of task {pathspec} is gone: the run was deleted. {_ANEW}"
        ) from error
    return data


def _model(run: Run) -> Model:
    try:
        with undamaged(f"the bundle of {run.pathspec}", "Roll back (`python -m rayon rollback`), or train again."):
            bundle: bytes = run["evaluate"].task["bundle"].data  # type: ignore[index]
    except (MetaflowNotFound, KeyError, TypeError) as error:
        raise RegistryError(
            f"the run {run.pathspec} left no bundle: it has not finished, or its artifacts are gone. Train again, or "
            "name another run."
        ) from error
    return Model(run.pathspec, bundle)


def _version(run: Run) -> DatasetVersion:
    with undamaged(f"the dataset version of {run.pathspec}", _ANEW):
        return DatasetVersion(Manifest.from_json(_task(run)["manifest"].data), run.pathspec)


def _task(run: Run) -> Task:
    task = run[DATASET_FLOWS[run.pathspec.split("/")[0]]].task
    if task is None:
        raise KeyError(f"{run.pathspec} has no finished dataset step")
    return task
