"""A shelf of runs that Metaflow's client reads too, and the settings of the catalogue that they are of."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from metaflow.plugins.datastores.local_storage import LocalStorage
from stored import Shelf

from rayon.config import Config, parse_config


@pytest.fixture
def make_shelf(monkeypatch, tmp_path) -> Callable[[str], Shelf]:
    """A factory of shelves; Metaflow's client looks at the last one."""

    def make(name: str = "runs") -> Shelf:
        shelf = Shelf(tmp_path / name)
        monkeypatch.setattr(LocalStorage, "datastore_root", str(shelf.folder))
        monkeypatch.setenv("RAYON_BRANCH", "user.tests")
        return shelf

    return make


@pytest.fixture
def shelf(make_shelf) -> Shelf:
    return make_shelf()


@pytest.fixture
def config(tmp_path) -> Config:
    return shop(tmp_path / "cache")


def shop(cache: Path) -> Config:
    return parse_config({"name": "shop", "catalog": {"products": "products.csv"}, "cache": str(cache)})
