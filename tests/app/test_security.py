"""What the mounted app must never do: hand out a file of the server, let someone in without a name, leave traces."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator

import gradio as gr
import httpx
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from gradio import processing_utils
from interface import Pages
from page_classify import PhotoInput
from support_app import free_port


@pytest.fixture
def session(app) -> httpx.Client:
    """A client that is logged in as somebody without rights."""
    client = httpx.Client(base_url=app.url, timeout=30, follow_redirects=False)
    assert client.post("/login", data={"username": "ben", "password": "battery-staple"}).status_code == 200
    yield client
    client.close()


def call(session: httpx.Client, function: int, data: list) -> list[dict]:
    """Call a function of the page as its browser would and return all that is sent back."""
    sent = {"data": data, "fn_index": function, "session_hash": "abcdefgh"}
    joined = session.post("/gradio_api/queue/join", json=sent)
    if joined.status_code != 200:
        return [{"msg": "refused", "success": False, "status": joined.status_code}]
    events = []
    with session.stream("GET", "/gradio_api/queue/data", params={"session_hash": "abcdefgh"}) as stream:
        for line in stream.iter_lines():
            if line.startswith("data:"):
                events.append(json.loads(line.removeprefix("data:")))
                if events[-1]["msg"] in ("process_completed", "close_stream"):
                    break
    return events


SECRETS = ["/etc/passwd", "{root}/pyproject.toml", "{cache}/feedback/served/store.sqlite", "{folder}/raw/products.csv"]


@pytest.fixture(params=SECRETS)
def secret(request, app) -> str:
    from support_flows import ROOT

    return request.param.format(root=ROOT, cache=app.shop.folder / "cache", folder=app.shop.folder)


def test_no_file_of_the_server_can_be_asked_for(session, app, secret):
    for path in (f"/gradio_api/file={secret}", f"/file={secret}", f"/gradio_api/file=../../../../..{secret}"):
        answer = session.get(path)
        assert answer.status_code in (403, 404), path
        assert "root:" not in answer.text and "[project]" not in answer.text


@pytest.mark.parametrize("mark", [{"meta": {"_type": "gradio.FileData"}}, {}, {"meta": None}, {"meta": {}}])
def test_no_file_of_the_server_goes_in_through_an_upload_field(session, app, secret, mark):
    """The hole of a mounted app: a caller names a path of the server as if it had been uploaded."""
    functions = session.get("/config").json()["dependencies"]
    file = {"path": secret, "orig_name": "x.csv", **mark}
    tried = 0
    for function in functions:
        kinds = [_kind(session, component) for component in function["inputs"]]
        if not {"image", "file"} & set(kinds):
            continue
        tried += 1
        data = [file if kind in ("image", "file") else None if kind == "state" else "en" for kind in kinds]
        last = call(session, function["id"], data)[-1]
        assert last["success"] is False and "bytes" not in json.dumps(last), last
    assert tried >= 2  # the page that classifies and the one for batches


NOT_FETCHED = "A file has to be uploaded: it is not fetched from an address."


@pytest.fixture
def host() -> Iterator[tuple[str, list[str]]]:
    """A server's address, and what it was asked for."""
    asked: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}", asked
    server.shutdown()
    thread.join()
    server.server_close()


def test_no_address_goes_in_through_a_field_of_any_function(session, host):
    address, asked = host
    file = {"path": f"{address}/10GB.bin", "meta": {"_type": "gradio.FileData"}}
    tried = 0
    for function in session.get("/config").json()["dependencies"]:
        kinds = [_kind(session, component) for component in function["inputs"]]
        if set(kinds) <= {"state"}:
            continue
        tried += 1
        last = call(session, function["id"], [None if kind == "state" else [file] for kind in kinds])[-1]
        assert last["success"] is False and last["output"]["error"] == NOT_FETCHED, last
    assert tried >= 8 and not asked


