"""The API: what it answers, with which status, and what it keeps."""

from __future__ import annotations

import base64
import io
import json
import sqlite3
import threading
import time
import zlib

import pytest
from PIL import Image

from rayon.feedback import StoreError

PREDICT, FEEDBACK = "/api/v1/predict", "/api/v1/feedback"


@pytest.fixture
def photo(catalogue) -> bytes:
    return (catalogue / "images" / "0.png").read_bytes()


def encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()


def test_one_product(make_client, photo):
    answer = make_client().post(PREDICT, json={"product_id": "42", "designation": "lampe", "image": encoded(photo)})
    assert answer.status_code == 200
    body = answer.json()
    (told,) = body["predictions"]
    assert body["model_version"] == "TrainFlow/7" and told["product_id"] == "42" and told["category"] == "lampes"
    assert told["decision"] in ("accept", "review") and len(told["prediction_id"]) == 32
    assert told["text_contribution"] + told["image_contribution"] == pytest.approx(1.0)
    assert answer.headers["x-request-id"]


def test_several_products_and_a_bad_one(make_client, photo):
    products = [
        {"product_id": "a", "designation": "lampe chevet"},
        {"product_id": "b"},
        {"product_id": "c", "designation": "chaise", "image": encoded(photo[:50])},
        {"product_id": "d", "image": "data:image/png;base64," + encoded(photo)},
    ]
    answers = make_client().post(PREDICT, json={"products": products}).json()["predictions"]
    assert [answer["product_id"] for answer in answers] == ["a", "b", "c", "d"]
    assert answers[1]["decision"] == "refused" and "no_text_no_photo" in answers[1]["refusal"]
    assert answers[1]["prediction_id"] == "" and answers[1]["category"] is None
    assert answers[2]["photo_problem"].startswith("photo_") and answers[3]["text_contribution"] == 0.0


def test_forms_with_files(make_client, photo):
    client = make_client()
    alone = client.post(PREDICT, data={"designation": "lampe"}, files={"image": ("x.png", photo, "image/png")})
    assert alone.status_code == 200 and alone.json()["predictions"][0]["image_contribution"] > 0
    products = [{"product_id": "1", "image": "first"}, {"product_id": "2", "designation": "chaise"}]
    several = client.post(PREDICT, data={"products": json.dumps(products)}, files={"first": ("x.png", photo)})
    assert [one["product_id"] for one in several.json()["predictions"]] == ["1", "2"]
    lost = client.post(PREDICT, data={"products": json.dumps([{"image": "third"}])}, files={"first": ("x.png", photo)})
    assert lost.status_code == 422 and "no file in a field" in lost.text


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        (b"{", 400, "not valid JSON"),
        (b"", 400, "not valid JSON"),
        (b"[]", 422, "valid dictionary"),
        (b'"text"', 422, "valid dictionary"),
        (b'{"designation": 3}', 422, "valid string"),
        (b'{"title": "x"}', 422, "Extra inputs"),
        (b'{"products": []}', 422, "at least 1"),
        (b'{"designation": "x", "image": "%%%"}', 422, "not valid base64"),
        (b'{"designation": ""}', 422, "no_text_no_photo"),
        (b"[" * 100_000, 400, "not valid JSON"),
        (b'{"product_id": "' + b"x" * 201 + b'"}', 422, "at most 200"),
        (json.dumps({"products": [{"designation": "x"}] * 65}).encode(), 422, "at most 64"),
        (b'{"image_url": "http://169.254.169.254/latest"}', 422, "photos are not fetched from"),
        (b'{"image_url": "file:///etc/passwd"}', 422, "no http"),
    ],
)
def test_mistakes_have_a_status_and_words(make_client, body, status, words):
    answer = make_client().post(PREDICT, content=body, headers={"content-type": "application/json"})
    assert answer.status_code == status and words in answer.text


def test_other_content_types_are_told_what_to_send(make_client):
    answer = make_client().post(PREDICT, content=b"x", headers={"content-type": "text/plain"})
    assert answer.status_code == 415 and "application/json" in answer.text


def test_too_large_is_413_whether_the_length_is_told_or_not(make_client):
    client = make_client(max_upload_megabytes=0.1)
    large = b'{"designation": "' + b"x" * 200_000 + b'"}'
    headers = {"content-type": "application/json"}
    assert client.post(PREDICT, content=large, headers=headers).status_code == 413
    streamed = client.post(PREDICT, content=iter([large[:90_000], large[90_000:]]), headers=headers)
    assert streamed.status_code == 413 and "0.1 megabytes" in streamed.text


