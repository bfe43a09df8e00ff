"""The heads that trainings leave for later ones to go on from: which training that is, and where they lie.

Knows Metaflow's artifacts and the registry. It does not know what heads are (`rayon.models.warm_start`).
"""

from __future__ import annotations

import warnings

from metaflow import Run, namespace
from metaflow.exception import MetaflowNotFound

from rayon.champions import RegistryError, undamaged
from rayon.config import Config
from rayon.registry import find_version


def going_on_from(config: Config) -> str:
    """Return the training, 'TrainFlow/12', whose heads a new one goes on from: the model that is served. '' where there
    is none, or `trainer.warm_epochs` has every training begin anew.
    """
    if not config.trainer.warm_epochs:
        return ""
    try:
        return find_version("", config.name)
    except RegistryError:  # the first training
        return ""


def read_heads(run: str, candidate: str) -> bytes | None:
    """Return the heads that a training left of a candidate, None where it left none, or they cannot be read."""
    if not run:
        return None
    namespace(None)
    try:
        with undamaged(f"the heads of {run}", "The training begins anew."):
            for task in Run(run)["train"]:
                if "candidate" in task and task["candidate"].data == candidate:
                    heads: bytes | None = task["heads"].data
                    return heads
    except (MetaflowNotFound, KeyError, TypeError):
        pass
    except RegistryError as error:
        warnings.warn(str(error), stacklevel=2)
    return None
