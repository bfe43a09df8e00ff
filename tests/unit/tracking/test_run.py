"""Offline runs are read back from what W&B wrote; no server is needed."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from wandb_files import Kept, read_run

from rayon.tracking import Identity, TrackedRun
from rayon.tracking.keys import gold_values
from rayon.tracking.run import CONFUSION_COLUMNS
from rayon.tracking.starting import _without_passwords

MakeRun = Callable[..., TrackedRun]


def kept(tmp_path: Path) -> Kept:
    (folder,) = (tmp_path / "tracking").glob("wandb/offline-run-*")
    return read_run(folder)


def test_identity_has_no_character_that_is_refused() -> None:
    identity = Identity("Train#Flow", "sfn:1/2", "train", "7?", 0)
    assert identity.id == "Train-Flow-sfn-1-2-train-7--r0"
    assert identity.group == "Train#Flow/sfn:1/2"


@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("postgresql+psycopg://anna:ab/cd+e@db/rayon", "postgresql+psycopg://anna:***@db/rayon"),
        ("postgresql://db/rayon?user=anna&password=secret&x=1", "postgresql://db/rayon?user=anna&password=***&x=1"),
        ("s3://bucket/a", "s3://bucket/a"),
    ],
)
def test_no_password_is_told(address: str, told: str) -> None:
    assert _without_passwords({"app": [address]}) == {"app": [told]}


def test_offline_run_holds_all_that_was_logged(make_run: MakeRun, photo: bytes, tmp_path: Path) -> None:
    settings = {"trainer": {"max_epochs": 3}, "app": {"store": "postgresql+psycopg://anna:secret@db:5432/rayon"}}
    with make_run(config=settings, title="train fusion") as run:
        assert run.mode == "offline"
        run.log({"val_nll": 2.5}, 10)
        run.log({"val_nll": 1.25}, 20)
        run.log({"val_nll": 1.5}, 15)
        run.confusion([[3, 1], [0, 4]], ["Jeux", "Livres"])
        run.reliability([0.4, 0.9], [0.3, 0.95])
        run.table("mistakes", ["title", "photo"], [["a", photo], ["b", None]], photos="photo")
        run.artifact("bundle/fusion", "model", b"weights", "bundle.safetensors", {"classes": 2}, ["candidate"])
        run.summary(gold_values({"macro_f1": (0.8, 0.7, 0.9)}, {"ece": 0.02, "without_photo": None}, {"0.95": 0.6}))
    seen = kept(tmp_path)
    assert (seen.id, seen.group, seen.job) == ("TrainFlow-1764-train-7-r1", "TrainFlow/1764", "train")
    assert seen.name == "train fusion TrainFlow/1764 attempt 2"
    assert seen.tags == ("demo",) and seen.finished
    assert seen.config["trainer"] == {"max_epochs": 3}
    assert seen.config["app"]["store"] == "postgresql+psycopg://anna:***@db:5432/rayon", "secrets are not uploaded"
    assert seen.summary["test/macro_f1"] == 0.8 and seen.summary["test/macro_f1/high"] == 0.9
    assert seen.summary["test/coverage_at_95"] == 0.6 and "test/without_photo" not in seen.summary
    points = [point["val_nll"] for point in seen.history if "val_nll" in point]
    assert points == [2.5, 1.25, 1.5], "a point of an earlier step is not dropped"
    assert set(seen.tables) == {"mistakes", "confusion_table", "reliability_table"}
    assert "bundle-fusion" in seen.artifacts
    assert list((tmp_path / "tracking" / "wandb-data").rglob("*")), "the artifact's bytes stay with the run"


def test_confusions_of_many_categories_are_all_counted(make_run: MakeRun, tmp_path: Path) -> None:
    """W&B would cut a table of 150 x 150 cells."""
    matrix = np.diag(np.full(150, 7)) + np.diag(np.arange(149), 1)  # mistakes grow with the number of the category
    with make_run() as run:
        run.confusion(matrix.tolist(), [f"c{number:03}" for number in range(150)])
    (file,) = tmp_path.rglob("confusion_table*.table.json")
    cells = pd.DataFrame(json.loads(file.read_text())["data"], columns=list(CONFUSION_COLUMNS))
    assert len(cells) == 100 * 100 and cells["nPredictions"].sum() == matrix.sum()
    assert set(cells["Actual"]) == {*(f"c{number:03}" for number in range(51, 150)), "51 others, with fewer mistakes"}
    counts = cells.set_index(["Actual", "Predicted"])["nPredictions"]
    assert counts["c100", "c101"] == 100 and counts["c149", "c149"] == 7


def test_the_terminal_viewer_reads_the_folder_that_the_run_names(make_run: MakeRun) -> None:
    with make_run() as run:
        run.log({"val_nll": 0.5}, 3)
    folder = run.where().rpartition("wandb sync ")[2]
    command = [sys.executable, "-m", "wandb", "leet", "inspect", "--summary", "--json", folder]
    seen = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert (seen["project"], seen["state"], seen["summary"]["val_nll"]) == ("rayon-test", "finished", 0.5)


def test_disabled_writes_nothing(make_run: MakeRun, tmp_path: Path) -> None:
    with make_run("disabled") as run:
        run.log({"val_nll": 1.0}, 1)
        run.confusion([[1]], ["a"])
        run.artifact("bundle", "model", b"x", "x.bin")
        assert run.lightning_logger() is False
    assert run.where() == "not tracked (tracking.mode is 'disabled')"
    assert list(tmp_path.iterdir()) == []


def test_dead_network_ends_in_a_usable_offline_run(
    make_run: MakeRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    monkeypatch.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{port}")
    monkeypatch.setenv("WANDB_API_KEY", "a" * 40)
    with pytest.warns(UserWarning, match="kept offline"):
        run = make_run("auto", init_timeout=2.0)
    with run:
        run.log({"val_nll": 0.5}, 3)
    assert run.mode == "offline"
    assert kept(tmp_path).summary["val_nll"] == 0.5


def test_what_fails_within_wandb_is_said_once_and_costs_nothing(
    make_run: MakeRun, tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    with make_run() as run:
        run.table("mistakes", ["title", "photo"], [["a", b"no photo at all"]], photos="photo")
        run.artifact("bundle", "model", b"x", "x.bin", {"not plain": object()})
        run.log({"val_nll": 0.25}, 1)
    said = [str(warning.message) for warning in recwarn if "W&B" in str(warning.message)]
    assert len(said) == 1
    assert "the work goes on" in said[0]
    assert kept(tmp_path).summary["val_nll"] == 0.25


def test_folder_that_cannot_be_written_leaves_the_run_untracked(make_run: MakeRun, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.warns(UserWarning, match="not tracked"):
        run = make_run(folder=tmp_path / "file" / "below")
    assert run.mode == "disabled"


def test_lightning_logger_logs_into_the_same_run(make_run: MakeRun, tmp_path: Path) -> None:
    with make_run() as run:
        logger = run.lightning_logger()
        logger.log_hyperparams({"secondary": 1})
        logger.log_metrics({"train_loss": 0.75}, step=4)
        run.finish()
        logger.log_metrics({"train_loss": 99.0}, step=5)
    seen = kept(tmp_path)
    assert seen.summary["train_loss"] == 0.75 and seen.summary["trainer/global_step"] == 4
    assert "secondary" not in seen.config
