"""What Metaflow's metadata says of runs, and how a run is taken out of it.

Kept in local files, a run is hidden by renaming its folder: it is there whole or not at all, for every reader. The
metadata service can delete nothing through its API: there a run is marked by a tag, and `rayon.champions.runs_tagged`,
through which all lookups go, leaves it out. Either way what is hidden is still listed here, until it has been swept:
a process that is killed on the way leaves a list of what remains to be done.

One of the few modules that know Metaflow. It does not know which runs may go.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime
from typing import NamedTuple, Protocol

from metaflow import Flow, Run, get_metadata, metaflow_config, namespace
from metaflow.exception import MetaflowNotFound
from metaflow.plugins.cards.card_datastore import CardDatastore
from metaflow.plugins.datastores.local_storage import LocalStorage

from rayon.champions import SWEPT, started
from rayon.keeping.datastore import Datastore
from rayon.keeping.places import WORK, Folder, KeepError, Place, open_place

_HIDDEN = f"{WORK}/runs"
_BRANCH = "project_branch:"


class Known(NamedTuple):
    """A run as the metadata has it: project branch ('' for none), tags that people and flows gave it, when it began."""

    branch: str
    tags: frozenset[str]
    started: datetime


class Metadata(Protocol):
    """Where runs are known."""

    def hide(self, flow: str, run: str) -> None:
        """Take a run out of every reader's sight."""

    def show(self, flow: str, run: str) -> None:
        """Undo `hide`."""

    def tags(self, flow: str, run: str) -> frozenset[str]:
        """Return the tags that people and flows gave a hidden run."""

    def hidden(self, flow: str) -> dict[str, str]:
        """Return the hidden runs of a flow that are not swept yet, each with the folder of its data."""

    def forget(self, flow: str, run: str) -> None:
        """Forget a hidden run whose data is gone."""


class LocalMetadata:
    """Runs as folders of this machine. `with_data`: their data are in the same folders, and move with them."""

    def __init__(self, place: Folder, with_data: bool) -> None:
        self._place, self._with_data = place, with_data

    def hide(self, flow: str, run: str) -> None:
        self._place.move([(f"{flow}/{run}", f"{_HIDDEN}/{flow}/{run}")])

    def show(self, flow: str, run: str) -> None:
        self._place.move([(f"{_HIDDEN}/{flow}/{run}", f"{flow}/{run}")])

    def tags(self, flow: str, run: str) -> frozenset[str]:
        known = self._place.read(f"{_HIDDEN}/{flow}/{run}/_meta/_self.json")
        return frozenset(json.loads(known)["tags"] if known else ())

    def hidden(self, flow: str) -> dict[str, str]:
        home = f"{_HIDDEN}/{flow}" if self._with_data else flow
        return {run: f"{home}/{run}" for run in self._place.folders(f"{_HIDDEN}/{flow}")}

    def forget(self, flow: str, run: str) -> None:
        self._place.delete_tree(f"{_HIDDEN}/{flow}/{run}")


class ServiceMetadata:
    """Runs as rows of the metadata service, which keeps them for good."""

    def __init__(self, data: Place) -> None:
        self._data = data

    def hide(self, flow: str, run: str) -> None:
        namespace(None)
        Run(f"{flow}/{run}").add_tag(SWEPT)

    def show(self, flow: str, run: str) -> None:
        namespace(None)
        Run(f"{flow}/{run}").remove_tag(SWEPT)

    def tags(self, flow: str, run: str) -> frozenset[str]:
        namespace(None)
        return frozenset(Run(f"{flow}/{run}").user_tags)

    def hidden(self, flow: str) -> dict[str, str]:
        stored = set(self._data.folders(flow))
        return {run.id: f"{flow}/{run.id}" for run in _runs(flow, SWEPT) if run.id in stored}

    def forget(self, flow: str, run: str) -> None:
        """Nothing to do: without data, the tag alone remains."""


class Stores(NamedTuple):
    """All that a run is made of: its data, its metadata, its cards."""

    data: Datastore
    metadata: Metadata
    cards: Place


def open_stores(kind: str = "") -> Stores:
    """Return the stores of Metaflow's settings; `kind` is 'local' or 's3', the default datastore's if not given.

    Raises:
        KeepError: there is no such datastore, or it is of a kind that nothing can be deleted from here.
    """
    kind = kind or metaflow_config.DEFAULT_DATASTORE
    local = LocalStorage.datastore_root or LocalStorage.get_datastore_root_from_config(print, create_on_absent=False)
    roots = {"local": local, "s3": metaflow_config.DATASTORE_SYSROOT_S3}
    if kind not in roots:
        raise KeepError(f"--datastore {kind}: gc can delete from 'local' and 's3' alone.")
    root = roots[kind]
    if not root:
        where = "no .metaflow folder here or above" if kind == "local" else "METAFLOW_DATASTORE_SYSROOT_S3 is not set"
        raise KeepError(f"there is no datastore '{kind}': {where}.")
    data = open_place(root)
    cards = open_place(CardDatastore.get_storage_root(kind))
    if get_metadata().startswith("service"):
        return Stores(Datastore(data, kind), ServiceMetadata(data), cards)
    if not local:
        raise KeepError("there is no .metaflow folder here or above: start gc where the flows were started.")
    return Stores(Datastore(data, kind), LocalMetadata(Folder(local), with_data=kind == "local"), cards)


def known_runs(flow: str) -> dict[str, Known]:
    """Return the runs of a flow that the metadata has, hidden ones left out."""
    found = {}
    for run in _runs(flow):
        if SWEPT not in run.tags:
            branch = next((tag.removeprefix(_BRANCH) for tag in run.tags if tag.startswith(_BRANCH)), "")
            found[run.id] = Known(branch, frozenset(run.user_tags), started(run))
    return found


def origin_of(flow: str, run: str) -> str:
    """Return the run, 'Flow/run', that an unfinished one was resumed from, '' for none."""
    namespace(None)
    try:
        origin: str | None = Run(f"{flow}/{run}").origin_pathspec
    except (MetaflowNotFound, StopIteration):  # it has no task yet
        return ""
    return "" if not origin or origin.endswith("/None") else origin


def _runs(flow: str, *tags: str) -> Iterator[Run]:
    namespace(None)
    try:
        yield from Flow(flow).runs(*tags)
    except MetaflowNotFound:
        return