def test_a_bomb_of_a_photo_is_refused_by_its_header(make_client):
    def chunk(kind: bytes, data: bytes) -> bytes:
        return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")

    head = (40_000).to_bytes(4, "big") * 2 + bytes([8, 2, 0, 0, 0])
    bomb = (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + chunk(b"IDAT", zlib.compress(bytes(10_000_000)))
        + chunk(b"IEND", b"")
    )
    started = time.perf_counter()
    answer = make_client().post(PREDICT, json={"image": encoded(bomb)})
    assert answer.status_code == 422 and "photo_too_many_pixels" in answer.text
    assert time.perf_counter() - started < 5


def test_disguised_files_are_no_photos(make_client):
    svg = b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'
    for disguised in (svg, b"MZ\x90\x00", b"%!PS-Adobe-3.0 EPSF", b"GIF89a", b"PK\x03\x04", bytes(100)):
        answer = make_client().post(PREDICT, json={"designation": "lampe", "image": encoded(disguised)})
        assert answer.status_code == 200 and answer.json()["predictions"][0]["photo_problem"]


def test_feedback_is_kept_with_what_it_is_about(make_client, photo):
    client = make_client()
    told = client.post(PREDICT, json={"product_id": "9", "designation": "Lampe <b>chevet</b>", "image": encoded(photo)})
    (one,) = told.json()["predictions"]
    sent = {
        "prediction_id": one["prediction_id"],
        "category": "chaises",
        "user": "anna",
        "comment": "non\x00",
        "key": "k1",
    }
    first, again = client.post(FEEDBACK, json=sent), client.post(FEEDBACK, json=sent)
    assert first.status_code == 201 and first.json() == again.json()
    (kept,) = client.service.store.feedback_after(0)
    assert (kept.category, kept.predicted, kept.right, kept.who) == ("chaises", one["category"], False, "api/anna")
    assert kept.designation == "Lampe chevet" and kept.product_id == "9" and kept.comment == "non"
    assert kept.model_version == "TrainFlow/7" and kept.source == "api"
    assert kept.top_k[0] == (one["category"], pytest.approx(one["confidence"]))
    jpeg = client.service.store.photo(kept.photo)
    assert Image.open(io.BytesIO(jpeg)).format == "JPEG"


def test_feedback_on_nothing_is_404_and_without_a_category_422(make_client):
    client = make_client()
    assert client.post(FEEDBACK, json={"prediction_id": "0" * 32, "category": "x"}).status_code == 404
    told = client.post(PREDICT, json={"designation": "lampe"}).json()["predictions"][0]["prediction_id"]
    for category, status in (("", 422), ("\x00\n ", 422), ("x" * 201, 422), (7, 422), ("Neuf", 201)):
        answer = client.post(FEEDBACK, json={"prediction_id": told, "category": category})
        assert answer.status_code == status, category
    assert client.post(FEEDBACK, content=b"{", headers={"content-type": "application/json"}).status_code == 400


def test_keys_are_asked_for_where_there_are_any(make_client):
    client = make_client(environment={"RAYON_API_KEYS": "shop:0123456789"})
    for path in (PREDICT, FEEDBACK):
        assert client.post(path, json={"designation": "lampe"}).status_code == 401
    for path in ("/api/v1/model", "/metrics"):
        assert client.get(path).status_code == 401
    headers = {"authorization": "Bearer 0123456789"}
    told = client.post(PREDICT, json={"designation": "lampe"}, headers=headers).json()["predictions"][0]
    sent = {"prediction_id": told["prediction_id"], "category": "lampes", "user": "anna"}
    assert client.post(FEEDBACK, json=sent, headers=headers).status_code == 201
    (kept,) = client.service.store.feedback_after(0)
    assert kept.who == "shop/anna" and kept.source == "shop"
    assert client.get("/healthz").status_code == 200 and client.get("/readyz").status_code == 200


def test_nothing_is_read_of_who_has_no_key(make_client):
    client = make_client(environment={"RAYON_API_KEYS": "shop:0123456789"})
    for path in (PREDICT, FEEDBACK):
        answer = client.post(path, content=b"{", headers={"content-type": "application/json"})
        assert answer.status_code == 401 and answer.headers["www-authenticate"] == "Bearer"
    assert client.post(FEEDBACK, json={"comment": "x" * 70_000}).status_code == 401
    sent = {"content-type": "application/json", "authorization": "Bearer 0123456789"}
    assert client.post(FEEDBACK, content=b"x" * 70_000, headers=sent).status_code == 413