def test_gradio_fetches_nothing_though_it_takes_an_address_for_a_public_one(host, monkeypatch):
    address, asked = host
    monkeypatch.setattr(processing_utils, "PUBLIC_HOSTNAME_WHITELIST", ["127.0.0.1"])
    file = {"path": f"{address}/10GB.bin", "meta": {"_type": "gradio.FileData"}}
    refused = []
    with Pages() as pages:
        fields = [PhotoInput(), gr.File(), gr.Textbox()]
        for field in fields:
            gr.Button().click(lambda given: "", field, gr.Textbox())
    served = FastAPI()
    gr.mount_gradio_app(served, pages, path="/")
    with TestClient(served) as calls:
        for number in range(len(fields)):
            sent = {"data": [file], "fn_index": number, "session_hash": "abcdefgh"}
            refused.append(calls.post("/gradio_api/run/predict", json=sent).json()["error"])
    assert refused == [NOT_FETCHED] * 3 and not asked


def _kind(session: httpx.Client, component: int) -> str:
    components = session.get("/config").json()["components"]
    return next(found["type"] for found in components if found["id"] == component)


def test_nobody_comes_in_without_a_name(app):
    with httpx.Client(base_url=app.url) as stranger:
        assert stranger.post("/login", data={"username": "anna", "password": "battery-staple"}).status_code == 400
        assert stranger.get("/config").status_code == 401
        assert stranger.post("/gradio_api/queue/join", json={"data": [], "fn_index": 0}).status_code == 401
        assert stranger.post("/gradio_api/upload", files={"files": b"x"}).status_code == 401
        assert "auth_required" in stranger.get("/").text


def test_pages_of_other_sites_do_nothing_in_somebodys_name(session):
    """As a browser sends it that has the session's cookie."""
    evil = {"origin": "https://evil.example", "sec-fetch-site": "cross-site"}
    preflight = {**evil, "access-control-request-method": "POST", "access-control-request-headers": "content-type"}
    for answer in (
        session.options("/gradio_api/queue/join", headers=preflight),
        session.post("/gradio_api/queue/join", json={"data": [], "fn_index": 0}, headers=evil),
        session.get("/config", headers=evil),
        session.post("/login", data={"username": "ben", "password": "battery-staple"}, headers=evil),
    ):
        assert answer.status_code == 403 and "access-control-allow-origin" not in answer.headers
    answer = session.post("/login", data={"username": "ben", "password": "battery-staple"})
    assert answer.headers.get_list("set-cookie")
    assert all(cookie.endswith("SameSite=Lax") for cookie in answer.headers.get_list("set-cookie"))


def test_an_upload_is_bounded(session):
    answer = session.post("/gradio_api/upload", files={"files": ("big.bin", bytes(65_000_000))})
    assert answer.status_code == 413


def test_errors_hold_no_path_of_the_server(session, app):
    for function in range(3):
        told = json.dumps(call(session, function, []))
        assert str(app.shop.folder) not in told and "site-packages" not in told and "Traceback" not in told


def test_logs_hold_no_secret(app):
    log = app.log.read_text()
    assert "model swapped" in log and "correct-horse" not in log and "battery-staple" not in log


def test_it_does_not_listen_to_everyone_without_users_and_keys(app, start, tmp_path):
    experiment = tmp_path / "shop.yaml"
    experiment.write_text(app.shop.as_yaml(), encoding="utf-8")
    process = start(experiment, free_port(), tmp_path / "log", {}, "--host", "0.0.0.0")
    assert process.wait(60) == 1 and "RAYON_APP_USERS" in (tmp_path / "log").read_text()
    process = start(tmp_path / "none.yaml", free_port(), tmp_path / "log")
    log = (tmp_path / "log").read_text()
    assert process.wait(60) == 1 and "there is no file" in log and "Traceback" not in log


def test_without_a_model_it_starts_and_says_what_to_run(app, start, tmp_path):
    experiment, port = tmp_path / "shop.yaml", free_port()
    settings = app.shop.as_yaml().replace("name: served", "name: never-trained")
    experiment.write_text(settings, encoding="utf-8")
    start(experiment, port, tmp_path / "log")
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as calls:
        ready = calls.get("/readyz")
        assert ready.status_code == 503 and "python flows/train_flow.py run" in ready.json()["problem"]
        assert calls.post("/api/v1/predict", json={"designation": "x"}).status_code == 503
        assert calls.get("/").status_code == 200


def test_gradio_client_works(app):
    from gradio_client import Client

    client = Client(app.url, auth=("ben", "battery-staple"), verbose=False)
    told = client.predict("Lampe de chevet", "", api_name="/predict")
    assert told["model_version"].startswith("TrainFlow/") and told["category"] and len(told["prediction_id"]) == 32
