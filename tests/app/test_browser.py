"""What a person does in the app, in a real browser; the screenshots stay in build/screenshots."""

from __future__ import annotations

import csv
import http.server
import io
import threading
import time
import zipfile
from collections.abc import Iterator
from functools import partial
from typing import Any

import httpx
import pytest
from playwright.sync_api import expect
from sqlalchemy import create_engine, text
from support_app import SHOTS

PHOTO = "#photo input[type=file]"


@pytest.fixture
def product(app):
    """A product of the shop's catalogue that has a photo: its row and the photo's path."""
    with open(app.shop.folder / "raw" / "products.csv", newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            photo = app.shop.folder / "raw" / "images" / row["image"]
            if row["image"] and row["designation"] and photo.is_file() and photo.stat().st_size > 5000:
                return row, photo
    raise AssertionError("no such product")


def shoot(page, name: str) -> None:
    page.wait_for_timeout(700)
    page.screenshot(path=SHOTS / f"{name}.png", full_page=True)


def tab(page, number: int) -> None:
    page.locator("button[role=tab]").nth(number).click()


def feedback(app) -> list[tuple[str, str, str]]:
    """(category, predicted, who) of all feedback, read from the file with another library than the app's."""
    file = app.shop.folder / "cache" / "feedback" / "served" / "store.sqlite"
    query = "select f.category, p.category, f.who from rayon_feedback f join rayon_predictions p on p.id = f.prediction"
    with create_engine(f"sqlite:///{file}").connect() as connection:
        return [tuple(row) for row in connection.execute(text(query + " order by f.number"))]


def test_classify_correct_and_find_the_correction_in_the_store(open_page, app, product):
    row, photo = product
    page = open_page()
    shoot(page, "1-start")
    page.locator("#title textarea, #title input").fill(row["designation"])
    page.set_input_files(PHOTO, photo)
    expect(page.locator("#photo img")).to_be_visible()
    page.click("#go")
    expect(page.locator("#answer .ry-top h2")).to_be_visible(timeout=30_000)
    predicted = page.locator("#answer .ry-top h2").inner_text()
    assert page.locator("#answer .ry-bar").count() == 5 and app.first in page.locator("#answer").inner_text()
    assert page.locator("#similar .ry-tile").count() == 8 and page.locator("#similar img").count() > 0
    shoot(page, "2-answer")
    page.click("#wrong")
    other = "Livres" if predicted != "Livres" else "Mobilier"
    page.locator("#category input").fill(other)
    page.locator("#category input").press("Enter")
    page.click("#send")
    expect(page.locator("#thanks")).to_contain_text("Thank you")
    shoot(page, "3-corrected")
    assert feedback(app)[-1] == (other, predicted, "anna")
    page.click("#go")
    expect(page.locator("#thanks")).not_to_contain_text("Thank you", timeout=30_000)
    page.click("#right")
    expect(page.locator("#thanks")).to_contain_text("Thank you")
    assert feedback(app)[-1] == (predicted, predicted, "anna")


def test_the_language_is_the_browsers_and_can_be_switched(open_page):
    page = open_page(locale="fr-FR")
    expect(page.locator("#go")).to_have_text("Classer l'article")
    page.locator("#title textarea, #title input").fill("Lampe de chevet")
    page.click("#go")
    expect(page.locator("#answer")).to_contain_text("Ce qui a compté", timeout=30_000)
    page.locator("#language label", has_text="English").click()
    expect(page.locator("#go")).to_have_text("Classify the article")
    expect(page.locator("#answer")).to_contain_text("What counted")
    assert page.locator("button[role=tab]").all_inner_texts()[:2] == ["Classify", "Batch"]


def test_nothing_that_is_typed_becomes_markup(open_page):
    page = open_page()
    page.on("dialog", lambda dialog: pytest.fail(f"a script ran: {dialog.message}"))
    nasty = "<img src=x onerror=alert(1)><b id=injected>x</b>${alert(2)} {{alert(3)}}"
    page.locator("#title textarea, #title input").fill(nasty)
    page.click("#go")
    expect(page.locator("#answer .ry-top h2")).to_be_visible(timeout=30_000)
    page.click("#wrong")
    page.locator("#category input").fill(nasty)
    page.locator("#category input").press("Enter")
    page.click("#send")
    expect(page.locator("#thanks")).to_contain_text("Thank you")
    tab(page, 4)
    page.wait_for_timeout(1500)
    assert page.locator("#injected").count() == 0


def test_a_bad_photo_is_said_and_costs_the_text_nothing(open_page, tmp_path, product):
    page = open_page()
    _, photo = product
    cut = tmp_path / "cut.jpg"
    cut.write_bytes(photo.read_bytes()[:300])
    page.set_input_files(PHOTO, cut)
    page.wait_for_timeout(500)
    page.click("#go")
    expect(page.locator("#answer")).to_contain_text("cannot be classified", timeout=30_000)
    page.locator("#title textarea, #title input").fill("Lampe de chevet")
    page.click("#go")
    expect(page.locator("#answer")).to_contain_text("The photo could not be used", timeout=30_000)
    page.locator("#title textarea, #title input").fill("")


def test_a_batch_is_scored_and_downloaded(open_page, tmp_path, product):
    _, photo = product
    table, archive = tmp_path / "new.csv", tmp_path / "photos.zip"
    lines = "".join(f"{n};Lampe de chevet {n};{'a.jpg' if n < 3 else ''}\n" for n in range(70))
    table.write_text("product_id;designation;image\n" + lines + "70;;\n", encoding="cp1252")
    with zipfile.ZipFile(archive, "w") as files:
        files.write(photo, "a.jpg")
    page = open_page()
    tab(page, 1)
    page.set_input_files("#lot-table input[type=file]", table)
    page.set_input_files("#lot-photos input[type=file]", archive)
    expect(page.locator("#lot-photos")).to_contain_text("photos", timeout=10_000)
    page.click("#lot-go")
    expect(page.locator("#lot-done")).to_contain_text("70 products classified", timeout=60_000)
    expect(page.locator("#lot-done")).to_contain_text("71 rows read")
    shoot(page, "4-batch")
    with page.expect_download() as download:
        page.locator("#lot-files a").first.click()
    rows = list(csv.DictReader(io.StringIO(download.value.path().read_text(encoding="utf-8-sig"))))
    assert len(rows) == 70 and rows[0]["product_id"] == "0" and rows[0]["category"]


def test_monitoring_tells_what_the_store_knows(open_page):
    page = open_page()
    tab(page, 4)
    expect(page.locator("#counts")).to_contain_text("predictions kept", timeout=20_000)
    expect(page.locator(".vega-embed, [data-testid=altair]").first).to_be_visible(timeout=20_000)
    shoot(page, "6-monitoring")


def test_who_is_no_admin_cannot_promote(open_page):
    page = open_page("ben", "battery-staple")
    tab(page, 2)
    expect(page.locator("#models")).to_contain_text("fusion", timeout=20_000)
    assert not page.locator("#promote").is_visible()


def test_an_admin_promotes_while_eight_clients_call(open_page, app):
    page = open_page()
    tab(page, 2)
    expect(page.locator("#models")).to_contain_text("★", timeout=20_000)
    page.locator("#model-choice input").click()
    page.get_by_role("option", name=app.second).click()
    expect(page.locator(".vega-embed, [data-testid=altair]").first).to_be_visible(timeout=20_000)
    expect(page.get_by_text("The model's card")).to_be_visible()
    shoot(page, "5-models")
    answers: list[tuple[float, int, str]] = []
    stop = threading.Event()

    def client(number: int) -> None:
        with httpx.Client(base_url=app.url, timeout=60) as calls:
            while not stop.is_set():
                answer = calls.post("/api/v1/predict", json={"designation": f"lampe {number} {len(answers)}"})
                version = answer.json()["model_version"] if answer.status_code == 200 else answer.text
                answers.append((time.monotonic(), answer.status_code, version))

    threads = [threading.Thread(target=client, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    page.click("#promote")
    expect(page.locator("#promotion")).to_contain_text("Give a reason", timeout=20_000)
    page.locator("#reason textarea, #reason input").fill("to see it swap")
    page.locator("input[type=checkbox]").last.check()
    page.click("#promote")
    expect(page.locator("#promotion")).to_contain_text(f"{app.second} is champion", timeout=180_000)
    deadline = time.monotonic() + 20
    while answers[-1][2] != app.second and time.monotonic() < deadline:
        time.sleep(0.1)
    stop.set()
    for thread in threads:
        thread.join()
    assert {status for _, status, _ in answers} == {200}
    assert {version for *_, version in answers} == {app.first, app.second} and len(answers) > 50
    page.locator("#reason textarea, #reason input").fill("back again")
    page.click("#rollback")
    expect(page.locator("#promotion")).to_contain_text(f"{app.first} is champion", timeout=60_000)


ASK = """async address => {
    const body = JSON.stringify({data: [], fn_index: 0, session_hash: "abc"})
    const ways = [{}, {mode: "no-cors"}, {method: "POST", mode: "no-cors", body}]
    await Promise.allSettled(ways.map(way => fetch(address, {credentials: "include", ...way})))
}"""


@pytest.fixture
def elsewhere(tmp_path) -> Iterator[str]:
    """The address of another server, with an empty page."""
    (tmp_path / "index.html").write_text("<p>evil</p>")
    handler = partial(http.server.SimpleHTTPRequestHandler, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def test_a_page_of_another_site_gets_nothing(browser, app, elsewhere):
    """Two ports of this machine are one site, whose pages share cookies: the worst case."""
    with browser.new_context() as context:
        context.request.post(f"{app.url}/login", form={"username": "anna", "password": "correct-horse"})
        page = context.new_page()
        page.goto(elsewhere)
        answers: list[Any] = []
        page.on("response", lambda answer: answers.append(answer))
        page.evaluate(ASK, f"{app.url}/config")
        page.wait_for_timeout(300)
        assert {answer.status for answer in answers} == {403}  # some browsers show no page what they refused it
        assert len(context.cookies()) == 2  # and did not help it
        assert page.goto(app.url).status == 200 and page.wait_for_selector("#go", timeout=30_000)
