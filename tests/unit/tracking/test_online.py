"""Online runs, against a stand-in of W&B's server on loopback: what arrives, and what is kept when it goes away."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from wandb_files import read_run
from wandb_server import Server, used_server, wandb_server

from rayon.tracking import TrackedRun

MakeRun = Callable[..., TrackedRun]
RUN = "TrainFlow-1764-train-7-r1"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    with used_server(monkeypatch) as running:
        yield running


def log_first(run: TrackedRun) -> None:
    run.log({"val_nll": 2.0}, 1)
    run.summary({"test/ece": 0.02})


def log_second(run: TrackedRun, photo: bytes) -> None:
    run.lightning_logger().log_metrics({"val_nll": 1.5}, step=2)
    run.confusion([[3, 1], [0, 4]], ["Jeux", "Livres"])
    run.table("mistakes", ["title", "photo"], [["a", photo], ["b", None]], photos="photo")
    run.artifact("bundle", "model", b"weights", "bundle.safetensors", {"classes": 2}, ["champion"])
    run.log({"val_nll": 1.0}, 3)


def check_arrived(server: Server) -> None:
    """All of both halves is on the server."""
    run = server.runs[RUN]
    assert (run["complete"], run["jobType"], run["groupName"]) == (0, "train", "TrainFlow/1764")
    assert (run["project"], run["tags"]) == ("rayon-test", ["demo"])
    assert json.loads(run["config"])["trainer"]["value"] == {"max_epochs": 3}
    points = [(point["trainer/global_step"], point["val_nll"]) for point in run["history"] if "val_nll" in point]
    assert points == [(1, 2.0), (2, 1.5), (3, 1.0)]
    assert run["summary"]["test/ece"] == 0.02 and run["summary"]["mistakes"]["nrows"] == 2
    assert server.files["bundle/bundle.safetensors"] == b"weights"
    assert server.artifacts["bundle"]["committed"] and server.artifacts["bundle"]["metadata"] == '{"classes":2}'
    assert {alias["alias"] for alias in server.artifacts["bundle"]["aliases"]} == {"champion", "latest"}
    tables = [name for name in server.artifacts if name.startswith("run-")]
    assert len(tables) == 2 and all(server.artifacts[name]["committed"] for name in tables)
    assert any(name.endswith(".jpg") for name in server.files), "photos travel as JPEG"


def test_an_online_run_arrives(make_run: MakeRun, server: Server, photo: bytes, tmp_path: Path) -> None:
    with make_run() as run:
        assert run.mode == "online"
        assert run.where() == f"{server.url}/team/rayon-test/runs/{RUN}"
        log_first(run)
        log_second(run, photo)
    check_arrived(server)
    assert not list((tmp_path / "tracking" / "wandb").glob("offline-run-*"))


@pytest.mark.parametrize("when", ["in the middle", "at the end"])
def test_a_server_that_goes_away_costs_the_upload_alone(
    when: str, make_run: MakeRun, server: Server, photo: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[str] = []

    class Shared:
        def location(self, name: str) -> str:
            return f"s3://bucket/wandb/{name}"

        def send(self, folder: Path) -> None:
            sent.append(folder.name)

    with (
        pytest.warns(UserWarning, match="W&B stopped answering") as said,
        make_run(finish_timeout=1.0, keep=Shared()) as run,
    ):
        log_first(run)
        if when == "in the middle":
            server.stop()
        log_second(run, photo)
        server.stop()
    assert len(said) == 1 and run.mode == "offline"
    (folder,) = (tmp_path / "tracking" / "wandb").glob("offline-run-*")
    assert sent == [folder.name] and f"s3://bucket/wandb/{folder.name}" in run.where()
    kept = read_run(folder)
    assert (kept.id, kept.finished, kept.tags) == (RUN, True, ("demo",))

    with wandb_server() as back:
        monkeypatch.setenv("WANDB_BASE_URL", back.url)
        command = [sys.executable, "-m", "wandb", "sync", str(folder)]
        subprocess.run(command, check=True, capture_output=True, cwd=tmp_path)
        check_arrived(back)


def test_a_server_that_breaks_is_as_one_that_is_gone(
    make_run: MakeRun, server: Server, photo: bytes, tmp_path: Path
) -> None:
    with pytest.warns(UserWarning, match="stopped answering"), make_run(finish_timeout=1.0) as run:
        log_first(run)
        server.broken = 403
        log_second(run, photo)
        assert "which stopped answering" in run.where()
    (folder,) = (tmp_path / "tracking" / "wandb").glob("offline-run-*")
    kept = read_run(folder)
    assert [point["val_nll"] for point in kept.history if "val_nll" in point] == [2.0, 1.5, 1.0]
    assert {"mistakes", "confusion_table"} == set(kept.tables) and "bundle" in kept.artifacts


def test_what_cannot_be_logged_is_no_reason_to_leave_a_server(
    make_run: MakeRun, server: Server, tmp_path: Path
) -> None:
    with pytest.warns(UserWarning, match="W&B lost something"), make_run() as run:
        run.table("mistakes", ["title", "photo"], [["a", b"no photo at all"]], photos="photo")
        run.log({"val_nll": 0.25}, 1)
    assert run.mode == "online" and server.runs[RUN]["summary"]["val_nll"] == 0.25
