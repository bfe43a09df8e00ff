"""A shop in production: its compiled workflows run from their code package alone, while things break around them."""

from __future__ import annotations

import io
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import numpy as np
import pandas as pd
import pytest
import yaml
from argo import Workflow
from pods import ROOT, kill_when
from servers import free_port, running
from support_deploy import Cluster, client, production

from rayon.config import Synthetic
from rayon.data.synthetic import write_catalogue
from rayon.deploying import FLOWS, compile_flow

PREPROCESS, TRAIN, SCORE, MONITOR = (f"rayon.prod.{name}flow" for name in ("preprocess", "train", "score", "monitor"))
OUTAGE = 20.0


class Story(NamedTuple):
    """What happened, in order: a dataset version, made while S3 was gone for a while; a training that was killed; a
    scoring; a look at production while PostgreSQL was restarted; what its request set off; and a mistake.
    """

    cluster: Cluster
    experiment: Path
    prepared: Workflow
    trained: Workflow
    scored: Workflow
    watched: Workflow
    prepared_again: Workflow
    trained_again: Workflow
    mistaken: Workflow


@pytest.fixture(scope="module")
def story(cluster: Cluster) -> Story:
    argo, store = cluster.argo, client(cluster.environment["METAFLOW_S3_ENDPOINT_URL"])
    experiment = cluster.folder / "shop.yaml"
    experiment.write_text(
        yaml.safe_dump(
            production(
                candidates=["fusion"],
                preprocess={"shard_rows": 500},
                trainer={"max_epochs": 25, "patience": 25},
                gate={"margin": -1.0, "lower_bound": -1.0, "category_fall": 1.0, "modality_fall": 1.0},
                score={"input": "s3://shop/incoming", "tasks": 1, "shard_rows": 500},
                retraining={"verdicts": ["watch", "retrain"], "cooldown_hours": 0.0},
                deploy={"retries": 2},
            )
        )
    )
    upload(store, cluster.folder / "catalogue")
    for flow in FLOWS:
        argo.apply(compile_flow(ROOT / "flows" / f"{flow}_flow.py", experiment, ["--production"], cluster.environment))

    argo.watch["build"] = once_it_started(cluster.s3.cut, OUTAGE, cluster.s3.join)
    prepared = argo.submit(PREPROCESS)
    assert prepared.status == "Succeeded", prepared.told()
    argo.watch["train"] = kill_when(lambda: bool(keys(store, "shared/checkpoints/", "last.ckpt")))
    (trained,) = chain(cluster, "metaflow.rayon.prod.PreprocessFlow.end")
    assert trained.status == "Succeeded", trained.told()

    store.put_object(Bucket="shop", Key="incoming/today.parquet", Body=strange_products())
    scored = argo.submit(SCORE)
    assert scored.status == "Succeeded", scored.told()
    argo.watch["judge"] = once_it_started(cluster.database.stop, 1.0, cluster.database.start)
    watched = argo.submit(MONITOR)
    assert watched.status == "Succeeded", watched.told()
    (prepared_again,) = chain(cluster, "mfns.rayon.prod.retraining")
    (trained_again,) = chain(cluster, "metaflow.rayon.prod.PreprocessFlow.end")
    mistaken = argo.submit(SCORE, input="s3://shop/nothing.csv")
    runs = (prepared, trained, scored, watched, prepared_again, trained_again, mistaken)
    return Story(cluster, experiment, *runs)


def upload(store: Any, folder: Path) -> None:
    write_catalogue(folder, Synthetic(rows=240, categories=12, seed=1))
    for file in sorted(folder.rglob("*")):
        if file.is_file():
            store.upload_file(str(file), "shop", f"catalogue/{file.relative_to(folder)}")


def keys(store: Any, prefix: str, end: str = "") -> list[str]:
    with suppress(Exception):  # it may be gone just now
        found = store.list_objects_v2(Bucket="shop", Prefix=prefix).get("Contents", [])
        return [item["Key"] for item in found if item["Key"].endswith(end)]
    return []


def once_it_started(begin: Callable[[], None], seconds: float, end: Callable[[], None]):
    """Break something once a pod's task has started, for so long."""

    def watch(process: subprocess.Popen[bytes], pod: Path) -> None:
        while process.poll() is None and b"Task is starting" not in (pod / "log").read_bytes():
            time.sleep(0.05)
        begin()
        time.sleep(seconds)
        end()

    return watch


def strange_products() -> bytes:
    """Products that no rayon of the shop has seen."""
    rng = np.random.default_rng(0)
    words = ["".join(rng.choice(list("bcdfgxzqwk"), 7)) for _ in range(200)]
    titles = [" ".join(rng.choice(words, 6)) for _ in range(200)]
    frame = pd.DataFrame({"product_id": [f"n{n}" for n in range(200)], "designation": titles, "description": ""})
    file = io.BytesIO()
    frame.assign(image="").to_parquet(file)
    return file.getvalue()


def chain(cluster: Cluster, name: str) -> list[Workflow]:
    """What an event that was published sets off; events are delivered once."""
    waiting = [event for event in cluster.events.received if event["payload"].get("name") == name]
    cluster.events.received.clear()
    assert waiting, f"nobody published {name}"
    return [workflow for event in waiting[:1] for workflow in cluster.argo.deliver(event)]


