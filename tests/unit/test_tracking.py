"""Tracking is read back from what W&B wrote; no server is needed."""

from __future__ import annotations

import io
import json
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from rayon.config import Tracking
from rayon.tracking import Identity, TrackedRun, start, summary_of_test

IDENTITY = Identity("TrainFlow", "1764", "train", "7", 1)


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("WANDB_API_KEY", "WANDB_MODE", "WANDB_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    for name in ("WANDB_DATA_DIR", "WANDB_CACHE_DIR"):  # set by `start`, put back afterwards
        monkeypatch.setenv(name, str(tmp_path))


@pytest.fixture
def make_run(tmp_path: Path) -> Callable[..., TrackedRun]:
    def make(mode: str = "auto", **options: Any) -> TrackedRun:
        given = {"config": {"trainer": {"max_epochs": 3}}, "folder": tmp_path / "tracking", "tags": ["demo"], **options}
        return start(Tracking(project="rayon-test", mode=mode), IDENTITY, "train", **given)  # type: ignore[arg-type]

    return make


def run_file(folder: Path) -> Path:
    (found,) = folder.glob("wandb/offline-run-*/run-*.wandb")
    return found


def leet(path: Path, *options: str) -> str:
    command = [sys.executable, "-m", "wandb", "leet", "inspect", "--json", *options, str(path)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def photo() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), "teal").save(buffer, "JPEG")
    return buffer.getvalue()


def test_identity_has_no_character_that_is_refused() -> None:
    identity = Identity("Train#Flow", "sfn:1/2", "train", "7?", 0)
    assert identity.id == "Train-Flow-sfn-1-2-train-7--r0"
    assert identity.group == "Train#Flow/sfn:1/2"


def test_offline_run_holds_all_that_was_logged(make_run: Callable[..., TrackedRun], tmp_path: Path) -> None:
    with make_run() as run:
        assert run.mode == "offline"
        run.log({"val_nll": 2.5}, step=10)
        run.log({"val_nll": 1.25}, step=20)
        run.log({"val_nll": 1.5}, step=15)
        run.confusion([[3, 1], [0, 4]], ["Jeux", "Livres"])
        run.table("mistakes", ["title", "photo"], [["a", photo()], ["b", None]], photos="photo")
        run.artifact("bundle/fusion", "model", b"weights", "bundle.safetensors", {"classes": 2}, ["candidate"])
        run.summary(summary_of_test({"macro_f1": (0.8, 0.7, 0.9)}, {"ece": 0.02, "without_photo": None}, {"0.95": 0.6}))
    folder = tmp_path / "tracking"
    file = run_file(folder)
    assert f"wandb sync {file.parent}" in run.where()

    seen = json.loads(leet(file, "--summary"))
    assert seen["run_id"] == "TrainFlow-1764-train-7-r1"
    assert (seen["project"], seen["tags"], seen["state"]) == ("rayon-test", ["demo"], "finished")
    assert seen["config"]["trainer"] == {"max_epochs": 3}
    summary = seen["summary"]
    assert summary["test/macro_f1"] == 0.8
    assert summary["test/macro_f1/high"] == 0.9
    assert summary["test/coverage@0.95"] == 0.6
    assert "test/without_photo" not in summary
    assert summary["mistakes"]["nrows"] == 2
    assert summary["confusion_table"]["nrows"] == 4

    records = [json.loads(line) for line in leet(file).splitlines()]
    started = next(record for record in records if record["type"] == "run")
    assert '"TrainFlow/1764"' in json.dumps(started)
    points = [
        json.dumps(record) for record in records if record["type"] == "history" and "val_nll" in json.dumps(record)
    ]
    assert len(points) == 3, "a point of an earlier step is not dropped"
    assert any(record["type"] == "artifact" and "bundle-fusion" in json.dumps(record) for record in records)
    assert list((folder / "wandb-data").rglob("*")), "the artifact's bytes stay with the run"


def test_disabled_writes_nothing(make_run: Callable[..., TrackedRun], tmp_path: Path) -> None:
    with make_run("disabled") as run:
        run.log({"val_nll": 1.0}, step=1)
        run.confusion([[1]], ["a"])
        run.artifact("bundle", "model", b"x", "x.bin")
        assert run.lightning_logger() is False
    assert run.where() == "not tracked (tracking.mode is 'disabled')"
    assert list(tmp_path.iterdir()) == []


def test_dead_network_ends_in_a_usable_offline_run(
    make_run: Callable[..., TrackedRun], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    monkeypatch.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{port}")
    monkeypatch.setenv("WANDB_API_KEY", "a" * 40)
    with pytest.warns(UserWarning, match="kept offline"):
        run = make_run("auto", init_timeout=2.0)
    with run:
        run.log({"val_nll": 0.5}, step=3)
    assert run.mode == "offline"
    summary = json.loads(leet(run_file(tmp_path / "tracking"), "--summary"))["summary"]
    assert summary["val_nll"] == 0.5


def test_what_fails_within_wandb_is_said_once_and_costs_nothing(
    make_run: Callable[..., TrackedRun], tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    with make_run() as run:
        run.table("mistakes", ["title", "photo"], [["a", b"no photo at all"]], photos="photo")
        run.artifact("bundle", "model", b"x", "x.bin", {"not plain": object()})
        run.log({"val_nll": 0.25}, step=1)
    said = [str(warning.message) for warning in recwarn if "W&B" in str(warning.message)]
    assert len(said) == 1
    assert "the work goes on" in said[0]
    assert json.loads(leet(run_file(tmp_path / "tracking"), "--summary"))["summary"]["val_nll"] == 0.25


def test_folder_that_cannot_be_written_leaves_the_run_untracked(
    make_run: Callable[..., TrackedRun], tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    with pytest.warns(UserWarning, match="not tracked"):
        run = make_run(folder=tmp_path / "file" / "below")
    assert run.mode == "disabled"


def test_lightning_logger_logs_into_the_same_run(make_run: Callable[..., TrackedRun], tmp_path: Path) -> None:
    with make_run() as run:
        logger = run.lightning_logger()
        logger.log_hyperparams({"secondary": 1})
        logger.log_metrics({"train_loss": 0.75}, step=4)
        run.finish()
        logger.log_metrics({"train_loss": 99.0}, step=5)
    seen = json.loads(leet(run_file(tmp_path / "tracking"), "--summary"))
    assert seen["summary"]["train_loss"] == 0.75
    assert seen["summary"]["trainer/global_step"] == 4
    assert "secondary" not in seen["config"]
