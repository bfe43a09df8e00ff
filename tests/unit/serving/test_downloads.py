"""Photos by address: side by side, within a request's time and bytes, and a bad one costs its product alone."""

from __future__ import annotations

import http.server
import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

PREDICT = "/api/v1/predict"


class Host:
    """A host of photos: /good/N waits for `together` others, /slow until the test ends, /large sends 300 kB."""

    def __init__(self, photo: bytes) -> None:
        self.photo, self.together, self.over = photo, threading.Barrier(1), threading.Event()
        self.asked: list[str] = []


@pytest.fixture
def host(catalogue) -> Iterator[Host]:
    made = Host((catalogue / "images" / "0.png").read_bytes())

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            made.asked.append(self.path)
            kind = self.path.split("/")[1]
            if kind == "slow":
                made.over.wait(20)
            if kind == "good":
                made.together.wait(5)
            self.send_response(200 if kind in ("good", "slow", "large") else 404)
            self.end_headers()
            self.wfile.write(bytes(300_000) if kind == "large" else made.photo)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    made.url = f"http://127.0.0.1:{server.server_address[1]}"  # type: ignore[attr-defined]
    yield made
    made.over.set()
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def ask(make_client, host):
    """Ask about products, given as (title, address), and return the answer; keywords are those of `app`."""

    def run(products: list[tuple[str, str]], **app):
        client = make_client(url_hosts=("127.0.0.1",), **app)
        sent = [{"designation": title, "image_url": address} for title, address in products]
        content = json.dumps({"products": sent})  # escapes what is no text
        return client.post(PREDICT, content=content, headers={"content-type": "application/json"})

    return run


def test_a_photo_that_cannot_be_fetched_costs_its_product_alone(ask, host):
    answer = ask(
        [
            ("lampe", f"{host.url}/good/1"),
            ("lampe", f"{host.url}/gone"),
            ("lampe", "http://elsewhere.example/x.png"),
            ("lampe", "http://127.0.0.1/\ud800"),
            ("", f"{host.url}/gone"),
            ("lampe", ""),
        ]
    )
    good, gone, strange, none, refused, without = answer.json()["predictions"]
    assert answer.status_code == 200 and good["image_contribution"] > 0 and good["photo_problem"] == ""
    assert gone["photo_problem"].startswith("photo_missing: ") and gone["prediction_id"]
    assert strange["photo_problem"].startswith("photo_url_not_allowed: ") and "no address" in none["photo_problem"]
    assert refused["decision"] == "refused" and refused["refusal"].startswith("photo_missing: ")
    assert without["photo_problem"] == "" and without["image_contribution"] == 0


def test_photos_are_fetched_side_by_side(ask, host):
    host.together = threading.Barrier(8)
    answer = ask([("", f"{host.url}/good/{n}") for n in range(8)])
    assert all(one["image_contribution"] > 0 for one in answer.json()["predictions"])


def test_all_photos_of_a_request_share_its_time(ask, host):
    started = time.perf_counter()
    addresses = [f"{host.url}/good/1", *(f"{host.url}/slow/{n}" for n in range(40))]
    answers = ask([("lampe", address) for address in addresses], timeout_seconds=1.0).json()["predictions"]
    assert time.perf_counter() - started < 10
    assert answers[0]["image_contribution"] > 0
    assert {one["photo_problem"] for one in answers[1:]} == {
        "photo_unreachable: the photo was not there within 1 seconds (app.timeout_seconds)"
    }
    assert len(host.asked) < 30  # those that had not begun never do


def test_all_photos_of_a_request_share_its_bytes(ask, host):
    answers = ask([("lampe", f"{host.url}/large/{n}") for n in range(5)], max_upload_megabytes=0.7).json()
    problems = [one["photo_problem"].partition(":")[0] for one in answers["predictions"]]
    assert problems.count("photo_too_many_bytes") >= 3 and "photo_url_not_allowed" not in problems


def test_what_is_being_fetched_counts_as_waiting(make_client, host):
    client = make_client(url_hosts=("127.0.0.1",), queue=2)
    product = {"designation": "lampe", "image_url": f"{host.url}/slow"}
    with ThreadPoolExecutor(1) as other:
        first = other.submit(client.post, PREDICT, json={"products": [product, product]})
        while len(host.asked) < 2:
            time.sleep(0.01)
        busy = client.post(PREDICT, json={"designation": "lampe"})
        host.over.set()
        assert first.result().status_code == 200
    assert busy.status_code == 503 and "2 products wait" in busy.text and busy.headers["retry-after"]
    assert client.post(PREDICT, json={"designation": "lampe"}).status_code == 200
