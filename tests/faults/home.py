"""A home: a catalogue, a datastore, a cache and a store of feedback in one folder, and what runs in it.

Knows how a home is made, copied and run; nothing of faults or of what must hold after them.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from metaflow.plugins.datastores.local_storage import LocalStorage
from support_flows import ROOT, Finished, Shop, finished

from rayon.config import Config, parse_config

NAME = "shop"
GROWN = 300
"""Products of the catalogue once it has grown by two shards."""

_QUIET: dict[str, Any] = {
    "candidates": ["fusion"],
    "tracking": {"mode": "disabled"},
    "trainer": {"max_epochs": 8, "patience": 8, "workers": 0},
    "score": {"shard_rows": 16, "tasks": 2},
    "preprocess": {"shard_rows": 50},
    "feedback": {"unlikely": 0.0},
    "retraining": {"corrections": 5000},
}


class Home(Shop):
    """A shop with runs of its own below its folder; `root` holds all of it."""

    def __init__(self, root: Path) -> None:
        (root / "shop").mkdir(parents=True, exist_ok=True)
        super().__init__(root / "shop", root / "runs")
        self.root = root
        self.environment: dict[str, str] = {}
        self.change(name=NAME, **_QUIET)

    @property
    def config(self) -> Config:
        """The settings as the flows read them."""
        return parse_config(self.settings)

    def variables(self) -> dict[str, str]:
        """The environment of whatever runs here."""
        return {
            **os.environ,
            "METAFLOW_RUN_MAX_WORKERS": "2",
            "METAFLOW_DATASTORE_SYSROOT_LOCAL": str(self.datastore),
            "METAFLOW_CLIENT_CACHE_PATH": str(self.root / "client"),
            **self.environment,
        }

    def execute(self, command: list[str]) -> Finished:
        """Run a command to its end."""
        done = subprocess.run(
            command, cwd=self.folder, env=self.variables(), capture_output=True, text=True, timeout=600
        )
        return finished(done.returncode, done.stdout + done.stderr)

    def rayon(self, *words: str) -> list[str]:
        """Return the command line of `python -m rayon` under these settings."""
        file = self.root / "experiment.yaml"
        file.write_text(self.as_yaml())
        return [sys.executable, "-m", "rayon", *words, "-e", str(file)]

    @contextmanager
    def looked_at(self) -> Iterator[None]:
        """Let Metaflow's client of this process read the runs of this home."""
        before = LocalStorage.datastore_root
        LocalStorage.datastore_root = str(self.datastore / ".metaflow")
        try:
            yield
        finally:
            LocalStorage.datastore_root = before

    def copy(self, root: Path) -> Home:
        """Return a home that has all that this one has. Artifacts made before are read where they were made."""
        shutil.rmtree(root, ignore_errors=True)
        shutil.copytree(self.root, root, symlinks=False, ignore=_links, copy_function=shutil.copy2)
        other = Home(root)
        other.environment = dict(self.environment)
        return other

    def notes(self) -> dict[str, Any]:
        """What was noted when this home was furnished."""
        noted: dict[str, Any] = json.loads((self.root / "notes.json").read_text())
        return noted


def furnish(root: Path) -> Home:
    """Return a home with a dataset version, two models of which the first is champion, predictions of a file and of the
    app, and feedback on these; made once a folder.
    """
    if (root / "notes.json").exists():
        return Home(root)
    shutil.rmtree(root, ignore_errors=True)
    home = Home(root)
    _well(home.run("preprocess"))
    first = _well(home.run("train", "--promote", "force", "--reason", "the first"))
    home.change(trainer={"seed": 5})
    second = _well(home.run("train", "--promote", "never"))
    home.change(trainer={"seed": 0})
    _well(home.run("score", "--input", str(home.folder / "raw" / "products.csv")))
    numbers = comment(home, 40, start=0)
    noted = {"first": f"TrainFlow/{first.run_id}", "second": f"TrainFlow/{second.run_id}", "numbers": numbers}
    (root / "notes.json").write_text(json.dumps(noted))
    return home


def comment(home: Home, count: int, start: int) -> list[int]:
    """Let people say something of so many predictions of the app; return the numbers of their feedback."""
    from rayon.feedback import Logged, new_id, open_store
    from rayon.schema import Prediction

    categories = ("Livres", "Jeux vidéo", "Figurines", "Piscine et spa")
    store = open_store(home.config)
    numbers = []
    for row in range(start, start + count):
        said, meant = categories[row % 4], categories[(row + row % 3) % 4]
        top = ((said, 0.6), (meant, 0.2))
        entry = Logged(
            new_id(),
            f"article {row} remarque",
            "",
            None,
            Prediction(f"f{row}", said, 0.6, top, 1.0, 0.0, "review", "TrainFlow/1"),
            "api",
        )
        store.add_predictions([entry])
        numbers.append(store.add_feedback(entry.id, meant, f"person-{row % 7}"))
    store.close()
    return numbers


def _links(folder: str, names: list[str]) -> list[str]:
    return [name for name in names if (Path(folder) / name).is_symlink()]


def _well(done: Finished) -> Finished:
    if done.code:
        raise RuntimeError(f"an undisturbed run failed:\n{done.output[-3000:]}")
    return done


__all__ = ["GROWN", "NAME", "ROOT", "Finished", "Home", "comment", "furnish"]
