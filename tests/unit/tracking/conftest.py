"""Runs to follow, in a folder of their own, with nothing of the user's W&B."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from rayon.config import Tracking
from rayon.tracking import Identity, TrackedRun, start
from rayon.tracking.keys import STEP

MakeRun = Callable[..., TrackedRun]


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("WANDB_API_KEY", "WANDB_MODE", "WANDB_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    for name in ("WANDB_DATA_DIR", "WANDB_CACHE_DIR"):  # set by `start`, put back afterwards
        monkeypatch.setenv(name, str(tmp_path))


@pytest.fixture
def make_run(tmp_path: Path) -> MakeRun:
    """A factory of runs in the folder `tracking` below tmp_path."""

    def make(mode: str = "auto", **options: Any) -> TrackedRun:
        given = {"config": {"trainer": {"max_epochs": 3}}, "folder": tmp_path / "tracking", "tags": ["demo"], **options}
        identity = Identity("TrainFlow", "1764", "train", "7", 1)
        settings = Tracking(project="rayon-test", mode=mode)  # type: ignore[arg-type]
        return start(settings, identity, "train", axis=STEP, **given)

    return make


@pytest.fixture
def photo() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), "teal").save(buffer, "JPEG")
    return buffer.getvalue()