@pytest.mark.parametrize("several", [False, True])
def test_what_is_wrong_is_told_in_few_words(make_client, several):
    client = make_client()
    many = {f"field {number}": 1 for number in range(100_000)}
    wrong = {"products": [{"designation": 1, "description": 1}] * 40}
    answer = client.post(PREDICT, json={"products": [many]} if several else many)
    assert answer.status_code == 422 and "100,000 fields" in answer.json()["detail"]
    told = client.post(PREDICT, json=wrong).json()["detail"]
    assert len(told) == 20 and all(problem["type"] == "string_type" for problem in told)


def test_without_a_model_it_is_503_and_says_what_to_run(make_client):
    client = make_client(versions=[])
    answer = client.post(PREDICT, json={"designation": "lampe"})
    assert answer.status_code == 503 and "python flows/train_flow.py run" in answer.text
    assert answer.headers["retry-after"]
    assert client.get("/api/v1/model").status_code == 503
    ready = client.get("/readyz")
    assert ready.status_code == 503 and not ready.json()["ready"]
    assert client.get("/healthz").status_code == 200


def test_a_store_that_fails_costs_feedback_and_no_prediction(make_client, monkeypatch):
    client = make_client()

    def broken(*_):
        raise StoreError("the store of predictions and feedback cannot be written to: see that it is up")

    monkeypatch.setattr(client.service.store, "add_predictions", broken)
    monkeypatch.setattr(client.service.store, "add_feedback", broken)
    answer = client.post(PREDICT, json={"designation": "lampe"})
    assert answer.status_code == 200 and answer.json()["predictions"][0]["prediction_id"] == ""
    assert client.post(FEEDBACK, json={"prediction_id": "0" * 32, "category": "x"}).status_code == 503
    assert "rayon_predictions_not_kept_total 1.0" in client.get("/metrics").text


def test_a_store_that_is_locked_keeps_feedback_waiting_and_nobody_else(make_client, monkeypatch):
    monkeypatch.setattr("rayon.serving.service._RECORD_SECONDS", 0.1)
    monkeypatch.setattr("rayon.serving.service._CHECK_SECONDS", 0.2)
    client = make_client(queue=20)
    told = client.post(PREDICT, json={"designation": "lampe"}).json()["predictions"][0]["prediction_id"]
    statuses: list[int] = []

    def say() -> None:
        sent = {"prediction_id": told, "category": "lampes"}
        statuses.append(client.post(FEEDBACK, json=sent).status_code)

    people = [threading.Thread(target=say) for _ in range(25)]
    with sqlite3.connect(client.service.config.app.store.removeprefix("sqlite:///"), isolation_level=None) as other:
        other.execute("BEGIN IMMEDIATE")
        for person in people:
            person.start()
        deadline = time.monotonic() + 10
        while len(statuses) < 5:  # more than may wait
            assert time.monotonic() < deadline
            time.sleep(0.01)
        started = time.perf_counter()
        assert client.post(PREDICT, json={"designation": "lampe"}).status_code == 200
        assert [client.get("/readyz").status_code for _ in range(3)] and client.get("/healthz").status_code == 200
        assert time.perf_counter() - started < 5
        assert statuses == [503] * 5
        other.execute("ROLLBACK")
    for person in people:
        person.join(30)
    assert sorted(statuses) == [201] * 20 + [503] * 5
    assert len(client.service.store.feedback_after(0)) == 20


def test_a_store_that_is_silent_is_not_ready_and_is_asked_once(make_client, monkeypatch):
    client, go_on, asked = make_client(), threading.Event(), []
    monkeypatch.setattr("rayon.serving.service._CHECK_SECONDS", 0.05)
    monkeypatch.setattr(client.service.store, "check", lambda: asked.append(1) or go_on.wait(20))
    for _ in range(5):
        answer = client.get("/readyz")
        assert answer.status_code == 503 and "has not answered" in answer.json()["store"]
    assert len(asked) == 1
    go_on.set()
    deadline = time.monotonic() + 10
    while client.get("/readyz").status_code != 200:
        assert time.monotonic() < deadline


