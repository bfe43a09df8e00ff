"""Services that go away: S3 in the middle of a scoring, PostgreSQL under the app and a flow, Weights & Biases."""

from __future__ import annotations

import os
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
from home import Home, comment
from postgres import postgres
from readers import look
from servers import Line, free_port, object_store
from spoiling import Bench, Outcome, failed
from work import WORKS, run_work

_KEYS = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing", "AWS_DEFAULT_REGION": "us-east-1"}


def s3_outage(bench: Bench) -> Outcome:
    """S3 (moto) is cut off once the first shard is there, for 25 seconds; then for good, until the run has failed, and
    a new run goes on.
    """
    home = bench.home("s3")
    home.change(deploy={"retries": 1})
    wrong: list[str] = []
    said = ""
    port = free_port()
    with object_store(home.root, port):
        line = Line(port)
        direct = boto3.client(
            "s3",
            endpoint_url=f"http://127.0.0.1:{port}",
            region_name="us-east-1",
            aws_access_key_id="testing",
            aws_secret_access_key="testing",
        )
        direct.create_bucket(Bucket="scores")
        home.environment = {**_KEYS, "METAFLOW_S3_ENDPOINT_URL": f"http://127.0.0.1:{line.port}"}
        for turn, (prefix, seconds) in enumerate((("short", 25.0), ("long", 600.0))):
            command = _to(home, f"s3://scores/{prefix}")
            with (home.root / f"said-{turn}.txt").open("wb") as output:
                process = subprocess.Popen(
                    command, cwd=home.folder, env=home.variables(), stdout=output, stderr=subprocess.STDOUT
                )
            _wait(lambda prefix=prefix: _objects(direct, prefix), process)
            line.cut()
            deadline = time.monotonic() + seconds
            while process.poll() is None and time.monotonic() < deadline:
                time.sleep(0.2)
            line.join()
            process.wait(600)
            told = (home.root / f"said-{turn}.txt").read_text(errors="replace")
            if prefix == "short" and process.returncode:
                wrong.append(f"25 seconds are too much for it: {told[-600:]}")
            if prefix == "long":
                from support_flows import finished

                outcome = failed(finished(process.returncode, told), "cannot be written", "cannot be read")
                wrong, said = [*wrong, *outcome.wrong], outcome.said
                done = home.execute(command)
                if done.code:
                    wrong.append(f"the next run fails: {done.output[-600:]}")
            _fetch(direct, prefix, home.folder / "scores")
            wrong += bench.differences("score", home)
    return Outcome(wrong, said)


def postgres_outage(bench: Bench) -> Outcome:
    """PostgreSQL stops at once under the app's store and under FeedbackFlow; once it is back nothing is lost."""
    from rayon.feedback import StoreError, open_store

    home = bench.home("postgres")
    wrong: list[str] = []
    with contextmanager(postgres)() as server:
        os.environ["RAYON_STORE"] = server.url
        try:
            numbers = comment(home, 30, start=0)
            store = open_store(home.config)
            first = store.feedback_of(numbers[:1])[0]
            server.stop()
            try:
                store.add_feedback(first.prediction, "Livres", "anna")
                wrong.append("feedback is acknowledged without a database")
            except StoreError as error:
                app = str(error)
            home.change(deploy={"retries": 0})
            told = failed(run_work(WORKS["feedback"], home), "see that the database", "that the database is there")
            server.start()
            store.add_feedback(first.prediction, "Livres", "anna")
            counted = store.counts()["feedback"]
            store.close()
            if counted != len(numbers) + 1:
                wrong.append(f"{len(numbers) + 1} pieces of feedback were acknowledged and {counted} are there")
            done = run_work(WORKS["feedback"], home)
            if done.code:
                wrong.append(f"the next run fails: {done.output[-500:]}")
            seen = look(home)
            if seen.cursor <= max(numbers) or any(times > 1 for times in seen.labelled.values()):
                wrong.append(f"feedback was read up to {seen.cursor}")
        finally:
            del os.environ["RAYON_STORE"]
    return Outcome([*wrong, *told.wrong, *seen.wrong], f"{app} / {told.said}")


def wandb_down(bench: Bench) -> Outcome:
    """W&B is to be online and its address refuses connections: the scoring is done, logged offline, and says where."""
    home = bench.home("wandb")
    home.change(tracking={"mode": "online"})
    home.environment = {
        "WANDB_MODE": "online",
        "WANDB_API_KEY": "0123456789abcdef0123456789abcdef01234567",
        "WANDB_BASE_URL": f"http://127.0.0.1:{free_port()}",
    }
    done = run_work(WORKS["score"], home)
    told = [line for line in done.output.splitlines() if "offline" in line.lower() or "wandb" in line.lower()]
    wrong = [done.output[-600:]] if done.code else bench.differences("score", home)
    if not list(Path(home.settings["cache"]).rglob("offline-run-*")):
        wrong.append("nothing is logged offline either")
    return Outcome(wrong, " ".join(told)[:400])


def _to(home: Home, place: str) -> list[str]:
    source = f"{home.folder}/raw/products.csv"
    return home.command("score", "run", "--input", source, "--output", place)


def _objects(client: Any, prefix: str) -> list[str]:
    found = client.list_objects_v2(Bucket="scores", Prefix=f"{prefix}/").get("Contents", [])
    return [each["Key"] for each in found if each["Key"].endswith(".parquet")]


def _wait(there: Any, process: subprocess.Popen[bytes]) -> None:
    while not there() and process.poll() is None:
        time.sleep(0.05)


def _fetch(client: Any, prefix: str, folder: Path) -> None:
    import shutil

    shutil.rmtree(folder, ignore_errors=True)
    for key in _objects(client, prefix):
        file = folder / key.removeprefix(f"{prefix}/")
        file.parent.mkdir(parents=True, exist_ok=True)
        client.download_file("scores", key, str(file))


FAULTS = {
    "away: S3 in the middle of a scoring": s3_outage,
    "away: PostgreSQL": postgres_outage,
    "away: Weights & Biases": wandb_down,
}
