"""Finds what earlier runs left: dataset versions and their shards, through the Metaflow client alone.

One of the few modules that know Metaflow. Runs are looked up by tag, in every namespace, newest first; nothing is read
from files that a flow left behind.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from metaflow import Flow, Run, Task, namespace
from metaflow.exception import MetaflowNotFound

from rayon.data.shards import Manifest, ShardRef

DATASET_FLOWS = {"PreprocessFlow": "combine", "TrainFlow": "start"}
"""The flows that leave dataset versions, and the step whose artifact `manifest` holds it."""


class RegistryError(LookupError):
    """A run is not there, or is not what was asked for. The message says which and what to do."""


class DatasetVersion(NamedTuple):
    """A dataset version and the run that made it, as 'Flow/run'."""

    manifest: Manifest
    run: str


def dataset_tag(name: str) -> str:
    """Return the tag of the runs that left a dataset version of catalogue `name`."""
    return f"dataset:{name}"


def latest_dataset(name: str, flow: str = "PreprocessFlow") -> DatasetVersion | None:
    """Return the newest dataset version of catalogue `name` that a run of `flow` finished, None where there is none."""
    for run in _runs(flow, dataset_tag(name)):
        # a version prepared by a training is whole when its step is, whatever became of the training
        if run.successful or (flow != "PreprocessFlow" and _task(run).successful):
            return _version(run)
    return None


def dataset_of(run_id: str) -> DatasetVersion:
    """Return the dataset version that a run used or made: '12', 'PreprocessFlow/12' or 'TrainFlow/34'.

    Raises:
        RegistryError: there is no such run, or it left no dataset version.
    """
    path = run_id if "/" in run_id else f"PreprocessFlow/{run_id}"
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


def _artifact(ref: ShardRef, kind: str) -> bytes:
    pathspec, number = ref.locator.split("#")
    namespace(None)
    try:
        data: bytes = Task(pathspec)[f"{kind}_{number}"].data
    except (MetaflowNotFound, KeyError) as error:
        raise RegistryError(
            f"the shard {ref.fingerprint[:12]} of task {pathspec} is gone: the run was deleted. "
            "Run flows/preprocess_flow.py again with `--fresh true` to build the dataset anew."
        ) from error
    return data


def _runs(flow: str, *tags: str) -> Iterator[Run]:
    namespace(None)
    try:
        yield from Flow(flow).runs(*tags)
    except MetaflowNotFound:
        return


def _version(run: Run) -> DatasetVersion:
    return DatasetVersion(Manifest.from_json(_task(run)["manifest"].data), run.pathspec)


def _task(run: Run) -> Task:
    task = run[DATASET_FLOWS[run.pathspec.split("/")[0]]].task
    if task is None:
        raise KeyError(f"{run.pathspec} has no finished dataset step")
    return task
