"""A cluster for the tests: object store, metadata service, PostgreSQL and a node for pods, all on loopback."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml
from argo import Argo, Webhook
from pods import ROOT, Node, available
from postgres import Postgres, postgres
from servers import Line, free_port, metadata_service, object_store

KEYS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"}
EVENTS = {
    "METAFLOW_ARGO_EVENTS_EVENT": "metaflow-event",
    "METAFLOW_ARGO_EVENTS_EVENT_SOURCE": "argo-events-webhook",
    "METAFLOW_ARGO_EVENTS_SERVICE_ACCOUNT": "operate-workflow-sa",
}


class Cluster(NamedTuple):
    """What a platform engineer has: variables of a deployment, and handles to break things with."""

    folder: Path
    environment: dict[str, str]
    argo: Argo
    events: Webhook
    chat: Webhook
    s3: Line
    database: Postgres


@pytest.fixture(scope="session")
def bucket_environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The variables that lead to an object store with a bucket, and to nothing else of this machine's Metaflow."""
    with object_store(tmp_path_factory.mktemp("s3"), free_port()) as address:
        make_bucket(address)
        yield variables(address)


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    if why := available():
        pytest.skip(why)
    folder = tmp_path_factory.mktemp("cluster")
    events, chat = Webhook(), Webhook()
    with ExitStack() as stack:
        store_port = free_port()
        address = stack.enter_context(object_store(folder, store_port))
        make_bucket(address)
        line = Line(store_port)
        service = stack.enter_context(metadata_service(folder, free_port()))
        for database in postgres():
            secrets = {"rayon-flows": {**KEYS, "RAYON_STORE": database.url, "RAYON_WEBHOOK": chat.address}}
            environment = {
                **variables(f"http://127.0.0.1:{line.port}"),
                "METAFLOW_DEFAULT_METADATA": "service",
                "METAFLOW_SERVICE_URL": service,
                "METAFLOW_ARGO_EVENTS_WEBHOOK_URL": events.address,
                "RAYON_STORE": database.url,
            }
            yield Cluster(folder, environment, Argo(Node(folder, secrets)), events, chat, line, database)
    for server in (events, chat):
        server.shutdown()


def make_bucket(address: str) -> None:
    import boto3

    client = boto3.client(
        "s3",
        endpoint_url=address,
        region_name=KEYS["AWS_DEFAULT_REGION"],
        aws_access_key_id=KEYS["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=KEYS["AWS_SECRET_ACCESS_KEY"],
    )
    client.create_bucket(Bucket="shop")


def variables(address: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("METAFLOW_", "AWS_"))}
    return {
        **kept,
        **KEYS,
        **EVENTS,
        "METAFLOW_USER": "tests",
        "METAFLOW_S3_ENDPOINT_URL": address,
        "METAFLOW_DATASTORE_SYSROOT_S3": "s3://shop/metaflow",
        "METAFLOW_DEFAULT_DATASTORE": "s3",
    }


def production(**sections: Any) -> dict[str, Any]:
    """Return settings for a small shop on the cluster; a dict is merged into its section."""
    settings = yaml.safe_load((ROOT / "configs" / "debug.yaml").read_text())
    catalog = {"products": "s3://shop/catalogue/products.csv", "images": "s3://shop/catalogue/images"}
    deploy = yaml.safe_load((ROOT / "configs" / "production.yaml").read_text())["deploy"]
    settings |= {
        "name": "shop",
        "catalog": {**settings["catalog"], **catalog, "synthetic": None},
        "deploy": {**deploy, "retry_minutes": 0},
        "cache": "/tmp/rayon",
        "shared": "s3://shop/shared",
    }
    for name, value in sections.items():
        settings[name] = {**settings[name], **value} if isinstance(value, dict) else value
    return settings
