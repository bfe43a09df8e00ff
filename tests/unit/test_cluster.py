"""What pods get that are not this machine's processes."""

from __future__ import annotations

import dataclasses

import pytest

from rayon.cluster import deployed, pod_settings
from rayon.config import Pods

PODS = dataclasses.asdict(
    Pods(
        image="shop/cpu:1",
        gpu_image="shop/cuda:1",
        secrets=("keys",),
        node_selector={"disk": "ssd"},
        gpu_node_selector={"gpu": "yes"},
        gpu_tolerations=({"key": "gpu", "operator": "Exists"},),
    )
)


def test_a_step_on_a_gpu_has_its_own_image_and_nodes():
    settings = pod_settings(PODS, gpu=True)
    assert settings["image"] == "shop/cuda:1"
    assert settings["node_selector"] == {"disk": "ssd", "gpu": "yes"}
    assert settings["tolerations"] == [{"key": "gpu", "operator": "Exists"}]


def test_another_step_has_neither():
    settings = pod_settings(PODS, gpu=False)
    assert settings == {"image": "shop/cpu:1", "secrets": ["keys"], "node_selector": {"disk": "ssd"}}


def test_without_a_gpu_image_there_is_one_for_all():
    assert pod_settings({**PODS, "gpu_image": ""}, gpu=True)["image"] == "shop/cpu:1"


def test_what_is_empty_is_left_to_metaflow():
    assert pod_settings(dataclasses.asdict(Pods()), gpu=True) == {}


@pytest.mark.parametrize(
    "words, variables, there",
    [
        (["train_flow.py", "run"], {}, False),
        (["train_flow.py", "--production", "argo-workflows", "create"], {}, True),
        (["train_flow.py", "step", "train"], {"METAFLOW_KUBERNETES_WORKLOAD": "1"}, True),
    ],
)
def test_a_laptop_is_no_cluster(monkeypatch, words, variables, there):
    monkeypatch.setattr("sys.argv", words)
    monkeypatch.delenv("METAFLOW_KUBERNETES_WORKLOAD", raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert deployed() is there
