"""The app as its users run it: a process of its own on loopback, on a shop with a champion; and pages of it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from support_app import SHOTS, Running, free_port
from support_flows import ROOT, Shop
from support_trained import trained_factory


@pytest.fixture(scope="session")
def trained(tmp_path_factory) -> tuple[Shop, str, str]:
    """A shop, its champion and another model that was never promoted."""
    shop, runs = trained_factory(tmp_path_factory)("served", 2)
    first, second = (f"TrainFlow/{done.run_id}" for done in runs)
    experiment = shop.folder / "shop.yaml"
    experiment.write_text(shop.as_yaml(), encoding="utf-8")
    command = [sys.executable, "-m", "rayon", "promote", first, "--force", "--reason", "the first"]
    promoted = shop.execute([*command, "-e", str(experiment)])
    assert promoted.code == 0, promoted.output
    return shop, first, second


@pytest.fixture(scope="session")
def start() -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Start the app on settings in a folder; returns once it answers, or has ended."""
    running: list[subprocess.Popen[bytes]] = []

    def run(experiment: Path, port: int, log: Path, environment: dict[str, str] | None = None, *more: str):
        # Metaflow looks for cards from the folder it is started in, as it left them
        folder = experiment.parent
        command = [sys.executable, str(ROOT / "app" / "app.py"), "-e", str(experiment), "--port", str(port), *more]
        with open(log, "wb") as file:
            process = subprocess.Popen(command, cwd=folder, env={**os.environ, **(environment or {})}, stderr=file)
        running.append(process)
        deadline = time.monotonic() + 120
        while process.poll() is None and time.monotonic() < deadline:
            try:
                httpx.get(f"http://127.0.0.1:{port}/healthz", timeout=1.0)
                break
            except httpx.TransportError:
                time.sleep(0.2)
        return process

    yield run
    for process in running:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
    for process in running:
        process.wait(30)


@pytest.fixture(scope="session")
def app(trained, start) -> Running:
    """The app on the shop, with two users, one of them admin."""
    shop, first, second = trained
    folder = shop.folder
    port = free_port()
    users = {"RAYON_APP_USERS": "anna:correct-horse,ben:battery-staple", "RAYON_APP_ADMINS": "anna"}
    process = start(folder / "shop.yaml", port, folder / "log", users)
    running = Running(f"http://127.0.0.1:{port}", process, shop, first, second, folder / "log")
    deadline = time.monotonic() + 60
    while httpx.get(f"{running.url}/readyz").status_code != 200:
        assert time.monotonic() < deadline, running.log.read_text()
        time.sleep(0.2)
    return running


@pytest.fixture
def open_page(browser, app):
    """A factory of pages of the app, logged in; requests to other servers fail the test."""
    opened = []
    SHOTS.mkdir(parents=True, exist_ok=True)

    def open_as(user: str = "anna", password: str = "correct-horse", locale: str = "en-GB"):
        page = browser.new_page(viewport={"width": 1250, "height": 1000}, locale=locale)
        strangers: list[str] = []
        page.on(
            "request",
            lambda sent: None if sent.url.startswith((app.url, "data:", "blob:")) else strangers.append(sent.url),
        )
        opened.append((page, strangers))
        page.goto(app.url)
        page.locator("input[type=password]").fill(password)
        page.locator("input:not([type=password]), textarea").first.fill(user)
        page.keyboard.press("Enter")
        page.wait_for_selector("#go", timeout=30_000)
        page.wait_for_timeout(500)
        return page

    yield open_as
    for page, strangers in opened:
        page.close()
        assert not strangers
