"""Runs written by Metaflow's own datastore and metadata, without a flow: some milliseconds each."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from metaflow.datastore.flow_datastore import FlowDataStore
from metaflow.plugins.datastores.local_storage import LocalStorage

from rayon.data.shards import Manifest, ShardRef
from rayon.keeping.datastore import Datastore
from rayon.keeping.known import LocalMetadata, Stores
from rayon.keeping.places import Folder, Place

NOW = datetime.now(UTC)


class Shelf:
    """A datastore and its metadata below a folder, or the data below `root`; runs are of the catalogue 'shop'."""

    def __init__(self, folder: Path, storage: Any = LocalStorage, root: str = "") -> None:
        self.folder, self._storage = folder / ".metaflow", storage
        self.folder.mkdir(parents=True, exist_ok=True)
        self.root = root or str(self.folder)
        self._number = 0

    def stores(self, place: Place | None = None) -> Stores:
        """The stores as `open_stores` returns them."""
        data = place or Folder(self.root)
        metadata = LocalMetadata(Folder(str(self.folder)), with_data=place is None)
        cards = Folder(str(self.folder / "mf.cards"))
        return Stores(Datastore(data, "s3" if place else "local"), metadata, cards)

    def run(
        self,
        flow: str,
        age: float = 0.0,
        steps: Mapping[str, Mapping[str, Any]] | None = None,
        tags: tuple[str, ...] = (),
        end: bool | None = True,
        branch: str = "user.tests",
        name: str = "shop",
    ) -> str:
        """Write a run that began `age` days ago: artifacts by step, and a last step that succeeded (`end`), failed
        (False) or never ended (None). Return it as 'Flow/run'.
        """
        begun = NOW - timedelta(days=age)
        self._number += 1
        run = str(int(begun.timestamp() * 1e6) + self._number)
        self.tag(f"{flow}/{run}", tags, branch)
        constant = {"experiment": {"name": name}}
        for step, artifacts in {"_parameters": constant, **(steps or {})}.items():
            self.task(flow, run, step, {**constant, **artifacts})
        self.task(flow, run, "end", {"_task_ok": bool(end)}, done=end is not None)
        self.age(f"{flow}/{run}", age)
        return f"{flow}/{run}"

    def task(self, flow: str, run: str, step: str, artifacts: Mapping[str, Any], done: bool = True) -> None:
        """Write a task, as Metaflow does: announced, its blobs, what it refers to."""
        home = FlowDataStore(flow, storage_impl=self._storage, ds_root=self.root)
        task = home.get_task_datastore(run, step, "1", attempt=0, mode="w")
        task.init_task()
        if done:
            task.save_artifacts(iter({"_task_ok": True, **artifacts}.items()))
            task.done()

    def tag(self, path: str, tags: tuple[str, ...], branch: str = "user.tests") -> None:
        """Give a run these tags, and a place in the metadata where it has none."""
        flow, run = path.split("/")
        for home in (self.folder / flow, self.folder / flow / run):
            (home / "_meta").mkdir(parents=True, exist_ok=True)
            known = {"flow_id": flow, "run_number": run, "user_name": "tests", "ts_epoch": int(time.time() * 1000)}
            known |= {"tags": list(tags), "system_tags": [f"project_branch:{branch}", "user:tests"]}
            (home / "_meta" / "_self.json").write_text(json.dumps(known))

    def age(self, path: str, days: float) -> None:
        """Make all files of a run as old as it is."""
        moment = (NOW - timedelta(days=days)).timestamp()
        for home in {self.folder, Path(self.root)}:
            for file in (home / path).rglob("*"):
                os.utime(file, (moment, moment))

    def read(self, path: str) -> dict[str, Any]:
        """Read every artifact of every task of a run by Metaflow's datastore."""
        flow, run = path.split("/")
        home = FlowDataStore(flow, storage_impl=self._storage, ds_root=self.root)
        found: dict[str, Any] = {}
        for task in home.get_task_datastores(run_id=run):
            found |= {
                f"{task.step_name}.{name}": value
                for name, value in task.load_artifacts(list(task.ds_metadata["objects"]))
            }
        return found

    def blobs(self, flow: str) -> int:
        """How many blobs a flow has."""
        return sum(len(entry.name) == 40 for entry in (Path(self.root) / flow / "data").rglob("*"))

    def there(self, path: str) -> bool:
        """Whether a run is there for whoever looks for it."""
        return (self.folder / path / "_meta" / "_self.json").exists()


def manifest(*holders: str) -> str:
    """The manifest of a dataset version whose shards those runs hold."""
    shards = tuple(ShardRef(f"{n:064x}", 1, 1, f"{holder}/build/1#{n:05d}") for n, holder in enumerate(holders))
    return Manifest("shop", "f", "s", ("a",), shards, {}, "").to_json()


ReadAll = Callable[[str], dict[str, Any]]