def test_a_store_that_is_slow_costs_the_id_and_nobody_the_answer(make_client, monkeypatch):
    client = make_client(batch=1)
    go_on, add = threading.Event(), client.service.store.add_predictions
    monkeypatch.setattr("rayon.serving.service._RECORD_SECONDS", 0.1)
    monkeypatch.setattr(client.service.store, "add_predictions", lambda logged: go_on.wait(20) and add(logged))
    started = time.perf_counter()
    for _ in range(6):  # more than are written at a time
        answer = client.post(PREDICT, json={"designation": "lampe"})
        (told,) = answer.json()["predictions"]
        assert answer.status_code == 200 and told["category"] == "lampes" and told["prediction_id"] == ""
    assert time.perf_counter() - started < 15
    go_on.set()
    deadline = time.monotonic() + 10
    while client.service.store.counts()["predictions"] < 6:  # what came too late for the answer is kept all the same
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert client.post(PREDICT, json={"designation": "lampe"}).json()["predictions"][0]["prediction_id"]
    assert "rayon_predictions_not_kept_total 0.0" in client.get("/metrics").text


def test_it_is_not_ready_once_nothing_judges(make_client):
    client = make_client()
    assert client.get("/readyz").json()["ready"]
    client.service._batches.close()
    ready = client.get("/readyz")
    assert ready.status_code == 503 and not ready.json()["ready"] and "restart" in ready.json()["problem"]


def test_the_model_and_the_numbers(make_client):
    client = make_client()
    client.post(PREDICT, json={"products": [{"designation": "lampe"}, {"designation": ""}]})
    model = client.get("/api/v1/model").json()
    assert model["model_version"] == "TrainFlow/7" and "lampes" in model["categories"]
    numbers = client.get("/metrics").text
    assert 'rayon_model{version="TrainFlow/7"} 1.0' in numbers
    assert 'rayon_products_total{decision="refused"} 1.0' in numbers
    assert 'rayon_requests_total{route="/api/v1/predict",status="200"} 1.0' in numbers
    assert "rayon_batch_products_count 1.0" in numbers


def test_the_documentation_calls_no_other_server(make_client):
    client = make_client()
    page = client.get("/api/docs").text
    assert "https://" not in page and "http://" not in page
    assert client.get("/api/assets/swagger-ui-bundle.js").status_code == 200
    paths = client.get("/api/openapi.json").json()["paths"]
    assert {PREDICT, FEEDBACK, "/api/v1/model", "/healthz", "/readyz", "/metrics"} <= set(paths)


def test_logs_hold_no_text_and_no_secret(make_client, caplog):
    client = make_client(environment={"RAYON_API_KEYS": "shop:0123456789"})
    with caplog.at_level("INFO", logger="rayon"):
        client.post(PREDICT, json={"designation": "confidentiel"}, headers={"x-api-key": "0123456789"})
    (record,) = [r for r in caplog.records if r.name == "rayon.serving.requests"]
    facts = str(record.__dict__)
    assert record.status == 200 and record.route == PREDICT and record.ms > 0
    assert "confidentiel" not in facts and "0123456789" not in facts


def test_one_program_answers_for_all_its_users(make_client):
    client = make_client(environment={"RAYON_API_KEYS": "shop:0123456789"})
    headers = {"x-api-key": "0123456789"}
    for user in ("u1", "u2/../anna"):
        told = client.post(PREDICT, json={"designation": "lampe"}, headers=headers).json()["predictions"][0]
        sent = {"prediction_id": told["prediction_id"], "category": "vases", "user": user}
        assert client.post(FEEDBACK, json=sent, headers=headers).status_code == 201
    assert [entry.who for entry in client.service.store.feedback_after(0)] == ["shop/u1", "shop/u2 .. anna"]


def test_a_key_is_of_one_prediction(make_client):
    client = make_client()
    numbers = []
    for _ in range(2):
        told = client.post(PREDICT, json={"designation": "lampe"}).json()["predictions"][0]
        sent = {"prediction_id": told["prediction_id"], "category": "vases", "key": "1"}
        numbers.append(client.post(FEEDBACK, json=sent).json()["number"])
    assert len(set(numbers)) == 2


@pytest.mark.parametrize("address", ["http://\ud800/", "http://host/a b.jpg", "http://127.0.0.1:abc/x", "http://[::1"])
def test_addresses_that_are_none_are_the_callers_mistake(make_client, address):
    client = make_client(url_hosts=("host", "127.0.0.1"))
    answer = client.post(
        PREDICT, content=json.dumps({"image_url": address}), headers={"content-type": "application/json"}
    )
    assert answer.status_code == 422 and answer.json()["detail"]


def test_a_streamed_body_that_is_too_large_is_413_for_feedback_too(make_client):
    client = make_client(max_upload_megabytes=0.01)
    body = json.dumps({"prediction_id": "x", "category": "y", "comment": "z" * 20_000}).encode()
    answer = client.post(
        FEEDBACK, content=iter([body[:9000], body[9000:]]), headers={"content-type": "application/json"}
    )
    assert answer.status_code == 413
