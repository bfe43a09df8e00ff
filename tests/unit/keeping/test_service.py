"""With the metadata service, which deletes nothing: a run loses its data, is marked, and is found no more."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest
from metaflow import Run, namespace
from metaflow import metadata as use_metadata
from metaflow.plugins.datastores.local_storage import LocalStorage
from stored import Shelf

from rayon.champions import SWEPT, runs_tagged
from rayon.keeping.datastore import Datastore
from rayon.keeping.gc import collect_garbage
from rayon.keeping.known import ServiceMetadata, Stores
from rayon.keeping.places import Folder
from rayon.keeping.policy import Policy

TAG = ("model:shop",)


@pytest.fixture
def shelf(tmp_path, monkeypatch) -> Iterator[Shelf]:
    """Runs whose data are in a folder of their own, and whose metadata are asked for over HTTP."""
    import uvicorn
    from metaflow_local_service.server import create_app

    shelf = Shelf(tmp_path / "metadata", root=str(tmp_path / "data"))
    monkeypatch.setattr(LocalStorage, "datastore_root", None)
    monkeypatch.setenv("RAYON_BRANCH", "user.tests")
    server = uvicorn.Server(uvicorn.Config(create_app(str(tmp_path / "metadata")), port=0, log_level="warning"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    use_metadata(f"service@http://127.0.0.1:{port}")
    yield shelf
    server.should_exit = True
    thread.join(10)
    (tmp_path / ".metaflow").mkdir()
    use_metadata(f"local@{tmp_path}")


def test_a_run_loses_its_data_and_is_found_no_more(shelf, config):
    data = Folder(shelf.root)
    stores = Stores(Datastore(data, "local"), ServiceMetadata(data), Folder(f"{shelf.root}/mf.cards"))
    young = shelf.run("TrainFlow", 1, {"start": {"shared": b"same"}}, TAG)
    old = shelf.run("TrainFlow", 60, {"start": {"shared": b"same", "own": b"old"}}, TAG)
    before, blobs = shelf.read(young), shelf.blobs("TrainFlow")
    assert [run.pathspec for run in runs_tagged("TrainFlow", *TAG)] == [young, old]

    def stop_once(words: str) -> None:
        if "aside" in words:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        collect_garbage(config, stores, Policy(runs=1), True, grace=0.0, tell=stop_once)
    assert [run.pathspec for run in runs_tagged("TrainFlow", *TAG)] == [young]
    found = collect_garbage(config, stores, Policy(runs=1), True, grace=0.0)
    assert found.unfinished == 1 and found.swept[0].runs == (old.split("/")[1],)
    assert list(data.entries(old)) == [] and shelf.blobs("TrainFlow") == blobs - 1
    assert shelf.read(young) == before
    namespace(None)
    assert SWEPT in Run(old).tags, "the service keeps its row"
    assert [run.pathspec for run in runs_tagged("TrainFlow", *TAG)] == [young]
    again = collect_garbage(config, stores, Policy(runs=1), True, grace=0.0)
    assert again.unfinished == 0 and again.swept == [] and len(again.lines) == 1
