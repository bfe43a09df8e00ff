"""Old runs go, for real: small flows by Metaflow in a folder and in a bucket, then `python -m rayon gc`."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from hashlib import sha1
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml
from metaflow.plugins.datastores.local_storage import LocalStorage
from support_flows import finished

from rayon.config import parse_config
from rayon.keeping.datastore import Datastore, blob_name
from rayon.keeping.gc import Garbage, collect_garbage
from rayon.keeping.known import LocalMetadata, Stores
from rayon.keeping.places import Folder, Place, open_place
from rayon.keeping.policy import Policy

FLOW = """
import rayon
from metaflow import Config, FlowSpec, Parameter, current, project, step, yaml_parser


@project(name="rayon")
class ScoreFlow(FlowSpec):
    experiment = Config("experiment", default_value="name: shop", parser=yaml_parser)
    own = Parameter("own", default="")

    @step
    def start(self):
        self.same = bytes(range(256)) * 1000
        self.big = self.own.encode() * 1000
        self.next(self.end)

    @step
    def end(self):
        current.run.add_tag("scores:shop")


if __name__ == "__main__":
    ScoreFlow()
"""
READ = (
    "from metaflow import Run, namespace; namespace(None); d = Run('ScoreFlow/{}').data; print(len(d.same), d.big[:1])"
)


class Ran(NamedTuple):
    """Where the flows ran, and the numbers of the runs by datastore, oldest first."""

    folder: Path
    environment: dict[str, str]
    runs: dict[str, list[str]]

    def execute(self, *words: str) -> str:
        done = subprocess.run(
            [sys.executable, *words], cwd=self.folder, env=self.environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def stores(self, kind: str) -> Stores:
        """What `open_stores(kind)` returns in the environment of these runs."""
        local = Folder(str(self.folder / ".metaflow"))
        root = open_place(local.location if kind == "local" else "s3://rayon-gc/flows")
        cards = open_place(f"{root.location}/mf.cards")
        return Stores(Datastore(root, kind), LocalMetadata(local, with_data=kind == "local"), cards)

    def gc(self, kind: str, delete: bool) -> Garbage:
        """Keep the last finished run of each flow."""
        config = parse_config(yaml.safe_load((self.folder / "shop.yaml").read_text()))
        return collect_garbage(config, self.stores(kind), Policy(days=0, runs=1), delete, grace=0.0)


@pytest.fixture(scope="module")
def ran(tmp_path_factory) -> Iterator[Ran]:
    """Two runs in a folder, two in a bucket, all known to the same local metadata."""
    import boto3
    from moto.server import ThreadedMotoServer

    folder = tmp_path_factory.mktemp("gc")
    (folder / "score_flow.py").write_text(FLOW)
    (folder / "shop.yaml").write_text("name: shop\ncatalog:\n  products: products.csv\n")
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    address = "http://{}:{}".format(*server.get_host_and_port())
    keys = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"}
    boto3.client(
        "s3", endpoint_url=address, aws_access_key_id="test", aws_secret_access_key="test", region_name="us-east-1"
    ).create_bucket(Bucket="rayon-gc")
    environment = {
        **os.environ,
        **keys,
        "METAFLOW_S3_ENDPOINT_URL": address,
        "METAFLOW_DATASTORE_SYSROOT_LOCAL": str(folder),
        "METAFLOW_DATASTORE_SYSROOT_S3": "s3://rayon-gc/flows",
        "METAFLOW_CLIENT_CACHE_PATH": str(folder / "client"),
        "RAYON_BRANCH": "user.tests",
    }
    runs: dict[str, list[str]] = {"local": [], "s3": []}
    for own in ("a", "b"):
        cards = ["--with", "card"] if own == "a" else []
        both = {
            kind: subprocess.Popen(
                [sys.executable, "score_flow.py", "--datastore", kind, *cards, "run", "--own", own],
                cwd=folder,
                env=environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            for kind in runs
        }
        for kind, process in both.items():
            output, _ = process.communicate(timeout=120)
            done = finished(process.returncode, output)
            assert done.code == 0, done.output
            runs[kind].append(done.run_id)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(LocalStorage, "datastore_root", str(folder / ".metaflow"))
        for name in (*keys, "METAFLOW_S3_ENDPOINT_URL", "RAYON_BRANCH"):
            patched.setenv(name, environment[name])
        yield Ran(folder, environment, runs)
    server.stop()


def whole(place: Place, run: str) -> int:
    """Check that each blob a run refers to is there and is what its name says; return how many they are."""
    blobs = {
        bytes.fromhex(sha)
        for entry in place.entries(f"ScoreFlow/{run}")
        if entry.name.endswith(".data.json")
        for sha in json.loads(place.read(entry.name) or b"")["objects"].values()
    }
    for blob in blobs:
        packed = place.read(blob_name("ScoreFlow", blob))
        assert packed is not None and sha1(gzip.decompress(packed)).digest() == blob
    return len(blobs)


@pytest.mark.parametrize("kind", ["local", "s3"])
def test_the_older_run_goes_and_the_newer_reads_whole(ran, kind):
    stores = ran.stores(kind)
    place, metadata = stores.data.place, Folder(str(ran.folder / ".metaflow"))
    old, new = ran.runs[kind]
    stored = {entry.name for entry in place.entries("ScoreFlow/data")}
    assert list(stores.cards.entries(f"ScoreFlow/runs/{old}"))
    looked = ran.gc(kind, delete=False)
    assert [(line.name, line.keep) for line in looked.lines] == [
        (f"ScoreFlow/{new}", True),
        (f"ScoreFlow/{old}", False),
    ]
    assert {entry.name for entry in place.entries("ScoreFlow/data")} == stored
    done = ran.gc(kind, delete=True)
    assert done.swept[0].runs == (old,) and done.lines == looked.lines
    assert whole(place, new) > 8
    assert list(place.entries(f"ScoreFlow/{old}")) == [] and list(metadata.entries(f"ScoreFlow/{old}")) == []
    gone = stored - {entry.name for entry in place.entries("ScoreFlow/data")}
    # the parameter, what was made of it, the graph with its cards; the large artifact and Metaflow's own are shared
    assert len([name for name in gone if not name.endswith("_meta")]) == 3
    assert list(stores.cards.entries(f"ScoreFlow/runs/{old}")) == []
    assert ran.gc(kind, delete=True).swept == []


def test_the_command_tells_what_stays_and_metaflow_reads_it(ran):
    told = ran.execute("-m", "rayon", "gc", "-e", "shop.yaml", "--datastore", "s3", "--json", "told.json")
    assert "younger than 30 days" in told and "1 run with data elsewhere" in told
    (line,) = json.loads((ran.folder / "told.json").read_text())["lines"]
    assert line["name"] == f"ScoreFlow/{ran.runs['s3'][1]}" and line["keep"]
    assert ran.execute("-c", READ.format(ran.runs["s3"][1])) == "256000 b'b'\n"