def ended(workflow: Workflow, step: str) -> list[int]:
    return [attempt.result.code for attempt in workflow.attempts if attempt.template == step]


@pytest.fixture(scope="module")
def ask(story: Story) -> Callable[[str], str]:
    """Ask the Metaflow client in a process that knows the metadata service and the object store."""
    import sys

    def run(code: str) -> str:
        lines = "from metaflow import Flow, Run, namespace\nnamespace(None)\n" + code
        environment = {**story.cluster.environment, "RAYON_BRANCH": "prod"}
        done = subprocess.run([sys.executable, "-c", lines], env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    return run


def test_every_workflow_runs_green_without_the_project_on_its_machine(story):
    for workflow in (story.trained, story.scored, story.watched, story.prepared_again, story.trained_again):
        assert workflow.status == "Succeeded", workflow.told()
    first = story.prepared.attempts[0].result.output
    assert "Code package downloaded" in first


def test_an_outage_of_the_object_store_costs_no_run(story, ask):
    assert story.prepared.status == "Succeeded", story.prepared.told()
    read = f"print(Run('PreprocessFlow/{story.prepared.run}').data.profile)"
    assert "'kept': 2" in ask(read)


def test_a_killed_training_goes_on_in_another_pod(story, ask):
    assert ended(story.trained, "train") == [-9, 0]
    task = f"(task,) = Run('TrainFlow/{story.trained.run}')['train']"
    read = f"{task}\nprint(task.data.results['fusion']['resumed_from_epoch'])"
    assert int(ask(read)) > 0
    left = keys(client(story.cluster.environment["METAFLOW_S3_ENDPOINT_URL"]), "shared/checkpoints/")
    assert not [key for key in left if not key.endswith("/")]  # empty objects stand for folders


def test_products_are_encoded_once_for_all_pods(story, ask):
    read = f"print(max(Run('TrainFlow/{story.trained.run}').data.encoded.values()))"
    assert int(ask(read)) > 200
    assert int(ask(read.replace(story.trained.run, story.trained_again.run))) == 0


def test_predictions_are_files_of_the_bucket(story, ask):
    store = client(story.cluster.environment["METAFLOW_S3_ENDPOINT_URL"])
    (file,) = keys(store, "shared/predictions/", ".parquet")[-1:]
    parts = [key for key in keys(store, "shared/predictions/") if "/predictions/part" in key]
    said = pd.concat(
        pd.read_parquet(io.BytesIO(store.get_object(Bucket="shop", Key=part)["Body"].read())) for part in parts
    )
    assert len(said) == 200 and file
    assert set(said["model_version"]) == {f"TrainFlow/{story.trained.run}"}


def test_the_monitor_asks_and_a_dataset_and_a_training_follow(story, ask):
    assert story.watched.status == "Succeeded", story.watched.told()
    read = f"print(Run('MonitorFlow/{story.watched.run}').data.request)"
    asked = ask(read)
    assert "the monitor says" in asked
    told = ask(f"print(Run('TrainFlow/{story.trained_again.run}').data.why)")
    assert told == asked


def test_wandb_runs_outlive_their_pods(story):
    store = client(story.cluster.environment["METAFLOW_S3_ENDPOINT_URL"])
    assert any(f"{story.trained.run}-evaluate" in key for key in keys(store, "shared/wandb/", ".wandb"))


def test_people_are_told_of_a_failure_alone(story):
    assert story.mistaken.status == "Failed"
    assert ended(story.mistaken, "start") == [1, 1, 1]
    (told,) = story.cluster.chat.received
    assert told["text"] == f"rayon: ScoreFlow/{story.mistaken.run} failed in start"
    assert "s3://shop/nothing.csv" in story.mistaken.attempts[0].result.output


@pytest.fixture(scope="module")
def app(story: Story, tmp_path_factory) -> Iterator[str]:
    """The app beside the cluster: it reads the champion through the metadata service and the object store."""
    import os
    import sys

    port = free_port()
    folder = tmp_path_factory.mktemp("app")
    settings = yaml.safe_load(story.experiment.read_text())
    settings["cache"] = str(folder / "cache")
    (folder / "shop.yaml").write_text(yaml.safe_dump(settings))
    command = [sys.executable, str(ROOT / "app" / "app.py"), "-e", str(folder / "shop.yaml"), "--port", str(port)]
    before = dict(os.environ)
    os.environ |= {**story.cluster.environment, "RAYON_BRANCH": "prod"}
    for name in set(before) - set(story.cluster.environment):
        os.environ.pop(name)
    try:
        with running(command, f"http://127.0.0.1:{port}/healthz", folder / "log"):
            deadline = time.monotonic() + 60
            while httpx.get(f"http://127.0.0.1:{port}/readyz").status_code != 200:
                assert time.monotonic() < deadline, (folder / "log").read_text()
                time.sleep(0.2)
            yield f"http://127.0.0.1:{port}"
    finally:
        os.environ.clear()
        os.environ |= before


def test_the_app_serves_the_champion_of_the_cluster(app, story):
    answer = httpx.post(f"{app}/api/v1/predict", json={"products": [{"product_id": "1", "designation": "Piscine"}]})
    assert answer.status_code == 200, answer.text
    assert answer.json()["model_version"] == f"TrainFlow/{story.trained_again.run}"
