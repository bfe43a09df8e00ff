"""A small trained classifier behind the real service and the real API, with its store in a temporary folder."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from starlette.testclient import TestClient

from rayon.bundle import Bundle, read_bundle
from rayon.config import Config
from rayon.feedback import Store, open_store
from rayon.gallery import make_gallery, read_gallery
from rayon.inference import Predictor
from rayon.models.recent import RecentFeatures
from rayon.serving.access import read_access
from rayon.serving.api import make_api
from rayon.serving.live import LiveModel
from rayon.serving.metrics import Metrics
from rayon.serving.service import Service

Made = tuple[Bundle, bytes]
_MADE: dict[str, Made] = {}


@pytest.fixture
def classifier(make_config, trained_once) -> Made:
    """A bundle, trained once a test session, and the bytes of its gallery."""
    if "fusion" not in _MADE:
        config = make_config()
        done, dataset, _ = trained_once("fusion", config)
        _MADE["fusion"] = read_bundle(done.bundle), make_gallery(dataset, config)
    return _MADE["fusion"]


@pytest.fixture
def app_config(make_config, tmp_path) -> Callable[..., Config]:
    """A factory of settings whose store is the test's own; keywords are those of `app`."""

    def make(**app: Any) -> Config:
        config = make_config()
        changed = dataclasses.replace(
            config.app, store=f"sqlite:///{tmp_path}/store.sqlite", photos=str(tmp_path / "photos"), **app
        )
        score = dataclasses.replace(config.score, precision=0.9)
        return dataclasses.replace(config, app=changed, score=score)

    return make


@pytest.fixture
def store(app_config) -> Iterator[Store]:
    opened = open_store(app_config())
    yield opened
    opened.close()


@pytest.fixture
def make_service(classifier, app_config) -> Callable[..., Service]:
    """A factory of services: `versions`, a list whose last entry should serve, may be changed by the test."""
    bundle, gallery = classifier

    def make(versions: list[str], load: Any = None, **app: Any) -> Service:
        config = app_config(**{"poll_seconds": 0.05, **app})
        features = RecentFeatures()

        def find() -> str:
            if not versions:
                raise LookupError("no training of 'shop' has finished here: run `python flows/train_flow.py run`")
            return versions[-1]

        def open_version(version: str) -> Any:
            return Predictor(bundle, version, 0.9, features), read_gallery(gallery)

        return Service(LiveModel(find, load or open_version, 0.05), open_store(config), config, Metrics())

    return make


@pytest.fixture
def make_client(make_service) -> Iterator[Callable[..., TestClient]]:
    """A factory of clients of a running API; `environment` says who may call it."""
    opened: list[TestClient] = []

    def make(versions: list[str] | None = None, environment: dict[str, str] | None = None, **more: Any) -> TestClient:
        service = make_service(["TrainFlow/7"] if versions is None else versions, **more)
        service.live.refresh()
        client = TestClient(make_api(service, read_access(environment or {}, local=True)), "http://127.0.0.1")
        client.__enter__()
        client.service = service  # type: ignore[attr-defined]
        opened.append(client)
        return client

    yield make
    for client in opened:
        client.__exit__(None, None, None)
