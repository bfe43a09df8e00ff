"""Finds what notebooks look at: an experiment's settings, its dataset version, its runs.

One of the modules that know Metaflow: runs are found as the registry finds them, in this project branch, whoever
started them. Where there is none yet, the error is a sentence with the command that makes one.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import pandas as pd
from metaflow import Run, namespace
from metaflow.exception import MetaflowException

from rayon.champions import RegistryError, branch_here, champion, finished_runs, run_path
from rayon.config import Config, ConfigError, parse_config, read_config, resolve_paths
from rayon.data.census import take_census
from rayon.data.dataset import Dataset
from rayon.monitor_run import monitor_tag
from rayon.preparing import open_version, sample_photos
from rayon.registry import DatasetVersion, any_dataset, dataset_tag, find_version, model_tag, read_keys, scores_tag
from rayon.schema import REJECT_COLUMNS

_FLOWS: dict[str, tuple[str, Callable[[str], str]]] = {
    "PreprocessFlow": ("preprocess", dataset_tag),
    "TrainFlow": ("train", model_tag),
    "ScoreFlow": ("score", scores_tag),
    "MonitorFlow": ("monitor", monitor_tag),
}
_DEMO = "configs/demo.yaml"


class NothingYetError(RegistryError):
    """There is no run yet to look at. The message says which command makes one; a notebook shows it alone."""

    def _render_traceback_(self) -> list[str]:
        return [str(self)]


class Experiment(NamedTuple):
    """An experiment's file, as given, and its settings."""

    file: str
    config: Config

    def command(self, target: str) -> str:
        """Return the command, typed in the project's folder, that makes something for this experiment."""
        return f"make {target}" if self.file == _DEMO else f"make {target} EXPERIMENT={self.file}"


def project_root() -> Path:
    """Return the project's folder: the working directory or the nearest folder above it that has the flows."""
    here = Path.cwd()
    return next((folder for folder in (here, *here.parents) if (folder / "flows" / "train_flow.py").exists()), here)


def open_experiment(file: str) -> Experiment:
    """Read an experiment's file; its path, and those in it, start at the project's folder.

    Raises:
        ConfigError: there is no such file, or it has mistakes.
    """
    root = project_root()
    path = root / file
    if not path.is_file():
        known = ", ".join(sorted(f"configs/{each.name}" for each in (root / "configs").glob("*.yaml"))) or "none"
        raise ConfigError(f"there is no file {path}: name an experiment's YAML file; known here: {known}.")
    return Experiment(file, resolve_paths(parse_config(read_config(path.read_text(encoding="utf-8"))), root))


def latest_runs(experiment: Experiment, flow: str, count: int = 1) -> list[Run]:
    """Return the newest finished runs of a flow for the experiment's catalogue, at most `count`, newest first.

    Raises:
        NothingYetError: there is none; the message has the command that makes one.
    """
    target, tag = _FLOWS[flow]
    found = list(islice(finished_runs(flow, tag(experiment.config.name)), count))
    if not found:
        raise _nothing(experiment, f"no finished run of {flow}", target)
    return found


def open_dataset(experiment: Experiment) -> tuple[DatasetVersion, Dataset]:
    """Return the newest dataset version of the experiment's catalogue, and the version opened.

    Raises:
        NothingYetError: there is none; the message has the command that makes one.
    """
    version = any_dataset(experiment.config.name)
    if version is None:
        raise _nothing(experiment, "no dataset version", "preprocess")
    return version, open_version(version.manifest, experiment.config)


def photos_of(experiment: Experiment, version: DatasetVersion, count: int = 24) -> list[tuple[str, bytes]]:
    """Return (category, JPEG) of up to `count` products of a dataset version, of as many categories as there are."""
    config = experiment.config
    return sample_photos(version.manifest, take_census(version.manifest, read_keys, config.split, count).photos, config)


def read_rejects(version: DatasetVersion) -> pd.DataFrame:
    """Return the rows and photos refused for a dataset version; none are kept where a training prepared it."""
    namespace(None)
    if not version.run.startswith("PreprocessFlow/"):
        return pd.DataFrame(columns=list(REJECT_COLUMNS))
    rejects: pd.DataFrame = Run(version.run)["combine"].task["rejects"].data  # type: ignore[index]
    return rejects


def find_run(experiment: Experiment, flow: str, which: str = "") -> Run:
    """Return a run of a flow: the newest finished one for the experiment's catalogue, or `which`, such as '12'.

    Raises:
        NothingYetError: there is none at all.
        RegistryError: there is no such run.
    """
    if not which:
        return latest_runs(experiment, flow)[0]
    namespace(None)
    try:
        return Run(run_path(flow, which))
    except MetaflowException as error:
        raise RegistryError(f"'{which}' is no run of {flow} that is here: give one, such as 12.") from error


def find_training(experiment: Experiment, which: str = "") -> Run:
    """Return a training of the experiment's catalogue: the champion, or the newest where there is none; or `which`, a
    run such as '12', 'champion' or 'latest'.

    Raises:
        NothingYetError, RegistryError: as `find_run`.
    """
    if not which:
        latest_runs(experiment, "TrainFlow")
    return find_run(experiment, "TrainFlow", find_version(which, experiment.config.name))


def two_trainings(experiment: Experiment) -> tuple[str, str]:
    """Return the newest training and what to compare it with: the champion, or the training before it where it is
    champion itself, or there is none.

    Raises:
        NothingYetError: there are not two.
    """
    runs = [run.pathspec for run in latest_runs(experiment, "TrainFlow", 2)]
    served = champion(experiment.config.name)
    others = [*([served.to] if served is not None else []), *runs[1:]]
    for other in others:
        if other != runs[0]:
            return runs[0], other
    raise _nothing(experiment, "no second training", "train")


def _nothing(experiment: Experiment, what: str, target: str) -> NothingYetError:
    return NothingYetError(
        f"There is {what} of '{experiment.config.name}' yet in the branch '{branch_here()}': run "
        f"`{experiment.command(target)}` in the project's folder, then this cell again. (RAYON_BRANCH names another.)"
    )
