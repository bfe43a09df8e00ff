"""Two hundred requests that hate the server: whatever is sent, it answers in its own words, and goes on answering."""

from __future__ import annotations

import base64
import json
import struct
import zlib
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mutations import examples

PREDICT, FEEDBACK = "/api/v1/predict", "/api/v1/feedback"
ALLOWED = {200, 201, 400, 401, 404, 413, 415, 422}

NASTY = [
    "",
    "\x00",
    "a\x00b",
    "\ud83d\ude00 \U0001f468\u200d\U0001f469\u200d\U0001f467",
    "'; DROP TABLE rayon_predictions; --",
    '" OR 1=1 --',
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "${7*7} {{7*7}} #{7*7} %s %n {0}",
    "../../../../etc/passwd",
    "file:///etc/passwd",
    "\\\\server\\share",
    "\u202egnp.exe",
    "e\u0301" * 5000,
    "&amp;" * 5000 + "&#x41;",
    "<" * 20_000,
    "=cmd|' /C calc'!A0",
    "a" * 1_000_000,
    "\ufffe\uffff",
    "nan",
    "null",
]
texts = st.one_of(st.sampled_from(NASTY), st.text(max_size=60))
scalars = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), texts)
anything = st.recursive(
    scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(texts, inner, max_size=3)),
    max_leaves=6,
)


def png(width: int, height: int, data: bytes) -> bytes:
    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")


PHOTOS = [
    b"",
    b"\x00",
    b"\xff\xd8\xff",
    b"GIF89a\xff\xff\xff\xff",
    png(1, 1, b"\x00\x01\x02\x03"),
    png(0, 0, b""),
    png(2**31 - 1, 2**31 - 1, b""),
    png(20_000, 20_000, bytes(100_000)),
    png(5_000, 5_000, bytes(10)),
    png(4, 4, bytes(52))[:-20],
    b"BM" + struct.pack("<IHHIIiiHH", 60, 0, 0, 54, 40, -(2**31), 2**31 - 1, 1, 24) + bytes(30),
    b"RIFF\xff\xff\xff\xffWEBPVP8L" + bytes(20),
    b"II*\x00\x08\x00\x00\x00\xff\xff" + bytes(40),
]
photos = st.one_of(
    st.sampled_from(PHOTOS).map(lambda data: base64.b64encode(data).decode()),
    st.binary(max_size=80).map(lambda data: base64.b64encode(data).decode()),
    texts,
)
products = st.fixed_dictionaries(
    {}, optional={"product_id": texts, "designation": texts, "description": texts, "image": photos, "image_url": texts}
)
bodies = st.one_of(
    anything,
    products,
    st.fixed_dictionaries({"products": st.lists(products, max_size=4)}),
    st.fixed_dictionaries({"products": anything}),
    st.dictionaries(st.sampled_from(["designation", "products", "image", "x"]), anything, max_size=3),
)


@pytest.fixture(scope="module")
def seen() -> Counter[int]:
    return Counter()


@examples(220)
@given(
    body=bodies, form=st.booleans(), kind=st.sampled_from(["application/json", "text/xml", "multipart/form-data", ""])
)
def test_predict_answers_anything_in_its_own_words(hostile_client, seen, body, form, kind):
    if form and isinstance(body, dict):
        fields = {str(name)[:100]: str(value) for name, value in body.items()}
        answer = hostile_client.post(PREDICT, data=_sendable(fields), files={"image": ("../x.png", b"\xff\xd8\xff")})
    else:
        content = json.dumps(body).encode()  # lone surrogates travel escaped
        chosen = kind if len(content) % 5 == 0 else "application/json"
        answer = hostile_client.post(PREDICT, content=content, headers={"content-type": chosen})
    seen[answer.status_code] += 1
    assert answer.status_code in ALLOWED, answer.text
    assert answer.headers["content-type"] == "application/json"
    if answer.status_code != 200:
        assert answer.json()["detail"] and "/rayon/" not in answer.text and "Traceback" not in answer.text


@examples(60)
@given(
    body=st.one_of(
        anything, st.fixed_dictionaries({"prediction_id": texts, "category": texts, "comment": texts, "key": texts})
    )
)
def test_feedback_answers_anything_in_its_own_words(hostile_client, body):
    answer = hostile_client.post(
        FEEDBACK, content=json.dumps(body).encode(), headers={"content-type": "application/json"}
    )
    assert answer.status_code in ALLOWED, answer.text


def test_it_goes_on_answering(hostile_client, seen):
    """Runs last: all kinds of answers were seen, and the next customer is served."""
    assert sum(seen.values()) >= 200 and {200, 400, 415, 422} <= set(seen)
    answer = hostile_client.post(PREDICT, json={"designation": "lampe chevet"})
    assert answer.status_code == 200 and answer.json()["predictions"][0]["category"] == "lampes"
    assert hostile_client.get("/readyz").json()["store"] == "ok"


@pytest.mark.parametrize(
    "path", ["/api/assets/../../wire.py", "/api/assets/%2e%2e/%2e%2e/__init__.py", "/api/assets//etc/passwd"]
)
def test_no_file_of_the_server_is_an_asset(hostile_client, path):
    assert hostile_client.get(path).status_code == 404


def _sendable(fields: dict[str, str]) -> dict[str, str]:
    return {
        name.encode("utf-8", "replace").decode(): value.encode("utf-8", "replace").decode()
        for name, value in fields.items()
    }


@pytest.fixture
def hostile_client(make_client):
    return make_client()
