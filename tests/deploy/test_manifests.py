"""What the real `argo-workflows create` makes of the flows: compiled, strict, and as the settings say."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from pods import ROOT
from support_deploy import client, production

from rayon.deploying import FLOWS, DeployError, compile_flow, flow_file

STEPS = {
    "preprocess": {"start": "other", "build": "shard", "combine": "other", "end": "other"},
    "train": {
        "start": "shard",
        "encode": "encode",
        "train": "train",
        "evaluate": "train",
        "gate": "train",
        "end": "other",
    },
    "score": {"start": "score", "score": "score", "combine": "other", "end": "other"},
    "monitor": {"start": "other", "judge": "score", "report": "score", "end": "other"},
    "feedback": {"start": "shard", "end": "other"},
}
# what hera's models leave open: an object's type, a container's name, and what a sensor creates, checked by itself
OPEN = {
    "Sensor": (
        ".apiVersion",
        ".kind",
        ".spec.template.container.name",
        ".spec.triggers[0].template.k8s.source.resource.",
    )
}
ON_GPU = {("train", "encode"), ("train", "train"), ("train", "gate")}


@pytest.fixture(scope="module")
def settings() -> dict[str, Any]:
    return production(resources=yaml.safe_load((ROOT / "configs" / "production.yaml").read_text())["resources"])


@pytest.fixture(scope="module")
def experiment(settings, tmp_path_factory):
    file = tmp_path_factory.mktemp("experiment") / "shop.yaml"
    file.write_text(yaml.safe_dump(settings))
    return file


@pytest.fixture(scope="module")
def compiled(experiment, bucket_environment) -> dict[str, dict[str, dict[str, Any]]]:
    """The objects of each flow, by kind."""
    made = {}
    for flow in FLOWS:
        objects = compile_flow(ROOT / "flows" / f"{flow}_flow.py", experiment, ["--production"], bucket_environment)
        made[flow] = {item["kind"]: item for item in objects}
    return made


def containers(template: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for item in template["spec"]["templates"]:
        if "container" in item and "hook" not in item["name"] and not item["name"].startswith("error-"):
            yield item["name"], item


def test_every_object_is_what_argo_knows(compiled):
    from hera.events.models import Sensor
    from hera.workflows.models import CronWorkflow, Workflow, WorkflowTemplate

    models = {"WorkflowTemplate": WorkflowTemplate, "CronWorkflow": CronWorkflow, "Sensor": Sensor}
    for objects in compiled.values():
        for kind, item in objects.items():
            known = models[kind].model_validate(item)
            # read back, nothing is lost: a field that Argo does not know would be
            said = known.model_dump(by_alias=True, exclude_none=True, mode="json")
            lost = [path for path in unknown(without_nothing(item), said) if not path.startswith(OPEN.get(kind, ()))]
            assert lost == []
            if kind == "Sensor":
                started = item["spec"]["triggers"][0]["template"]["k8s"]["source"]["resource"]
                said = Workflow.model_validate(started).model_dump(by_alias=True, exclude_none=True, mode="json")
                assert unknown(without_nothing(started), said) == []


def without_nothing(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: without_nothing(item) for key, item in value.items() if item is not None}
    return [without_nothing(item) for item in value] if isinstance(value, list) else value


def unknown(sent: Any, understood: Any, path: str = "") -> list[str]:
    """The fields of what was sent that the model did not take in."""
    if isinstance(sent, dict) and isinstance(understood, dict):
        lost = [f"{path}.{key}" for key in sent if key not in understood]
        return lost + [
            x for key in sent if key in understood for x in unknown(sent[key], understood[key], f"{path}.{key}")
        ]
    if isinstance(sent, list) and isinstance(understood, list):
        return [x for n, pair in enumerate(zip(sent, understood, strict=True)) for x in unknown(*pair, f"{path}[{n}]")]
    return []


@pytest.mark.parametrize("flow", FLOWS)
def test_steps_ask_for_what_the_settings_say(compiled, settings, flow):
    found = dict(containers(compiled[flow]["WorkflowTemplate"]))
    assert set(found) == set(STEPS[flow])
    pods = settings["deploy"]["pods"]
    for step, item in found.items():
        asked, container = settings["resources"][STEPS[flow][step]], item["container"]
        gpu = (flow, step) in ON_GPU
        assert container["image"] == pods["gpu_image" if gpu else "image"], (flow, step)
        requests = container["resources"]["requests"]
        assert float(requests["cpu"]) == asked["cpu"]
        assert float(requests["memory"].removesuffix("M")) == asked["memory"]
        assert container["resources"]["limits"].get("nvidia.com/gpu", "0") == ("1" if gpu else "0")
        assert item["activeDeadlineSeconds"] == asked["minutes"] * 60
        assert item["retryStrategy"]["limit"] == settings["deploy"]["retries"]
        assert item["serviceAccountName"] == pods["service_account"]
        assert {source["secretRef"]["name"] for source in container["envFrom"]} == set(pods["secrets"])
        selector = {**pods["node_selector"], **(pods["gpu_node_selector"] if gpu else {})}
        assert item["nodeSelector"] == selector
        assert (item.get("tolerations") or []) == (list(pods["gpu_tolerations"]) if gpu else [])
        shared = [v["emptyDir"]["sizeLimit"] for v in item["volumes"] if v["emptyDir"].get("medium") == "Memory"]
        assert shared == [f"{pods['shared_memory']}Mi"]
        threads = [entry["value"] for entry in container["env"] if entry["name"] == "OMP_NUM_THREADS"]
        assert threads == [str(asked["cpu"])]


def test_flows_start_when_the_settings_say(compiled, settings):
    schedules = settings["deploy"]["schedules"]
    for flow in FLOWS:
        cron = compiled[flow].get("CronWorkflow")
        if flow == "train":
            assert cron is None
            continue
        assert cron["spec"]["schedules"] == [schedules[flow]]
        assert cron["spec"]["timezone"] == schedules["timezone"]


def test_without_a_schedule_none_is_made(bucket_environment, tmp_path):
    file = tmp_path / "shop.yaml"
    nothing = {"preprocess": "", "score": "", "monitor": "", "feedback": "", "timezone": "UTC"}
    file.write_text(yaml.safe_dump(production(deploy={"schedules": nothing})))
    objects = compile_flow(ROOT / "flows" / "score_flow.py", file, ["--production"], bucket_environment)
    assert [item["kind"] for item in objects] == ["WorkflowTemplate"]


def test_a_request_starts_preprocessing_and_its_end_starts_training(compiled):
    def waits_for(flow: str) -> list[str]:
        sensor = compiled[flow]["Sensor"]
        return [d["filters"]["exprs"][0]["expr"] for d in sensor["spec"]["dependencies"]]

    # each sensor waits for one event: one that waited for two would need both
    assert waits_for("preprocess") == ["name == 'mfns.rayon.prod.retraining'"]
    assert waits_for("train") == ["name == 'metaflow.rayon.prod.PreprocessFlow.end'"]
    assert all("Sensor" not in compiled[flow] for flow in ("score", "monitor", "feedback"))


@pytest.mark.parametrize("flow", FLOWS)
def test_a_failure_is_reported_and_no_step_is_conditional(compiled, flow):
    spec = compiled[flow]["WorkflowTemplate"]["spec"]
    hook = spec["hooks"]["error-report-failure"]
    assert "Failed" in hook["expression"]
    assert all("when" not in task for item in spec["templates"] for task in item.get("dag", {}).get("tasks", []))


@pytest.mark.parametrize("flow", FLOWS)
def test_the_code_package_holds_the_whole_project_and_no_data(compiled, bucket_environment, flow):
    names = package(compiled[flow]["WorkflowTemplate"], bucket_environment)
    source = {
        file.relative_to(ROOT / "src").as_posix()
        for file in (ROOT / "src" / "rayon").rglob("*")
        if file.suffix in (".py", ".json", ".yaml")
    }
    assert source <= names
    assert f"{flow}_flow.py" in names
    assert not [name for name in names if name.endswith((".csv", ".jpg", ".parquet", ".safetensors"))]


def package(template: dict[str, Any], environment: dict[str, str]) -> set[str]:
    _, item = next(containers(template))
    url = next(entry["value"] for entry in item["container"]["env"] if entry["name"] == "METAFLOW_CODE_URL")
    bucket, _, key = url.removeprefix("s3://").partition("/")
    store = client(environment["METAFLOW_S3_ENDPOINT_URL"])
    content = store.get_object(Bucket=bucket, Key=key)["Body"].read()
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        return {name.removeprefix("./") for name in archive.getnames()}


def test_no_secret_is_in_a_manifest(compiled, bucket_environment):
    text = json.dumps(compiled)
    assert "AWS_SECRET_ACCESS_KEY" not in text and "RAYON_STORE" not in text


def test_several_processes_are_a_jobset_in_the_place_of_the_ordinary_training(
    compiled, settings, bucket_environment, tmp_path
):
    file = tmp_path / "shop.yaml"
    file.write_text(yaml.safe_dump({**settings, "trainer": {**settings["trainer"], "nodes": 3}}))
    flow = flow_file(ROOT / "flows", "train", file)
    assert flow.name == "train_nodes_flow.py"
    template = next(
        item
        for item in compile_flow(flow, file, ["--production"], bucket_environment)
        if item["kind"] == "WorkflowTemplate"
    )
    assert template["metadata"]["name"] == compiled["train"]["WorkflowTemplate"]["metadata"]["name"]
    (gang,) = [item for item in template["spec"]["templates"] if "resource" in item]
    assert gang["name"] == "train" and gang["retryStrategy"]["limit"] == settings["deploy"]["retries"]
    text = gang["resource"]["manifest"].replace("{{=asInt(inputs.parameters.workerCount)}}", "2")
    jobset = yaml.safe_load(text)
    assert jobset["kind"] == "JobSet"
    assert [(job["name"], job["replicas"]) for job in jobset["spec"]["replicatedJobs"]] == [
        ("control", 1),
        ("worker", 2),
    ]
    for job in jobset["spec"]["replicatedJobs"]:
        pod = job["template"]["spec"]["template"]["spec"]
        (container,) = pod["containers"]
        assert container["image"] == settings["deploy"]["pods"]["gpu_image"]
        assert container["resources"]["limits"]["nvidia.com/gpu"] == "1"
        assert pod["activeDeadlineSeconds"] == settings["resources"]["train"]["minutes"] * 60
    assert {"train_flow.py", "train_nodes_flow.py"} <= package(template, bucket_environment)


def test_a_mistake_in_the_settings_is_told_without_a_traceback(bucket_environment, tmp_path):
    file = tmp_path / "shop.yaml"
    file.write_text(yaml.safe_dump(production(deploy={"schedules": {"score": "hourly"}})))
    with pytest.raises(DeployError, match=r"deploy\.schedules\.score") as raised:
        compile_flow(ROOT / "flows" / "score_flow.py", file, [], bucket_environment)
    assert "Traceback" not in str(raised.value)


def test_a_dry_run_prints_every_manifest(experiment, bucket_environment):
    command = [
        sys.executable,
        "-m",
        "rayon",
        "deploy",
        "train",
        "score",
        "--dry",
        "--production",
        "-e",
        str(experiment),
    ]
    done = subprocess.run(command, cwd=ROOT, env=bucket_environment, capture_output=True, text=True, check=True)
    kinds = [item["kind"] for item in yaml.safe_load_all(done.stdout) if item]
    assert kinds == ["WorkflowTemplate", "Sensor", "WorkflowTemplate", "CronWorkflow"]


def test_a_deployment_without_its_variables_says_which(experiment, bucket_environment):
    known = {name: value for name, value in bucket_environment.items() if not name.startswith("METAFLOW_DATASTORE")}
    command = [sys.executable, "-m", "rayon", "deploy", "train", "--dry", "-e", str(experiment)]
    done = subprocess.run(command, cwd=ROOT, env=known, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "METAFLOW_DATASTORE_SYSROOT_S3" in done.stderr and "Traceback" not in done.stderr
