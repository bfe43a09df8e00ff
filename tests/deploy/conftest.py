"""A cluster for the tests: object store, metadata service, PostgreSQL and a node for pods, all on loopback."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from argo import Argo, Webhook
from pods import Node, available
from postgres import postgres
from servers import Line, free_port, metadata_service, object_store
from support_deploy import KEYS, Cluster, client, variables


@pytest.fixture(scope="session")
def bucket_environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The variables that lead to an object store with a bucket, and to nothing else of this machine's Metaflow."""
    with object_store(tmp_path_factory.mktemp("s3"), free_port()) as address:
        client(address).create_bucket(Bucket="shop")
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
        client(address).create_bucket(Bucket="shop")
        line = Line(store_port)
        for database in postgres():
            service = stack.enter_context(metadata_service(folder, free_port(), database.url))
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
