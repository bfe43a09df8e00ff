"""What pages of other sites ask for is refused; links, programs and the app's own pages are not."""

from __future__ import annotations

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.testclient import TestClient

from rayon.serving.origins import OwnPages

URL = "https://rayon.shop.example"


def client(loopback: bool = False, url: str = URL) -> TestClient:
    async def answer(request: Request) -> Response:
        response = Response("done")
        response.set_cookie("access-token", "x", httponly=True, samesite="none", secure=True)
        response.set_cookie("access-token-unsecure", "x", httponly=True, samesite=None)
        return response

    app = Starlette(routes=[Route("/", answer, methods=["GET", "POST", "OPTIONS"])])
    return TestClient(OwnPages(app, loopback), url)


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": "https://rayon.shop.example.evil.example"},
        {"origin": "https://evil.example", "sec-fetch-site": "cross-site"},
        {"origin": "https://other.shop.example", "sec-fetch-site": "same-site"},
        {"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors"},
        {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "iframe"},
        {"origin": "http://[x"},
    ],
)
def test_pages_of_other_sites_are_refused(headers):
    for method in ("GET", "POST", "OPTIONS"):
        answer = client().request(method, "/", headers=headers)
        assert answer.status_code == 403 and "another site" in answer.json()["detail"]
        assert "set-cookie" not in answer.headers and "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"origin": URL},
        {"origin": URL, "sec-fetch-site": "same-origin"},
        {"sec-fetch-site": "none", "sec-fetch-mode": "navigate"},
        {"origin": URL, "host": "10.0.0.7:7860", "x-forwarded-host": "rayon.shop.example"},
        {"origin": URL, "host": "10.0.0.7:7860", "sec-fetch-site": "same-origin"},
        {"origin": f"{URL}:8080", "host": "Rayon.shop.example"},
        {"origin": URL, "host": "rayon.shop.example:443"},
        {"origin": URL, "host": "inner", "x-forwarded-host": "rayon.shop.example, inner"},
    ],
)
def test_programs_and_the_apps_own_pages_are_served(headers):
    assert client().post("/", headers=headers).status_code == 200


def test_a_link_of_another_site_may_lead_here_and_a_form_may_not():
    headers = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}
    assert client().get("/", headers=headers).status_code == 200
    assert client().post("/", headers={**headers, "origin": "https://evil.example"}).status_code == 403


def test_cookies_are_for_requests_of_this_site():
    cookies = client().get("/").headers.get_list("set-cookie")
    assert len(cookies) == 2
    for cookie in cookies:
        assert cookie.lower().count("samesite") == 1 and cookie.endswith("SameSite=Lax") and "HttpOnly" in cookie
    assert "Secure" in cookies[0]


def test_no_other_site_frames_a_page():
    assert client().get("/").headers["content-security-policy"] == "frame-ancestors 'self'"


@pytest.mark.parametrize("host", ["evil.example:7860", "127.0.0.1.evil.example", "", "[::1", "10.0.0.7"])
def test_a_name_that_leads_to_this_machine_is_not_this_machine(host):
    answer = client(True, "http://127.0.0.1:7860").get("/", headers={"host": host})
    assert answer.status_code == 403 and "RAYON_APP_USERS" in answer.json()["detail"]


@pytest.mark.parametrize("host", ["127.0.0.1:7860", "localhost:7860", "[::1]:7860", "localhost"])
def test_this_machine_is(host):
    assert client(True, "http://127.0.0.1:7860").get("/", headers={"host": host}).status_code == 200
