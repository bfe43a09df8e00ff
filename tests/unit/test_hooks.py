"""What people are told when a run failed."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from rayon.hooks import WEBHOOK, failed_steps, report_failure


@pytest.fixture
def chat(monkeypatch):
    received: list[dict] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            received.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *args) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv(WEBHOOK, f"http://127.0.0.1:{server.server_address[1]}")
    yield received
    server.shutdown()


class Task:
    def __init__(self, successful: bool) -> None:
        self.successful = successful


class Step(list):
    def __init__(self, id: str, *tasks: Task) -> None:
        super().__init__(tasks)
        self.id = id


class Run(list):
    pathspec = "TrainFlow/argo-12"


def test_the_run_and_the_steps_that_failed_are_told(chat):
    run = Run([Step("train", Task(True), Task(False)), Step("start", Task(True))])
    report_failure(run)
    assert chat == [
        {"text": "rayon: TrainFlow/argo-12 failed in train", "flow": "TrainFlow", "run": "TrainFlow/argo-12"}
        | {"steps": ["train"]}
    ]


def test_without_a_metadata_service_the_run_is_told_by_name(chat, monkeypatch):
    monkeypatch.setenv("RUN_PATHSPEC", "ScoreFlow/argo-7")
    report_failure(None)
    assert chat[0]["text"] == "rayon: ScoreFlow/argo-7 failed"


def test_nobody_is_told_where_no_address_is_set(monkeypatch, capsys):
    monkeypatch.delenv(WEBHOOK, raising=False)
    report_failure(None)
    assert not capsys.readouterr().out


@pytest.mark.parametrize("address", ["http://127.0.0.1:1/", "file:///etc/passwd", "nonsense"])
def test_a_webhook_that_does_not_answer_is_said_and_raises_nothing(monkeypatch, capsys, address):
    monkeypatch.setenv(WEBHOOK, address)
    report_failure(None)
    assert "could not be reported" in capsys.readouterr().out


def test_a_service_that_breaks_while_it_is_asked_hides_no_failure():
    class Broken(list):
        def __iter__(self):
            raise RuntimeError("gone")

    assert failed_steps(Broken()) == []


@pytest.mark.parametrize("flow", ["train_flow.py", "train_nodes_flow.py"])
def test_metaflow_finds_the_hook_in_the_file_of_a_flow(chat, flow):
    """It looks for the function's name there, and not where the flow's class comes from."""
    command = [sys.executable, "-m", "metaflow.plugins.exit_hook.exit_hook_script", flow, "report_failure"]
    folder = Path(__file__).parents[2] / "flows"
    subprocess.run([*command, "TrainFlow/12"], cwd=folder, check=True, capture_output=True, timeout=60)
    assert len(chat) == 1
