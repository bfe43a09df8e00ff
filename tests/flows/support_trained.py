"""A shop that was trained, made once a test session, however many processes share it; who needs one takes a copy.

A copy has a folder, a catalogue name and runs of its own: nothing that is done with it shows in another. The runs'
artifacts are read where they were made.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
from metaflow import Run, namespace
from support_flows import Finished, Shop

NAME = "shop"
"""The catalogue's name in the original."""


class Trained(NamedTuple):
    """A shop and its trainings, the tf-idf baseline beside a fusion in each; none was promoted. The first one prepared
    the catalogue itself, on a fresh machine; the second began with another seed.
    """

    shop: Shop
    runs: list[Finished]


MakeTrained = Callable[[str, int], Trained]


def trained_factory(factory: pytest.TempPathFactory) -> MakeTrained:
    """Return a function that makes a copy by catalogue name, with the first training or with both."""

    def make(name: str, count: int) -> Trained:
        original = _original(_shared(factory), count)
        runs = [Finished(**run) for run in json.loads((original / "runs.json").read_text())]
        folder = factory.mktemp(name)
        _copy(original / "shop", folder)
        _copy(original / "datastore", Path(os.environ["METAFLOW_DATASTORE_SYSROOT_LOCAL"]))
        shop = Shop(folder)
        shop.change(name=name)
        if name != NAME:
            _adopt(name, runs)
        return Trained(shop, runs)

    return make


def _shared(factory: pytest.TempPathFactory) -> Path:
    """The folder of the test session; each of pytest-xdist's processes has its own one below it."""
    base = factory.getbasetemp()
    return base.parent if "PYTEST_XDIST_WORKER" in os.environ else base


def _original(root: Path, count: int) -> Path:
    """The folder of the shop with so many trainings: made here, or waited for where another process makes it."""
    folder = root / f"trained-{count}"
    with open(root / f"trained-{count}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "runs.json").exists():
            shutil.rmtree(folder, ignore_errors=True)  # what a process left that was stopped
            runs = []
            if count > 1:
                earlier = _original(root, count - 1)
                runs = json.loads((earlier / "runs.json").read_text())
                for part in ("shop", "datastore"):
                    _copy(earlier / part, folder / part)
            (folder / "shop").mkdir(parents=True, exist_ok=True)
            shop = Shop(folder / "shop", folder / "datastore")
            shop.change(name=NAME, trainer={"seed": 0 if count == 1 else 5})
            done = shop.run("train", "--promote", "never")
            assert done.code == 0, done.output
            (folder / "runs.json").write_text(json.dumps([*runs, done._asdict()]))
    return folder


def _copy(source: Path, target: Path) -> None:
    """Copy a folder's files, times included; what is there already stays, and links to runs are not for others."""

    def copy(one: str, other: str) -> None:
        if not os.path.exists(other):
            shutil.copy2(one, other)

    def links(folder: str, names: list[str]) -> list[str]:
        return [name for name in names if (Path(folder) / name).is_symlink()]

    shutil.copytree(source, target, ignore=links, copy_function=copy, dirs_exist_ok=True)


def _adopt(name: str, runs: list[Finished]) -> None:
    """Let runs be found under another catalogue's name as well."""
    from rayon.registry import dataset_tag, model_tag

    namespace(None)
    for done in runs:
        Run(f"TrainFlow/{done.run_id}").add_tags([dataset_tag(name), model_tag(name)])
